// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/analyzer.h"

#include <utility>

#include "agent/sql/consulted.h"
#include "agent/sql/normalized.h"
#include "agent/sql/walk.h"

namespace gatehouse::sql {
namespace {

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
  std::string detail;
  const Refusal refusal = parsed_.read(text, state, encoding, detail);
  if (refusal == Refusal::kEncoding) return refuse(refusal);
  Fresh out;
  if (refusal == Refusal::kNone)
    read_tree(text, state, encoding, out);
  else
    out = refuse(refusal, std::move(detail));
  out.facts.normalized = normalized_text(text, state.mode);
  out.facts.fingerprint = fingerprint_of(out.facts.normalized);
  return out;
}

void Analyzer::read_tree(std::string_view text, const LexicalState& state, TextEncoding encoding, Fresh& out) {
  const Tree& tree = parsed_.tree();
  Consulted consulted(shape_);
  for (const TreeNode& raw : tree.items(tree.root(), Key::k_stmts)) {
    if (out.facts.statements.size() == kStatementsMax) {
      out = refuse(Refusal::kTooMany);
      return;
    }
    const TreeNode* statement = tree.child(raw, Key::k_stmt);
    if (statement == nullptr) continue;
    Walk walk(tree, consulted, routines_, encoding == TextEncoding::kUtf8);
    out.facts.statements.push_back(walk.run(*statement));
    out.ranges.push_back(trimmed(text, static_cast<size_t>(tree.number(raw, Key::k_stmt_location)),
                                 static_cast<size_t>(tree.number(raw, Key::k_stmt_len)), state.mode));
  }
  out.facts.parsed = true;
  out.is_exact = consulted.is_all();
  if (!out.is_exact) out.consulted = consulted.list();
}

}  // namespace gatehouse::sql
