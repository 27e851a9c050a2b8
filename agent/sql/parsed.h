// SPDX-License-Identifier: Apache-2.0
// ParsedText: a text as the tree that the server's grammar makes of it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "agent/sql/encoding.h"
#include "agent/sql/facts.h"
#include "agent/sql/tree.h"

namespace gatehouse::sql {

class ParsedText {
 public:
  ParsedText();
  ~ParsedText();
  ParsedText(const ParsedText&) = delete;
  ParsedText& operator=(const ParsedText&) = delete;

  // `detail`: the grammar's own words, which may quote the text. What tree() gave before is gone. The text's place in
  // the tree (locations) is that in `text`. Memory is kept for the next read.
  Refusal read(std::string_view text, const LexicalState& state, TextEncoding encoding, std::string& detail);

  // Only after kNone.
  [[nodiscard]] const Tree& tree() const { return tree_; }

 private:
  class Result;

  Tree tree_;
  std::string buffer_;              // for the library, which wants a terminated string
  std::unique_ptr<Result> result_;  // the tree borrows it
};

}  // namespace gatehouse::sql
