// SPDX-License-Identifier: Apache-2.0
// Lanes: the reading end of the buffers that each CPU writes its short records to, see bpf/lane.h.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/result.h"

namespace gatehouse::capture {

// One CPU's. Read as a Ring is: up to a snapshot. Borrows the mapping.
class Lane {
 public:
  // `head`: a struct gh_lane, with `bytes` (a power of two) and room for one record behind it.
  Lane(std::byte* head, size_t bytes);

  void take_snapshot();
  // The next record, or none before the snapshot. Valid until release().
  bool front(std::span<const std::byte>& record);
  void pop();
  // Gives what was popped back to the kernel.
  void release();
  [[nodiscard]] size_t bytes() const { return mask_ + 1; }
  // What the kernel has written and the reader has not released.
  [[nodiscard]] size_t fill_bytes() const;
  // Times that no record could stand where one had to; what was written from there on was passed over.
  [[nodiscard]] uint64_t malformed() const { return malformed_; }

 private:
  std::atomic<uint64_t>* produced_;
  std::atomic<uint64_t>* consumed_;
  const std::byte* data_;
  uint64_t mask_;
  uint64_t position_;  // of the next record
  uint64_t snapshot_ = 0;
  uint64_t malformed_ = 0;
};

// Owns the mapping of all of them. Movable, not copyable.
class Lanes {
 public:
  Lanes() = default;
  Lanes(Lanes&& other) noexcept;
  Lanes& operator=(Lanes&& other) noexcept;
  ~Lanes();

  // What one lane's value in the map takes.
  static size_t value_bytes(size_t lane_bytes);
  static Result<Lanes> map(int map_fd, size_t count, size_t lane_bytes);

  [[nodiscard]] std::vector<Lane>& all() { return lanes_; }
  [[nodiscard]] const std::vector<Lane>& all() const { return lanes_; }

 private:
  void* start_ = nullptr;
  size_t mapped_bytes_ = 0;
  std::vector<Lane> lanes_;
};

}  // namespace gatehouse::capture
