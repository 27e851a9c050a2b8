// SPDX-License-Identifier: Apache-2.0
// Times and durations as text: RFC 3339, and CEL's durations ("1h30m", "1.5ms"). Pure.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace gatehouse::rules {

// A point in time of the years 1 to 9999: seconds since 1970, which may be negative, and ns within that second.
struct Instant {
  int64_t seconds = 0;
  uint32_t ns = 0;

  friend auto operator<=>(const Instant&, const Instant&) = default;
};

// RFC 3339 with up to nine decimals of a second and an offset. None if it is not that.
std::optional<Instant> parse_instant(std::string_view text);
// The same with Z and as many decimals as needed, in groups of three; how many bytes were written. Allocates nothing.
inline constexpr size_t kInstantBytesMax = 32;
size_t write_instant(std::span<char, kInstantBytesMax> out, Instant time);
// Any instant of a year from 1 to 9999 may be moved by any number of ns. None if it leaves these years.
std::optional<Instant> shift(Instant time, int64_t ns);
// ns from one to the other; none if it does not fit.
std::optional<int64_t> between(Instant from, Instant to);
bool in_range(Instant time);

// An instant, "2026-11-25T01:02:03.5Z", as Unix ns. None if it is none, or lies outside of 1970 … 2554 (64 bits of ns).
std::optional<uint64_t> parse_timestamp(std::string_view text);
// With Z and as many decimals as needed, in groups of three: parses to the same ns.
std::string format_timestamp(uint64_t unix_ns);
// Always nine decimals: sorts as text. For machines.
std::string format_timestamp_ns(uint64_t unix_ns);

// Numbers with h, m, s, ms, us or ns each; not negative. None if it is not that, or does not fit 64 bits of ns.
std::optional<uint64_t> parse_duration(std::string_view text);
// With a sign before it, perhaps.
std::optional<int64_t> parse_signed_duration(std::string_view text);
// In the largest unit that needs no fraction ("5ms", "90s"): parses to the same ns.
std::string format_duration(uint64_t ns);

}  // namespace gatehouse::rules
