// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/rule_index.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace gatehouse::rules {
namespace {

// So few rules are evaluated sooner than an attribute is looked up.
constexpr size_t kLeafRules = 4;
// Guards along one path of the tree. Each has cut the rules down; what is left after so many is evaluated.
constexpr size_t kDepthMax = 4;
// Rules with several values stand in several places below each other. Beyond so many entries for each rule on average
// nodes are not split any more.
constexpr size_t kEntriesPerRule = 32;
// Longer texts are told apart by their beginning, end and length.
constexpr size_t kHashedBytes = 64;
// How much more often a truth value is met than one of many texts.
constexpr size_t kBoolWeight = 8;

constexpr uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t x = (a ^ (b + 0x9E3779B97F4A7C15ULL + (a << 6) + (a >> 2))) * 0xFF51AFD7ED558CCDULL;
  x ^= x >> 32;
  x *= 0xC4CEB9FE1A85EC53ULL;
  return x ^ (x >> 29);
}

uint64_t hash_text(std::string_view text) {
  const std::hash<std::string_view> hash;
  if (text.size() <= kHashedBytes) return hash(text);
  const size_t half = kHashedBytes / 2;
  return mix(mix(hash(text.substr(0, half)), hash(text.substr(text.size() - half))), text.size());
}

// Equal values have equal hashes, whatever the types of numbers. Nothing for those that guards are not kept of.
std::optional<uint64_t> hash_of(const cel::Value& value) {
  const auto number = [](double real) {
    uint64_t bits = 0;
    real += 0.0;  // of -0.0 makes 0.0
    std::memcpy(&bits, &real, sizeof bits);
    return mix(1, bits);
  };
  switch (value.kind()) {
    case cel::Kind::kNull:
      return mix(2, 0);
    case cel::Kind::kBool:
      return mix(3, value.as_bool() ? 1 : 0);
    case cel::Kind::kInt:
      return number(static_cast<double>(value.as_int()));
    case cel::Kind::kUint:
      return number(static_cast<double>(value.as_uint()));
    case cel::Kind::kDouble:
      return number(value.as_double());
    case cel::Kind::kString:
      return mix(4, hash_text(value.as_text()));
    default:
      return std::nullopt;
  }
}

uint64_t slot_key(uint32_t node, uint32_t attribute, uint64_t hash) {
  return mix(mix(node, attribute), hash) | 1;  // never that of an empty slot
}

}  // namespace

// Builds the tree from the root down. A rule goes into the table of that guard of its own which the fewest others of
// its node share, and what still shares a place is split by the guards that are left.
class RuleIndexBuilder {
 public:
  RuleIndexBuilder(RuleIndex& index, std::span<const RuleIndex::Entry> rules) : index_(index) {
    for (const RuleIndex::Entry& entry : rules) {
      index_.rules_.push_back(entry.rule);
      guards_.push_back(guards_of(*entry.when));
    }
    budget_ = kEntriesPerRule * rules.size();
  }

  void run() {
    std::vector<Member> all;
    for (size_t i = 0; i < guards_.size(); ++i) all.push_back({.position = static_cast<uint32_t>(i)});
    split(all, 0);
    size_t size = 2;
    while (size < 2 * edges_.size()) size *= 2;
    index_.slots_.resize(size);
    for (const RuleIndex::Slot& edge : edges_) {
      size_t at = edge.key & (size - 1);
      while (index_.slots_[at].key != 0) at = (at + 1) & (size - 1);
      index_.slots_[at] = edge;
    }
  }

 private:
  struct Member {
    uint32_t position;
    uint32_t used = 0;  // guards of it that hold already, as bits
  };
  using Place = std::pair<uint32_t, uint64_t>;  // an attribute and a value's hash
  struct Guard {
    size_t weight = 1;
    std::vector<Place> places{};  // sorted, each once
  };
  struct Group {
    uint32_t attribute;
    uint64_t hash;
    std::vector<Member> members;
  };

  uint32_t number_of(const cel::Attribute& attribute) {
    const auto [found, fresh] = numbers_.emplace(attribute.name, static_cast<uint32_t>(index_.attributes_.size()));
    if (fresh) index_.attributes_.push_back(attribute);
    return found->second;
  }

  std::vector<Guard> guards_of(const cel::Program& program) {
    constexpr size_t kGuardsMax = 32;  // bits of Member::used
    std::vector<Guard> guards;
    for (const cel::Guard& guard : program.guards()) {
      if (guards.size() == kGuardsMax) break;
      if (auto kept = guard_of(guard)) guards.push_back(std::move(*kept));
    }
    return guards;
  }

  std::optional<Guard> guard_of(const cel::Guard& guard) {
    Guard kept;
    for (const cel::Equality& equality : guard.any_of) {
      if (equality.values.size() > cel::kGuardValuesMax) return std::nullopt;
      const uint32_t attribute = number_of(equality.attribute);
      for (const cel::Value& value : equality.values) {
        const auto hash = hash_of(value);
        if (!hash) return std::nullopt;
        kept.places.emplace_back(attribute, *hash);
        if (value.is(cel::Kind::kBool)) kept.weight = kBoolWeight;
      }
    }
    std::ranges::sort(kept.places);
    kept.places.erase(std::unique(kept.places.begin(), kept.places.end()), kept.places.end());
    return kept;
  }

