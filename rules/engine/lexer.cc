// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/lexer.h"

#include <charconv>
#include <limits>
#include <optional>

namespace gatehouse::rules {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool is_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

void append_code_point(std::string& out, uint32_t point) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (point < 0x80) return put(point);
  if (point < 0x800) {
    put(0xC0 | point >> 6);
  } else if (point < 0x10000) {
    put(0xE0 | point >> 12);
    put(0x80 | (point >> 6 & 0x3F));
  } else {
    put(0xF0 | point >> 18);
    put(0x80 | (point >> 12 & 0x3F));
    put(0x80 | (point >> 6 & 0x3F));
  }
  put(0x80 | (point & 0x3F));
}

// Digits of `base`, exactly `count`, at the front.
std::optional<uint32_t> digits(std::string_view text, size_t count, int base) {
  if (text.size() < count) return std::nullopt;
  uint32_t value = 0;
  const char* const begin = text.data();
  const auto [end, error] = std::from_chars(begin, begin + count, value, base);
  if (error != std::errc{} || end != begin + count) return std::nullopt;
  return value;
}

// The escape that starts at text[0] == '\\', appended decoded to `out`; its length, or 0 if CEL has no such escape.
// In a bytes literal \xHH and \OOO are bytes, and code points have no escape.
size_t append_escape(std::string& out, std::string_view text, bool bytes) {
  if (text.size() < 2) return 0;
  const char c = text[1];
  constexpr std::string_view kNames = "abfnrtv\\?\"'`";
  constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\?\"'`";
  if (const size_t simple = kNames.find(c); simple != std::string_view::npos) {
    out += kMeanings[simple];
    return 2;
  }
  const bool octal = c >= '0' && c <= '3';
  const size_t start = octal ? 1 : 2;
  const size_t count = octal ? 3 : c == 'x' || c == 'X' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  if (count == 0 || (bytes && count > 3)) return 0;
  const auto point = digits(text.substr(start), count, octal ? 8 : 16);
  if (!point || *point > 0x10FFFF || (*point >= 0xD800 && *point <= 0xDFFF)) return 0;
  if (bytes) {
    out += static_cast<char>(static_cast<unsigned char>(*point));
  } else {
    append_code_point(out, *point);
  }
  return start + count;
}

}  // namespace

Token Lexer::fail(size_t offset, std::string message) {
  failed_ = {.kind = TokenKind::kError, .offset = offset, .text = text_.substr(offset), .string = std::move(message)};
  return failed_;
}

Token Lexer::cut(TokenKind kind, size_t from) {
  return {.kind = kind, .offset = from, .text = text_.substr(from, at_ - from)};
}

void Lexer::skip_space() {
  while (at_ < text_.size()) {
    if (is_space(text_[at_])) {
      ++at_;
    } else if (text_.substr(at_).starts_with("//")) {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else {
      return;
    }
  }
}

Token Lexer::next() {
  if (failed_.kind == TokenKind::kError) return failed_;
  skip_space();
  const size_t from = at_;
  const std::string_view rest = text_.substr(at_);
  if (rest.empty()) return cut(TokenKind::kEnd, from);
  if (is_digit(rest[0]) || (rest.size() > 1 && rest[0] == '.' && is_digit(rest[1]))) return number();
  size_t word = 0;
  while (word < rest.size() && is_word(rest[word])) ++word;
  const bool quote = word < rest.size() && (rest[word] == '"' || rest[word] == '\'');
  const std::string_view head = rest.substr(0, word);
  const bool prefix = head.empty() || head == "r" || head == "R" || head == "b" || head == "B" ||
                      (head.size() == 2 && (head[0] == 'b' || head[0] == 'B') && (head[1] == 'r' || head[1] == 'R'));
  if (quote && prefix) return quoted(word);
  if (word > 0) {
    at_ += word;
    return cut(TokenKind::kIdentifier, from);
  }
  if (rest[0] == '`') return quoted_identifier();
  for (const std::string_view two : {"&&", "||", "==", "!=", "<=", ">="}) {
    if (rest.starts_with(two)) {
      at_ += two.size();
      return cut(TokenKind::kPunctuation, from);
    }
  }
  constexpr std::string_view kOne = "<>!+-*/%?:.,()[]{}";
  if (kOne.find(rest[0]) == std::string_view::npos) {
    if (rest[0] == '=') return fail(from, "a single `=`: equality is written ==");
    if (rest[0] == '&') return fail(from, "a single `&`: conditions are joined by &&");
    if (rest[0] == '|') return fail(from, "a single `|` is no operator of CEL");
    return fail(from, "a character that has no place outside of quotes");
  }
  ++at_;
  return cut(TokenKind::kPunctuation, from);
}

Token Lexer::number() {
  const size_t from = at_;
  const bool hex = text_.substr(at_).starts_with("0x") || text_.substr(at_).starts_with("0X");
  if (hex) at_ += 2;
  const size_t first = at_;
  bool is_double = false;
  while (at_ < text_.size()) {
    const char c = text_[at_];
    const bool fraction = !hex && c == '.' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1]);
    const bool exponent = !hex && (c == 'e' || c == 'E');
    const bool sign = is_double && (c == '+' || c == '-') && (text_[at_ - 1] == 'e' || text_[at_ - 1] == 'E');
    if (fraction || exponent || sign) {
      is_double = true;
    } else if (!(hex ? is_hex(c) : is_digit(c))) {
      break;
    }
    ++at_;
  }
  if (is_double) return real(from);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text_.data() + first, text_.data() + at_, value, hex ? 16 : 10);
  if (end != text_.data() + at_ || first == at_) return fail(from, "a number without digits");
  const bool is_unsigned = at_ < text_.size() && (text_[at_] == 'u' || text_[at_] == 'U');
  if (is_unsigned) ++at_;
  if (at_ < text_.size() && is_word(text_[at_])) return fail(from, "a number that runs into a word");
  if (error != std::errc{}) return fail(from, "a number above 64 bits");
  if (!is_unsigned && value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) + 1)
    return fail(from, "a number above 2^63 - 1: write it with the suffix u");
  Token token = cut(TokenKind::kInteger, from);
  token.integer = value;
  token.is_unsigned = is_unsigned;
  return token;
}

