// SPDX-License-Identifier: Apache-2.0
#include "cli/review_text.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "cli/safe_text.h"
#include "common/utf8.h"

namespace gatehouse::cli {
namespace {

struct Range {
  uint32_t first, last;
};
template <size_t N>
bool is_in(const Range (&ranges)[N], uint32_t point) {
  return std::ranges::any_of(ranges, [&](const Range& r) { return r.first <= point && point <= r.last; });
}

// Letters that many fonts draw as Latin ones: Cyrillic, Greek, Armenian, Cherokee, full width, mathematical, and small
// capitals. A word of nothing else is taken for a Latin one.
constexpr Range kLookalikes[] = {
    {0x391, 0x392},   {0x395, 0x397},   {0x399, 0x39A},   {0x39C, 0x39D},     {0x39F, 0x39F},   {0x3A1, 0x3A1},
    {0x3A4, 0x3A5},   {0x3A7, 0x3A7},   {0x3B1, 0x3B1},   {0x3B3, 0x3B3},     {0x3B9, 0x3B9},   {0x3BD, 0x3BD},
    {0x3BF, 0x3BF},   {0x3C1, 0x3C1},   {0x3C5, 0x3C5},   {0x3F2, 0x3F3},     {0x405, 0x406},   {0x408, 0x408},
    {0x410, 0x410},   {0x412, 0x412},   {0x415, 0x415},   {0x41A, 0x41A},     {0x41C, 0x41E},   {0x420, 0x423},
    {0x425, 0x425},   {0x430, 0x430},   {0x433, 0x433},   {0x435, 0x435},     {0x43E, 0x43E},   {0x440, 0x441},
    {0x443, 0x443},   {0x445, 0x445},   {0x455, 0x456},   {0x458, 0x458},     {0x4AE, 0x4AF},   {0x4BB, 0x4BB},
    {0x4C0, 0x4C0},   {0x4CF, 0x4CF},   {0x501, 0x501},   {0x51A, 0x51D},     {0x555, 0x555},   {0x578, 0x578},
    {0x57D, 0x57D},   {0x585, 0x585},   {0x13A0, 0x13F4}, {0x1D00, 0x1D2B},   {0x2100, 0x214F}, {0x2160, 0x217F},
    {0xA731, 0xA731}, {0xFF10, 0xFF19}, {0xFF21, 0xFF3A}, {0xFF41, 0xFF5A},   {0x131, 0x131},   {0x17F, 0x17F},
    {0x251, 0x251},   {0x261, 0x261},   {0x269, 0x26A},   {0x1D400, 0x1D7FF},
};
// What looks like a quote, a semicolon, a minus, a slash, a star or another sign that SQL reads.
constexpr Range kOddSigns[] = {
    {0xB4, 0xB4},     {0xD7, 0xD7},     {0x2B9, 0x2BC},   {0x2C8, 0x2C8},   {0x37E, 0x37E},   {0x387, 0x387},
    {0x589, 0x589},   {0x5F3, 0x5F4},   {0x2010, 0x2015}, {0x2018, 0x201F}, {0x2024, 0x2024}, {0x2032, 0x2037},
    {0x2039, 0x203A}, {0x2044, 0x2044}, {0x204E, 0x204E}, {0x2212, 0x2217}, {0x2236, 0x2236}, {0x2249, 0x2249},
    {0x2571, 0x2571}, {0x275B, 0x275E}, {0x2795, 0x2797}, {0x3003, 0x3003}, {0xA789, 0xA789}, {0xFE50, 0xFE6B},
    {0xFF01, 0xFF0F}, {0xFF1A, 0xFF20}, {0xFF3B, 0xFF40}, {0xFF5B, 0xFF65},
};
// Spaces that are none to the server.
constexpr Range kOddSpaces[] = {{0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A}, {0x202F, 0x202F},
                                {0x205F, 0x205F}, {0x3000, 0x3000}, {0x2800, 0x2800}};

struct Character {
  uint32_t point = 0;
  std::string_view bytes{};
  bool is_valid = true;
};

Character first_of(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text[0]);
  if (lead < 0x80) return {lead, text.substr(0, 1)};
  const size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (text.size() < bytes || valid_utf8_prefix(text.substr(0, bytes)) != bytes) return {lead, text.substr(0, 1), false};
  uint32_t point = lead & (0x7FU >> bytes);
  for (size_t i = 1; i < bytes; ++i) point = point << 6 | (static_cast<uint8_t>(text[i]) & 0x3FU);
  return {point, text.substr(0, bytes)};
}

bool is_latin(uint32_t point) {
  return (point >= 'a' && point <= 'z') || (point >= 'A' && point <= 'Z');
}
bool is_word(const Character& c) {
  return c.is_valid && (is_latin(c.point) || (c.point >= '0' && c.point <= '9') || c.point == '_' || c.point == '$' ||
                        (c.point >= 0x80 && !is_in(kOddSigns, c.point) && !is_in(kOddSpaces, c.point)));
}

void append_point(std::string& out, uint32_t point) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += "\\u{";
  bool is_begun = false;
  for (int shift = 20; shift >= 0; shift -= 4) {
    const uint32_t digit = point >> shift & 0xF;
    is_begun = is_begun || digit != 0 || shift < 16;
    if (is_begun) out += kHex[digit];
  }
  out += '}';
}