  // Of the guards that `member` has left, the one whose fullest place is emptiest. Null: none is left.
  const Guard* best(const Member& member, const std::map<Place, size_t>& crowds) const {
    const Guard* best = nullptr;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < guards_[member.position].size(); ++i) {
      const Guard& guard = guards_[member.position][i];
      if ((member.used >> i & 1) != 0) continue;
      size_t most = 0;
      for (const Place& place : guard.places) most = std::max(most, crowds.at(place));
      if (most * guard.weight >= least) continue;
      least = most * guard.weight;
      best = &guard;
    }
    return best;
  }

  // Makes a node of `members` and returns its number.
  uint32_t split(const std::vector<Member>& members, size_t depth) {
    const auto number = static_cast<uint32_t>(index_.nodes_.size());
    index_.nodes_.emplace_back();
    std::vector<Group> groups;
    std::vector<uint32_t> here;
    const bool leaf = depth == kDepthMax || entries_ > budget_ || (depth > 0 && members.size() <= kLeafRules);
    if (leaf) {
      for (const Member& member : members) here.push_back(member.position);
    } else {
      group(members, groups, here);
    }
    RuleIndex::Node node;
    node.rules_begin = static_cast<uint32_t>(index_.leaves_.size());
    index_.leaves_.insert(index_.leaves_.end(), here.begin(), here.end());
    node.rules_end = static_cast<uint32_t>(index_.leaves_.size());
    node.probes_begin = static_cast<uint32_t>(index_.probes_.size());
    for (const Group& of : groups) {
      const auto probes = std::span{index_.probes_}.subspan(node.probes_begin);
      if (std::ranges::find(probes, of.attribute) == probes.end()) index_.probes_.push_back(of.attribute);
    }
    node.probes_end = static_cast<uint32_t>(index_.probes_.size());
    index_.nodes_[number] = node;
    for (const Group& of : groups) {
      const uint32_t child = split(of.members, depth + 1);
      edges_.push_back({.key = slot_key(number, of.attribute, of.hash), .node = child});
    }
    return number;
  }

  void group(const std::vector<Member>& members, std::vector<Group>& groups, std::vector<uint32_t>& here) {
    std::map<Place, size_t> crowds;
    for (const Member& member : members) {
      for (const Guard& guard : guards_[member.position])
        for (const Place& place : guard.places) ++crowds[place];
    }
    std::map<Place, size_t> numbers;
    for (const Member& member : members) {
      const Guard* guard = best(member, crowds);
      if (guard == nullptr) {
        here.push_back(member.position);
        continue;
      }
      const auto bit = static_cast<uint32_t>(guard - guards_[member.position].data());
      const Member next{.position = member.position, .used = member.used | 1U << bit};
      for (const Place& place : guard->places) {
        const auto [found, fresh] = numbers.emplace(place, groups.size());
        if (fresh) groups.push_back({.attribute = place.first, .hash = place.second, .members = {}});
        groups[found->second].members.push_back(next);
        ++entries_;
      }
    }
  }

  RuleIndex& index_;
  std::vector<std::vector<Guard>> guards_{};  // by position
  std::map<std::string, uint32_t> numbers_{};
  std::vector<RuleIndex::Slot> edges_{};
  size_t entries_ = 0;
  size_t budget_ = 0;
};

RuleIndex::RuleIndex(std::span<const Entry> rules) {
  RuleIndexBuilder(*this, rules).run();
}

RuleIndex::Lookup::Lookup(const RuleIndex& index) : known_(index.attributes_.size()), named_(index.rules_.size()) {
  found_.reserve(index.rules_.size());
}

void RuleIndex::find(std::span<const cel::Value> variables, Lookup& lookup) const {
  ++lookup.event_;
  lookup.found_.clear();
  lookup.hashes_.clear();
  if (nodes_.empty()) return;
  visit(0, variables, lookup);
  std::ranges::sort(lookup.found_);
}

std::span<const uint64_t> RuleIndex::hashes_of(uint32_t attribute, std::span<const cel::Value> variables,
                                               Lookup& lookup) const {
  Lookup::Known& known = lookup.known_[attribute];
  if (known.event != lookup.event_) {
    const cel::Attribute& of = attributes_[attribute];
    known = {.event = lookup.event_, .begin = static_cast<uint32_t>(lookup.hashes_.size())};
    const cel::Value value = cel::value_of(of, variables);
    const auto add = [&](const cel::Value& found) {
      if (const auto hash = hash_of(found)) lookup.hashes_.push_back(*hash);
    };
    if (!of.is_element) {
      add(value);
    } else if (value.is(cel::Kind::kList)) {
      for (size_t i = 0; i < value.count(); ++i) add(cel::value_of(value.element(i), of.element_fields));
    }
    known.count = static_cast<uint32_t>(lookup.hashes_.size()) - known.begin;
  }
  return std::span{lookup.hashes_}.subspan(known.begin, known.count);
}

void RuleIndex::visit(uint32_t node, std::span<const cel::Value> variables, Lookup& lookup) const {
  const Node& here = nodes_[node];
  for (uint32_t i = here.rules_begin; i < here.rules_end; ++i) {
    const uint32_t position = leaves_[i];
    if (std::exchange(lookup.named_[position], lookup.event_) != lookup.event_)
      lookup.found_.push_back(rules_[position]);
  }
  const size_t mask = slots_.size() - 1;
  for (uint32_t i = here.probes_begin; i < here.probes_end; ++i) {
    const uint32_t attribute = probes_[i];
    // By number: what is visited may add to the hashes.
    const size_t begin = static_cast<size_t>(hashes_of(attribute, variables, lookup).data() - lookup.hashes_.data());
    const size_t end = begin + lookup.known_[attribute].count;
    for (size_t at = begin; at < end; ++at) {
      const uint64_t key = slot_key(node, attribute, lookup.hashes_[at]);
      // All of that key: two places may have the same.
      for (size_t slot = key & mask; slots_[slot].key != 0; slot = (slot + 1) & mask)
        if (slots_[slot].key == key) visit(slots_[slot].node, variables, lookup);
    }
  }
}

}  // namespace gatehouse::rules
