// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/nesting.h"

#include <algorithm>
#include <vector>

namespace gatehouse::sql {
namespace {

using Kind = Token::Kind;

// What has been opened within one pair of brackets. A comma begins a new item, and so does an AND or OR, chains of
// which the grammar keeps flat; but joins and CASE go on behind an AND, and set operations behind a comma.
struct Level {
  size_t item = 1;
  size_t kept_by_and = 0;
  size_t kept_by_comma = 0;
  size_t open_betweens = 0;  // whose AND is still to come

  [[nodiscard]] size_t depth() const { return item + kept_by_and + kept_by_comma; }
  void add(const Token& token) {
    ++item;
    if (token.kind == Kind::kOther && token.text == ",") {
      item = 1;
      kept_by_and = open_betweens = 0;
    } else if (token.kind != Kind::kWord) {
      return;
    } else if (token.is_word("union") || token.is_word("intersect") || token.is_word("except")) {
      ++kept_by_comma;
    } else if (token.is_word("join") || token.is_word("case")) {
      ++kept_by_and;
    } else if (token.is_word("between")) {
      ++open_betweens;
    } else if (token.is_word("and") && open_betweens > 0) {
      --open_betweens;
    } else if (token.is_word("and") || token.is_word("or")) {
      item = 1;
    }
  }
};

}  // namespace

size_t nesting_bound(std::string_view text, LexicalMode mode) {
  std::vector<Level> levels(1);
  size_t outer = 0;  // of all levels but the innermost
  size_t bound = 0;
  Lexer lexer(text, mode);
  for (Token token = lexer.next(); token.kind != Kind::kEnd; token = lexer.next()) {
    switch (token.kind) {
      case Kind::kOpen:
        ++levels.back().item;
        outer += levels.back().depth();
        levels.emplace_back();
        break;
      case Kind::kClose:
        if (levels.size() == 1) break;
        levels.pop_back();
        outer -= levels.back().depth();
        break;
      case Kind::kSemicolon:
        if (levels.size() == 1) levels.back() = {};
        break;
      default:
        levels.back().add(token);
    }
    bound = std::max(bound, outer + levels.back().depth());
  }
  return bound;
}

}  // namespace gatehouse::sql
