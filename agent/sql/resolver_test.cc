// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/resolver.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "agent/sql/analyzer.h"
#include "agent/sql/name_path.h"

namespace gatehouse::sql {
namespace {

constexpr Oid kPgCatalog = 11, kPublic = 2200, kApp = 20000, kHidden = 20001, kOwner = 20002, kUser = 20003;
constexpr uint16_t kBeforeInsertRow = 7, kAfterDelete = 8;
constexpr Oid kInt = 23;

// A database by hand; OIDs are given as it grows.
class Made {
 public:
  Made() {
    rows.version = 1;
    rows.roles = {{.oid = kOwner, .name = "owner"}, {.oid = kUser, .name = "joe"}};
    rows.schemas = {{.oid = kPgCatalog, .owner = 10, .name = "pg_catalog", .is_usable_by_all = true},
                    {.oid = kPublic, .owner = 10, .name = "public", .is_usable_by_all = true},
                    {.oid = kApp, .owner = kOwner, .name = "app", .is_usable_by_all = true},
                    {.oid = kHidden, .owner = kOwner, .name = "hidden"}};
    for (const char* name : {"abs", "pg_sleep", "count", "nextval", "strange"})
      rows.functions.push_back({.oid = next_builtin_++, .schema = kPgCatalog, .name = name});
  }

  Oid table(std::string name, Oid schema = kPublic, char kind = 'r', std::string definition = {}) {
    rows.relations.push_back(
        {.oid = ++next_, .schema = schema, .name = std::move(name), .kind = kind, .definition = std::move(definition)});
    for (const char* column : {"id", "a", "b"})
      rows.columns.push_back({.relation = next_, .type = kInt, .name = column, .is_partition_key = false});
    return next_;
  }
  Oid function(std::string name, std::string language, std::string source, uint16_t arguments = 0,
               Oid schema = kPublic) {
    rows.functions.push_back({.oid = ++next_,
                              .schema = schema,
                              .owner = kOwner,
                              .result = kInt,
                              .name = std::move(name),
                              .language = std::move(language),
                              .argument_count = arguments,
                              .argument_types = std::vector<Oid>(arguments, kInt),
                              .source = std::move(source)});
    return next_;
  }
  void trigger(Oid relation, uint16_t type, Oid called) {
    rows.triggers.push_back({.relation = relation, .function = called, .type = type, .name = "g", .definition = {}});
  }
  void on_change(Oid relation, std::string text) {
    rows.expressions.push_back({.owner = relation, .text = std::move(text)});
  }

  CatalogRows rows;

 private:
  Oid next_ = 30000;
  Oid next_builtin_ = 1000;
};

std::string words(const ResolvedStatement& statement) {
  std::string out = to_string(statement.effects);
  if (!statement.deferred.empty()) out += "; later " + to_string(statement.deferred);
  for (const ResolvedObject& object : statement.objects) {
    out += "; " + object.schema + "." + object.name + " [" + to_string(object.uses) + "]";
    if (!object.deferred.empty()) out += " later [" + to_string(object.deferred) + "]";
    if (!object.through.empty()) out += " by " + object.through;
  }
  for (const std::string& reason : statement.unknown_reasons) out += "; ? " + reason;
  return out;
}

NameContext default_names() {
  return {.search_path = "\"$user\", public", .role = "joe", .temporary_tables = {}};
}

class ResolverTest : public ::testing::Test {
 protected:
  std::string resolve(const std::string& text, const NameContext& names = default_names()) {
    if (!catalog_) catalog_ = Catalog::build(made_.rows);
    const Facts& facts = *analyzer_.analyze_fresh(text, {}).facts;
    EXPECT_TRUE(facts.parsed) << text;
    last_ = close_effects(facts, *catalog_, names);
    std::string out;
    for (const ResolvedStatement& statement : last_.statements) out += (out.empty() ? "" : " | ") + words(statement);
    return out;
  }
  std::string columns() {
    std::string out;
    for (const ResolvedColumn& column : last_.statements[0].columns) {
      if (!out.empty()) out += " ";
      out += column.object == Column::kNotTold ? "?" : last_.statements[0].objects[column.object].name;
      out += "." + column.name;
    }
    return out;
  }

