// SPDX-License-Identifier: Apache-2.0
#include "agent/mask/numbers.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include "agent/mask/texts.h"

namespace gatehouse::mask {
namespace {

// Numbers of fewer digits are no account, card or phone number: nothing of them is shown.
constexpr uint64_t kPartialMin = 10'000'000;
constexpr int32_t kTypmodBase = 4;  // of every typmod: its own header's size
constexpr size_t kHashedDigitsMax = 18;
// What numeric can hold before the point, and behind it.
constexpr size_t kNumericDigitsMax = 131'072 + 16'383;

uint64_t bucket(uint64_t value) {
  uint64_t unit = 1;
  while (value / unit >= 10) unit *= 10;
  return unit == 1 ? 0 : value / unit * unit;
}

uint64_t tokenise(const Act& act, uint64_t value, uint64_t max) {
  std::array<char, 20> digits;
  uint64_t current = value;
  // A walk through numbers of as many digits until one is of the type: the standard's way to a domain of any size.
  for (int step = 0; step < 200; ++step) {
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), current).ptr;
    const auto used = std::span{digits.data(), static_cast<size_t>(end - digits.data())};
    tokenise_digits(act, used, true);
    uint64_t next = 0;
    const auto parsed = std::from_chars(used.data(), end, next);
    // 20 digits may be more than a word holds; such a value cannot be walked on from, and needs another first digit.
    if (parsed.ec != std::errc{}) {
      digits[0] = '1';
      std::from_chars(used.data(), end, next);
    }
    if (next <= max) return next;
    current = next;
  }
  act.count_fallback();
  return act.key == nullptr ? 0 : number_of(act.key->hmac(static_cast<uint8_t>(Domain::kInteger), {})) % max;
}

uint64_t hashed(const Act& act, Domain domain, const void* value, size_t size) {
  return number_of(act.key->hmac(static_cast<uint8_t>(domain), {static_cast<const std::byte*>(value), size}));
}

struct Decimal {
  std::string_view whole, fraction;
  bool negative = false;
};
bool parse(std::string_view text, Decimal& decimal) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    decimal.negative = text[0] == '-';
    text.remove_prefix(1);
  }
  const size_t point = text.find('.');
  decimal.whole = text.substr(0, point);
  if (point != std::string_view::npos) decimal.fraction = text.substr(point + 1);
  return decimal.whole.size() + decimal.fraction.size() > 0 && std::ranges::all_of(decimal.whole, is_digit) &&
         std::ranges::all_of(decimal.fraction, is_digit);
}

void append_decimal(bool negative, std::string_view whole, size_t scale, std::string& out) {
  if (negative) out.push_back('-');
  out += whole.empty() ? std::string_view{"0"} : whole;
  if (scale > 0) {
    out.push_back('.');
    out.append(scale, '0');
  }
}

void append_hashed_decimal(const Act& act, const Decimal& value, int32_t typmod, std::string& out) {
  // 1.5 and 1.50 are one value, as are 0 and 00.
  std::string_view whole = value.whole, fraction = value.fraction;
  while (!whole.empty() && whole[0] == '0') whole.remove_prefix(1);
  while (!fraction.empty() && fraction.back() == '0') fraction.remove_suffix(1);
  std::string essence(value.negative ? "-" : "+");
  essence.append(whole).append(".").append(fraction);
  size_t room = kHashedDigitsMax;
  if (typmod >= kTypmodBase) {
    const int32_t precision = (typmod - kTypmodBase) >> 16 & 0xffff;
    // Scale is eleven bits with a sign.
    const int32_t scale = (((typmod - kTypmodBase) & 0x7ff) ^ 1024) - 1024;
    room = static_cast<size_t>(std::clamp(precision - scale, 0, static_cast<int32_t>(kHashedDigitsMax)));
  }
  uint64_t bound = 1;
  for (size_t i = 0; i < room; ++i) bound *= 10;
  append_decimal(false, std::to_string(hashed(act, Domain::kDecimal, essence.data(), essence.size()) % bound),
                 value.fraction.size(), out);
}

