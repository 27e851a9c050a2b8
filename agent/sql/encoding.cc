// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/encoding.h"

#include <algorithm>
#include <cstring>

namespace gatehouse::sql {
namespace {

constexpr unsigned char kHigh = 0x80;

constexpr unsigned char byte_at(std::string_view text, size_t at) {
  return static_cast<unsigned char>(text[at]);
}

bool is_ascii(std::string_view text) {
  uint64_t high = 0;
  for (; text.size() >= sizeof high; text.remove_prefix(sizeof high)) {
    uint64_t word = 0;
    std::memcpy(&word, text.data(), sizeof word);
    high |= word;
  }
  for (const char c : text) high |= static_cast<unsigned char>(c);
  return (high & 0x8080808080808080ULL) == 0;
}

// Bytes of the UTF-8 character at `at`, as PostgreSQL's pg_utf8_islegal; 0: none.
size_t utf8_size(std::string_view text, size_t at) {
  const unsigned char lead = byte_at(text, at);
  if (lead < kHigh) return 1;
  const size_t size = lead >= 0xc2 && lead <= 0xdf ? 2 : (lead >> 4) == 0xe ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
  if (size == 0 || at + size > text.size()) return 0;
  for (size_t i = 1; i < size; ++i)
    if ((byte_at(text, at + i) & 0xc0) != kHigh) return 0;
  const unsigned char second = byte_at(text, at + 1);
  const bool is_overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
  const bool is_surrogate = lead == 0xed && second > 0x9f;
  const bool is_too_large = lead == 0xf4 && second > 0x8f;
  return is_overlong || is_surrogate || is_too_large ? 0 : size;
}

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t size = utf8_size(text, at);
    if (size == 0) return false;
    at += size;
  }
  return true;
}

}  // namespace

LexicalState lexical_state(std::string_view client_encoding, bool standard_conforming_strings) {
  LexicalState state{
      .mode = {.standard_conforming_strings = standard_conforming_strings, .charset = charset_of(client_encoding)}};
  if (state.mode.charset != Charset::kAsciiSafe) {
    state.encoding = LexicalState::Encoding::kAsciiUnsafe;
  } else if (client_encoding != "UTF8") {
    state.encoding = LexicalState::Encoding::kAsciiSafe;
  }
  return state;
}

TextEncoding text_encoding(std::string_view text, LexicalState::Encoding encoding) {
  if (text.find('\0') != text.npos) return TextEncoding::kBroken;
  if (is_ascii(text)) return TextEncoding::kUtf8;
  switch (encoding) {
    case LexicalState::Encoding::kUtf8:
      return is_utf8(text) ? TextEncoding::kUtf8 : TextEncoding::kBroken;
    case LexicalState::Encoding::kAsciiSafe:
    case LexicalState::Encoding::kAsciiUnsafe:
      break;
  }
  return TextEncoding::kOther;
}

bool mask_later_bytes(std::string_view text, Charset charset, std::string& out) {
  out.assign(text);
  for (size_t at = 0; at < text.size();) {
    const size_t end = character_end(text, at, charset);
    if (end > text.size()) return false;
    for (size_t i = at + 1; i < end; ++i) out[i] = static_cast<char>(byte_at(text, i) | kHigh);
    at = end;
  }
  return true;
}

void mask_literals(LexicalMode mode, std::string& text) {
  mode.charset = Charset::kAsciiSafe;
  Lexer lexer(text, mode);
  for (Token token = lexer.next(); token.kind != Token::Kind::kEnd; token = lexer.next()) {
    // The tag of a dollar quote must stay what it is, and nothing in one is looked at.
    if (token.kind != Token::Kind::kString || token.text.front() == '$') continue;
    for (size_t i = token.offset; i < token.offset + token.text.size(); ++i)
      if (byte_at(text, i) >= kHigh) text[i] = '?';
  }
}

}  // namespace gatehouse::sql
