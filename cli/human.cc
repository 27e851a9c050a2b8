// SPDX-License-Identifier: Apache-2.0
#include "cli/human.h"

#include <cstdio>
#include <ctime>

namespace gatehouse::cli {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;

std::string three_digits(double value) {
  char out[32];
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  std::snprintf(out, sizeof out, "%.*f", decimals, value);
  return out;
}

// "2 m 03 s"
std::string two_units(uint64_t large, const char* large_name, uint64_t small, const char* small_name) {
  char out[64];
  std::snprintf(out, sizeof out, "%llu %s %02llu %s", static_cast<unsigned long long>(large), large_name,
                static_cast<unsigned long long>(small), small_name);
  return out;
}

}  // namespace

std::string human_duration(uint64_t ns) {
  const auto value = static_cast<double>(ns);
  if (ns < 1000) return std::to_string(ns) + " ns";
  if (value < 999.5e3) return three_digits(value / 1e3) + " µs";
  if (value < 999.5e6) return three_digits(value / 1e6) + " ms";
  if (value < 59.95e9) return three_digits(value / 1e9) + " s";
  const uint64_t seconds = (ns + kNsPerSecond / 2) / kNsPerSecond;
  if (seconds < 3600) return two_units(seconds / 60, "m", seconds % 60, "s");
  if (seconds < 86'400) return two_units(seconds / 3600, "h", seconds / 60 % 60, "m");
  return two_units(seconds / 86'400, "d", seconds / 3600 % 24, "h");
}

std::string human_bytes(uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  auto value = static_cast<double>(bytes);
  const char* unit = "";
  for (const char* larger : {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}) {
    if (value < 999.5) break;
    value /= 1024;
    unit = larger;
  }
  return three_digits(value) + " " + unit;
}

std::string human_count(uint64_t count) {
  std::string out = std::to_string(count);
  for (size_t at = out.size(); at > 3;) {
    at -= 3;
    out.insert(at, 1, ' ');
  }
  return out;
}

std::string local_timestamp(uint64_t unix_ns) {
  if (unix_ns == 0) return {};
  const auto seconds = static_cast<time_t>(unix_ns / kNsPerSecond);
  std::tm parts{};
  localtime_r(&seconds, &parts);
  char date[32];
  const size_t length = strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &parts);
  char ms[8];
  std::snprintf(ms, sizeof ms, ".%03u", static_cast<unsigned>(unix_ns / 1'000'000 % 1000));
  return std::string(date, length) + ms;
}

std::string human_ago(uint64_t then_ns, uint64_t now_ns) {
  if (then_ns == 0) return "never";
  if (then_ns + kNsPerSecond > now_ns) return "now";
  const uint64_t seconds = (now_ns - then_ns) / kNsPerSecond;
  if (seconds < 120) return std::to_string(seconds) + " s ago";
  if (seconds < 7200) return std::to_string(seconds / 60) + " m ago";
  if (seconds < 172'800) return std::to_string(seconds / 3600) + " h ago";
  return std::to_string(seconds / 86'400) + " d ago";
}

}  // namespace gatehouse::cli
