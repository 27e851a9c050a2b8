// SPDX-License-Identifier: Apache-2.0
// Ring: the reading end of one BPF ring buffer, without a call into a library per record.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "common/result.h"

namespace gatehouse::capture {

// Owns the mapping. A reader takes a snapshot of how far the kernel has written and then reads up to there, so that
// several rings can be read as of one moment. Movable, not copyable.
class Ring {
 public:
  enum class Front : uint8_t {
    kEmpty,   // nothing before the snapshot
    kBusy,    // the next record is still being written
    kRecord,  // `record` is set
  };

  Ring() = default;
  Ring(Ring&& other) noexcept;
  Ring& operator=(Ring&& other) noexcept;
  ~Ring();

  // `bytes`: max_entries of the map.
  static Result<Ring> map(int map_fd, size_t bytes, std::string_view name);

  void take_snapshot();
  // The next record. Records that the kernel took back are passed over. Valid until release().
  Front front(std::span<const std::byte>& record);
  void pop();
  // Gives what was popped back to the kernel.
  void release();
  [[nodiscard]] size_t bytes() const { return mask_ + 1; }
  // What the kernel has written and the reader has not released.
  [[nodiscard]] size_t fill_bytes() const;

 private:
  void unmap();

  std::atomic<uint64_t>* consumer_ = nullptr;
  const std::atomic<uint64_t>* producer_ = nullptr;
  const std::byte* data_ = nullptr;
  uint64_t mask_ = 0;
  uint64_t position_ = 0;  // of the next record
  uint64_t snapshot_ = 0;
};

}  // namespace gatehouse::capture
