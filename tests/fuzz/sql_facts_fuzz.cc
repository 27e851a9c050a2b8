// SPDX-License-Identifier: Apache-2.0
// Byte 0 picks the lexical state. Oracles: ranges and literals lie in the text and in order; what is remembered equals
// what is fresh, for this text and for others of its shape that came before it; the facts of "A; A" are those of A,
// twice; a text that is refused has no statement; the session's own splitting of statements finds as many. The lineage,
// with and without a catalog, is of as many statements, and no column has more than all columns together; what is
// remembered of it equals what is traced anew.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/sql/analyzer.h"
#include "agent/sql/lineage.h"
#include "agent/sql/resolver.h"
#include "agent/sql/statements.h"
#include "tests/support/sql_facts.h"
#include "tests/support/sql_statements.h"

namespace {

using namespace gatehouse;

void require(bool holds) {
  if (!holds) std::abort();
}

struct Answer {
  std::string facts;
  size_t statements = 0;
};

Answer check_ranges(const sql::Analysis& analysis, std::string_view text) {
  const sql::Facts& facts = *analysis.facts;
  require(facts.parsed == (facts.refusal == sql::Refusal::kNone));
  require(facts.parsed || facts.statements.empty());
  require(analysis.ranges.size() == facts.statements.size());
  size_t end = 0;
  for (const sql::TextRange& range : analysis.ranges) {
    require(range.size > 0 && range.offset >= end && range.offset + range.size <= text.size());
    end = range.offset + range.size;
  }
  end = 0;
  for (const sql::Literal& literal : analysis.literals) {
    require(literal.size > 0 && literal.offset >= end && literal.offset + literal.size <= text.size());
    end = literal.offset + literal.size;
  }
  for (const sql::Statement& statement : facts.statements) {
    require(!statement.command.empty() && !statement.verbs.empty());
    for (const sql::Column& column : statement.columns)
      require(column.object == sql::Column::kNotTold || column.object < statement.objects.size());
    sql::Effects uses, deferred;
    for (const sql::Object& object : statement.objects) {
      uses.add(object.uses);
      deferred.add(object.deferred);
    }
    require(statement.effects.has_all(uses) && statement.deferred.has_all(deferred));
  }
  return {.facts = test::describe(facts), .statements = facts.statements.size()};
}

// Tables, views that stand on each other, functions that call each other.
std::shared_ptr<const sql::Catalog> make_catalog() {
  constexpr sql::Oid kPgCatalog = 11, kPublic = 2200, kText = 25, kInt = 23;
  sql::CatalogRows rows;
  rows.version = 1;
  rows.schemas = {{.oid = kPgCatalog, .owner = 10, .name = "pg_catalog", .is_usable_by_all = true},
                  {.oid = kPublic, .owner = 10, .name = "public", .is_usable_by_all = true}};
  sql::Oid next = 20000;
  const auto relation = [&](const char* name, char kind, const char* definition) {
    rows.relations.push_back({.oid = ++next, .schema = kPublic, .name = name, .kind = kind, .definition = definition});
    for (const char* column : {"id", "a", "b", "c"})
      rows.columns.push_back({.relation = next, .type = kText, .name = column});
    return next;
  };
  const sql::Oid parent = relation("t", 'r', "");
  rows.inheritance.push_back({.child = relation("u", 'r', ""), .parent = parent});
  relation("v", 'v', "SELECT t.id, t.a, t.b || u.c AS b, u.c FROM public.t JOIN public.u USING (id)");
  relation("w", 'v', "SELECT v.id, public.f(v.a) AS a, v.b, v.c FROM public.v");
  const auto function = [&](const char* name, const char* source) {
    rows.functions.push_back({.oid = ++next,
                              .schema = kPublic,
                              .result = kText,
                              .name = name,
                              .language = "sql",
                              .argument_count = 1,
                              .argument_types = {kInt},
                              .source = source,
                              .argument_names = {"x"}});
  };
  function("f", "SELECT a || x FROM t WHERE id = $1");
  function("g", "INSERT INTO u (a) VALUES (f(x)); SELECT h(x)");
  function("h", "SELECT g(x)");
  for (const char* name : {"upper", "max", "count", "unnest", "array_agg", "length"})
    rows.functions.push_back({.oid = ++next - 10000, .schema = kPgCatalog, .result = kText, .name = name});
  return sql::Catalog::build(std::move(rows));
}

std::string words(const std::vector<sql::ColumnSource>& sources) {
  std::string out;
  for (const sql::ColumnSource& source : sources) out += source.relation + "." + source.column + " ";
  return out;
}

std::string check_lineage(const sql::StatementsLineage& lineage, size_t statements) {
  require(lineage.statements.size() == statements);
  std::string out;
  for (const sql::Lineage& statement : lineage.statements) {
    require(statement.are_columns_known || statement.columns.empty());
    for (const sql::OutputColumn& column : statement.columns) {
      require(!column.is_unknown || statement.every.is_unknown);
      for (const sql::ColumnSource& source : column.sources)
        require(std::ranges::find(statement.every.sources, source) != statement.every.sources.end());
      out +=
          column.name + ": " + words(column.sources) + "/" + words(column.conditions) + (column.is_unknown ? "?" : "");
    }
    out += "every " + words(statement.every.sources) + "where " + words(statement.predicates) + "|";
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static constexpr std::string_view kEncodings[] = {"UTF8", "LATIN1", "SJIS", "GBK", "GB18030", "UTF8", "UTF8", "UTF8"};
  const sql::LexicalState state = sql::lexical_state(kEncodings[data[0] & 7], (data[0] & 8) == 0);
  const std::string text{reinterpret_cast<const char*>(data + 1), size - 1};

  static sql::Analyzer fresh;
  static sql::Analyzer remembering({.entries_max = 64});
  static const std::shared_ptr<const sql::Catalog> catalog = make_catalog();
  static sql::Analyzer analyzer({.entries_max = 64});
  static sql::Resolver resolver(16);
  static sql::LineageTracer tracer(16);
  const sql::NameContext names{.search_path = "public", .role = "joe"};
  for (const bool has_catalog : {true, false}) {
    const sql::Facts& facts = *analyzer.analyze(text, state).facts;
    const sql::ResolvedFacts* resolved = has_catalog ? &resolver.resolve(facts, catalog, names) : nullptr;
    const auto trace = [&](sql::LineageTracer& by) {
      return check_lineage(by.trace(text, state, facts, resolved, has_catalog ? catalog : nullptr, names),
                           facts.statements.size());
    };
    const std::string first = trace(tracer);
    sql::LineageTracer anew(1);
    require(trace(tracer) == first && trace(anew) == first);
  }
  const Answer want = check_ranges(fresh.analyze_fresh(text, state), text);
  test::StatementMaker maker(size);
  const std::string sister = maker.with_other_values(text);
  for (const std::string& other : {sister, text, sister}) {
    const std::string facts = test::describe(*fresh.analyze_fresh(other, state).facts);
    require(check_ranges(remembering.analyze(other, state), other).facts == facts ||
            facts.starts_with("refused"));  // the grammar refuses some values: float(99)
  }
  if (want.statements == 0 || text.size() > sql::kTextBytesMax / 3) return 0;
  const Answer twice = check_ranges(fresh.analyze_fresh(text + "\n;" + text, state), text + "\n;" + text);
  if (twice.statements != 0) require(twice.facts == want.facts + " | " + want.facts);

  std::vector<sql::TextRange> ranges;
  const sql::SplitOutcome split = sql::split_statements(text, state.mode, sql::kStatementsMax, ranges);
  require(split == sql::SplitOutcome::kOk && ranges.size() == want.statements);
  return 0;
}
