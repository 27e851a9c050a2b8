// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/shape.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace gatehouse::sql {
namespace {

using Kind = Token::Kind;

// Stand for literals in a key. No token but a quoted identifier, whose quotes are in the key, holds such a byte.
constexpr char kStringMark = '\x01';
constexpr char kIntegerMark = '\x02';
constexpr char kDecimalMark = '\x03';
constexpr char kBitsMark = '\x04';
constexpr char kHexBitsMark = '\x05';

constexpr size_t kIntegerDigits = 9;  // more may be too large for an integer, which the grammar takes for another token

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

constexpr auto kLower = [] {
  std::array<char, 256> table{};
  for (size_t i = 0; i < table.size(); ++i) {
    table[i] = static_cast<char>(i);
    if (i >= 'A' && i <= 'Z') table[i] = static_cast<char>(i + ('a' - 'A'));
  }
  return table;
}();

enum class Class : uint8_t {
  kRare,  // quotes, comments, parameters, bytes above 0x7f: for the Lexer
  kBlank,
  kLetter,
  kPrefix,  // a letter that may begin a literal
  kDigit,
  kQuote,
  kPlain,  // a token by itself
};
constexpr auto kClasses = [] {
  std::array<Class, 256> table{};
  for (const char c : std::string_view(" \t\n\v\f\r")) table[static_cast<unsigned char>(c)] = Class::kBlank;
  for (unsigned char c = 'a'; c <= 'z'; ++c) table[c] = table[c - 'a' + 'A'] = Class::kLetter;
  for (const char c : std::string_view("ebxnuEBXNU")) table[static_cast<unsigned char>(c)] = Class::kPrefix;
  table['_'] = Class::kLetter;
  for (unsigned char c = '0'; c <= '9'; ++c) table[c] = Class::kDigit;
  table['\''] = Class::kQuote;
  for (const char c : std::string_view("()[],.=<>+*;:%^|&~!@#`?")) table[static_cast<unsigned char>(c)] = Class::kPlain;
  return table;
}();

// The small letter of a word's byte; 0: it is none's.
constexpr auto kWordLower = [] {
  std::array<char, 256> table{};
  for (size_t i = 0; i < table.size(); ++i) {
    const Class c = kClasses[i];
    if (c == Class::kLetter || c == Class::kPrefix || c == Class::kDigit) table[i] = kLower[i];
  }
  return table;
}();

Class class_of(char c) {
  return kClasses[static_cast<unsigned char>(c)];
}

// What would make a number another token, or none: 1e5, 1.5.2, 12abc.
constexpr bool continues_number(char c) {
  return is_digit(c) || c == '.' || c == '_' || c == '$' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         static_cast<unsigned char>(c) >= 0x80;
}

char mark_of_number(std::string_view number) {
  const size_t point = number.find('.');
  if (point == number.npos) return number.size() <= kIntegerDigits ? kIntegerMark : '\0';
  if (point + 1 == number.size() || number.find('.', point + 1) != number.npos) return '\0';
  return kDecimalMark;
}

}  // namespace

void Shape::read(std::string_view text, LexicalMode mode) {
  text_ = text;
  at_ = end_ = key_size_ = 0;
  // A token is as long in the key as in the text or shorter, and a blank stands only where one was.
  if (key_.size() < text.size()) key_.resize(text.size());
  literals_.clear();
  statement_ = {};
  is_exact_only_ = has_semicolon_ = false;
  can_read_strings_ = mode.standard_conforming_strings && mode.charset == Charset::kAsciiSafe;
  while (at_ < text_.size()) {
    bool is_read = false;
    switch (class_of(text_[at_])) {
      case Class::kBlank:
        ++at_;
        continue;
      case Class::kLetter:
      case Class::kPrefix:
        is_read = read_word();
        break;
      case Class::kDigit:
        is_read = read_number();
        break;
      case Class::kQuote:
        is_read = can_read_strings_ && read_string();
        break;
      case Class::kPlain:
        is_read = read_other();
        break;
      case Class::kRare:
        break;
    }
    if (!is_read) read_token(mode);
  }
}

void Shape::put(std::string_view bytes) {
  std::memcpy(key_.data() + key_size_, bytes.data(), bytes.size());
  key_size_ += bytes.size();
}

void Shape::put_lower(std::string_view word) {
  char* out = key_.data() + key_size_;
  for (size_t i = 0; i < word.size(); ++i) out[i] = kLower[static_cast<unsigned char>(word[i])];
  key_size_ += word.size();
}

// Before the token's own bytes are put.
void Shape::note_token(size_t offset) {
  if (offset > end_) put(' ');
  if (statement_.size == 0) statement_.offset = offset;
  is_exact_only_ = is_exact_only_ || has_semicolon_;
}

// One pass over the word, by local pointers: stores of bytes may alias members, which would be read anew for each.
bool Shape::read_word() {
  const char* const start = text_.data() + at_;
  const char* const text_end = text_.data() + text_.size();
  const char* in = start;
  char* const key = key_.data() + key_size_ + (at_ > end_ ? 1 : 0);  // behind note_token's blank
  char* out = key;
  for (; in != text_end; ++in) {
    const char lower = kWordLower[static_cast<unsigned char>(*in)];
    if (lower == '\0') break;
    *out++ = lower;
  }
  if (in != text_end) {
    // $ and high bytes go on with the word; a quote or U& after one letter is a literal.
    const char c = *in;
    if (c == '$' || static_cast<unsigned char>(c) >= 0x80 || c == '\'' || c == '&') return false;
  }
  note_token(at_);
  key_size_ += static_cast<size_t>(out - key);
  at_ = end_ = static_cast<size_t>(in - text_.data());
  statement_.size = end_ - statement_.offset;
  return true;
}

