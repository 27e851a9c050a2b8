// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/resolver.h"

#include <algorithm>
#include <set>

#include "agent/sql/closure.h"
#include "agent/sql/text_state.h"

namespace gatehouse::sql {
ResolvedFacts close_effects(const Facts& facts, const Catalog& catalog, const NameContext& names) {
  ResolvedFacts out;
  if (!facts.parsed) return out;
  TextState state(names);
  out.statements.reserve(facts.statements.size());
  for (const Statement& statement : facts.statements) {
    Closure closure(catalog, state.names(), state.created());
    out.statements.push_back(closure.run(statement));
    if (facts.statements.size() > 1) state.after(statement, out.statements.back());
  }
  return out;
}

Resolver::Resolver(size_t entries_max) : entries_(std::max<size_t>(entries_max, 1)) {}

const ResolvedFacts& Resolver::resolve(const Facts& facts, const std::shared_ptr<const Catalog>& catalog,
                                       const NameContext& names) {
  constexpr uint64_t kSpread = 0x9e3779b97f4a7c15ULL;
  const uint64_t path = names.search_path ? names.search_path->size() : 0;
  Entry& entry = entries_[((facts.id * kSpread ^ path) >> 16) % entries_.size()];
  if (entry.facts_id == facts.id && entry.catalog_version == catalog->version() && entry.names == names) {
    ++hit_count_;
    return entry.facts;
  }
  ++miss_count_;
  entry.facts = close_effects(facts, *catalog, names);
  entry.facts.id = miss_count_;
  entry.facts_id = facts.id;
  entry.catalog_version = catalog->version();
  entry.names = names;
  return entry.facts;
}

}  // namespace gatehouse::sql
