// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/time_text.h"

#include <chrono>
#include <cstddef>

namespace gatehouse::rules {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;
constexpr int64_t kSecondsPerDay = 86'400;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Cuts exactly `count` digits off the front.
std::optional<unsigned> take_digits(std::string_view& text, size_t count) {
  if (text.size() < count) return std::nullopt;
  unsigned number = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!is_digit(text[i])) return std::nullopt;
    number = number * 10 + static_cast<unsigned>(text[i] - '0');
  }
  text.remove_prefix(count);
  return number;
}

bool take(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

struct Clock {
  int64_t seconds;
  uint64_t ns;
};

// hh:mm:ss[.fraction]; a leap second counts as the second after it.
std::optional<Clock> take_clock(std::string_view& text) {
  const auto hour = take_digits(text, 2);
  if (!hour || *hour > 23 || !take(text, ":")) return std::nullopt;
  const auto minute = take_digits(text, 2);
  if (!minute || *minute > 59 || !take(text, ":")) return std::nullopt;
  const auto second = take_digits(text, 2);
  if (!second || *second > 60) return std::nullopt;
  Clock clock{.seconds = int64_t{*hour} * 3600 + int64_t{*minute} * 60 + int64_t{*second}, .ns = 0};
  if (!take(text, ".")) return clock;
  uint64_t scale = kNsPerSecond;
  size_t digits = 0;
  for (; digits < text.size() && is_digit(text[digits]); ++digits) {
    if (scale == 1) return std::nullopt;
    scale /= 10;
    clock.ns += scale * static_cast<uint64_t>(text[digits] - '0');
  }
  if (digits == 0) return std::nullopt;
  text.remove_prefix(digits);
  return clock;
}

// Z, or ±hh:mm; seconds east of UTC.
std::optional<int64_t> take_offset(std::string_view& text) {
  if (take(text, "Zz")) return 0;
  const bool west = !text.empty() && text.front() == '-';
  if (!take(text, "+-")) return std::nullopt;
  const auto hours = take_digits(text, 2);
  if (!hours || *hours > 23 || !take(text, ":")) return std::nullopt;
  const auto minutes = take_digits(text, 2);
  if (!minutes || *minutes > 59) return std::nullopt;
  const int64_t seconds = int64_t{*hours} * 3600 + int64_t{*minutes} * 60;
  return west ? -seconds : seconds;
}

void append_padded(std::string& out, uint64_t number, size_t width) {
  const std::string digits = std::to_string(number);
  if (digits.size() < width) out.append(width - digits.size(), '0');
  out += digits;
}

std::string format_seconds(uint64_t unix_ns) {
  const auto seconds = static_cast<int64_t>(unix_ns / kNsPerSecond);
  const std::chrono::sys_days day{std::chrono::days{seconds / kSecondsPerDay}};
  const std::chrono::year_month_day date{day};
  const auto of_day = static_cast<uint64_t>(seconds % kSecondsPerDay);
  std::string out;
  append_padded(out, static_cast<uint64_t>(static_cast<int>(date.year())), 4);
  out += '-';
  append_padded(out, static_cast<unsigned>(date.month()), 2);
  out += '-';
  append_padded(out, static_cast<unsigned>(date.day()), 2);
  out += 'T';
  append_padded(out, of_day / 3600, 2);
  out += ':';
  append_padded(out, of_day / 60 % 60, 2);
  out += ':';
  append_padded(out, of_day % 60, 2);
  return out;
}

struct Unit {
  std::string_view name;
  uint64_t ns;
};
// A name that is the head of another stands after it ("ms" before "m").
constexpr Unit kUnits[] = {
    {"h", 3600 * kNsPerSecond}, {"ms", 1'000'000}, {"m", 60 * kNsPerSecond},
    {"s", kNsPerSecond},        {"us", 1000},      {"ns", 1},
};

// One "1.5ms" off the front, in ns, fractions of a ns cut.
std::optional<uint64_t> take_quantity(std::string_view& text) {
  uint64_t whole = 0;
  uint64_t fraction = 0;
  uint64_t fraction_scale = 1;
  size_t at = 0;
  for (; at < text.size() && is_digit(text[at]); ++at) {
    if (__builtin_mul_overflow(whole, uint64_t{10}, &whole) ||
        __builtin_add_overflow(whole, static_cast<uint64_t>(text[at] - '0'), &whole))
      return std::nullopt;
  }
  size_t digits = at;
  if (at < text.size() && text[at] == '.') {
    for (++at; at < text.size() && is_digit(text[at]); ++at, ++digits) {
      // Thirteen decimals of the largest unit are below one ns.
      if (fraction_scale == 10'000'000'000'000) continue;
      fraction = fraction * 10 + static_cast<uint64_t>(text[at] - '0');
      fraction_scale *= 10;
    }
  }
  if (digits == 0) return std::nullopt;
  text.remove_prefix(at);
  for (const Unit& unit : kUnits) {
    if (!text.starts_with(unit.name)) continue;
    text.remove_prefix(unit.name.size());
    uint64_t ns = 0;
    if (__builtin_mul_overflow(whole, unit.ns, &ns)) return std::nullopt;
    const auto part = static_cast<unsigned __int128>(fraction) * unit.ns / fraction_scale;
    if (__builtin_add_overflow(ns, static_cast<uint64_t>(part), &ns)) return std::nullopt;
    return ns;
  }
  return std::nullopt;
}

}  // namespace

