// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/routine.h"

#include <string>

#include "agent/sql/analyzer.h"
#include "agent/sql/merge.h"
#include "agent/sql/plpgsql.h"

namespace gatehouse::sql {
namespace {

void note_unread(Statement& into) {
  into.effects.add(Effect::kUnknown);
  into.unknown.add(UnknownReason::kCode);
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\n\v\f\r;";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
}

}  // namespace

RoutineReader::RoutineReader(size_t depth) : depth_(depth) {}
RoutineReader::~RoutineReader() = default;

bool RoutineReader::read_in(std::string_view text, LexicalMode mode, bool is_expression, Statement& into) {
  if (depth_ >= kRoutineDepthMax) return false;
  // Nothing is remembered: a body is read once.
  if (!analyzer_) analyzer_ = std::make_unique<Analyzer>(FactsCache::Limits{.entries_max = 1}, depth_ + 1);
  const Facts& facts = *analyzer_->analyze_fresh(text, {.mode = mode}).facts;
  if (!facts.parsed) return false;
  for (const Statement& part : facts.statements)
    merge(part, is_expression ? MergeAs::kExpression : MergeAs::kStatement, into);
  return true;
}

// A body is read in the mode of the session that runs it. Where that makes a difference, it is read in both; a body in
// a body only in one, so that the work does not double with each level.
bool RoutineReader::differs_by_mode(std::string_view text, Statement& into) const {
  if (text.find('\\') == text.npos) return false;
  if (depth_ == 0) return true;
  note_unread(into);
  return false;
}

void RoutineReader::read_statements(std::string_view text, Statement& into) {
  if (!read_in(text, {}, false, into)) note_unread(into);
  if (differs_by_mode(text, into)) read_in(text, {.standard_conforming_strings = false}, false, into);
}

void RoutineReader::read_expression(std::string_view text, Statement& into) {
  const std::string query = "SELECT " + std::string(text);
  if (!read_in(query, {}, true, into)) note_unread(into);
  if (differs_by_mode(text, into)) read_in(query, {.standard_conforming_strings = false}, true, into);
}

std::string statements_of_sql_body(std::string_view body) {
  Lexer lexer(body, {});
  if (lexer.next().is_word("return")) return "SELECT " + std::string(trimmed(body.substr(lexer.offset())));
  const bool is_atomic = lexer.next().is_word("atomic");
  const size_t start = lexer.offset();
  size_t end = start;
  bool is_end = false;
  for (Token token = lexer.next(); token.kind != Token::Kind::kEnd; token = lexer.next()) {
    is_end = token.is_word("end");
    if (is_end) end = token.offset;
  }
  if (!is_atomic || !is_end) return {};
  return std::string(body.substr(start, end - start));
}

void RoutineReader::read_sql_body(std::string_view body, Statement& into) {
  Lexer lexer(body, {});
  if (lexer.next().is_word("return")) return read_expression(trimmed(body.substr(lexer.offset())), into);
  const std::string statements = statements_of_sql_body(body);
  if (statements.empty()) return note_unread(into);
  read_statements(statements, into);
}

bool RoutineReader::read(std::string_view language, std::string_view body, Statement& into) {
  if (body.size() > kTextBytesMax) {
    note_unread(into);
    return true;
  }
  if (language == "sql") {
    read_statements(body, into);
    return true;
  }
  if (language != "plpgsql") return false;
  if (!read_plpgsql(body, {}, *this, into)) note_unread(into);
  if (differs_by_mode(body, into)) {
    // What only the other mode cannot read fails in a session that is in it.
    Statement other;
    if (read_plpgsql(body, {.standard_conforming_strings = false}, *this, other))
      merge(other, MergeAs::kStatement, into);
  }
  return true;
}

}  // namespace gatehouse::sql
