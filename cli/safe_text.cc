// SPDX-License-Identifier: Apache-2.0
#include "cli/safe_text.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "common/utf8.h"

namespace gatehouse::cli {
namespace {

struct Range {
  uint32_t first;
  uint32_t last;
};

// Format characters, fillers and variation selectors that draw nothing, and everything that sets the direction.
constexpr Range kUnsafe[] = {
    {0x80, 0x9F},     {0xAD, 0xAD},     {0x34F, 0x34F},   {0x61C, 0x61C},     {0x115F, 0x1160},   {0x17B4, 0x17B5},
    {0x180B, 0x180F}, {0x200B, 0x200F}, {0x2028, 0x202E}, {0x2060, 0x206F},   {0x3164, 0x3164},   {0xFE00, 0xFE0E},
    {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFB}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF},
};

// Combining marks of the scripts in common use; they draw onto the character before them.
constexpr Range kCombining[] = {
    {0x300, 0x36F},   {0x483, 0x489},   {0x591, 0x5BD},   {0x610, 0x61A},   {0x64B, 0x65F},   {0x670, 0x670},
    {0x6D6, 0x6DC},   {0x900, 0x902},   {0x93C, 0x93C},   {0x941, 0x948},   {0x94D, 0x94D},   {0xE31, 0xE31},
    {0xE34, 0xE3A},   {0xE47, 0xE4E},   {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF}, {0x20D0, 0x20F0}, {0x302A, 0x302D},
    {0x3099, 0x309A}, {0xFE0F, 0xFE0F}, {0xFE20, 0xFE2F},
};

// East Asian Width W and F, and emoji.
constexpr Range kWide[] = {
    {0x1100, 0x115E},   {0x231A, 0x231B},   {0x2329, 0x232A},   {0x23E9, 0x23EC},   {0x23F0, 0x23F0},
    {0x23F3, 0x23F3},   {0x25FD, 0x25FE},   {0x2614, 0x2615},   {0x2648, 0x2653},   {0x267F, 0x267F},
    {0x2693, 0x2693},   {0x26A1, 0x26A1},   {0x26AA, 0x26AB},   {0x26BD, 0x26BE},   {0x26C4, 0x26C5},
    {0x26CE, 0x26CE},   {0x26D4, 0x26D4},   {0x26EA, 0x26EA},   {0x26F2, 0x26F3},   {0x26F5, 0x26F5},
    {0x26FA, 0x26FA},   {0x26FD, 0x26FD},   {0x2705, 0x2705},   {0x270A, 0x270B},   {0x2728, 0x2728},
    {0x274C, 0x274C},   {0x274E, 0x274E},   {0x2753, 0x2755},   {0x2757, 0x2757},   {0x2795, 0x2797},
    {0x27B0, 0x27B0},   {0x27BF, 0x27BF},   {0x2B1B, 0x2B1C},   {0x2B50, 0x2B50},   {0x2B55, 0x2B55},
    {0x2E80, 0x303E},   {0x3041, 0x3163},   {0x3165, 0x33FF},   {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},
    {0xA000, 0xA4CF},   {0xA960, 0xA97F},   {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE10, 0xFE19},
    {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},   {0x16FE0, 0x18AFF}, {0x1B000, 0x1B2FF},
    {0x1F004, 0x1F004}, {0x1F0CF, 0x1F0CF}, {0x1F18E, 0x1F18E}, {0x1F191, 0x1F19A}, {0x1F200, 0x1F320},
    {0x1F32D, 0x1F335}, {0x1F337, 0x1F37C}, {0x1F37E, 0x1F393}, {0x1F3A0, 0x1F3CA}, {0x1F3CF, 0x1F3D3},
    {0x1F3E0, 0x1F3F0}, {0x1F3F4, 0x1F3F4}, {0x1F3F8, 0x1F43E}, {0x1F440, 0x1F440}, {0x1F442, 0x1F4FC},
    {0x1F4FF, 0x1F53D}, {0x1F54B, 0x1F54E}, {0x1F550, 0x1F567}, {0x1F57A, 0x1F57A}, {0x1F595, 0x1F596},
    {0x1F5A4, 0x1F5A4}, {0x1F5FB, 0x1F64F}, {0x1F680, 0x1F6C5}, {0x1F6CC, 0x1F6CC}, {0x1F6D0, 0x1F6D2},
    {0x1F6D5, 0x1F6D7}, {0x1F6DC, 0x1F6DF}, {0x1F6EB, 0x1F6EC}, {0x1F6F4, 0x1F6FC}, {0x1F7E0, 0x1F7EB},
    {0x1F90C, 0x1F93A}, {0x1F93C, 0x1F945}, {0x1F947, 0x1FAFF}, {0x20000, 0x3FFFD},
};

template <size_t N>
bool is_in(const Range (&ranges)[N], uint32_t point) {
  const auto range = std::lower_bound(std::begin(ranges), std::end(ranges), point,
                                      [](const Range& r, uint32_t p) { return r.last < p; });
  return range != std::end(ranges) && range->first <= point;
}

struct Character {
  uint32_t point;  // of a byte that is not UTF-8: the byte
  size_t bytes;
  bool valid;
};

// The first character of `text`, which is not empty. Strict where validity matters to the caller.
Character first_character(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = at(0);
  if (lead < 0x80) return {lead, 1, true};
  const size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (valid_utf8_prefix(text.substr(0, bytes)) != bytes || text.size() < bytes) return {lead, 1, false};
  uint32_t point = lead & (0x7FU >> bytes);
  for (size_t i = 1; i < bytes; ++i) point = point << 6 | (at(i) & 0x3FU);
  return {point, bytes, true};
}

bool is_space(uint32_t point) {
  return point == ' ' || (point >= '\t' && point <= '\r');
}

void append_hex(std::string& out, uint32_t value, size_t digits) {
  constexpr std::string_view kHex = "0123456789abcdef";
  for (size_t i = digits; i-- > 0;) out += kHex[value >> (4 * i) & 0xF];
}

bool is_control(uint32_t point) {
  return point < 0x20 || point == 0x7F;
}

size_t character_width(const Character& character) {
  if (is_in(kCombining, character.point)) return 0;
  return is_in(kWide, character.point) ? 2 : 1;
}

}  // namespace

