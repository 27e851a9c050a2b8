// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/ring.h"

#include <sys/mman.h>
#include <unistd.h>

#include <linux/bpf.h>

#include <string>
#include <utility>

#include "agent/capture/prefetch.h"

namespace gatehouse::capture {
namespace {

constexpr size_t kHeaderBytes = BPF_RINGBUF_HDR_SZ;

size_t page_bytes() {
  return static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// A record occupies its header and its length, rounded up to 8.
uint64_t stride(uint32_t header) {
  const uint64_t bytes = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
  return (bytes + kHeaderBytes + 7) & ~uint64_t{7};
}

}  // namespace

Ring::Ring(Ring&& other) noexcept {
  *this = std::move(other);
}

Ring& Ring::operator=(Ring&& other) noexcept {
  if (this == &other) return *this;
  unmap();
  consumer_ = std::exchange(other.consumer_, nullptr);
  producer_ = std::exchange(other.producer_, nullptr);
  data_ = std::exchange(other.data_, nullptr);
  mask_ = other.mask_;
  position_ = other.position_;
  snapshot_ = other.snapshot_;
  return *this;
}

Ring::~Ring() {
  unmap();
}

void Ring::unmap() {
  if (consumer_ != nullptr) munmap(consumer_, page_bytes());
  // The producer's page and the data, which the kernel maps twice in a row so that no record is ever broken.
  if (producer_ != nullptr) {
    void* start = const_cast<std::atomic<uint64_t>*>(producer_);
    munmap(start, page_bytes() + 2 * bytes());
  }
  consumer_ = nullptr;
  producer_ = nullptr;
}

Result<Ring> Ring::map(int map_fd, size_t bytes, std::string_view name) {
  Ring ring;
  ring.mask_ = bytes - 1;
  void* consumer = mmap(nullptr, page_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
  if (consumer == MAP_FAILED) return Error::system("mapping ring " + std::string(name));
  ring.consumer_ = static_cast<std::atomic<uint64_t>*>(consumer);
  void* producer =
      mmap(nullptr, page_bytes() + 2 * bytes, PROT_READ, MAP_SHARED, map_fd, static_cast<off_t>(page_bytes()));
  if (producer == MAP_FAILED) return Error::system("mapping ring " + std::string(name));
  ring.producer_ = static_cast<const std::atomic<uint64_t>*>(producer);
  ring.data_ = static_cast<const std::byte*>(producer) + page_bytes();
  ring.position_ = ring.consumer_->load(std::memory_order_relaxed);
  return ring;
}

void Ring::take_snapshot() {
  snapshot_ = producer_->load(std::memory_order_acquire);
}

Ring::Front Ring::front(std::span<const std::byte>& record) {
  while (position_ < snapshot_) {
    const std::byte* at = data_ + (position_ & mask_);
    const uint32_t header = __atomic_load_n(reinterpret_cast<const uint32_t*>(at), __ATOMIC_ACQUIRE);
    if ((header & BPF_RINGBUF_BUSY_BIT) != 0) return Front::kBusy;
    if ((header & BPF_RINGBUF_DISCARD_BIT) == 0) {
      record = {at + kHeaderBytes, header};
      return Front::kRecord;
    }
    position_ += stride(header);
  }
  return Front::kEmpty;
}

void Ring::pop() {
  const auto* at = reinterpret_cast<const uint32_t*>(data_ + (position_ & mask_));
  position_ += stride(*at);
  prefetch_after(data_ + (position_ & mask_), snapshot_ - position_);
}

void Ring::release() {
  consumer_->store(position_, std::memory_order_release);
}

size_t Ring::fill_bytes() const {
  return static_cast<size_t>(producer_->load(std::memory_order_acquire) - consumer_->load(std::memory_order_relaxed));
}

}  // namespace gatehouse::capture
