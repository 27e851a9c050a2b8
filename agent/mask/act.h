// SPDX-License-Identifier: Apache-2.0
// How one value is to be masked, and what the parts that do it share.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "agent/mask/keys.h"
#include "agent/mask/plan.h"

namespace gatehouse::mask {

struct Act {
  Method method = Method::kRedact;
  const MaskKey* key = nullptr;  // null: hash and tokenise redact
  MaskCounts::OfMask* counts = nullptr;

  void count_fallback() const {
    if (counts != nullptr) ++counts->fallbacks;
  }
};

// Keeps equal bytes of different types apart, but text and binary format of one type together.
enum class Domain : uint8_t {
  kText = 1,
  kInteger,
  kDecimal,
  kFloat,
  kBytes,
  kUuid,
  kDate,
  kTime,
  kTimestamp,
  kInet,
  kMac,
  kBits,
  kEnum,
};

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}
inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
template <typename T>
void append_be(std::string& out, T value) {
  auto bits = static_cast<uint64_t>(value);
  std::array<char, sizeof(T)> bytes;
  for (size_t i = sizeof(T); i-- > 0; bits >>= 8) bytes[i] = static_cast<char>(bits & 0xff);
  out.append(bytes.data(), bytes.size());
}
template <typename T>
T load_be(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value = (value << 8) | static_cast<unsigned char>(bytes[i]);
  return static_cast<T>(value);
}
template <typename T>
void store_be(char* to, T value) {
  auto bits = static_cast<uint64_t>(value);
  for (size_t i = sizeof(T); i-- > 0; bits >>= 8) to[i] = static_cast<char>(bits & 0xff);
}
inline uint64_t number_of(const MaskKey::Digest& digest) {
  uint64_t number = 0;
  std::memcpy(&number, digest.data(), sizeof number);
  if constexpr (std::endian::native == std::endian::big) number = __builtin_bswap64(number);
  return number;
}

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
constexpr bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
constexpr bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
constexpr bool is_letter(char c) {
  return is_lower(c) || is_upper(c);
}
constexpr bool is_alnum(char c) {
  return is_digit(c) || is_letter(c);
}
// 0 to 15, or -1.
constexpr int hex_value(char c) {
  return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}
inline constexpr char kHexDigits[] = "0123456789abcdef";

}  // namespace gatehouse::mask
