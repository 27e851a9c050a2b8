// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/time_text.h"

#include <array>
#include <chrono>
#include <limits>

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

constexpr int64_t kSecondsMin = -62'135'596'800;  // 0001-01-01T00:00:00Z
constexpr int64_t kSecondsMax = 253'402'300'799;  // 9999-12-31T23:59:59Z

// Writes `number` with at least `width` digits; where it ends.
char* put_padded(char* out, uint64_t number, int width) {
  for (int i = width; i-- > 0; number /= 10) out[i] = static_cast<char>('0' + number % 10);
  return out + width;
}

// "2026-11-25T01:02:03": 19 bytes.
char* put_seconds(char* out, int64_t unix_seconds) {
  const std::chrono::sys_seconds time{std::chrono::seconds{unix_seconds}};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  const auto of_day = static_cast<uint64_t>((time - day).count());
  const auto put = [&](uint64_t number, int width, char separator) {
    out = put_padded(out, number, width);
    *out++ = separator;
  };
  put(static_cast<uint64_t>(static_cast<int>(date.year())), 4, '-');
  put(static_cast<unsigned>(date.month()), 2, '-');
  put(static_cast<unsigned>(date.day()), 2, 'T');
  put(of_day / 3600, 2, ':');
  put(of_day / 60 % 60, 2, ':');
  return put_padded(out, of_day % 60, 2);
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

bool in_range(Instant time) {
  return time.seconds >= kSecondsMin && time.seconds <= kSecondsMax;
}

std::optional<Instant> parse_instant(std::string_view text) {
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
  const Instant time{.seconds = days * kSecondsPerDay + clock->seconds - *offset,
                     .ns = static_cast<uint32_t>(clock->ns)};
  return in_range(time) ? std::optional(time) : std::nullopt;
}

size_t write_instant(std::span<char, kInstantBytesMax> out, Instant time) {
  char* end = put_seconds(out.data(), time.seconds);
  uint32_t fraction = time.ns;
  int width = 9;
  for (; width > 0 && fraction % 1000 == 0; width -= 3) fraction /= 1000;
  if (width > 0) {
    *end++ = '.';
    end = put_padded(end, fraction, width);
  }
  *end++ = 'Z';
  return static_cast<size_t>(end - out.data());
}

std::optional<Instant> shift(Instant time, int64_t ns) {
  constexpr auto kSecond = static_cast<int64_t>(kNsPerSecond);
  int64_t seconds = time.seconds + ns / kSecond;
  int64_t rest = int64_t{time.ns} + ns % kSecond;
  if (rest < 0) {
    rest += kSecond;
    --seconds;
  } else if (rest >= kSecond) {
    rest -= kSecond;
    ++seconds;
  }
  const Instant moved{.seconds = seconds, .ns = static_cast<uint32_t>(rest)};
  return in_range(moved) ? std::optional(moved) : std::nullopt;
}

std::optional<int64_t> between(Instant from, Instant to) {
  const auto ns = static_cast<__int128>(to.seconds - from.seconds) * static_cast<int64_t>(kNsPerSecond) +
                  (int64_t{to.ns} - int64_t{from.ns});
  const auto fits = static_cast<int64_t>(ns);
  return fits == ns ? std::optional(fits) : std::nullopt;
}

std::optional<uint64_t> parse_timestamp(std::string_view text) {
  const auto time = parse_instant(text);
  if (!time || time->seconds < 0) return std::nullopt;
  uint64_t ns = 0;
  if (__builtin_mul_overflow(static_cast<uint64_t>(time->seconds), kNsPerSecond, &ns) ||
      __builtin_add_overflow(ns, uint64_t{time->ns}, &ns))
    return std::nullopt;
  return ns;
}

std::string format_timestamp(uint64_t unix_ns) {
  std::array<char, kInstantBytesMax> text{};
  const size_t size = write_instant(text, {.seconds = static_cast<int64_t>(unix_ns / kNsPerSecond),
                                           .ns = static_cast<uint32_t>(unix_ns % kNsPerSecond)});
  return {text.data(), size};
}

std::string format_timestamp_ns(uint64_t unix_ns) {
  std::array<char, kInstantBytesMax> text{};
  char* end = put_seconds(text.data(), static_cast<int64_t>(unix_ns / kNsPerSecond));
  *end++ = '.';
  end = put_padded(end, unix_ns % kNsPerSecond, 9);
  *end++ = 'Z';
  return {text.data(), end};
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

std::optional<int64_t> parse_signed_duration(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const auto ns = parse_duration(text);
  constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (!ns || *ns > kMax) return std::nullopt;
  return negative ? -static_cast<int64_t>(*ns) : static_cast<int64_t>(*ns);
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