void append_tokenised_decimal(const Act& act, const Decimal& value, std::string& out) {
  std::string digits(value.whole);
  digits += value.fraction;
  // Leading zeros are no digits of the number.
  const size_t lead = std::min(digits.find_first_not_of('0'), digits.size());
  if (lead < digits.size()) tokenise_digits(act, std::span{digits}.subspan(lead), true);
  if (value.negative) out.push_back('-');
  out.append(digits, 0, value.whole.size());
  if (value.whole.empty()) out.push_back('0');
  if (!value.fraction.empty()) out.append(".").append(digits, value.whole.size(), std::string::npos);
}

}  // namespace

uint64_t mask_unsigned(const Act& act, uint64_t value, uint64_t max) {
  switch (act.method) {
    case Method::kRedact:
    case Method::kNull:
      return 0;
    case Method::kPartial:
      return value >= kPartialMin ? value % 10'000 : 0;
    case Method::kBucket:
      return bucket(value);
    case Method::kHash:
      if (act.key == nullptr) return 0;
      value = hashed(act, Domain::kInteger, &value, sizeof value);
      return max == UINT64_MAX ? value : value % (max + 1);
    case Method::kTokenise:
      return act.key == nullptr ? 0 : tokenise(act, value, max);
  }
  return 0;
}

int64_t mask_integer(const Act& act, int64_t value, int64_t max) {
  const auto limit = static_cast<uint64_t>(max);
  if (act.method == Method::kHash) {
    if (act.key == nullptr) return 0;
    return static_cast<int64_t>(hashed(act, Domain::kInteger, &value, sizeof value) % (limit + 1));
  }
  const bool negative = value < 0;
  const uint64_t magnitude =
      std::min(limit, negative ? uint64_t{0} - static_cast<uint64_t>(value) : static_cast<uint64_t>(value));
  const auto masked = static_cast<int64_t>(mask_unsigned(act, magnitude, limit));
  return negative && act.method != Method::kPartial ? -masked : masked;
}

double mask_float(const Act& act, double value, bool is_single) {
  if (!std::isfinite(value)) return 0;
  switch (act.method) {
    case Method::kRedact:
    case Method::kNull:
      return 0;
    case Method::kPartial:
      return std::fabs(value) >= kPartialMin ? std::fmod(std::trunc(std::fabs(value)), 1e4) : 0;
    case Method::kBucket: {
      if (std::fabs(value) < 10) return 0;
      const double unit = std::pow(10, std::floor(std::log10(std::fabs(value))));
      return std::trunc(value / unit) * unit;
    }
    case Method::kTokenise:
      act.count_fallback();
      [[fallthrough]];
    case Method::kHash: {
      if (act.key == nullptr) return 0;
      if (value == 0) value = 0;  // -0 is equal to 0
      const uint64_t number = hashed(act, Domain::kFloat, &value, sizeof value);
      return static_cast<double>(number >> (is_single ? 40 : 11));
    }
  }
  return 0;
}

bool mask_decimal(const Act& act, std::string_view value, int32_t typmod, std::string& out) {
  if (value.size() > kNumericDigitsMax + 2) return false;
  Decimal decimal;
  if (!parse(value, decimal)) {
    if (value != "NaN" && value != "Infinity" && value != "-Infinity") return false;
    out.push_back('0');
    return true;
  }
  const size_t scale = decimal.fraction.size();
  std::string_view whole = decimal.whole;
  while (whole.size() > 1 && whole[0] == '0') whole.remove_prefix(1);
  switch (act.key == nullptr && (act.method == Method::kHash || act.method == Method::kTokenise) ? Method::kRedact
                                                                                                 : act.method) {
    case Method::kRedact:
    case Method::kNull:
      append_decimal(false, "0", scale, out);
      return true;
    case Method::kPartial: {
      std::string_view shown = whole.size() >= 8 ? whole.substr(whole.size() - 4) : std::string_view{"0"};
      while (shown.size() > 1 && shown[0] == '0') shown.remove_prefix(1);
      append_decimal(false, shown, scale, out);
      return true;
    }
    case Method::kBucket: {
      const bool small = whole.size() < 2;
      std::string bucketed(small ? "0" : std::string(1, whole[0]) + std::string(whole.size() - 1, '0'));
      append_decimal(decimal.negative && !small, bucketed, scale, out);
      return true;
    }
    case Method::kHash:
      append_hashed_decimal(act, decimal, typmod, out);
      return true;
    case Method::kTokenise:
      append_tokenised_decimal(act, decimal, out);
      return true;
  }
  return false;
}

