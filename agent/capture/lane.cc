// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/lane.h"

#include <sys/mman.h>
#include <unistd.h>

#include <utility>

#include "agent/capture/prefetch.h"
#include "bpf/gatehouse_abi.h"

namespace gatehouse::capture {
namespace {

size_t rounded_up(size_t bytes, size_t to) {
  return (bytes + to - 1) / to * to;
}

}  // namespace

Lane::Lane(std::byte* head, size_t bytes)
    : produced_(reinterpret_cast<std::atomic<uint64_t>*>(head + offsetof(abi::gh_lane, produced))),
      consumed_(reinterpret_cast<std::atomic<uint64_t>*>(head + offsetof(abi::gh_lane, consumed))),
      data_(head + sizeof(abi::gh_lane)),
      mask_(bytes - 1),
      position_(consumed_->load(std::memory_order_relaxed)) {}

void Lane::take_snapshot() {
  snapshot_ = produced_->load(std::memory_order_acquire);
}

bool Lane::front(std::span<const std::byte>& record) {
  if (position_ >= snapshot_) return false;
  const std::byte* const at = data_ + (position_ & mask_);
  const uint32_t bytes = reinterpret_cast<const abi::gh_head*>(at)->record_bytes;
  if (bytes < sizeof(abi::gh_chunk) || bytes > sizeof(abi::gh_small_record)) [[unlikely]] {
    ++malformed_;
    position_ = snapshot_;  // the two sides disagree: nothing tells where the next one begins
    return false;
  }
  record = {at, bytes};
  return true;
}

void Lane::pop() {
  const auto* const head = reinterpret_cast<const abi::gh_head*>(data_ + (position_ & mask_));
  position_ += rounded_up(head->record_bytes, sizeof(uint64_t));
  prefetch_after(data_ + (position_ & mask_), snapshot_ - position_);
}

void Lane::release() {
  consumed_->store(position_, std::memory_order_release);
}

size_t Lane::fill_bytes() const {
  return static_cast<size_t>(produced_->load(std::memory_order_acquire) - consumed_->load(std::memory_order_relaxed));
}

Lanes::Lanes(Lanes&& other) noexcept {
  *this = std::move(other);
}

Lanes& Lanes::operator=(Lanes&& other) noexcept {
  std::swap(start_, other.start_);
  std::swap(mapped_bytes_, other.mapped_bytes_);
  std::swap(lanes_, other.lanes_);
  return *this;
}

Lanes::~Lanes() {
  if (start_ != nullptr) ::munmap(start_, mapped_bytes_);
}

size_t Lanes::value_bytes(size_t lane_bytes) {
  return rounded_up(sizeof(abi::gh_lane) + lane_bytes + sizeof(abi::gh_small_record), kCacheLineBytes);
}

Result<Lanes> Lanes::map(int map_fd, size_t count, size_t lane_bytes) {
  Lanes lanes;
  lanes.mapped_bytes_ = rounded_up(count * value_bytes(lane_bytes), static_cast<size_t>(sysconf(_SC_PAGESIZE)));
  void* const start = ::mmap(nullptr, lanes.mapped_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
  if (start == MAP_FAILED) return Error::system("mapping the lanes");
  lanes.start_ = start;
  lanes.lanes_.reserve(count);
  for (size_t i = 0; i < count; ++i)
    lanes.lanes_.emplace_back(static_cast<std::byte*>(start) + i * value_bytes(lane_bytes), lane_bytes);
  return lanes;
}

}  // namespace gatehouse::capture
