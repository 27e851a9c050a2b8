// SPDX-License-Identifier: Apache-2.0
// Shape: a text without the values of its literals, its comments and the case of its key words. Texts of one shape and
// mode are the same tokens but for those values, so the grammar reads them alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/sql/lexer.h"
#include "agent/sql/statements.h"

namespace gatehouse::sql {

struct Literal {
  uint32_t offset = 0;
  uint32_t size = 0;  // with quotes, prefix and continuations
  bool operator==(const Literal&) const = default;
};

class Shape {
 public:
  // Borrows the text until the next read. Memory is kept.
  void read(std::string_view text, LexicalMode mode);

  [[nodiscard]] std::string_view text() const { return text_; }
  [[nodiscard]] std::string_view key() const { return {key_.data(), key_size_}; }
  [[nodiscard]] std::span<const Literal> literals() const { return literals_; }
  [[nodiscard]] std::string_view literal_text(size_t index) const {
    return text_.substr(literals_[index].offset, literals_[index].size);
  }
  // literals().size(): no literal begins there.
  [[nodiscard]] size_t literal_at(size_t offset) const;
  // Only the whole text tells what the grammar makes of it: several statements, a literal that says how an identifier
  // is spelled (UESCAPE), something that no token begins with.
  [[nodiscard]] bool is_exact_only() const { return is_exact_only_; }
  // From the first token to behind the last that is no semicolon. Size 0: there is none.
  [[nodiscard]] TextRange statement() const { return statement_; }

 private:
  // What a text mostly consists of, without a token object for each. What they do not take, the Lexer reads.
  bool read_word();
  bool read_number();
  bool read_string();
  bool read_other();
  void read_token(LexicalMode mode);

  void put(char c) { key_[key_size_++] = c; }
  void put(std::string_view bytes);
  void put_lower(std::string_view word);
  void put_string_mark(std::string_view literal);
  void put_number(size_t offset, std::string_view number);
  void note_token(size_t offset);

  std::string_view text_;
  size_t at_ = 0;
  size_t end_ = 0;  // of the last token
  bool can_read_strings_ = false;
  bool has_semicolon_ = false;
  std::string key_;  // never longer than the text
  size_t key_size_ = 0;
  std::vector<Literal> literals_;
  TextRange statement_;
  bool is_exact_only_ = false;
};

// Not stable between versions; for tables in memory.
uint64_t hash_bytes(std::string_view bytes, uint64_t seed);

}  // namespace gatehouse::sql