bool Shape::read_number() {
  size_t end = at_ + 1;
  while (end < text_.size() && (class_of(text_[end]) == Class::kDigit || text_[end] == '.')) ++end;
  note_token(at_);
  put_number(at_, text_.substr(at_, end - at_));
  at_ = end_ = end;
  statement_.size = end - statement_.offset;
  return true;
}

// A literal goes on behind a line end, which may stand behind a comment; that, and a quote behind the string, are for
// the Lexer.
bool Shape::read_string() {
  const size_t close = text_.find('\'', at_ + 1);
  if (close == text_.npos) return false;
  const size_t end = close + 1;
  size_t next = end;
  while (next < text_.size() && text_[next] == ' ') ++next;
  if (next < text_.size() && (text_[next] == '\'' || text_[next] == '-' || class_of(text_[next]) == Class::kBlank))
    return false;
  note_token(at_);
  put(kStringMark);
  literals_.push_back({static_cast<uint32_t>(at_), static_cast<uint32_t>(end - at_)});
  at_ = end_ = end;
  statement_.size = end - statement_.offset;
  return true;
}

bool Shape::read_other() {
  const char c = text_[at_];
  if (c == ';') {
    if (at_ > end_) put(' ');
    has_semicolon_ = has_semicolon_ || statement_.size > 0;
  } else {
    note_token(at_);
    statement_.size = at_ + 1 - statement_.offset;
  }
  put(c);
  end_ = ++at_;
  return true;
}

void Shape::read_token(LexicalMode mode) {
  Lexer lexer(text_, mode, at_);
  const Token token = lexer.next();
  at_ = lexer.offset();
  if (token.kind == Kind::kEnd) return;
  if (token.kind == Kind::kSemicolon) {
    at_ = token.offset;
    read_other();
    return;
  }
  note_token(token.offset);
  end_ = token.offset + token.text.size();
  statement_.size = end_ - statement_.offset;
  switch (token.kind) {
    case Kind::kWord:
      put_lower(token.text);
      return;
    case Kind::kString:
      put_string_mark(token.text);
      literals_.push_back({static_cast<uint32_t>(token.offset), static_cast<uint32_t>(token.text.size())});
      return;
    case Kind::kNumber:
      if (token.text.front() == '$') break;
      put_number(token.offset, token.text);
      return;
    case Kind::kQuotedIdentifier:
      if (token.text.front() != '"') is_exact_only_ = true;
      break;
    case Kind::kOther:
      if (static_cast<unsigned char>(token.text.front()) < ' ') is_exact_only_ = true;
      break;
    case Kind::kBroken:
      is_exact_only_ = true;
      break;
    default:
      break;
  }
  put(token.text);
}

void Shape::put_string_mark(std::string_view literal) {
  switch (literal.front()) {
    case 'b':
    case 'B':
      put(kBitsMark);
      return;
    case 'x':
    case 'X':
      put(kHexBitsMark);
      return;
    case 'u':
    case 'U':
    case 'n':
    case 'N':
      is_exact_only_ = true;
      [[fallthrough]];
    default:
      // An escape may be one that the grammar refuses.
      if (literal.find('\\') != literal.npos) is_exact_only_ = is_exact_only_ || literal.front() != '$';
      put(kStringMark);
  }
}

void Shape::put_number(size_t offset, std::string_view number) {
  literals_.push_back({static_cast<uint32_t>(offset), static_cast<uint32_t>(number.size())});
  const size_t end = offset + number.size();
  const bool is_whole =
      (end == text_.size() || !continues_number(text_[end])) && (offset == 0 || text_[offset - 1] != '.');
  const char mark = is_whole ? mark_of_number(number) : '\0';
  if (mark == '\0') {
    put(number);
  } else {
    put(mark);
  }
}

size_t Shape::literal_at(size_t offset) const {
  const auto found = std::ranges::lower_bound(literals_, offset, {}, &Literal::offset);
  const auto index = static_cast<size_t>(found - literals_.begin());
  return found != literals_.end() && found->offset == offset ? index : literals_.size();
}

namespace {

constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15ULL;

constexpr uint64_t mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

uint64_t hash_bytes(std::string_view bytes, uint64_t seed) {
  const auto word_at = [](const char* at, size_t size) {
    uint64_t word = 0;
    std::memcpy(&word, at, size);
    return word;
  };
  constexpr size_t kWord = sizeof(uint64_t);
  uint64_t value = seed ^ (bytes.size() * kMultiplier);
  const char* at = bytes.data();
  size_t left = bytes.size();
  // Two words for each multiplication, whose time is what counts.
  for (; left >= 2 * kWord; at += 2 * kWord, left -= 2 * kWord)
    value = mix(value ^ word_at(at, kWord), kMultiplier ^ word_at(at + kWord, kWord));
  if (left >= kWord) {
    value = mix(value ^ word_at(at, kWord), kMultiplier);
    at += kWord;
    left -= kWord;
  }
  return mix(value ^ word_at(at, left), kMultiplier);
}

}  // namespace gatehouse::sql
