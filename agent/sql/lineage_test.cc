// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/lineage.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/sql/analyzer.h"
#include "agent/sql/resolver.h"

namespace gatehouse::sql {
namespace {

constexpr Oid kPgCatalog = 11, kPublic = 2200, kOwner = 20002, kUser = 20003;
constexpr Oid kInt = 23, kText = 25, kCustomersType = 40001;

// c(id, label, email, ssn), o(id, total, memo), v: a view of c, f(i): SQL that gives an e-mail, g(): not followed,
// p and its child k, sink(a, b).
class LineageTest : public ::testing::Test {
 protected:
  LineageTest() {
    rows_.version = 1;
    rows_.roles = {{.oid = kOwner, .name = "owner"}, {.oid = kUser, .name = "joe"}};
    rows_.schemas = {{.oid = kPgCatalog, .owner = 10, .name = "pg_catalog", .is_usable_by_all = true},
                     {.oid = kPublic, .owner = 10, .name = "public", .is_usable_by_all = true}};
    Oid next = 1000;
    for (const auto& [name, result] : std::vector<std::pair<const char*, Oid>>{{"upper", kText},
                                                                               {"max", kText},
                                                                               {"count", kInt},
                                                                               {"length", kInt},
                                                                               {"string_agg", kText},
                                                                               {"row_to_json", 114},
                                                                               {"row_number", 20},
                                                                               {"current_setting", kText},
                                                                               {"set_config", kText},
                                                                               {"query_to_xml", 142},
                                                                               {"generate_series", kInt},
                                                                               {"unnest", 2283},
                                                                               {"array_agg", 2277}})
      rows_.functions.push_back({.oid = ++next, .schema = kPgCatalog, .result = result, .name = name});
    table("c", {"id", "label", "email", "ssn"});
    rows_.types.push_back({.oid = kCustomersType, .schema = kPublic, .relation = next_, .name = "c"});
    table("o", {"id", "total", "memo"});
    table("sink", {"a", "b"});
    const Oid parent = table("p", {"id", "ssn"});
    rows_.inheritance.push_back({.child = table("k", {"id", "ssn", "grade"}), .parent = parent});
    table("v", {"id", "contact"}, 'v', "SELECT c.id, c.email AS contact FROM public.c WHERE c.ssn IS NOT NULL");
    table("g", {"id", "domain"});
    rows_.columns.back().is_generated = true;
    rows_.columns.back().expression = "upper(id)";
    function("mail_of", "sql", "SELECT email FROM c WHERE id = $1", {"i"});
    function("opaque", "plpgsql", "BEGIN RETURN (SELECT ssn FROM c); END", {});
    function("dark", "c", "", {});
    function("all_of", "sql", "SELECT * FROM c", {}, kCustomersType);
  }

  Oid table(std::string name, const std::vector<std::string>& columns, char kind = 'r', std::string definition = {}) {
    rows_.relations.push_back({.oid = ++next_,
                               .schema = kPublic,
                               .name = std::move(name),
                               .kind = kind,
                               .definition = std::move(definition)});
    for (const std::string& column : columns)
      rows_.columns.push_back({.relation = next_, .type = kText, .name = column});
    return next_;
  }
  void function(std::string name, std::string language, std::string source, std::vector<std::string> arguments,
                Oid result = kText) {
    const auto count = static_cast<uint16_t>(arguments.size());
    rows_.functions.push_back({.oid = ++next_,
                               .schema = kPublic,
                               .owner = kOwner,
                               .result = result,
                               .name = std::move(name),
                               .language = std::move(language),
                               .argument_count = count,
                               .argument_types = std::vector<Oid>(count, kInt),
                               .source = std::move(source),
                               .argument_names = std::move(arguments)});
  }

  static std::string words(const std::vector<ColumnSource>& sources) {
    std::string out;
    for (const ColumnSource& source : sources) out += (out.empty() ? "" : " ") + source.relation + "." + source.column;
    return out;
  }
  static std::string words(const OutputColumn& column) {
    std::string out = column.name + "(" + words(column.sources);
    if (column.derivation == OutputColumn::Derivation::kDerived) out += " !";
    if (!column.conditions.empty()) out += " by " + words(column.conditions);
    if (column.is_unknown) out += " ?";
    return out + ")";
  }
  static std::string words(const Lineage& lineage) {
    std::string out;
    if (!lineage.has_rows) out += lineage.is_for_later ? "later " : "no rows ";
    if (lineage.is_of_handle) out += "handle ";
    if (!lineage.are_columns_known) out += "every " + words(lineage.every) + " ";
    for (const OutputColumn& column : lineage.columns) out += words(column) + " ";
    for (const ColumnCopy& copy : lineage.copies)
      out += "copy " + std::string(to_string(copy.place)) + " " + copy.target.relation + "." + copy.target.column +
             "(" + words(copy.sources) + (copy.is_unknown ? " ?" : "") + ") ";
    if (!lineage.predicates.empty()) out += "where " + words(lineage.predicates) + " ";
    if (!out.empty()) out.pop_back();
    return out;
  }

