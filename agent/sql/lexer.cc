// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/lexer.h"

#include <algorithm>
#include <array>

namespace gatehouse::sql {
namespace {

constexpr bool is_high(char c) {
  return static_cast<unsigned char>(c) >= 0x80;
}
constexpr bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}
constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
constexpr bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
constexpr bool is_word_start(char c) {
  return is_letter(c) || c == '_' || is_high(c);
}
constexpr bool is_word_part(char c) {
  return is_word_start(c) || is_digit(c) || c == '$';
}
constexpr char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

}  // namespace

Charset charset_of(std::string_view client_encoding) {
  struct Entry {
    std::string_view name;
    Charset charset;
  };
  static constexpr std::array<Entry, 7> kEntries{{{"SJIS", Charset::kShiftJis},
                                                  {"SHIFT_JIS_2004", Charset::kShiftJis},
                                                  {"BIG5", Charset::kDoubleByte},
                                                  {"GBK", Charset::kDoubleByte},
                                                  {"UHC", Charset::kDoubleByte},
                                                  {"JOHAB", Charset::kDoubleByte},
                                                  {"GB18030", Charset::kGb18030}}};
  for (const Entry& entry : kEntries)
    if (entry.name == client_encoding) return entry.charset;
  return Charset::kAsciiSafe;
}

size_t character_end(std::string_view text, size_t at, Charset charset) {
  const auto lead = static_cast<unsigned char>(text[at]);
  if (lead < 0x80) return at + 1;
  switch (charset) {
    case Charset::kAsciiSafe:
      return at + 1;
    case Charset::kShiftJis:
      return at + (lead >= 0xa1 && lead <= 0xdf ? 1 : 2);
    case Charset::kDoubleByte:
      return at + 2;
    case Charset::kGb18030:
      return at + (at + 1 < text.size() && is_digit(text[at + 1]) ? 4 : 2);
  }
  return at + 1;
}

bool Token::is_word(std::string_view lower) const {
  return kind == Kind::kWord && std::ranges::equal(text, lower, {}, to_lower);
}

// So that a later byte is never taken for a quote or a backslash.
size_t Lexer::end_of_character(size_t at) const {
  return std::min(character_end(text_, at, mode_.charset), text_.size());
}

void Lexer::advance() {
  at_ = end_of_character(at_);
}

Token Lexer::finish(Token::Kind kind, size_t start) {
  return {.kind = kind, .offset = start, .text = text_.substr(start, at_ - start)};
}

Token Lexer::broken(size_t start) {
  at_ = text_.size();
  return finish(Token::Kind::kBroken, start);
}

Token Lexer::next() {
  const size_t before = at_;
  if (!skip_blank()) return broken(before);
  const size_t start = at_;
  if (start == text_.size()) return finish(Token::Kind::kEnd, start);
  const char c = text_[start];
  if (is_word_start(c)) return next_word(start);
  switch (c) {
    case '\'':
      return skip_literal(mode_.standard_conforming_strings ? Escapes::kNo : Escapes::kYes)
                 ? finish(Token::Kind::kString, start)
                 : broken(start);
    case '"':
      return skip_quoted_identifier() ? finish(Token::Kind::kQuotedIdentifier, start) : broken(start);
    case '$':
      if (is_digit(peek(1))) break;
      if (dollar_tag_size() == 0) break;
      return skip_dollar_quote() ? finish(Token::Kind::kString, start) : broken(start);
    case ';':
      ++at_;
      return finish(Token::Kind::kSemicolon, start);
    case '(':
    case '[':
      ++at_;
      return finish(Token::Kind::kOpen, start);
    case ')':
    case ']':
      ++at_;
      return finish(Token::Kind::kClose, start);
    default:
      break;
  }
  ++at_;
  if (!is_digit(c) && c != '$') return finish(Token::Kind::kOther, start);
  while (is_digit(peek()) || (c != '$' && peek() == '.')) ++at_;
  return finish(Token::Kind::kNumber, start);
}

