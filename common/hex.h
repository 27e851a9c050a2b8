// SPDX-License-Identifier: Apache-2.0
// A number as 16 hexadecimal digits, small letters.
#pragma once

#include <array>
#include <cstdint>

namespace gatehouse {

using HexDigits = std::array<char, 16>;

constexpr HexDigits hex_digits(uint64_t number) {
  HexDigits digits{};
  for (size_t i = digits.size(); i-- > 0; number >>= 4) digits[i] = "0123456789abcdef"[number & 15];
  return digits;
}

}  // namespace gatehouse