// A word as it is, or, where letters of it pass for others, with these by their numbers.
void append_word(std::string& out, std::string_view word, ReviewText& review) {
  bool has_latin = false;
  bool has_other = false;
  bool is_all_alike = true;
  for (std::string_view rest = word; !rest.empty();) {
    const Character c = first_of(rest);
    rest.remove_prefix(c.bytes.size());
    has_latin = has_latin || is_latin(c.point);
    if (c.point < 0x80) continue;
    has_other = true;
    is_all_alike = is_all_alike && is_in(kLookalikes, c.point);
  }
  for (std::string_view rest = word; !rest.empty();) {
    const Character c = first_of(rest);
    rest.remove_prefix(c.bytes.size());
    const bool is_alike = c.point >= 0x80 && is_in(kLookalikes, c.point) && (has_latin || (has_other && is_all_alike));
    if (is_alike) {
      ++review.lookalikes;
      append_point(out, c.point);
      continue;
    }
    const std::string shown = safe(c.bytes);
    if (shown != c.bytes) ++review.escaped;
    out += shown;
  }
}

std::string line_of(std::string_view line, ReviewText& review) {
  std::string out;
  while (!line.empty()) {
    size_t word = 0;
    while (word < line.size()) {
      const Character c = first_of(line.substr(word));
      if (!is_word(c)) break;
      word += c.bytes.size();
    }
    append_word(out, line.substr(0, word), review);
    line.remove_prefix(word);
    if (line.empty()) break;
    const Character c = first_of(line);
    line.remove_prefix(c.bytes.size());
    if (c.point == ' ' && c.is_valid) {
      out += ' ';
    } else if (c.point == '\t' && c.is_valid) {
      out += "    ";
    } else if (c.is_valid && (is_in(kOddSigns, c.point) || is_in(kOddSpaces, c.point))) {
      ++review.lookalikes;
      append_point(out, c.point);
    } else if (c.is_valid && (c.point == '\r' || c.point == '\v' || c.point == '\f')) {
      ++review.escaped;
      out += c.point == '\r' ? "\\x0d" : c.point == '\v' ? "\\x0b" : "\\x0c";
    } else {
      const std::string shown = safe(c.bytes);
      if (shown != c.bytes) ++review.escaped;
      out += shown;
    }
  }
  return out;
}

std::string number_of(size_t line) {
  constexpr size_t kWidth = 4;
  const std::string digits = std::to_string(line);
  return std::string(digits.size() < kWidth ? kWidth - digits.size() : 0, ' ') + digits + "  ";
}

}  // namespace

ReviewText review_text(std::string_view text, size_t bytes_max) {
  ReviewText review;
  const std::string_view whole = text;
  size_t shown = 0;
  while (true) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    // A server takes \r\n for the end of a line as well as \r alone; the pair is ordinary.
    if (line.ends_with('\r') && end < text.size()) line.remove_suffix(1);
    const bool is_room = bytes_max == 0 || shown + line.size() <= bytes_max;
    if (review.lines_left_out == 0 && !is_room && bytes_max > shown) {
      // The head of a line that is too long for itself.
      size_t cut = bytes_max - shown;
      while (cut > 0 && (static_cast<uint8_t>(line[cut]) & 0xC0) == 0x80) --cut;
      review.text += number_of(review.lines + 1) + line_of(line.substr(0, cut), review) + " …\n";
      review.bytes_left_out = whole.size() - static_cast<size_t>(line.data() - whole.data()) - cut;
      shown = bytes_max;
      ++review.lines_left_out;
    } else if (review.lines_left_out == 0 && is_room) {
      review.text += number_of(review.lines + 1) + line_of(line, review) + "\n";
      shown += line.size() + 1;
    } else {
      if (review.lines_left_out == 0) review.bytes_left_out = static_cast<size_t>(whole.end() - line.begin());
      ++review.lines_left_out;
    }
    ++review.lines;
    if (end == text.size()) break;
    text.remove_prefix(end + 1);
  }
  return review;
}

}  // namespace gatehouse::cli
