// SPDX-License-Identifier: Apache-2.0
#include "collector/ledger/source.h"

#include <algorithm>
#include <cstring>

#include "common/check.h"

namespace gatehouse::ledger {
namespace {

uint64_t prefix(const std::byte* digest) {
  uint64_t sum = 0;
  std::memcpy(&sum, digest, sizeof sum);
  return sum;
}

}  // namespace

std::vector<Source::Entry>::const_iterator Source::after(uint64_t first_sequence) const {
  // Batches come in order, so this is nearly always the end.
  if (entries_.empty() || entries_.back().first_sequence <= first_sequence) return entries_.end();
  return std::ranges::upper_bound(entries_, first_sequence, {}, &Entry::first_sequence);
}

Source::Admission Source::classify(uint64_t first_sequence, uint32_t event_count, const Digest& payload_sha256) const {
  if (first_sequence == 0 || event_count == 0 || first_sequence > UINT64_MAX - event_count)
    return Admission::kMalformed;
  const auto next = after(first_sequence);
  if (next != entries_.begin()) {
    const Entry& before = *std::prev(next);
    if (before.first_sequence == first_sequence && before.event_count == event_count)
      return before.sum == prefix(payload_sha256.data()) ? Admission::kSame : Admission::kChanged;
    if (before.end() > first_sequence) return Admission::kOverlap;
  }
  if (next != entries_.end() && next->first_sequence < first_sequence + event_count) return Admission::kOverlap;
  return Admission::kNew;
}

void Source::admit(uint64_t first_sequence, uint32_t event_count, const Digest& payload_sha256) {
  entries_.insert(after(first_sequence), {first_sequence, prefix(payload_sha256.data()), event_count});
}

void Source::withdraw(uint64_t first_sequence) {
  const auto next = after(first_sequence);
  GH_CHECK(next != entries_.begin() && std::prev(next)->first_sequence == first_sequence);
  entries_.erase(std::prev(next));
}

bool Source::is_chained(uint64_t first_sequence, std::string_view previous_sha256) const {
  const auto next = after(first_sequence);
  if (next == entries_.begin() || std::prev(next)->end() != first_sequence) return true;
  return previous_sha256.size() == sizeof(Digest) &&
         prefix(reinterpret_cast<const std::byte*>(previous_sha256.data())) == std::prev(next)->sum;
}

uint64_t Source::next_sequence() const {
  return entries_.empty() ? 1 : entries_.back().end();
}

}  // namespace gatehouse::ledger
