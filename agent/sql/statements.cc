// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/statements.h"

#include <algorithm>

namespace gatehouse::sql {
namespace {

using Kind = NamedCommand::Kind;

constexpr std::string_view kBlanks = " \t\n\v\f\r";

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
}

// A SQL-language routine body, CREATE FUNCTION … BEGIN ATOMIC … ; … END, holds semicolons outside any parenthesis.
// Its END stands where a statement would begin; the END of a CASE, or one that is a column's name, never does.
class RoutineBody {
 public:
  void reset() { *this = {}; }
  // Every token outside parentheses.
  void on_token(const Token& token) {
    if (token.kind == Token::Kind::kWord && word_count_ < kHeadWords) note_head(token);
    const Place place = place_;
    place_ = Place::kOther;
    if (is_open_) {
      if (token.kind == Token::Kind::kSemicolon) place_ = Place::kStatement;
      if (place == Place::kStatement && token.is_word("end")) is_open_ = false;
    } else if (is_routine_) {
      if (token.is_word("begin")) place_ = Place::kAfterBegin;
      if (place != Place::kAfterBegin || !token.is_word("atomic")) return;
      is_open_ = true;
      place_ = Place::kStatement;
    }
  }
  [[nodiscard]] bool is_open() const { return is_open_; }

 private:
  enum class Place : uint8_t { kOther, kAfterBegin, kStatement };
  static constexpr size_t kHeadWords = 4;

  void note_head(const Token& token) {
    if (word_count_ == 0) {
      is_create_ = token.is_word("create");
    } else if (is_create_ && (token.is_word("function") || token.is_word("procedure"))) {
      is_routine_ = word_count_ == 1 || word_count_ == 3;
    }
    ++word_count_;
  }

  size_t word_count_ = 0;
  Place place_ = Place::kOther;
  bool is_create_ = false;
  bool is_routine_ = false;
  bool is_open_ = false;
};

// Copies an identifier the way the server reads it. False: this token is none, or its name cannot be told here.
bool read_name(const Token& token, Name& name) {
  name.size = 0;
  const auto put = [&name](char c) {
    if (name.size < name.bytes.size()) name.bytes[name.size++] = c;
  };
  if (token.kind == Token::Kind::kWord) {
    for (const char c : token.text) put(c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c);
    return true;
  }
  if (token.kind != Token::Kind::kQuotedIdentifier || token.text.front() != '"') return false;
  const std::string_view inner = token.text.substr(1, token.text.size() - 2);
  for (size_t i = 0; i < inner.size(); ++i) {
    put(inner[i]);
    if (inner[i] == '"') ++i;
  }
  return true;
}

NamedCommand parse_prepare(Lexer& lexer, std::string_view text) {
  NamedCommand command;
  if (!read_name(lexer.next(), command.name)) return {};
  for (Token token = lexer.next(); token.kind != Token::Kind::kEnd; token = lexer.next()) {
    if (token.kind == Token::Kind::kBroken) return {};
    if (!token.is_word("as")) continue;
    command.kind = Kind::kPrepare;
    command.body = trim(text.substr(lexer.offset()));
    return command;
  }
  return {};
}

NamedCommand parse_declare(Lexer& lexer, std::string_view text) {
  NamedCommand command;
  if (!read_name(lexer.next(), command.name)) return {};
  bool after_with = false;
  for (Token token = lexer.next(); token.kind != Token::Kind::kEnd; token = lexer.next()) {
    if (token.kind == Token::Kind::kBroken) return {};
    if (after_with && token.is_word("hold")) command.is_hold = true;
    after_with = token.is_word("with");
    if (!token.is_word("for")) continue;
    command.kind = Kind::kDeclare;
    command.body = trim(text.substr(lexer.offset()));
    return command;
  }
  return {};
}

// The cursor's name is the last word, whatever direction stands before it.
NamedCommand parse_fetch(Lexer& lexer) {
  Token last;
  for (Token token = lexer.next();; token = lexer.next()) {
    if (token.kind == Token::Kind::kEnd || token.kind == Token::Kind::kSemicolon) break;
    if (token.kind == Token::Kind::kBroken) return {};
    last = token;
  }
  NamedCommand command{.kind = Kind::kFetch};
  return read_name(last, command.name) ? command : NamedCommand{};
}

NamedCommand parse_close(Lexer& lexer, Kind kind) {
  NamedCommand command{.kind = kind};
  Token token = lexer.next();
  if (kind == Kind::kDeallocate && token.is_word("prepare")) {
    Lexer ahead = lexer;
    const Token next = ahead.next();
    if (next.kind == Token::Kind::kWord || next.kind == Token::Kind::kQuotedIdentifier) token = next;
  }
  command.is_all = token.is_word("all");
  return read_name(token, command.name) ? command : NamedCommand{};
}

NamedCommand parse_execute(Lexer& lexer) {
  NamedCommand command{.kind = Kind::kExecute};
  return read_name(lexer.next(), command.name) ? command : NamedCommand{};
}

// CREATE … TABLE … AS EXECUTE name.
NamedCommand parse_create(Lexer& lexer) {
  bool after_as = false;
  for (Token token = lexer.next();; token = lexer.next()) {
    if (token.kind == Token::Kind::kEnd || token.kind == Token::Kind::kBroken) return {};
    if (after_as) return token.is_word("execute") ? parse_execute(lexer) : NamedCommand{};
    after_as = token.is_word("as");
  }
}

// EXPLAIN [(…)] [ANALYZE] [VERBOSE], then one of the two above.
NamedCommand parse_explain(Lexer& lexer) {
  size_t depth = 0;
  for (Token token = lexer.next();; token = lexer.next()) {
    if (token.kind == Token::Kind::kOpen) {
      ++depth;
    } else if (token.kind == Token::Kind::kClose) {
      if (depth == 0) return {};
      --depth;
    } else if (token.kind == Token::Kind::kEnd || token.kind == Token::Kind::kBroken) {
      return {};
    } else if (depth == 0) {
      if (token.is_word("execute")) return parse_execute(lexer);
      if (token.is_word("create")) return parse_create(lexer);
      if (!token.is_word("analyze") && !token.is_word("analyse") && !token.is_word("verbose")) return {};
    }
  }
}

}  // namespace

