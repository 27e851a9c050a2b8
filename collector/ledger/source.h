// SPDX-License-Identifier: Apache-2.0
// Source: which sequences of one (agent, boot) the log has. Pure; not thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "collector/ledger/segment_format.h"

namespace gatehouse::ledger {

class Source {
 public:
  enum class Admission : uint8_t { kNew, kSame, kChanged, kOverlap, kMalformed };

  // What a batch would be. Costs O(log batches).
  [[nodiscard]] Admission classify(uint64_t first_sequence, uint32_t event_count, const Digest& payload_sha256) const;
  // Only after classify() said kNew.
  void admit(uint64_t first_sequence, uint32_t event_count, const Digest& payload_sha256);
  // Takes an admitted batch back: it could not be written.
  void withdraw(uint64_t first_sequence);

  // Whether `previous` is the sum of the batch that ends just before `first_sequence`; also true if that batch is not
  // here, so that there is nothing to compare with.
  [[nodiscard]] bool is_chained(uint64_t first_sequence, std::string_view previous_sha256) const;

  // After the last sequence here; 1 if there is none.
  [[nodiscard]] uint64_t next_sequence() const;

 private:
  // 24 bytes a batch, for every batch ever kept: a changed redelivery is told by 64 bits of its sum.
  struct Entry {
    uint64_t first_sequence;
    uint64_t sum;
    uint32_t event_count;
    [[nodiscard]] uint64_t end() const { return first_sequence + event_count; }
  };
  [[nodiscard]] std::vector<Entry>::const_iterator after(uint64_t first_sequence) const;

  std::vector<Entry> entries_;  // by first_sequence, disjoint
};

}  // namespace gatehouse::ledger
