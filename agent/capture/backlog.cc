// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/backlog.h"

#include <algorithm>
#include <utility>

#include "bpf/gatehouse_abi.h"

namespace gatehouse::capture {
namespace {

uint64_t time_of(std::span<const std::byte> record) {
  return reinterpret_cast<const abi::gh_head*>(record.data())->time_ns;
}

}  // namespace

Backlog::Backlog(std::array<Ring, kRings> rings, Lanes lanes)
    : rings_(std::move(rings)), lanes_(std::move(lanes)), fronts_(lanes_.all().size()) {}

void Backlog::look(size_t lane) {
  Front& front = fronts_[lane];
  front.time_ns = lanes_.all()[lane].front(front.record) ? time_of(front.record) : UINT64_MAX;
}

size_t Backlog::read(Delivery& delivery, RecordSink& sink, size_t records_max, uint64_t before_ns) {
  is_drained_ = false;
  for (Ring& ring : rings_) ring.take_snapshot();
  for (size_t i = 0; i < fronts_.size(); ++i) {
    lanes_.all()[i].take_snapshot();
    look(i);
  }
  size_t count = 0;
  while (count < records_max) {
    Ring* ring = nullptr;
    const auto lane = std::ranges::min_element(fronts_, {}, &Front::time_ns);
    std::span<const std::byte> next = lane->record;
    uint64_t next_ns = lane->time_ns;
    bool is_busy = false;
    for (Ring& one : rings_) {
      std::span<const std::byte> record;
      const Ring::Front front = one.front(record);
      if (front == Ring::Front::kBusy) is_busy = true;
      if (front != Ring::Front::kRecord) continue;
      const uint64_t time_ns = time_of(record);
      if (time_ns >= next_ns) continue;
      ring = &one;
      next = record;
      next_ns = time_ns;
    }
    // The unwritten record may be older than the others'. It is a matter of nanoseconds.
    if (is_busy) break;
    if (next_ns >= before_ns) {
      is_drained_ = true;
      note_drained(before_ns);
      break;
    }
    delivery.deliver(next, sink);
    if (ring != nullptr) {
      ring->pop();
    } else {
      const auto index = static_cast<size_t>(lane - fronts_.begin());
      lanes_.all()[index].pop();
      look(index);
    }
    ++count;
  }
  for (Ring& ring : rings_) ring.release();
  for (Lane& lane : lanes_.all()) lane.release();
  return count;
}

void Backlog::note_drained(uint64_t before_ns) {
  if (before_ns - drained_to_ns_ < kWritingNsMax) return;
  read_to_ns_ = drained_to_ns_;
  drained_to_ns_ = before_ns;
}

uint64_t Backlog::fill_percent() const {
  size_t percent = 0;
  for (const RingIndex data : {kResponses, kRequests})
    percent = std::max(percent, rings_[data].fill_bytes() * 100 / rings_[data].bytes());
  for (const Lane& lane : lanes_.all()) percent = std::max(percent, lane.fill_bytes() * 100 / lane.bytes());
  return percent;
}

bool Backlog::empty() const {
  const auto holds_any = [](const auto& buffer) { return buffer.fill_bytes() > 0; };
  return std::ranges::none_of(lanes_.all(), holds_any) && std::ranges::none_of(rings_, holds_any);
}

uint64_t Backlog::malformed() const {
  uint64_t count = 0;
  for (const Lane& lane : lanes_.all()) count += lane.malformed();
  return count;
}

}  // namespace gatehouse::capture
