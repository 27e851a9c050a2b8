// SPDX-License-Identifier: Apache-2.0
// The bytes of a text as the session's server will tell its characters apart.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/sql/lexer.h"

namespace gatehouse::sql {

// What a session says of its text: the parameters client_encoding and standard_conforming_strings.
struct LexicalState {
  enum class Encoding : uint8_t {
    kUtf8,
    kAsciiSafe,    // another whose longer characters have high bytes only (LATIN1, EUC_JP, …), or SQL_ASCII
    kAsciiUnsafe,  // SJIS, BIG5, GBK, UHC, GB18030, JOHAB: later bytes may look like quotes and backslashes
  };
  LexicalMode mode;
  Encoding encoding = Encoding::kUtf8;
  bool operator==(const LexicalState&) const = default;
};
// By PostgreSQL's names, as ParameterStatus reports them.
LexicalState lexical_state(std::string_view client_encoding, bool standard_conforming_strings);

enum class TextEncoding : uint8_t {
  kUtf8,    // valid UTF-8, so names are exact
  kOther,   // has bytes whose characters are not told here
  kBroken,  // the server refuses it
};
TextEncoding text_encoding(std::string_view text, LexicalState::Encoding encoding);

// The text with the later bytes of kAsciiUnsafe characters made high, so that a reader of ASCII-safe text sees the same
// tokens at the same places. False: cut within a character, or a later byte that none can have.
bool mask_later_bytes(std::string_view text, Charset charset, std::string& out);

// In literals of an ASCII-safe text, makes what is not ASCII a question mark. The grammar takes a literal for UTF-8 and
// refuses what is none.
void mask_literals(LexicalMode mode, std::string& text);

}  // namespace gatehouse::sql
