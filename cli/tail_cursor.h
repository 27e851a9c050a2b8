// SPDX-License-Identifier: Apache-2.0
// Where a tail stands, so that a new connection goes on without a hole and without repeating rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_set>

namespace gatehouse::cli {

// Rows come in the order in which they became durable, which is not quite the order of their times: an agent that was
// cut off delivers late. Going on means asking again for the last stretch of time and leaving out what was shown.
class TailCursor {
 public:
  // `since_ns` is what the user asked for, `started_ns` when the tail began.
  TailCursor(uint64_t since_ns, uint64_t started_ns) : since_ns_(since_ns), started_ns_(started_ns) {}

  // False if the row was shown before.
  bool admit(const std::string& id, uint64_t time_ns);
  // since_ns for a new connection.
  [[nodiscard]] uint64_t resume_ns() const;

 private:
  struct Seen {
    std::string id;
    uint64_t time_ns;
  };
  uint64_t since_ns_;
  uint64_t started_ns_;
  uint64_t newest_ns_ = 0;
  uint64_t forgotten_ns_ = 0;  // newest time of a row whose id is no longer remembered
  std::deque<Seen> seen_{};
  std::unordered_set<std::string> ids_{};
};

// How far back a new connection asks.
inline constexpr uint64_t kTailOverlapNs = 30'000'000'000;
// Ids remembered: half a minute at some two thousand rows a second. Beyond, the stretch is shorter.
inline constexpr size_t kTailIdsMax = 65536;

}  // namespace gatehouse::cli
