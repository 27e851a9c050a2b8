// SPDX-License-Identifier: Apache-2.0
#include "agent/tls_learn/instructions.h"

#include <algorithm>
#include <optional>

namespace gatehouse::tls_learn {
namespace {

// How far into a function a place may be: prologues are shorter.
constexpr size_t kPrologueBytesMax = 96;
constexpr size_t kPlacesMax = 8;

// What follows an opcode.
struct Shape {
  bool is_known = true;
  bool has_modrm = false;
  size_t immediate = 0;
};
constexpr Shape kUnknown{.is_known = false};

constexpr bool is_between(uint8_t value, uint8_t low, uint8_t high) {
  return value >= low && value <= high;
}

// One-byte opcodes, 64-bit mode. `wide`: REX.W. `narrow`: operand-size prefix. `reg`: of the ModRM byte.
Shape shape_of(uint8_t op, bool wide, bool narrow, uint8_t reg) {
  const size_t word = narrow ? 2 : 4;
  if (op < 0x40) {
    if ((op & 7) < 4) return {.has_modrm = true};
    if ((op & 7) == 4) return {.immediate = 1};
    if ((op & 7) == 5) return {.immediate = word};
    return kUnknown;
  }
  if (is_between(op, 0x50, 0x5f)) return {};
  if (op == 0x63) return {.has_modrm = true};
  if (op == 0x68) return {.immediate = word};
  if (op == 0x69) return {.has_modrm = true, .immediate = word};
  if (op == 0x6a || is_between(op, 0x70, 0x7f)) return {.immediate = 1};
  if (op == 0x6b) return {.has_modrm = true, .immediate = 1};
  if (op == 0x81) return {.has_modrm = true, .immediate = word};
  if (op == 0x80 || op == 0x83) return {.has_modrm = true, .immediate = 1};
  if (is_between(op, 0x84, 0x8f)) return {.has_modrm = true};
  if (is_between(op, 0x90, 0x99) || is_between(op, 0x9b, 0x9f)) return {};
  if (is_between(op, 0xa4, 0xa7) || is_between(op, 0xaa, 0xaf)) return {};
  if (op == 0xa8) return {.immediate = 1};
  if (op == 0xa9) return {.immediate = word};
  if (is_between(op, 0xb0, 0xb7)) return {.immediate = 1};
  if (is_between(op, 0xb8, 0xbf)) return {.immediate = wide ? 8 : word};
  if (op == 0xc0 || op == 0xc1 || op == 0xc6) return {.has_modrm = true, .immediate = 1};
  if (op == 0xc7) return {.has_modrm = true, .immediate = word};
  if (op == 0xc2) return {.immediate = 2};
  if (op == 0xc3 || op == 0xc9) return {};
  if (is_between(op, 0xd0, 0xd3)) return {.has_modrm = true};
  if (op == 0xe8 || op == 0xe9) return {.immediate = 4};
  if (op == 0xeb) return {.immediate = 1};
  if (op == 0xf6) return {.has_modrm = true, .immediate = reg < 2 ? 1U : 0U};
  if (op == 0xf7) return {.has_modrm = true, .immediate = reg < 2 ? word : 0U};
  if (op == 0xfe || op == 0xff) return {.has_modrm = true};
  return kUnknown;
}

// 0F xx.
Shape shape_of_two(uint8_t op) {
  if (is_between(op, 0x10, 0x1f) || is_between(op, 0x28, 0x2f) || is_between(op, 0x40, 0x6f))
    return {.has_modrm = true};
  if (is_between(op, 0x70, 0x73)) return {.has_modrm = true, .immediate = 1};
  if (is_between(op, 0x74, 0x7f) && op != 0x77) return {.has_modrm = true};
  if (is_between(op, 0x80, 0x8f)) return {.immediate = 4};
  if (is_between(op, 0x90, 0x9f) || is_between(op, 0xb0, 0xb8)) return {.has_modrm = true};
  if (op == 0xa2) return {};
  if (op == 0xa3 || op == 0xa5 || op == 0xab || is_between(op, 0xad, 0xaf)) return {.has_modrm = true};
  if (op == 0xa4 || op == 0xac || op == 0xba || op == 0xc2 || is_between(op, 0xc4, 0xc6))
    return {.has_modrm = true, .immediate = 1};
  if (is_between(op, 0xbb, 0xc1) || is_between(op, 0xd0, 0xfe)) return {.has_modrm = true};
  return kUnknown;
}

// ModRM, SIB and displacement. nullopt: the code ends before.
std::optional<size_t> address_bytes(std::span<const uint8_t> at) {
  if (at.empty()) return std::nullopt;
  const uint8_t mod = at[0] >> 6, rm = at[0] & 7;
  if (mod == 3) return 1;
  size_t bytes = 1;
  bool has_no_base = mod == 0 && rm == 5;
  if (rm == 4) {
    if (at.size() < 2) return std::nullopt;
    ++bytes;
    has_no_base = mod == 0 && (at[1] & 7) == 5;
  }
  if (mod == 1) return bytes + 1;
  return mod == 2 || has_no_base ? bytes + 4 : bytes;
}

bool is_push(std::span<const uint8_t> code) {
  if (code.size() == 1) return is_between(code[0], 0x50, 0x57);
  return code.size() == 2 && code[0] == 0x41 && is_between(code[1], 0x50, 0x57);
}

bool is_branch(std::span<const uint8_t> code) {
  const uint8_t op = code[0];
  if (op == 0x0f) return code.size() == 6 && is_between(code[1], 0x80, 0x8f);
  return is_between(op, 0x70, 0x7f) || op == 0xe8 || op == 0xe9 || op == 0xeb;
}

bool is_nop(std::span<const uint8_t> code) {
  static constexpr uint8_t kFive[] = {0x0f, 0x1f, 0x44, 0x00, 0x00};
  return (code.size() == 1 && code[0] == 0x90) || std::ranges::equal(code, kFive);
}

}  // namespace

Instruction decode(std::span<const uint8_t> code) {
  size_t at = 0;
  bool narrow = false, wide = false;
  for (; at < code.size(); ++at) {
    const uint8_t byte = code[at];
    if (byte == 0x66) narrow = true;
    if (byte != 0x66 && byte != 0xf2 && byte != 0xf3 && byte != 0x2e && byte != 0x3e && byte != 0x64 && byte != 0x65)
      break;
  }
  if (at < code.size() && is_between(code[at], 0x40, 0x4f)) wide = (code[at++] & 8) != 0;
  if (at >= code.size()) return {};
  const uint8_t op = code[at++];
  Shape shape;
  if (op == 0x0f) {
    if (at >= code.size()) return {};
    const uint8_t second = code[at++];
    if (second == 0x38 || second == 0x3a) {
      ++at;
      shape = {.has_modrm = true, .immediate = second == 0x3a ? 1U : 0U};
    } else {
      shape = shape_of_two(second);
    }
  } else {
    shape = shape_of(op, wide, narrow, at < code.size() ? code[at] >> 3 & 7 : 0);
  }
  if (!shape.is_known || at > code.size()) return {};
  if (shape.has_modrm) {
    const auto address = address_bytes(code.subspan(at));
    if (!address) return {};
    at += *address;
  }
  at += shape.immediate;
  if (at > code.size()) return {};
  const auto whole = code.first(at);
  Instruction found{.bytes = at, .is_emulated = is_push(whole) || is_branch(whole) || is_nop(whole)};
  found.ends_line = is_branch(whole) || op == 0xc3 || op == 0xc2 || op == 0xff || op == 0xcc;
  return found;
}

std::vector<size_t> probe_places(std::span<const uint8_t> code) {
  std::vector<size_t> places;
  code = code.first(std::min(code.size(), kPrologueBytesMax));
  for (size_t at = 0; at < code.size() && places.size() < kPlacesMax;) {
    const Instruction one = decode(code.subspan(at));
    if (one.bytes == 0) break;
    if (one.is_emulated) places.push_back(at);
    if (one.ends_line) break;
    at += one.bytes;
  }
  // Where nothing better works, the first instruction, whatever it is.
  if (std::ranges::find(places, 0U) == places.end()) places.push_back(0);
  return places;
}

}  // namespace gatehouse::tls_learn
