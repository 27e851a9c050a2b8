// SPDX-License-Identifier: Apache-2.0
// Buffer: bytes that wait, in one block that is given back as soon as none do. An idle session holds none.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>

#include "common/check.h"

namespace gatehouse::shim {

class Buffer {
 public:
  [[nodiscard]] bool empty() const { return begin_ == end_; }
  [[nodiscard]] size_t size() const { return end_ - begin_; }
  [[nodiscard]] size_t capacity() const { return capacity_; }
  [[nodiscard]] std::span<const std::byte> view() const { return {block_.get() + begin_, size()}; }

  // At least `bytes` of free space behind the last byte; commit() says how many were written there.
  std::span<std::byte> room(size_t bytes) {
    if (capacity_ - end_ < bytes) make_room(bytes);
    return {block_.get() + end_, capacity_ - end_};
  }
  void commit(size_t bytes) {
    GH_CHECK(bytes <= capacity_ - end_);
    end_ += bytes;
  }
  void append(std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    std::memcpy(room(bytes.size()).data(), bytes.data(), bytes.size());
    commit(bytes.size());
  }
  void consume(size_t bytes) {
    GH_CHECK(bytes <= size());
    begin_ += bytes;
    if (empty()) clear();
  }
  void clear() {
    block_.reset();
    capacity_ = begin_ = end_ = 0;
  }

 private:
  static constexpr size_t kBlockBytesMin = 512;  // most startup packets are shorter

  void make_room(size_t bytes) {
    const size_t held = size();
    // Moved to the front where that makes the room, but not for a few bytes each time.
    if (begin_ >= held && capacity_ - held >= bytes) {
      std::memmove(block_.get(), block_.get() + begin_, held);
    } else {
      const size_t wanted = std::max({held + bytes, 2 * held, kBlockBytesMin});
      auto block = std::make_unique_for_overwrite<std::byte[]>(wanted);
      if (held > 0) std::memcpy(block.get(), block_.get() + begin_, held);
      block_ = std::move(block);
      capacity_ = wanted;
    }
    begin_ = 0;
    end_ = held;
  }

  std::unique_ptr<std::byte[]> block_;
  size_t capacity_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace gatehouse::shim
