// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/parsed.h"

#include <pg_query.h>

#include "agent/sql/nesting.h"

// The library's own copy of the server's parameter, one for each thread. Its header does not declare it (newer versions
// have an option for it); a unit test holds the library to it.
extern "C" __thread bool standard_conforming_strings;  // NOLINT

namespace gatehouse::sql {
namespace {

// Of so short a text the nesting is not worth a look: a level takes a byte or more.
constexpr size_t kShallowBytes = kNestingMax;

}  // namespace

class ParsedText::Result {
 public:
  Result(const std::string& text, const LexicalMode& mode) {
    standard_conforming_strings = mode.standard_conforming_strings;
    result_ = pg_query_parse(text.c_str());
    standard_conforming_strings = true;
  }
  ~Result() { pg_query_free_parse_result(result_); }
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;

  [[nodiscard]] const char* error() const { return result_.error == nullptr ? nullptr : result_.error->message; }
  [[nodiscard]] std::string_view tree() const { return result_.parse_tree; }

 private:
  PgQueryParseResult result_{};
};

ParsedText::ParsedText() = default;
ParsedText::~ParsedText() = default;

Refusal ParsedText::read(std::string_view text, const LexicalState& state, TextEncoding encoding, std::string& detail) {
  detail.clear();
  if (encoding == TextEncoding::kBroken) return Refusal::kEncoding;
  if (encoding == TextEncoding::kOther && state.encoding == LexicalState::Encoding::kAsciiUnsafe) {
    if (!mask_later_bytes(text, state.mode.charset, buffer_)) return Refusal::kEncoding;
  } else {
    buffer_ = text;
  }
  if (encoding == TextEncoding::kOther) mask_literals(state.mode, buffer_);
  if (text.size() > kShallowBytes && nesting_bound(text, state.mode) > kNestingMax) return Refusal::kTooDeep;
  result_ = std::make_unique<Result>(buffer_, state.mode);
  if (const char* error = result_->error()) {
    detail = error;
    return std::string_view(error).starts_with("memory exhausted") ? Refusal::kTooDeep : Refusal::kSyntax;
  }
  switch (tree_.read(result_->tree(), kTreeDepthMax)) {
    case Tree::Outcome::kOk:
      return Refusal::kNone;
    case Tree::Outcome::kTooDeep:
      return Refusal::kTooDeep;
    case Tree::Outcome::kMalformed:
      return Refusal::kInternal;
  }
  return Refusal::kInternal;
}

}  // namespace gatehouse::sql