  const StatementsLineage& trace(const std::string& text, bool has_catalog = true) {
    if (!catalog_) catalog_ = Catalog::build(rows_);
    const NameContext names{.search_path = "public", .role = "joe"};
    const Facts& facts = *analyzer_.analyze(text, {}).facts;
    EXPECT_TRUE(facts.parsed) << text;
    if (!has_catalog) return tracer_.trace(text, {}, facts, nullptr, nullptr, names);
    return tracer_.trace(text, {}, facts, &resolver_.resolve(facts, catalog_, names), catalog_, names);
  }
  std::string lineage(const std::string& text, bool has_catalog = true) {
    std::string out;
    for (const Lineage& statement : trace(text, has_catalog).statements)
      out += (out.empty() ? "" : " | ") + words(statement);
    return out;
  }

  CatalogRows rows_;
  std::shared_ptr<const Catalog> catalog_;
  Analyzer analyzer_;
  Resolver resolver_;
  LineageTracer tracer_;
  Oid next_ = 30000;
};

struct Case {
  const char* text;
  const char* lineage;
};

TEST_F(LineageTest, TellsSourcesOfEachColumn) {
  static constexpr Case kCases[] = {
      {"SELECT email AS x, label FROM c", "x(c.email) label(c.label)"},
      {"SELECT * FROM c", "id(c.id) label(c.label) email(c.email) ssn(c.ssn)"},
      {"SELECT o.*, email FROM c, o", "id(o.id) total(o.total) memo(o.memo) email(c.email)"},
      {"SELECT email || '!' FROM c", "?column?(c.email !)"},
      {"SELECT email::text, ssn::varchar(3) FROM c", "email(c.email) ssn(c.ssn !)"},
      {"SELECT max(email), count(email), length(email), length(upper(email)) FROM c",
       "max(c.email) count() length() length(c.email !)"},
      {"SELECT email IS NULL, email = 'x' FROM c", "?column?() ?column?(c.email !)"},
      {"SELECT upper(email) IS NULL FROM c", "?column?( by c.email)"},
      {"SELECT CASE WHEN ssn = '1' THEN label ELSE 'x' END FROM c", "case(c.label by c.ssn) where c.ssn"},
      {"SELECT c FROM c", "c(c.id c.label c.email c.ssn !)"},
      {"SELECT (c).email, (x.c).label FROM c, (SELECT c FROM c) x", "email(c.email) label(c.label)"},
      {"SELECT row_to_json(c) FROM c", "row_to_json(c.id c.label c.email c.ssn !)"},
      {"SELECT email(c) FROM c", "email(c.email)"},
      {"SELECT x.m FROM (SELECT email, label AS m FROM c) x", "m(c.label)"},
      {"SELECT id, c.email FROM c JOIN o USING (id)", "id(c.id o.id) email(c.email) where c.id o.id"},
      {"SELECT * FROM c NATURAL JOIN o",
       "id(c.id o.id) label(c.label) email(c.email) ssn(c.ssn) total(o.total) memo(o.memo) where c.id o.id"},
      {"SELECT l.e FROM c, LATERAL (SELECT c.email AS e) l", "e(c.email)"},
      {"SELECT (SELECT s.x FROM o, (SELECT email AS x) s) FROM c", "x(c.email)"},
      {"WITH w(a, b) AS (SELECT email, label FROM c) SELECT b, a FROM w", "b(c.label) a(c.email)"},
      {"WITH RECURSIVE t(a, b) AS (SELECT email, label FROM c UNION SELECT b, a FROM t) SELECT a FROM t",
       "a(c.label c.email)"},
      {"SELECT email FROM c UNION SELECT memo FROM o", "email(c.email o.memo)"},
      {"SELECT memo FROM o EXCEPT SELECT email FROM c", "memo(o.memo) where c.email o.memo"},
      {"SELECT memo FROM o INTERSECT SELECT email FROM c", "memo(c.email o.memo)"},
      {"SELECT contact FROM v", "contact(c.email v.contact)"},
      {"SELECT ssn FROM p", "ssn(p.ssn k.ssn)"},
      {"SELECT ssn FROM ONLY p", "ssn(p.ssn)"},
      {"SELECT ssn FROM k", "ssn(p.ssn k.ssn)"},
      {"SELECT domain FROM g", "domain(g.id g.domain !)"},
      {"SELECT mail_of(1)", "mail_of(c.email) where c.id"},
      {"SELECT x.label FROM all_of() x", "label(c.label)"},
      {"SELECT opaque()", "opaque(c.ssn !)"},
      {"SELECT dark()", "dark( ! ?)"},
      {"SELECT query_to_xml('SELECT 1', true, true, '')", "query_to_xml( ! ?)"},
      {"SELECT current_setting('work_mem'), current_setting('my.x')", "current_setting() current_setting( ! ?)"},
      {"SELECT set_config('my.x', email, true) FROM c", "set_config(c.email !) copy setting .(c.email)"},
      {"SELECT id FROM c WHERE ssn LIKE '5%' ORDER BY email", "id(c.id) where c.email c.ssn"},
      {"SELECT id, email FROM c ORDER BY 2", "id(c.id) email(c.email) where c.email"},
      {"SELECT row_number() OVER (ORDER BY ssn) FROM c", "row_number( by c.ssn) where c.ssn"},
      {"SELECT EXISTS (SELECT 1 FROM c WHERE ssn = '1')", "exists( by c.ssn) where c.ssn"},
      {"SELECT u.label FROM (SELECT array_agg(c) a FROM c) x, unnest(x.a) u",
       "label(c.label) where c.id c.label c.email c.ssn"},
      {"SELECT (ARRAY['a', 'b'])[length(upper(email))] FROM c", "array(c.email !)"},
      {"SELECT $1, 1, 'x'", "?column?() ?column?() ?column?()"},
  };
  for (const Case& each : kCases) EXPECT_EQ(lineage(each.text), each.lineage) << each.text;
}

TEST_F(LineageTest, TellsWhatStatementsGiveAndCopy) {
  static constexpr Case kCases[] = {
      {"UPDATE c SET label = 'x' RETURNING label, email", "label(c.label) email(c.email)"},
      {"UPDATE g SET id = email FROM c RETURNING domain",
       "domain(c.email g.id g.domain !) copy relation g.id(c.email)"},
      {"UPDATE c SET label = ssn RETURNING label", "label(c.label c.ssn) copy relation c.label(c.ssn)"},
      {"DELETE FROM c RETURNING old.email, *", "email(c.email) id(c.id) label(c.label) email(c.email) ssn(c.ssn)"},
      {"INSERT INTO sink SELECT email, label FROM c RETURNING a",
       "a(c.email sink.a) copy relation sink.a(c.email) copy relation sink.b(c.label)"},
      {"CREATE TABLE t (x) AS SELECT email FROM c", "no rows copy relation t.x(c.email)"},
      {"SELECT email INTO t FROM c", "no rows copy relation t.email(c.email)"},
      {"SELECT email INTO t FROM c UNION SELECT memo FROM o", "no rows copy relation t.email(c.email o.memo)"},
      {"WITH d AS (DELETE FROM c RETURNING ssn) SELECT * FROM d", "ssn(c.ssn)"},
      {"INSERT INTO sink (a) SELECT email FROM c; SELECT a FROM sink",
       "no rows copy relation sink.a(c.email) | a(c.email sink.a)"},
      {"PREPARE q AS SELECT email FROM c; EXECUTE q", "later email(c.email) | handle every ( ! ?)"},
      {"DECLARE q CURSOR FOR SELECT email FROM c", "later email(c.email)"},
      {"COPY c (label, ssn) TO STDOUT", "label(c.label) ssn(c.ssn)"},
      {"COPY g TO STDOUT", "id(g.id)"},
      {"COPY (SELECT email FROM c) TO '/tmp/x'", "no rows email(c.email) copy file .(c.email)"},
      {"EXPLAIN SELECT email FROM c", "QUERY PLAN()"},
      {"EXPLAIN SELECT mail_of(1)", "QUERY PLAN(c.email !) where c.id"},
      {"SHOW work_mem", "work_mem()"},
      {"SHOW my.x", "my.x( ! ?)"},
      {"SELECT nothing_like_it FROM o", "nothing_like_it(o.id o.total o.memo ! ?)"},
      {"SELECT * FROM not_there", "every (not_there.* ! ?)"},
  };
  for (const Case& each : kCases) EXPECT_EQ(lineage(each.text), each.lineage) << each.text;
}

TEST_F(LineageTest, ReadsOptionsOfCopy) {
  const auto format = [&](const std::string& text) { return *trace(text).statements.at(0).copy; };
  const CopyFormat plain = format("COPY c TO STDOUT");
  EXPECT_EQ(plain.kind, CopyFormat::Kind::kText);
  EXPECT_EQ(plain.delimiter, '\t');
  EXPECT_EQ(plain.null, "\\N");
  const CopyFormat csv = format("COPY c TO STDOUT (FORMAT csv, HEADER, DELIMITER ';', QUOTE '''', FORCE_QUOTE (ssn))");
  EXPECT_EQ(csv.kind, CopyFormat::Kind::kCsv);
  EXPECT_TRUE(csv.has_header);
  EXPECT_EQ(csv.delimiter, ';');
  EXPECT_EQ(csv.quote, '\'');
  EXPECT_EQ(csv.escape, '\'');
  EXPECT_EQ(csv.null, "");
  EXPECT_EQ(csv.forces_quotes, std::vector<std::string>{"ssn"});
  EXPECT_FALSE(format("COPY c TO STDOUT (FORMAT csv, HEADER false)").has_header);
  EXPECT_EQ(format("COPY c TO STDOUT BINARY").kind, CopyFormat::Kind::kBinary);
  EXPECT_EQ(format("COPY c TO PROGRAM 'x'").to, CopyFormat::To::kProgram);
}

TEST_F(LineageTest, WithoutCatalogNamesAreAsWritten) {
  EXPECT_EQ(lineage("SELECT x.email FROM app.c x", false), "email(c.email ?)");
  EXPECT_EQ(lineage("SELECT * FROM c", false), "every (c.* ! ?)");
  EXPECT_EQ(lineage("SELECT 1", false), "?column?()");
  EXPECT_TRUE(trace("SELECT 1", false).statements[0].may_touch_unknown);
}

TEST_F(LineageTest, RemembersByFactsAndWhereLiteralsMatterByText) {
  lineage("SELECT email FROM c WHERE id = 1");
  EXPECT_EQ(lineage("SELECT email FROM c WHERE id = 2"), "email(c.email) where c.id");
  EXPECT_EQ(tracer_.hit_count(), 1U);
  EXPECT_EQ(lineage("SELECT id, email FROM c ORDER BY 1"), "id(c.id) email(c.email) where c.id");
  EXPECT_EQ(lineage("SELECT id, email FROM c ORDER BY 2"), "id(c.id) email(c.email) where c.email");
}

// Each level doubles what there is to look at.
TEST_F(LineageTest, WorkIsBounded) {
  std::string text = "SELECT email FROM c";
  for (int i = 0; i < 200; ++i) text = "SELECT (SELECT max(email) FROM (" + text + ") x) AS email, c.ssn FROM c";
  const Lineage& deep = trace(text).statements.at(0);
  EXPECT_TRUE(deep.columns.empty() || deep.columns[0].is_unknown || !deep.columns[0].sources.empty());

  std::string wide = "WITH w0 AS (SELECT email AS a, ssn AS b FROM c)";
  for (int i = 1; i < 400; ++i) {
    const std::string before = "w" + std::to_string(i - 1);
    wide +=
        ", w" + std::to_string(i) + " AS (SELECT x.a || y.b AS a, y.a AS b FROM " + before + " x, " + before + " y)";
  }
  EXPECT_EQ(words(trace(wide + " SELECT a FROM w399").statements.at(0)), "a(c.email c.ssn !)");
}

// A function that calls itself, and views that are too deep, are not followed for ever.
TEST_F(LineageTest, CyclesEnd) {
  function("f1", "sql", "SELECT f2() || email FROM c", {});
  function("f2", "sql", "SELECT f1()", {});
  for (int i = 0; i < 40; ++i) {
    const std::string below = i == 0 ? "c" : "d" + std::to_string(i - 1);
    table("d" + std::to_string(i), {"email"}, 'v', "SELECT x.email FROM public." + below + " x");
  }
  EXPECT_TRUE(lineage("SELECT f1()").starts_with("f1(c.email"));
  const Lineage& deep = trace("SELECT email FROM d39").statements.at(0);
  ASSERT_EQ(deep.columns.size(), 1U);
  EXPECT_TRUE(words(deep.columns[0].sources).find("c.email") != std::string::npos);
}

}  // namespace
}  // namespace gatehouse::sql