// What stands from `from` to the cursor. Too small a number is 0, as IEEE 754 rounds it.
Token Lexer::real(size_t from) {
  if (at_ < text_.size() && is_word(text_[at_])) return fail(from, "a number that runs into a word");
  Token token = cut(TokenKind::kDouble, from);
  const auto [end, error] = std::from_chars(token.text.data(), token.text.data() + token.text.size(), token.real);
  const size_t exponent = token.text.find_first_of("eE");
  const bool tiny = exponent != std::string_view::npos && token.text.substr(exponent + 1).starts_with('-');
  if (error == std::errc::result_out_of_range && tiny) {
    token.real = 0;
  } else if (error == std::errc::result_out_of_range) {
    return fail(from, "a number beyond what a double holds");
  } else if (error != std::errc{} || end != token.text.data() + token.text.size()) {
    return fail(from, "a number whose exponent has no digits");
  }
  return token;
}

// A field's name that is no identifier; it may follow a dot.
Token Lexer::quoted_identifier() {
  const size_t from = at_++;
  while (at_ < text_.size() &&
         (is_word(text_[at_]) || std::string_view(".-/ ").find(text_[at_]) != std::string_view::npos))
    ++at_;
  if (at_ == text_.size() || text_[at_] != '`' || at_ == from + 1)
    return fail(from, "a quoted name is letters, digits, _ . - / and spaces between two backquotes");
  ++at_;
  Token token = cut(TokenKind::kQuotedIdentifier, from);
  token.string = std::string(token.text.substr(1, token.text.size() - 2));
  return token;
}

// `prefix` letters (r, b), then one or three quotes, text, and the same quotes.
Token Lexer::quoted(size_t prefix) {
  const size_t from = at_;
  const std::string_view letters = text_.substr(at_, prefix);
  const bool raw = letters.find_first_of("rR") != std::string_view::npos;
  const bool bytes = letters.find_first_of("bB") != std::string_view::npos;
  at_ += prefix;
  const char mark = text_[at_];
  const std::string thrice(3, mark);
  const bool triple = text_.substr(at_).starts_with(thrice);
  const std::string_view close = std::string_view(thrice).substr(0, triple ? 3 : 1);
  at_ += close.size();
  std::string value;
  while (!text_.substr(at_).starts_with(close)) {
    if (at_ >= text_.size() || (!triple && (text_[at_] == '\n' || text_[at_] == '\r')))
      return fail(from, "a string without its closing quote");
    if (raw || text_[at_] != '\\') {
      value += text_[at_++];
      continue;
    }
    const size_t length = append_escape(value, text_.substr(at_), bytes);
    if (length == 0)
      return fail(
          at_, "no escape of CEL: it knows \\n \\t \\\\ \\\" \\xHH \\uHHHH and the like, or write a raw string r\"…\"");
    at_ += length;
  }
  at_ += close.size();
  Token token = cut(bytes ? TokenKind::kBytes : TokenKind::kString, from);
  token.string = std::move(value);
  return token;
}

}  // namespace gatehouse::rules
