// SPDX-License-Identifier: Apache-2.0
// What a protocol session must know of SQL text: where statements end, and which statements name others.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "agent/sql/lexer.h"

namespace gatehouse::sql {

// The first key word after whitespace, comments and opening parentheses, as written; WITH stays WITH. Empty if the
// text begins with none.
std::string_view first_verb(std::string_view text);

// False only if there can be no second statement, found without lexing.
bool may_have_several(std::string_view text);

struct TextRange {
  size_t offset = 0;
  size_t size = 0;
};
enum class SplitOutcome : uint8_t {
  kOk,
  kBroken,   // an unterminated literal or comment: the server refuses the whole text
  kTooMany,  // more than `statements_max`
};
// Cuts at top-level semicolons. Ranges have no blanks at their ends; comments stay; statements without a token are
// left out, as the server leaves them out.
SplitOutcome split_statements(std::string_view text, LexicalMode mode, size_t statements_max,
                              std::vector<TextRange>& out);

// An identifier as the server stores it: folded, unquoted, cut at 63 bytes.
struct Name {
  std::array<char, 63> bytes{};
  uint8_t size = 0;
  [[nodiscard]] std::string_view view() const { return {bytes.data(), size}; }
};

// A statement that defines, runs or drops another by name.
struct NamedCommand {
  enum class Kind : uint8_t {
    kNone,
    kPrepare,  // body: what follows AS
    kExecute,  // also inside EXPLAIN and CREATE TABLE AS
    kDeclare,  // body: what follows FOR
    kFetch,    // FETCH and MOVE
    kClose,
    kDeallocate,
    kDiscardAll,
  };
  Kind kind = Kind::kNone;
  bool is_all = false;   // CLOSE ALL, DEALLOCATE ALL
  bool is_hold = false;  // DECLARE … WITH HOLD
  Name name{};
  std::string_view body{};  // borrows the text
};
// kNone also where the name cannot be told (U&"…").
NamedCommand parse_named_command(std::string_view text, LexicalMode mode);

}  // namespace gatehouse::sql
