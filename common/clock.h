// SPDX-License-Identifier: Apache-2.0
// Clocks. Kernel records carry CLOCK_BOOTTIME; people read Unix time. Pure code gets times as arguments.
#pragma once

#include <cstdint>
#include <ctime>

namespace gatehouse {

inline uint64_t clock_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(now.tv_nsec);
}
inline uint64_t boottime_ns() {
  return clock_ns(CLOCK_BOOTTIME);
}
inline uint64_t unix_ns() {
  return clock_ns(CLOCK_REALTIME);
}

}  // namespace gatehouse
