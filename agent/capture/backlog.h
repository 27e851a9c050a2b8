// SPDX-License-Identifier: Apache-2.0
// Backlog: what the kernel side has written and nobody has read yet: rings and lanes, read as one row of records.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "agent/capture/delivery.h"
#include "agent/capture/lane.h"
#include "agent/capture/ring.h"

namespace gatehouse::capture {

// Owns the mappings. One thread.
class Backlog {
 public:
  enum RingIndex : size_t { kResponses, kRequests, kControl, kRings };

  // A record may be written this long after the time that it tells. A program takes microseconds; but a virtual
  // processor may be taken away from it meanwhile.
  static constexpr uint64_t kWritingNsMax = 1'000'000;

  Backlog() = default;
  Backlog(std::array<Ring, kRings> rings, Lanes lanes);

  // Delivers everything in the order of its time, up to `before_ns`, a moment before this call; at most `records_max`.
  // Returns how many. What had an effect that is read here had been written itself when that was seen, so no effect is
  // read without its cause, wherever the two stand: both are from before the moment, and the cause was there when the
  // snapshots were taken.
  size_t read(Delivery& delivery, RecordSink& sink, size_t records_max, uint64_t before_ns);
  // The last read() came to its moment. Else there was more than it was to deliver, or a record was half written.
  [[nodiscard]] bool is_drained() const { return is_drained_; }
  // All that tells an earlier time than this has been delivered. A read() that came to its moment does not tell that at
  // once, see kWritingNsMax: a later one does. 0: nothing is known yet.
  [[nodiscard]] uint64_t read_to_ns() const { return read_to_ns_; }

  // Of the fullest ring of data or lane.
  [[nodiscard]] uint64_t fill_percent() const;
  [[nodiscard]] bool empty() const;
  // See Lane::malformed().
  [[nodiscard]] uint64_t malformed() const;

 private:
  // The next record of a lane.
  struct Front {
    uint64_t time_ns = UINT64_MAX;  // there is none
    std::span<const std::byte> record;
  };
  void look(size_t lane);
  void note_drained(uint64_t before_ns);

  std::array<Ring, kRings> rings_;
  Lanes lanes_;
  std::vector<Front> fronts_;  // of each lane
  bool is_drained_ = false;
  uint64_t drained_to_ns_ = 0;  // but for what was being written
  uint64_t read_to_ns_ = 0;
};

}  // namespace gatehouse::capture
