// SPDX-License-Identifier: Apache-2.0
// Points in time as people write them for --since and --until.
#pragma once

#include <cstdint>
#include <string_view>

#include <tl/expected.hpp>

namespace gatehouse::cli {

// Unix ns of "1h" (ago), "2d12h", "now", "now-5m", "today", "yesterday", "14:30", "2026-11-25", "2026-11-25 14:30:01.5"
// (local time) or RFC 3339 with Z or an offset. The error says what can be written. Reads the process's time zone.
tl::expected<uint64_t, std::string_view> parse_when(std::string_view text, uint64_t now_ns);

// "15h", "90s", "2d", "5min": CEL's durations, whole days, and the units of configuration files.
tl::expected<uint64_t, std::string_view> parse_span(std::string_view text);

}  // namespace gatehouse::cli
