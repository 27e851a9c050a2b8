// SPDX-License-Identifier: Apache-2.0
// Numbers and times for people. Pure but for the process's time zone.
#pragma once

#include <cstdint>
#include <string>

namespace gatehouse::cli {

// Three digits and a unit: "812 ns", "15.3 µs", "4.21 ms", "1.53 s", "2 m 03 s", "1 h 02 m", "3 d 04 h".
std::string human_duration(uint64_t ns);
// "812 B", "15.3 KiB", "4.21 MiB".
std::string human_bytes(uint64_t bytes);
// Digits in groups of three: "1 234 567".
std::string human_count(uint64_t count);
// Local time with ms: "2026-11-25 01:02:03.123"; empty for 0.
std::string local_timestamp(uint64_t unix_ns);
// "3 s ago", "2 h ago", "never" for 0, "now" for the future.
std::string human_ago(uint64_t then_ns, uint64_t now_ns);

}  // namespace gatehouse::cli
