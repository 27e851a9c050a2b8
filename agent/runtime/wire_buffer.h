// SPDX-License-Identifier: Apache-2.0
// WireBuffer: bytes of a message while protozero writes it. Why not a std::string: a message is written byte by byte,
// and a string keeps a zero behind its last byte and calls a function of its library for each; that was a fifth of what
// an event costs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <protozero/basic_pbf_writer.hpp>
#include <protozero/buffer_tmpl.hpp>
#include <string_view>

namespace gatehouse::runtime {

// One thread. Memory is kept from one use to the next, up to a limit.
class WireBuffer {
 public:
  // clear() keeps at most `keep_bytes`.
  explicit WireBuffer(size_t keep_bytes) : keep_bytes_(keep_bytes) {}

  [[nodiscard]] size_t size() const { return size_; }
  // Valid until the next call that is not const.
  [[nodiscard]] std::string_view view() const { return {data_.get(), size_}; }
  [[nodiscard]] char* at(size_t position) { return data_.get() + position; }

  void clear() {
    size_ = 0;
    if (capacity_ <= keep_bytes_) return;
    data_.reset();
    capacity_ = 0;
  }
  void reserve_additional(size_t bytes) {
    if (capacity_ - size_ < bytes) grow(bytes);
  }
  void push_back(char c) {
    reserve_additional(1);
    data_[size_++] = c;
  }
  void append(const char* bytes, size_t count) {
    reserve_additional(count);
    std::memcpy(data_.get() + size_, bytes, count);
    size_ += count;
  }
  void append(std::string_view bytes) { append(bytes.data(), bytes.size()); }
  // Base 128, the lowest seven bits first. Returns how many bytes.
  int append_varint(uint64_t value) {
    constexpr size_t kBytesMax = 10;
    reserve_additional(kBytesMax);
    char* const begin = data_.get() + size_;
    char* at = begin;
    for (; value >= 0x80; value >>= 7) *at++ = static_cast<char>(value | 0x80);
    *at++ = static_cast<char>(value);
    size_ += static_cast<size_t>(at - begin);
    return static_cast<int>(at - begin);
  }
  void append_zeros(size_t count) {
    reserve_additional(count);
    std::memset(data_.get() + size_, 0, count);
    size_ += count;
  }
  // To at most size().
  void truncate(size_t size) { size_ = size; }
  void erase(size_t from, size_t to) {
    std::memmove(data_.get() + from, data_.get() + to, size_ - to);
    size_ -= to - from;
  }

 private:
  static constexpr size_t kCapacityMin = 4096;

  void grow(size_t bytes) {
    const size_t capacity = std::max({2 * capacity_, size_ + bytes, kCapacityMin});
    auto data = std::make_unique_for_overwrite<char[]>(capacity);
    if (size_ > 0) std::memcpy(data.get(), data_.get(), size_);
    data_ = std::move(data);
    capacity_ = capacity;
  }

  std::unique_ptr<char[]> data_;
  size_t size_ = 0, capacity_ = 0;
  const size_t keep_bytes_;
};

// What protozero's writer finds before its own, which appends byte by byte.
inline int add_varint_to_buffer(WireBuffer* buffer, uint64_t value) {
  return buffer->append_varint(value);
}

using WireWriter = protozero::basic_pbf_writer<WireBuffer>;

}  // namespace gatehouse::runtime

template <>
struct protozero::buffer_customization<gatehouse::runtime::WireBuffer> {
  using Buffer = gatehouse::runtime::WireBuffer;

  static size_t size(const Buffer* buffer) noexcept { return buffer->size(); }
  static void append(Buffer* buffer, const char* data, size_t count) { buffer->append(data, count); }
  static void append_zeros(Buffer* buffer, size_t count) { buffer->append_zeros(count); }
  static void resize(Buffer* buffer, size_t size) { buffer->truncate(size); }
  static void reserve_additional(Buffer* buffer, size_t size) { buffer->reserve_additional(size); }
  static void erase_range(Buffer* buffer, size_t from, size_t to) { buffer->erase(from, to); }
  static char* at_pos(Buffer* buffer, size_t position) { return buffer->at(position); }
  static void push_back(Buffer* buffer, char c) { buffer->push_back(c); }
};
