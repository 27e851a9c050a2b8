// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/facts_cache.h"

#include <algorithm>
#include <span>

namespace gatehouse::sql {
namespace {

bool has_values(const FactsCache::Entry& entry, const Shape& shape) {
  if (entry.is_exact) return entry.text == shape.text();
  for (size_t i = 0; i < entry.consulted.size(); ++i) {
    const std::string_view literal = shape.literal_text(entry.consulted[i].literal);
    switch (entry.consulted[i].kind) {
      case Consult::Kind::kValue:
        if (literal != entry.values[i]) return false;
        break;
      case Consult::Kind::kMatchesEverything:
        if (matches_everything(literal) != matches_everything(entry.values[i])) return false;
        break;
    }
  }
  return true;
}

}  // namespace

FactsCache::FactsCache(Limits limits)
    : limits_(limits), sets_(std::max<size_t>(1, limits.entries_max / kWays)), entries_(sets_ * kWays) {}

uint64_t FactsCache::hash(const Shape& shape, const LexicalState& state) const {
  const auto bits = static_cast<uint64_t>(state.mode.standard_conforming_strings) |
                    static_cast<uint64_t>(state.mode.charset) << 8 | static_cast<uint64_t>(state.encoding) << 16;
  return hash_bytes(shape.key(), bits);
}

const FactsCache::Entry* FactsCache::find(const Shape& shape, const LexicalState& state) {
  const uint64_t wanted = hash(shape, state);
  for (Entry& entry : std::span(set(wanted), kWays)) {
    if (entry.used == 0 || entry.hash != wanted || entry.state != state || entry.key != shape.key()) continue;
    if (!has_values(entry, shape)) continue;
    entry.used = ++clock_;
    return &entry;
  }
  return nullptr;
}

FactsCache::Entry& FactsCache::put(const Shape& shape, const LexicalState& state) {
  const uint64_t hash_value = hash(shape, state);
  const std::span<Entry> ways(set(hash_value), kWays);
  Entry& entry = *std::ranges::min_element(ways, {}, &Entry::used);
  entry = {.hash = hash_value, .used = ++clock_, .state = state, .key = std::string(shape.key())};
  return entry;
}

}  // namespace gatehouse::sql
