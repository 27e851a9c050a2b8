// SPDX-License-Identifier: Apache-2.0
// What a session has sent and the server has not yet answered.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "common/process_key.h"

namespace gatehouse::postgres {

// Bytes in, views out, released in order. A position stays valid until it is released; a view only until the next
// append.
class ByteFifo {
 public:
  uint64_t append(std::span<const std::byte> bytes);
  [[nodiscard]] std::span<const std::byte> view(uint64_t position, size_t size) const {
    return std::span{data_}.subspan(static_cast<size_t>(position - base_), size);
  }
  [[nodiscard]] uint64_t end() const { return base_ + data_.size(); }
  // Bytes before `position` are no longer needed.
  void release_to(uint64_t position);
  [[nodiscard]] size_t heap_bytes() const { return data_.capacity(); }
  [[nodiscard]] size_t held_bytes() const { return data_.size() - head_; }
  // What append() of so many bytes would add to heap_bytes(), at most.
  [[nodiscard]] size_t growth_bytes(size_t bytes) const {
    return data_.size() - head_ + bytes <= data_.capacity() ? 0 : std::max(bytes, data_.capacity());
  }
  void shrink(size_t bytes_max);

 private:
  std::vector<std::byte> data_;
  uint64_t base_ = 0;  // position of data_[0]
  size_t head_ = 0;    // first byte still needed
};

// One request frame, or a run of CopyData frames.
struct Pending {
  enum class Kind : uint8_t {
    kQuery,
    kParse,
    kBind,
    kDescribe,
    kExecute,
    kClose,
    kFunctionCall,
    kSync,
    kCopyData,
    kCopyEnd,  // CopyDone, CopyFail
    kUnknown,  // from here on requests were not seen
  };
  Kind kind = Kind::kUnknown;
  bool is_cut = false;          // the payload is only the head of the body
  bool is_damaged = false;      // bytes of it were lost
  bool is_provisional = false;  // framed on trust, after a gap
  bool is_told = false;         // its activity went out: it only awaits ReadyForQuery
  uint32_t payload_size = 0;    // kept bytes of the body, at `payload`
  uint64_t payload = 0;
  uint64_t body_bytes = 0;   // kCopyData: payload of all frames
  uint64_t frame_bytes = 0;  // on the wire
  uint64_t time_ns = 0;
  uint64_t offset = 0;
  ImageKey writer{};
};

// FIFO over a power-of-two array; grows, never above `capacity_max`.
class PendingQueue {
 public:
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] Pending& front() { return slots_[head_]; }
  [[nodiscard]] Pending& back() { return at(size_ - 1); }
  [[nodiscard]] Pending& at(size_t index) { return slots_[(head_ + index) & (slots_.size() - 1)]; }
  [[nodiscard]] const Pending& at(size_t index) const { return slots_[(head_ + index) & (slots_.size() - 1)]; }
  Pending& push();
  void pop() {
    head_ = (head_ + 1) & (slots_.size() - 1);
    --size_;
  }
  // Takes out the `count` entries behind the front one.
  void erase_behind_front(size_t count) {
    const Pending kept = front();
    head_ = (head_ + count) & (slots_.size() - 1);
    size_ -= count;
    front() = kept;
  }
  [[nodiscard]] size_t growth_bytes() const { return size_ < slots_.size() ? 0 : slots_.size() * sizeof(Pending); }
  void clear() { size_ = 0; }
  [[nodiscard]] size_t heap_bytes() const { return slots_.capacity() * sizeof(Pending); }
  void shrink();

 private:
  static constexpr size_t kSlotsMin = 16;

  std::vector<Pending> slots_;
  size_t head_ = 0;
  size_t size_ = 0;
};

}  // namespace gatehouse::postgres
