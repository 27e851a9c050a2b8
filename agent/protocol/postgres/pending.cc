// SPDX-License-Identifier: Apache-2.0
#include "agent/protocol/postgres/pending.h"

#include <algorithm>
#include <cstring>

namespace gatehouse::postgres {

uint64_t ByteFifo::append(std::span<const std::byte> bytes) {
  // Room is made by closing the hole at the front before asking the heap for more.
  if (head_ > 0 && data_.size() + bytes.size() > data_.capacity()) {
    data_.erase(data_.begin(), data_.begin() + static_cast<ptrdiff_t>(head_));
    base_ += head_;
    head_ = 0;
  }
  const uint64_t position = end();
  data_.insert(data_.end(), bytes.begin(), bytes.end());
  return position;
}

void ByteFifo::release_to(uint64_t position) {
  head_ = static_cast<size_t>(position - base_);
  if (head_ < data_.size()) return;
  base_ += data_.size();
  data_.clear();
  head_ = 0;
}

void ByteFifo::shrink(size_t bytes_max) {
  if (data_.empty() && data_.capacity() > bytes_max) std::vector<std::byte>().swap(data_);
}

Pending& PendingQueue::push() {
  if (size_ == slots_.size()) {
    std::vector<Pending> larger(std::max(kSlotsMin, slots_.size() * 2));
    for (size_t i = 0; i < size_; ++i) larger[i] = at(i);
    slots_ = std::move(larger);
    head_ = 0;
  }
  Pending& entry = slots_[(head_ + size_) & (slots_.size() - 1)];
  ++size_;
  entry = {};
  return entry;
}

void PendingQueue::shrink() {
  if (size_ > 0 || slots_.size() <= 4 * kSlotsMin) return;
  std::vector<Pending>().swap(slots_);
  head_ = 0;
}

}  // namespace gatehouse::postgres
