// SPDX-License-Identifier: Apache-2.0
// Records are written by other CPUs, so that reading them is waiting for their caches: what comes next is asked for
// while this one is decoded. Shared by the readers of rings and lanes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gatehouse::capture {

inline constexpr size_t kCacheLineBytes = 64;

// `next`: the record to be read next, with `left` bytes from there to the end of what may be read. A short record and
// its header take some 200 bytes, so this is the one after it.
inline void prefetch_after(const std::byte* next, uint64_t left) {
  constexpr size_t kAheadBytes = 256;
  if (left < 2 * kAheadBytes) return;  // may be being written
  for (size_t line = 0; line < kAheadBytes; line += kCacheLineBytes) __builtin_prefetch(next + kAheadBytes + line);
}

}  // namespace gatehouse::capture