void append_safe(std::string& out, std::string_view text) {
  const size_t start = out.size();
  bool space = false;
  for (size_t at = 0; at < text.size();) {
    const Character c = first_character(text.substr(at));
    if (c.valid && is_space(c.point)) {
      space = out.size() > start;
      at += c.bytes;
      continue;
    }
    if (space) out += ' ';
    space = false;
    if (!c.valid || is_control(c.point)) {
      out += "\\x";
      append_hex(out, c.point, 2);
    } else if (is_in(kUnsafe, c.point)) {
      out += "\\u{";
      append_hex(out, c.point, c.point > 0xFFFF ? 5 : 4);
      out += '}';
    } else {
      out += text.substr(at, c.bytes);
    }
    at += c.bytes;
  }
}

std::string safe(std::string_view text) {
  std::string out;
  append_safe(out, text);
  return out;
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (size_t at = 0; at < text.size();) {
    const Character c = first_character(text.substr(at));
    if (!c.valid) {
      out += "\\ufffd";
    } else if (c.point == '"' || c.point == '\\') {
      out += '\\';
      out += static_cast<char>(c.point);
    } else if (c.point == '\n') {
      out += "\\n";
    } else if (c.point == '\t') {
      out += "\\t";
    } else if (c.point == '\r') {
      out += "\\r";
    } else if (c.point > 0xFFFF && is_in(kUnsafe, c.point)) {
      out += "\\u";
      append_hex(out, 0xD800 + ((c.point - 0x10000) >> 10), 4);
      out += "\\u";
      append_hex(out, 0xDC00 + ((c.point - 0x10000) & 0x3FF), 4);
    } else if (is_control(c.point) || is_in(kUnsafe, c.point)) {
      out += "\\u";
      append_hex(out, c.point, 4);
    } else {
      out += text.substr(at, c.bytes);
    }
    at += c.bytes;
  }
  out += '"';
}

size_t display_width(std::string_view text) {
  size_t width = 0;
  for (size_t at = 0; at < text.size();) {
    const Character c = first_character(text.substr(at));
    width += character_width(c);
    at += c.bytes;
  }
  return width;
}

std::string cut_to_width(std::string_view text, size_t width) {
  size_t used = 0;
  size_t fits = 0;  // bytes that leave room for the mark
  for (size_t at = 0; at < text.size();) {
    const Character c = first_character(text.substr(at));
    used += character_width(c);
    if (used > width) return width == 0 ? std::string() : std::string(text.substr(0, fits)) + "…";
    at += c.bytes;
    if (used < width) fits = at;
  }
  return std::string(text);
}

}  // namespace gatehouse::cli
