// SPDX-License-Identifier: Apache-2.0
// Reader: a cursor over borrowed bytes, for message decoders.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace gatehouse {

// The first short read fails the reader for good: later reads yield zero or empty and ok() stays false.
// A decoder thus reads its fields in wire order and checks ok() once, at the end. What is returned borrows
// the bytes given to the constructor.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> in) : in_(in) {}

  [[nodiscard]] bool ok() const { return !failed_; }
  [[nodiscard]] size_t left() const { return in_.size(); }
  [[nodiscard]] std::span<const std::byte> rest() const { return in_; }

  std::span<const std::byte> take(size_t byte_count) {
    if (byte_count > in_.size()) {
      fail();
      return {};
    }
    const auto head = in_.first(byte_count);
    in_ = in_.subspan(byte_count);
    return head;
  }

  // Big-endian, as in every database protocol's "network order".
  template <std::unsigned_integral T>
  T be() {
    T value = 0;
    for (const std::byte b : take(sizeof(T)))
      value = static_cast<T>((uint64_t{value} << 8) | std::to_integer<uint64_t>(b));
    return value;
  }
  template <std::unsigned_integral T>
  T le() {
    T value = 0;
    unsigned shift = 0;
    for (const std::byte b : take(sizeof(T))) {
      value = static_cast<T>(value | (std::to_integer<uint64_t>(b) << shift));
      shift += 8;
    }
    return value;
  }

  // Up to a NUL, which is consumed; no NUL is a short read.
  std::string_view cstr() {
    const auto nul = std::ranges::find(in_, std::byte{0});
    if (nul == in_.end()) {
      fail();
      return {};
    }
    const auto text = take(static_cast<size_t>(nul - in_.begin()));
    take(1);
    return as_text(text);
  }

  // A count announced by the peer. Rejected unless that many elements of at least `element_bytes_min` could
  // still follow, so it is safe to reserve().
  size_t count16(size_t element_bytes_min) {
    const size_t n = be<uint16_t>();
    if (n * element_bytes_min > left()) {
      fail();
      return 0;
    }
    return n;
  }

  static std::string_view as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  void fail() {
    failed_ = true;
    in_ = {};
  }

  std::span<const std::byte> in_;
  bool failed_ = false;
};

}  // namespace gatehouse
