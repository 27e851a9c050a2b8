// SPDX-License-Identifier: Apache-2.0
// Which rules of many can match an event: a tree of hash tables over what their conditions ask to be equal to constants
// (cel::Guard). To look an event up costs what the attributes cost that are asked for, however many rules there are.
// Pure.
//
//   root ── statement.verb == "DROP" ──▶ rules 3, 17
//        ── actor.exe == "/bin/psql" ──▶ node ── database.labels.env == "production" ──▶ rules 8, 9, …
//        ── no guard ──▶ rule 4
//
// Values are compared by hash only, so that now and then a rule is named that cannot match; none that can is left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "rules/engine/cel_program.h"

namespace gatehouse::rules {

class RuleIndex {
 public:
  // What a look-up works with, one for each thread. Grows with the longest lists that events have.
  class Lookup {
   public:
    explicit Lookup(const RuleIndex& index);
    // Numbers of the last event's rules, ascending, each once.
    [[nodiscard]] std::span<const uint32_t> found() const { return found_; }

   private:
    friend class RuleIndex;
    struct Known {  // an attribute's hashes of this event
      uint64_t event = 0;
      uint32_t begin = 0;
      uint32_t count = 0;
    };
    uint64_t event_ = 0;
    std::vector<Known> known_;
    std::vector<uint64_t> hashes_{};
    std::vector<uint64_t> named_;  // by position of the rule: the event that it was found for
    std::vector<uint32_t> found_{};
  };

  struct Entry {
    uint32_t rule;  // what a look-up names it by
    const cel::Program* when;
  };

  RuleIndex() = default;
  // Keeps nothing of the programs but their fields. Rules in ascending order.
  explicit RuleIndex(std::span<const Entry> rules);

  void find(std::span<const cel::Value> variables, Lookup& lookup) const;
  [[nodiscard]] size_t rules() const { return rules_.size(); }

 private:
  struct Node {
    uint32_t rules_begin = 0;  // of leaves_: positions of the rules that can match wherever this node is reached
    uint32_t rules_end = 0;
    uint32_t probes_begin = 0;  // of probes_: numbers of the attributes that lead on
    uint32_t probes_end = 0;
  };
  struct Slot {
    uint64_t key = 0;  // of node, attribute and value; 0: none
    uint32_t node = 0;
  };
  friend class RuleIndexBuilder;

  [[nodiscard]] std::span<const uint64_t> hashes_of(uint32_t attribute, std::span<const cel::Value> variables,
                                                    Lookup& lookup) const;
  void visit(uint32_t node, std::span<const cel::Value> variables, Lookup& lookup) const;

  std::vector<uint32_t> rules_{};  // by position
  std::vector<cel::Attribute> attributes_{};
  std::vector<Node> nodes_{};
  std::vector<uint32_t> leaves_{};
  std::vector<uint32_t> probes_{};
  std::vector<Slot> slots_{};
};

}  // namespace gatehouse::rules