  Made made_;
  Analyzer analyzer_;
  std::shared_ptr<const Catalog> catalog_;
  ResolvedFacts last_;
};

TEST_F(ResolverTest, NamesAreThoseOfTheSearchPath) {
  made_.table("t");
  made_.table("t", kApp);
  made_.table("u", kHidden);
  made_.table("u");
  EXPECT_EQ(resolve("TABLE t"), "read; public.t [read]");
  EXPECT_EQ(resolve("TABLE app.t"), "read; app.t [read]");
  NameContext names = default_names();
  names.search_path = "app, public";
  EXPECT_EQ(resolve("TABLE t", names), "read; app.t [read]");
  // Whether the role may use the schema is not known; then it is either.
  names.search_path = "hidden, public";
  EXPECT_EQ(resolve("TABLE u", names), "read; hidden.u [read]; public.u [read]");
  names.role = "owner";
  EXPECT_EQ(resolve("TABLE u", names), "read; hidden.u [read]");
  names.search_path.reset();
  EXPECT_NE(resolve("TABLE t", names).find("app.t"), std::string::npos);
  EXPECT_EQ(resolve("TABLE v"), "read unknown; .v [read]; ? relation v is not in the catalog");
  EXPECT_EQ(resolve("SET search_path = app; TABLE t"), "session | read; app.t [read]");
}

TEST_F(ResolverTest, TemporaryTablesHideOthers) {
  made_.table("t");
  NameContext names = default_names();
  names.temporary_tables = {"t", "x"};
  EXPECT_EQ(resolve("TABLE t", names), "read; pg_temp.t [read]; public.t [read]");
  EXPECT_EQ(resolve("TABLE x", names), "read; pg_temp.x [read]");
  EXPECT_EQ(resolve("TABLE pg_temp.x", names), "read; pg_temp.x [read]");
  names.has_other_temporaries = true;
  EXPECT_EQ(resolve("TABLE public.t", names), "read; public.t [read]");
  EXPECT_NE(resolve("TABLE t", names).find("a temporary view may hide t"), std::string::npos);
}

TEST_F(ResolverTest, FunctionsDoWhatTheirBodiesDo) {
  made_.table("t");
  made_.function("f_sql", "sql", "DELETE FROM public.t RETURNING 1");
  made_.function("f_calls", "plpgsql", "BEGIN RETURN public.f_sql() + abs(1); END");
  made_.function("f_c", "c", "x");
  made_.function("f_python", "plpython3u", "x");
  made_.function("f_computed", "plpgsql", "BEGIN EXECUTE 'DROP TABLE ' || x; END");
  made_.function("f_over", "sql", "SELECT 1", 1);
  made_.function("f_over", "sql", "TRUNCATE public.t", 2);
  made_.function("pg_sleep", "sql", "UPDATE public.t SET a = 1 RETURNING 1", 1);
  EXPECT_EQ(resolve("SELECT f_sql()"), "delete; public.t [delete] by function public.f_sql()");
  EXPECT_EQ(resolve("SELECT f_calls()"),
            "delete; public.t [delete] by function public.f_calls() > function public.f_sql()");
  EXPECT_EQ(resolve("SELECT f_c()"), "unknown; ? function public.f_c(): language c");
  EXPECT_EQ(resolve("SELECT f_python()"), "unknown; ? function public.f_python(): language plpython3u");
  EXPECT_EQ(resolve("SELECT f_computed()"),
            "run-text unknown; ? function public.f_computed(): runs text that it computes");
  EXPECT_EQ(resolve("SELECT f_over(1)"), "");
  EXPECT_EQ(resolve("SELECT f_over(1, 2)"), "truncate; public.t [truncate] by function public.f_over()");
  EXPECT_EQ(resolve("SELECT f_none()"), "unknown; ? function f_none() is not in the catalog");
  EXPECT_EQ(resolve("SELECT strange()"), "unknown; ? function strange(): what it does is not known");
  // One of PostgreSQL's own and one that has its name: both.
  EXPECT_EQ(resolve("SELECT pg_sleep(1)"), "update delay; public.t [update] by function public.pg_sleep()");
  EXPECT_EQ(resolve("CALL f_sql()"), "delete run-code; public.t [delete] by function public.f_sql()");
  EXPECT_EQ(resolve("PREPARE x AS DELETE FROM t"), "prepare; later delete; public.t [] later [delete]");
}

TEST_F(ResolverTest, FunctionsLookNamesUpByTheirOwnPathOrTheirCallers) {
  made_.table("t");
  made_.table("t", kApp);
  made_.function("f", "sql", "DELETE FROM t");
  made_.function("g", "sql", "DELETE FROM t");
  made_.rows.functions.back().search_path = "app";
  EXPECT_EQ(resolve("SELECT f()"), "delete; public.t [delete] by function public.f()");
  EXPECT_EQ(resolve("SELECT g()"), "delete; app.t [delete] by function public.g()");
  // SECURITY DEFINER: "$user" is its owner.
  made_.rows.schemas.push_back({.oid = 20009, .owner = kOwner, .name = "owner"});
  made_.table("t", 20009);
  made_.rows.functions.back().search_path = "\"$user\"";
  made_.rows.functions.back().is_security_definer = true;
  catalog_.reset();
  EXPECT_EQ(resolve("SELECT g()"), "delete; owner.t [delete] by function public.g()");
}

TEST_F(ResolverTest, ViewsReadTheirTables) {
  made_.table("t");
  made_.table("v", kPublic, 'v', "SELECT t.id, t.a FROM public.t");
  made_.table("w", kPublic, 'v', "SELECT v.id FROM public.v");
  const Oid x = made_.table("x", kPublic, 'v', "SELECT t.id FROM public.t");
  made_.trigger(x, 64 | kAfterDelete, made_.function("f", "plpgsql", "BEGIN INSERT INTO public.t VALUES (1); END"));
  EXPECT_EQ(
      resolve("SELECT id FROM w"),
      "read; public.w [read]; public.v [read] by view public.w; public.t [read] by view public.w > view public.v");
  EXPECT_EQ(columns(), "w.id v.id t.id t.a");
  EXPECT_EQ(resolve("UPDATE v SET a = 1"), "read update; public.v [update]; public.t [read update] by view public.v");
  // With a trigger instead, only what that does happens.
  EXPECT_EQ(resolve("DELETE FROM x"), "read insert delete; public.x [delete]; public.t [read insert] by view public.x");
}

TEST_F(ResolverTest, TriggersRulesDefaultsAndChecksRun) {
  const Oid t = made_.table("t");
  made_.table("log", kApp);
  const Oid f = made_.function("f", "plpgsql", "BEGIN INSERT INTO app.log VALUES (new.id); RETURN new; END");
  made_.trigger(t, kBeforeInsertRow, f);
  made_.rows.rules.push_back(
      {.relation = t,
       .event = '4',
       .name = "r",
       .definition = "CREATE RULE r AS ON DELETE TO public.t DO UPDATE app.log SET a = 1 WHERE (log.id = old.id);"});
  const Oid u = made_.table("u");
  made_.on_change(u, "public.f_default()");
  made_.function("f_default", "sql", "TRUNCATE app.log");
  EXPECT_EQ(resolve("INSERT INTO t VALUES (1)"),
            "insert; public.t [insert]; app.log [insert] by trigger g of public.t > function public.f()");
  EXPECT_EQ(resolve("DELETE FROM t"),
            "read update delete; public.t [delete]; app.log [read update] by rule r of public.t");
  EXPECT_EQ(resolve("INSERT INTO u VALUES (1)"),
            "insert truncate; public.u [insert]; app.log [truncate] by "
            "expressions of public.u > function public.f_default()");
  EXPECT_EQ(resolve("SELECT id FROM u"), "read; public.u [read]");
}

TEST_F(ResolverTest, KeysPartitionsAndSequencesGoWithTheirTables) {
  const Oid t = made_.table("t");
  const Oid u = made_.table("u");
  made_.rows.foreign_keys.push_back({.from = u, .to = t, .on_delete = CatalogRows::KeyAction::kCascade});
  const Oid p = made_.table("p", kPublic, 'p');
  made_.rows.columns[made_.rows.columns.size() - 3].is_partition_key = true;  // id
  made_.rows.inheritance.push_back({.child = made_.table("p1"), .parent = p});
  made_.rows.sequences.push_back({.sequence = made_.table("q", kPublic, 'S'), .relation = t});
  EXPECT_EQ(resolve("DELETE FROM t"),
            "read delete lock; public.t [delete]; public.u [read delete lock] by foreign key of public.t");
  EXPECT_EQ(resolve("TRUNCATE t"), "truncate; public.t [truncate]");
  EXPECT_EQ(resolve("TRUNCATE t CASCADE"),
            "truncate; public.t [truncate]; public.u [truncate] by foreign key of public.t");
  EXPECT_EQ(resolve("INSERT INTO t VALUES (1)"),
            "insert update; public.t [insert]; public.q [update] by sequence of public.t");
  EXPECT_EQ(resolve("UPDATE p SET a = 1"), "update; public.p [update]; public.p1 [update] by part of public.p");
  EXPECT_EQ(resolve("UPDATE p SET id = 1"),
            "insert update delete; public.p [update]; public.p1 [insert update delete] by part of public.p");
}

TEST_F(ResolverTest, WhatIsNotNamedRuns) {
  constexpr Oid kPair = 40000, kDomain = 40001;
  const Oid hidden = made_.function("hidden", "sql", "DELETE FROM public.t RETURNING 1", 1);
  const Oid t = made_.table("t");
  made_.rows.columns.back().type = kDomain;
  made_.table("u");
  made_.rows.types = {{.oid = kPair, .schema = kPublic, .relation = t, .name = "pair"},
                      {.oid = kDomain, .schema = kPublic, .base = kInt, .name = "dom"}};
  made_.rows.operators = {{.function = hidden, .left = kInt, .right = kInt, .name = "###"},
                          {.function = hidden, .left = kPair, .right = kPair, .name = "="}};
  const std::string deleted = "public.t [delete]";
  EXPECT_NE(resolve("SELECT 1 ### 2").find(deleted), std::string::npos);
  EXPECT_EQ(resolve("SELECT 1 + 2"), "");
  // Only where the type is.
  EXPECT_EQ(resolve("SELECT id FROM u WHERE id = 1"), "read; public.u [read]");
  EXPECT_NE(resolve("SELECT NULL::pair = NULL").find(deleted), std::string::npos);
  made_.rows.expressions.push_back(
      {.kind = CatalogRows::Expression::Kind::kDomain, .owner = kDomain, .text = "public.hidden(VALUE)"});
  made_.function("field", "sql", "TRUNCATE public.u", 1);
  made_.rows.functions.back().argument_types = {kPair};
  catalog_.reset();
  EXPECT_NE(resolve("SELECT 1::dom").find(deleted), std::string::npos);
  EXPECT_NE(resolve("SELECT x.field FROM t x").find("truncate"), std::string::npos);
  EXPECT_NE(resolve("SELECT (x).field FROM t x").find("truncate"), std::string::npos);
}

TEST_F(ResolverTest, CyclesEnd) {
  const Oid t = made_.table("t");
  const Oid u = made_.table("u");
  made_.trigger(t, kAfterDelete, made_.function("f", "sql", "DELETE FROM public.u"));
  made_.trigger(u, kAfterDelete, made_.function("g", "sql", "SELECT public.g(); DELETE FROM public.t"));
  made_.rows.foreign_keys.push_back({.from = t, .to = t, .on_delete = CatalogRows::KeyAction::kCascade});
  EXPECT_EQ(resolve("DELETE FROM t").substr(0, 16), "read delete lock");
}

TEST_F(ResolverTest, TooMuchIsUnknown) {
  for (size_t i = 0; i < kReachedMax + 10; ++i)
    made_.function("f" + std::to_string(i), "sql", "SELECT public.f" + std::to_string(i + 1) + "()");
  EXPECT_EQ(resolve("SELECT f0()"), "unknown; ? too much is reached");
  EXPECT_EQ(resolve("SELECT f" + std::to_string(kReachedMax) + "()").find("too much"), std::string::npos);
}

TEST_F(ResolverTest, WhatTheTextChangesTheCatalogDoesNotKnow) {
  made_.table("t");
  EXPECT_EQ(resolve("CREATE TABLE n (a int); INSERT INTO n VALUES (1)"),
            "create; public.n [create] | insert; .n [insert]");
  EXPECT_NE(resolve("CREATE FUNCTION t() RETURNS int LANGUAGE sql AS 'SELECT 1'; SELECT id FROM t")
                .find("the transaction has changed the schema"),
            std::string::npos);
}

TEST_F(ResolverTest, Columns) {
  made_.table("t");
  made_.table("u", kApp);
  resolve("SELECT * FROM t");
  EXPECT_EQ(columns(), "t.id t.a t.b");
  resolve("SELECT t.a, x FROM t JOIN app.u USING (id) WHERE b = 1");
  EXPECT_EQ(columns(), "t.a ?.x t.b u.b");
}

TEST_F(ResolverTest, ResultsAreRememberedByAllThatTheyDependOn) {
  made_.table("t");
  made_.table("t", kApp);
  const auto first = Catalog::build(made_.rows);
  made_.rows.version = 2;
  const auto second = Catalog::build(made_.rows);
  Resolver resolver(64);
  NameContext app = default_names();
  app.search_path = "app";
  const auto name_of = [&](const std::string& text, const auto& catalog, const NameContext& names) {
    return resolver.resolve(*analyzer_.analyze(text, {}).facts, catalog, names).statements[0].objects[0].schema;
  };
  for (int i = 0; i < 3; ++i) EXPECT_EQ(name_of("TABLE t", first, default_names()), "public");
  EXPECT_EQ(resolver.hit_count(), 2U);
  EXPECT_EQ(name_of("TABLE t", first, app), "app");
  EXPECT_EQ(name_of("TABLE t", second, default_names()), "public");
  EXPECT_EQ(resolver.miss_count(), 3U);
}

TEST(SqlNamePath, Items) {
  EXPECT_EQ(search_path_items("\"$user\", public"), (std::vector<std::string>{"$user", "public"}));
  EXPECT_EQ(search_path_items(" A ,\"B \"\"c\", \"\", d"), (std::vector<std::string>{"a", "B \"c", "d"}));
  EXPECT_TRUE(search_path_items("").empty());
  EXPECT_TRUE(search_path_items("\"").empty());
}

}  // namespace
}  // namespace gatehouse::sql