// An identifier, or a literal whose prefix looks like one: E'', B'', X'', N'', U&'', U&"".
Token Lexer::next_word(size_t start) {
  const char c = to_lower(text_[start]);
  if (peek(1) == '\'' && (c == 'e' || c == 'b' || c == 'x' || c == 'n')) {
    ++at_;
    const bool escapes = c == 'e' || (c == 'n' && !mode_.standard_conforming_strings);
    return skip_literal(escapes ? Escapes::kYes : Escapes::kNo) ? finish(Token::Kind::kString, start) : broken(start);
  }
  if (c == 'u' && peek(1) == '&' && (peek(2) == '\'' || peek(2) == '"')) {
    at_ += 2;
    if (peek() == '"') return skip_quoted_identifier() ? finish(Token::Kind::kQuotedIdentifier, start) : broken(start);
    // Without standard_conforming_strings the server refuses U&'' outright.
    if (!mode_.standard_conforming_strings) return broken(start);
    return skip_literal(Escapes::kNo) ? finish(Token::Kind::kString, start) : broken(start);
  }
  skip_word();
  return finish(Token::Kind::kWord, start);
}

void Lexer::skip_word() {
  while (at_ < text_.size() && is_word_part(text_[at_])) advance();
}

bool Lexer::skip_blank() {
  for (;;) {
    while (is_space(peek())) ++at_;
    if (peek() == '-' && peek(1) == '-') {
      skip_line_comment();
    } else if (peek() == '/' && peek(1) == '*') {
      if (!skip_block_comment()) return false;
    } else {
      return true;
    }
  }
}

void Lexer::skip_line_comment() {
  while (at_ < text_.size() && text_[at_] != '\n' && text_[at_] != '\r') advance();
}

bool Lexer::skip_block_comment() {
  size_t depth = 0;
  while (at_ < text_.size()) {
    if (text_[at_] == '/' && peek(1) == '*') {
      ++depth;
      at_ += 2;
    } else if (text_[at_] == '*' && peek(1) == '/') {
      at_ += 2;
      if (--depth == 0) return true;
    } else {
      advance();
    }
  }
  return false;
}

bool Lexer::skip_literal(Escapes escapes) {
  ++at_;
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == '\\' && escapes == Escapes::kYes) {
      ++at_;
      if (at_ < text_.size()) advance();
    } else if (c != '\'') {
      advance();
    } else if (peek(1) == '\'') {
      at_ += 2;
    } else {
      ++at_;
      if (!skip_to_continuation()) return true;
    }
  }
  return false;
}

// 'a'<blank with a line end>'b' is one literal, and the second part is read as the first was. True: stands after
// the next opening quote. False: stands where it stood.
bool Lexer::skip_to_continuation() {
  const size_t start = at_;
  bool has_line_end = false;
  for (;;) {
    while (is_space(peek())) {
      has_line_end = has_line_end || peek() == '\n' || peek() == '\r';
      ++at_;
    }
    if (peek() != '-' || peek(1) != '-') break;
    skip_line_comment();
  }
  if (has_line_end && peek() == '\'') {
    ++at_;
    return true;
  }
  at_ = start;
  return false;
}

bool Lexer::skip_quoted_identifier() {
  ++at_;
  while (at_ < text_.size()) {
    if (text_[at_] != '"') {
      advance();
    } else if (peek(1) == '"') {
      at_ += 2;
    } else {
      ++at_;
      return true;
    }
  }
  return false;
}

// Bytes of "$tag$" here; 0: this is not one.
size_t Lexer::dollar_tag_size() const {
  const size_t first = at_ + 1;
  size_t at = first;
  while (at < text_.size() && (is_word_start(text_[at]) || (at > first && is_digit(text_[at]))))
    at = end_of_character(at);
  return at < text_.size() && text_[at] == '$' ? at + 1 - at_ : 0;
}

bool Lexer::skip_dollar_quote() {
  const std::string_view tag = text_.substr(at_, dollar_tag_size());
  at_ += tag.size();
  while (at_ < text_.size()) {
    if (text_[at_] == '$' && text_.substr(at_, tag.size()) == tag) {
      at_ += tag.size();
      return true;
    }
    advance();
  }
  return false;
}

}  // namespace gatehouse::sql