std::optional<uint64_t> parse_timestamp(std::string_view text) {
  const auto year = take_digits(text, 4);
  if (!year || !take(text, "-")) return std::nullopt;
  const auto month = take_digits(text, 2);
  if (!month || !take(text, "-")) return std::nullopt;
  const auto day = take_digits(text, 2);
  if (!day || !take(text, "Tt")) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year{static_cast<int>(*year)}, std::chrono::month{*month},
                                         std::chrono::day{*day}};
  if (!date.ok()) return std::nullopt;
  const auto clock = take_clock(text);
  if (!clock) return std::nullopt;
  const auto offset = take_offset(text);
  if (!offset || !text.empty()) return std::nullopt;
  const int64_t days = std::chrono::sys_days{date}.time_since_epoch().count();
  const int64_t seconds = days * kSecondsPerDay + clock->seconds - *offset;
  if (seconds < 0) return std::nullopt;
  uint64_t ns = 0;
  if (__builtin_mul_overflow(static_cast<uint64_t>(seconds), kNsPerSecond, &ns) ||
      __builtin_add_overflow(ns, clock->ns, &ns))
    return std::nullopt;
  return ns;
}

std::string format_timestamp(uint64_t unix_ns) {
  std::string out = format_seconds(unix_ns);
  uint64_t fraction = unix_ns % kNsPerSecond;
  size_t width = 9;
  for (; width > 0 && fraction % 1000 == 0; width -= 3) fraction /= 1000;
  if (width > 0) {
    out += '.';
    append_padded(out, fraction, width);
  }
  out += 'Z';
  return out;
}

std::string format_timestamp_ns(uint64_t unix_ns) {
  std::string out = format_seconds(unix_ns);
  out += '.';
  append_padded(out, unix_ns % kNsPerSecond, 9);
  out += 'Z';
  return out;
}

std::optional<uint64_t> parse_duration(std::string_view text) {
  if (text == "0") return 0;
  if (text.empty()) return std::nullopt;
  uint64_t total = 0;
  while (!text.empty()) {
    const auto ns = take_quantity(text);
    if (!ns || __builtin_add_overflow(total, *ns, &total)) return std::nullopt;
  }
  return total;
}

std::string format_duration(uint64_t ns) {
  if (ns == 0) return "0s";
  constexpr Unit kBySize[] = {
      {"h", 3600 * kNsPerSecond}, {"m", 60 * kNsPerSecond}, {"s", kNsPerSecond}, {"ms", 1'000'000}, {"us", 1000}};
  for (const Unit& unit : kBySize) {
    if (ns % unit.ns == 0) return std::to_string(ns / unit.ns) + std::string(unit.name);
  }
  return std::to_string(ns) + "ns";
}

}  // namespace gatehouse::rules