// ndigits:i16 weight:i16 sign:u16 dscale:u16 digit:i16[ndigits], each digit 0 to 9999.
bool append_numeric_binary(std::string_view text, std::string& out) {
  Decimal decimal;
  if (!parse(text, decimal)) return false;
  std::string_view whole = decimal.whole;
  while (!whole.empty() && whole[0] == '0') whole.remove_prefix(1);
  const size_t groups_whole = (whole.size() + 3) / 4, groups_fraction = (decimal.fraction.size() + 3) / 4;
  std::vector<uint16_t> groups(groups_whole + groups_fraction, 0);
  for (size_t i = 0; i < whole.size(); ++i) {
    uint16_t& group = groups[(groups_whole * 4 - whole.size() + i) / 4];
    group = static_cast<uint16_t>(group * 10 + (whole[i] - '0'));
  }
  for (size_t i = 0; i < groups_fraction * 4; ++i) {
    uint16_t& group = groups[groups_whole + i / 4];
    group = static_cast<uint16_t>(group * 10 + (i < decimal.fraction.size() ? decimal.fraction[i] - '0' : 0));
  }
  size_t first = 0, last = groups.size();
  while (first < last && groups[first] == 0) ++first;
  while (last > first && groups[last - 1] == 0) --last;
  const auto weight = first == last ? 0 : static_cast<int>(groups_whole) - 1 - static_cast<int>(first);
  append_be(out, static_cast<uint16_t>(last - first));
  append_be(out, static_cast<int16_t>(weight));
  append_be(out, static_cast<uint16_t>(decimal.negative && first < last ? 0x4000 : 0));
  append_be(out, static_cast<uint16_t>(decimal.fraction.size()));
  for (size_t i = first; i < last; ++i) append_be(out, groups[i]);
  return true;
}

bool append_numeric_text(std::string_view binary, std::string& out) {
  if (binary.size() < 8) return false;
  const auto ndigits = load_be<uint16_t>(binary);
  const auto weight = load_be<int16_t>(binary.substr(2));
  const auto sign = load_be<uint16_t>(binary.substr(4));
  const auto scale = load_be<uint16_t>(binary.substr(6)) & 0x3fff;
  if (binary.size() != 8 + 2 * size_t{ndigits}) return false;
  if (sign == 0xc000 || sign == 0xd000 || sign == 0xf000) {
    out += sign == 0xc000 ? "NaN" : sign == 0xd000 ? "Infinity" : "-Infinity";
    return true;
  }
  if (sign == 0x4000) out.push_back('-');
  const auto group = [&](int index) -> unsigned {
    if (index < 0 || index >= ndigits) return 0;
    return load_be<uint16_t>(binary.substr(8 + 2 * static_cast<size_t>(index))) % 10'000u;
  };
  const auto append_group = [&out](unsigned value, unsigned digits) {
    const std::array<unsigned, 4> units = {1000, 100, 10, 1};
    for (unsigned i = 0; i < digits; ++i) out.push_back(static_cast<char>('0' + value / units[i] % 10));
  };
  if (weight < 0) {
    out.push_back('0');
  } else {
    out += std::to_string(group(0));
    for (int i = 1; i <= weight; ++i) append_group(group(i), 4);
  }
  if (scale == 0) return true;
  out.push_back('.');
  for (int i = weight + 1, left = scale; left > 0; ++i, left -= 4)
    append_group(group(i), static_cast<unsigned>(std::min(left, 4)));
  return true;
}

}  // namespace gatehouse::mask
