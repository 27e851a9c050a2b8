// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/normalized.h"

#include <utility>
#include <vector>

namespace gatehouse::sql {
namespace {

using Kind = Token::Kind;

// Joins tokens for people. Brackets that hold nothing but values become (?), and rows of them one row, so that a list
// of three and a list of four are one text.
class Normalizer {
 public:
  void add(const Token& token, bool is_adjacent) {
    switch (token.kind) {
      case Kind::kOpen:
        // A call's or a type's bracket stays with its name.
        put(token.text, (is_adjacent && after_name_) || ends_with_opening() ? "" : " ");
        open_.push_back({.at = out_.size() - 1, .holds_values_only = true});
        after_operator_ = after_name_ = false;
        return;
      case Kind::kClose:
        close(token.text);
        after_operator_ = after_name_ = false;
        return;
      case Kind::kString:
      case Kind::kNumber:
        put("?", gap());
        break;
      case Kind::kOther:
        add_operator(token.text, is_adjacent);
        return;
      case Kind::kWord:
        note_other();
        if (const std::string_view blank = gap(); !blank.empty()) out_ += blank;
        for (const char c : token.text) out_ += c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
        break;
      case Kind::kSemicolon:
        put(token.text, "");
        break;
      default:
        note_other();
        put(token.text, gap());
    }
    after_operator_ = false;
    after_name_ = token.kind == Kind::kWord || token.kind == Kind::kQuotedIdentifier;
  }
  std::string take() { return std::move(out_); }

 private:
  struct Open {
    size_t at;
    bool holds_values_only;
  };

  [[nodiscard]] bool ends_with_opening() const {
    return out_.empty() || out_.back() == '(' || out_.back() == '[' || out_.back() == '.';
  }
  [[nodiscard]] std::string_view gap() const { return ends_with_opening() ? "" : " "; }
  void put(std::string_view text, std::string_view blank) {
    out_ += blank;
    out_ += text;
  }
  void note_other() {
    if (!open_.empty()) open_.back().holds_values_only = false;
  }
  void add_operator(std::string_view text, bool is_adjacent) {
    const bool is_sign = text == "-" || text == "+";
    if (text != "," && !is_sign) note_other();
    // A sign ends no operator of the plain ones: c=-1 is c = -1.
    const bool continues = is_adjacent && after_operator_ && (!is_sign || ends_with_special());
    put(text, text == "," || text == "." || continues ? "" : gap());
    after_operator_ = text != "," && text != ".";
    after_name_ = false;
  }
  [[nodiscard]] bool ends_with_special() const {
    return std::string_view("~!@#^&|`?%").find(out_.back()) != std::string_view::npos;
  }
  void close(std::string_view text) {
    put(text, "");
    if (open_.empty()) return;
    const Open open = open_.back();
    open_.pop_back();
    if (!open.holds_values_only || out_.size() - open.at <= 2) {
      note_other();
      return;
    }
    const char opening = out_[open.at];
    out_.resize(open.at + 1);
    out_ += '?';
    out_ += text;
    const std::string_view row = std::string_view(out_).substr(open.at);
    const std::string_view before = std::string_view(out_).substr(0, open.at);
    if (opening == '(' && before.ends_with(", ") && before.substr(0, before.size() - 2).ends_with(row))
      out_.resize(open.at - 2);
  }

  std::string out_;
  std::vector<Open> open_;
  bool after_operator_ = false;
  bool after_name_ = false;
};

}  // namespace

std::string normalized_text(std::string_view text, LexicalMode mode) {
  Normalizer normalizer;
  Lexer lexer(text, mode);
  size_t end = 0;
  for (Token token = lexer.next(); token.kind != Kind::kEnd; token = lexer.next()) {
    normalizer.add(token, token.offset == end);
    end = token.offset + token.text.size();
  }
  return normalizer.take();
}

// FNV-1a, whose definition will not move.
uint64_t fingerprint_of(std::string_view normalized) {
  uint64_t value = 0xcbf29ce484222325ULL;
  for (const char c : normalized) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return value;
}

}  // namespace gatehouse::sql
