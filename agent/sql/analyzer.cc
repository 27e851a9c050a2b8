// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/analyzer.h"

#include <pg_query.h>

#include <utility>

#include "agent/sql/consulted.h"
#include "agent/sql/nesting.h"
#include "agent/sql/normalized.h"
#include "agent/sql/walk.h"

// The library's own copy of the server's parameter, one for each thread. Its header does not declare it (newer versions
// have an option for it); a unit test holds the library to it.
extern "C" __thread bool standard_conforming_strings;  // NOLINT

namespace gatehouse::sql {
namespace {

// Of so short a text the nesting is not worth a look: a level takes a byte or more.
constexpr size_t kShallowBytes = kNestingMax;

class ParseResult {
 public:
  ParseResult(const std::string& text, const LexicalMode& mode) {
    standard_conforming_strings = mode.standard_conforming_strings;
    result_ = pg_query_parse(text.c_str());
    standard_conforming_strings = true;
  }
  ~ParseResult() { pg_query_free_parse_result(result_); }
  ParseResult(const ParseResult&) = delete;
  ParseResult& operator=(const ParseResult&) = delete;

  [[nodiscard]] const char* error() const { return result_.error == nullptr ? nullptr : result_.error->message; }
  [[nodiscard]] std::string_view tree() const { return result_.parse_tree; }

 private:
  PgQueryParseResult result_{};
};

// Without what stands around its tokens.
TextRange trimmed(std::string_view text, size_t offset, size_t size, LexicalMode mode) {
  const std::string_view part = text.substr(offset, size == 0 ? text.npos : size);
  Lexer lexer(part, mode);
  TextRange range{.offset = offset};
  for (Token token = lexer.next(); token.kind != Token::Kind::kEnd; token = lexer.next()) {
    if (range.size == 0) range.offset = offset + token.offset;
    range.size = offset + token.offset + token.text.size() - range.offset;
  }
  return range;
}

}  // namespace

Analysis Analyzer::analyze(std::string_view text, const LexicalState& state) {
  if (text.size() > kTextBytesMax) return analyze_fresh(text, state);
  const TextEncoding encoding = text_encoding(text, state.encoding);
  shape_.read(text, state.mode);
  if (encoding == TextEncoding::kBroken || !cache_.takes(shape_)) return analyze_fresh(text, state);
  const FactsCache::Entry* found = cache_.find(shape_, state);
  if (found == nullptr) {
    ++miss_count_;
    Fresh fresh = parse(text, state, encoding);
    FactsCache::Entry& entry = cache_.put(shape_, state);
    entry.is_exact = fresh.is_exact;
    if (fresh.is_exact) entry.text = text;
    for (const Consult& consult : fresh.consulted) entry.values.emplace_back(shape_.literal_text(consult.literal));
    entry.consulted = std::move(fresh.consulted);
    entry.ranges = std::move(fresh.ranges);
    entry.facts = std::move(fresh.facts);
    entry.facts.id = ++last_id_;
    found = &entry;
  } else {
    ++hit_count_;
  }
  Analysis analysis{.facts = &found->facts, .ranges = found->ranges, .literals = shape_.literals()};
  if (found->ranges.size() == 1 && !found->is_exact) {
    single_range_ = shape_.statement();
    analysis.ranges = {&single_range_, 1};
  }
  return analysis;
}

Analysis Analyzer::analyze_fresh(std::string_view text, const LexicalState& state) {
  if (text.size() > kTextBytesMax) {
    shape_.read({}, state.mode);
    return keep(refuse(Refusal::kTooLong));
  }
  shape_.read(text, state.mode);
  return keep(parse(text, state, text_encoding(text, state.encoding)));
}

Analysis Analyzer::keep(Fresh fresh) {
  last_ = std::move(fresh);
  last_.facts.id = ++last_id_;
  return {.facts = &last_.facts, .ranges = last_.ranges, .literals = shape_.literals()};
}

Analyzer::Fresh Analyzer::refuse(Refusal refusal, std::string detail) {
  Fresh out;
  out.facts.refusal = refusal;
  out.facts.refusal_detail = std::move(detail);
  out.is_exact = true;
  return out;
}

Analyzer::Fresh Analyzer::parse(std::string_view text, const LexicalState& state, TextEncoding encoding) {
  if (encoding == TextEncoding::kBroken) return refuse(Refusal::kEncoding);
  if (encoding == TextEncoding::kOther && state.encoding == LexicalState::Encoding::kAsciiUnsafe) {
    if (!mask_later_bytes(text, state.mode.charset, buffer_)) return refuse(Refusal::kEncoding);
  } else {
    buffer_ = text;
  }
  if (encoding == TextEncoding::kOther) mask_literals(state.mode, buffer_);
  Fresh out;
  if (text.size() > kShallowBytes && nesting_bound(text, state.mode) > kNestingMax) {
    out = refuse(Refusal::kTooDeep);
  } else {
    read_tree(text, state, encoding, out);
  }
  out.facts.normalized = normalized_text(text, state.mode);
  out.facts.fingerprint = fingerprint_of(out.facts.normalized);
  return out;
}

void Analyzer::read_tree(std::string_view text, const LexicalState& state, TextEncoding encoding, Fresh& out) {
  const ParseResult parsed(buffer_, state.mode);
  if (const char* error = parsed.error()) {
    const bool is_too_deep = std::string_view(error).starts_with("memory exhausted");
    out = refuse(is_too_deep ? Refusal::kTooDeep : Refusal::kSyntax, error);
    return;
  }
  switch (tree_.read(parsed.tree(), kTreeDepthMax)) {
    case Tree::Outcome::kOk:
      break;
    case Tree::Outcome::kTooDeep:
      out = refuse(Refusal::kTooDeep);
      return;
    case Tree::Outcome::kMalformed:
      out = refuse(Refusal::kInternal);
      return;
  }
  Consulted consulted(shape_);
  for (const TreeNode& raw : tree_.items(tree_.root(), Key::k_stmts)) {
    if (out.facts.statements.size() == kStatementsMax) {
      out = refuse(Refusal::kTooMany);
      return;
    }
    const TreeNode* statement = tree_.child(raw, Key::k_stmt);
    if (statement == nullptr) continue;
    Walk walk(tree_, consulted, routines_, encoding == TextEncoding::kUtf8);
    out.facts.statements.push_back(walk.run(*statement));
    out.ranges.push_back(trimmed(text, static_cast<size_t>(tree_.number(raw, Key::k_stmt_location)),
                                 static_cast<size_t>(tree_.number(raw, Key::k_stmt_len)), state.mode));
  }
  out.facts.parsed = true;
  out.is_exact = consulted.is_all();
  if (!out.is_exact) out.consulted = consulted.list();
}

}  // namespace gatehouse::sql