std::string_view first_verb(std::string_view text) {
  Lexer lexer{text, {}};
  Token token = lexer.next();
  while (token.kind == Token::Kind::kOpen && token.text == "(") token = lexer.next();
  return token.kind == Token::Kind::kWord ? token.text : std::string_view{};
}

bool may_have_several(std::string_view text) {
  const size_t semicolon = text.find(';');
  return semicolon != text.npos && text.find_first_not_of(kBlanks, semicolon + 1) != text.npos;
}

SplitOutcome split_statements(std::string_view text, LexicalMode mode, size_t statements_max,
                              std::vector<TextRange>& out) {
  out.clear();
  Lexer lexer{text, mode};
  RoutineBody routine;
  size_t start = 0;
  size_t depth = 0;
  bool has_token = false;
  for (;;) {
    const Token token = lexer.next();
    if (depth == 0) routine.on_token(token);
    switch (token.kind) {
      case Token::Kind::kBroken:
        return SplitOutcome::kBroken;
      case Token::Kind::kOpen:
        ++depth;
        break;
      case Token::Kind::kClose:
        depth -= depth > 0;
        break;
      case Token::Kind::kEnd:
      case Token::Kind::kSemicolon: {
        if (token.kind == Token::Kind::kSemicolon && (depth > 0 || routine.is_open())) break;
        if (has_token) {
          if (out.size() == statements_max) return SplitOutcome::kTooMany;
          const std::string_view statement = trim(text.substr(start, token.offset - start));
          out.push_back({.offset = static_cast<size_t>(statement.data() - text.data()), .size = statement.size()});
        }
        if (token.kind == Token::Kind::kEnd) return SplitOutcome::kOk;
        start = lexer.offset();
        depth = 0;
        has_token = false;
        routine.reset();
        continue;
      }
      case Token::Kind::kWord:
      case Token::Kind::kQuotedIdentifier:
      case Token::Kind::kString:
      case Token::Kind::kNumber:
      case Token::Kind::kOther:
        break;
    }
    has_token = true;
  }
}

NamedCommand parse_named_command(std::string_view text, LexicalMode mode) {
  Lexer lexer{text, mode};
  const Token verb = lexer.next();
  if (verb.kind != Token::Kind::kWord) return {};
  if (verb.is_word("execute")) return parse_execute(lexer);
  if (verb.is_word("fetch") || verb.is_word("move")) return parse_fetch(lexer);
  if (verb.is_word("prepare")) return parse_prepare(lexer, text);
  if (verb.is_word("declare")) return parse_declare(lexer, text);
  if (verb.is_word("close")) return parse_close(lexer, Kind::kClose);
  if (verb.is_word("deallocate")) return parse_close(lexer, Kind::kDeallocate);
  if (verb.is_word("explain")) return parse_explain(lexer);
  if (verb.is_word("create")) return parse_create(lexer);
  if (verb.is_word("discard") && lexer.next().is_word("all")) return {.kind = Kind::kDiscardAll};
  return {};
}

}  // namespace gatehouse::sql
