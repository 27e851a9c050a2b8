// SPDX-License-Identifier: Apache-2.0
// Byte 0 picks the lexical state. Oracles: ranges and literals lie in the text and in order; what is remembered equals
// what is fresh, for this text and for others of its shape that came before it; the facts of "A; A" are those of A,
// twice; a text that is refused has no statement; the session's own splitting of statements finds as many.
#include <cstdlib>
#include <string>
#include <string_view>

#include "agent/sql/analyzer.h"
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static constexpr std::string_view kEncodings[] = {"UTF8", "LATIN1", "SJIS", "GBK", "GB18030", "UTF8", "UTF8", "UTF8"};
  const sql::LexicalState state = sql::lexical_state(kEncodings[data[0] & 7], (data[0] & 8) == 0);
  const std::string text{reinterpret_cast<const char*>(data + 1), size - 1};

  static sql::Analyzer fresh;
  static sql::Analyzer remembering({.entries_max = 64});
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
