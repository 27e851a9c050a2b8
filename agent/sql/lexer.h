// SPDX-License-Identifier: Apache-2.0
// Lexer: PostgreSQL text to tokens, by the server's own lexical rules (src/backend/parser/scan.l), in the lexical
// mode that the session is in. Comments and whitespace are skipped. Never fails: what the server would refuse comes
// as kBroken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gatehouse::sql {

// How characters of more than one byte are told apart. Only encodings whose later bytes may look like ASCII need it.
enum class Charset : uint8_t {
  kAsciiSafe,   // every byte of a longer character is above 0x7f (UTF-8, EUC, LATIN…)
  kShiftJis,    // SJIS, SHIFT_JIS_2004: 0xa1..0xdf stand alone, other high bytes lead two
  kDoubleByte,  // BIG5, GBK, UHC, JOHAB: a high byte leads two
  kGb18030,     // two or four
};
// By PostgreSQL's encoding name, as client_encoding reports it.
Charset charset_of(std::string_view client_encoding);
// Behind the character at `at`; beyond the end if the text is cut within it.
size_t character_end(std::string_view text, size_t at, Charset charset);

// What changes the meaning of text.
struct LexicalMode {
  bool standard_conforming_strings = true;
  Charset charset = Charset::kAsciiSafe;
  bool operator==(const LexicalMode&) const = default;
};

struct Token {
  enum class Kind : uint8_t {
    kEnd,
    kWord,              // unquoted identifier or key word
    kQuotedIdentifier,  // with its quotes
    kString,            // any kind of literal in quotes, prefix and continuations included
    kNumber,            // digits and points, also $1
    kSemicolon,
    kOpen,    // ( or [
    kClose,   // ) or ]
    kOther,   // one character of an operator or of punctuation
    kBroken,  // an unterminated literal, identifier or comment: the rest of the text
  };
  Kind kind = Kind::kEnd;
  size_t offset = 0;
  std::string_view text{};  // borrows
  // Key words are compared in ASCII, without case. `lower` must be lower case.
  [[nodiscard]] bool is_word(std::string_view lower) const;
};

class Lexer {
 public:
  Lexer(std::string_view text, LexicalMode mode, size_t offset = 0) : text_(text), mode_(mode), at_(offset) {}
  Token next();
  [[nodiscard]] size_t offset() const { return at_; }

 private:
  enum class Escapes : bool { kNo, kYes };

  bool skip_blank();  // false: an unterminated comment
  bool skip_block_comment();
  void skip_line_comment();
  bool skip_literal(Escapes escapes);  // from the opening quote; false: unterminated
  bool skip_to_continuation();
  bool skip_quoted_identifier();
  bool skip_dollar_quote();
  size_t dollar_tag_size() const;
  [[nodiscard]] size_t end_of_character(size_t at) const;
  void skip_word();
  void advance();  // one character
  Token finish(Token::Kind kind, size_t start);
  Token broken(size_t start);
  Token next_word(size_t start);
  [[nodiscard]] char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  std::string_view text_;
  LexicalMode mode_;
  size_t at_ = 0;
};

}  // namespace gatehouse::sql
