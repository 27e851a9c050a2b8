// SPDX-License-Identifier: Apache-2.0
// Times and durations as text: RFC 3339, and CEL's durations ("1h30m", "1.5ms"). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gatehouse::rules {

// RFC 3339 with up to nine decimals of a second and an offset, "2026-11-25T01:02:03.5Z", as Unix ns. None if it is not
// that, or lies outside of 1970 … 2554 (64 bits of ns).
std::optional<uint64_t> parse_timestamp(std::string_view text);
// With Z and as many decimals as needed, in groups of three: parses to the same ns.
std::string format_timestamp(uint64_t unix_ns);
// Always nine decimals: sorts as text. For machines.
std::string format_timestamp_ns(uint64_t unix_ns);

// Numbers with h, m, s, ms, us or ns each; not negative. None if it is not that, or does not fit 64 bits of ns.
std::optional<uint64_t> parse_duration(std::string_view text);
// In the largest unit that needs no fraction ("5ms", "90s"): parses to the same ns.
std::string format_duration(uint64_t ns);

}  // namespace gatehouse::rules
