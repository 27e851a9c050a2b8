// SPDX-License-Identifier: Apache-2.0
// CEL's lexical level: cuts a text into tokens. Literals are decoded here, with CEL's escapes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gatehouse::rules {

enum class TokenKind : uint8_t {
  kEnd,
  kIdentifier,        // and CEL's words: true, false, null, in
  kString,            // value in `string`
  kQuotedIdentifier,  // `a-b`, which may follow a dot; the name in `string`
  kBytes,             // b"…"; value in `string`
  kInteger,           // value in `integer`, at most 2^63 without the suffix u: a minus sign may stand before it
  kDouble,            // value in `real`
  kPunctuation,
  kError,  // what is wrong in `string`
};

// `text` borrows from the lexer's input.
struct Token {
  TokenKind kind = TokenKind::kEnd;
  size_t offset = 0;
  std::string_view text{};
  std::string string{};
  uint64_t integer = 0;
  bool is_unsigned = false;  // written with the suffix u
  double real = 0;

  [[nodiscard]] bool is(std::string_view punctuation_or_word) const {
    return (kind == TokenKind::kPunctuation || kind == TokenKind::kIdentifier) && text == punctuation_or_word;
  }
};

class Lexer {
 public:
  // `text` is UTF-8 and outlives the lexer.
  explicit Lexer(std::string_view text) : text_(text) {}

  // The next token; kEnd and kError for ever once reached.
  Token next();

 private:
  void skip_space();
  Token number();
  Token quoted(size_t prefix);
  Token quoted_identifier();
  Token real(size_t from);
  Token fail(size_t offset, std::string message);
  Token cut(TokenKind kind, size_t from);

  std::string_view text_;
  size_t at_ = 0;
  Token failed_{};
};

}  // namespace gatehouse::rules
