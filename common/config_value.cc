// SPDX-License-Identifier: Apache-2.0
// How single values are written: numbers, sizes, durations, addresses, names.
#include <unistd.h>

#include <array>
#include <charconv>

#include "common/config.h"

namespace gatehouse::config {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};
constexpr std::array kByteUnits{Unit{"", 1},           Unit{"B", 1},          Unit{"KiB", 1U << 10},
                                Unit{"MiB", 1U << 20}, Unit{"GiB", 1U << 30}, Unit{"TiB", 1ULL << 40}};
constexpr std::array kDurationUnits{Unit{"ms", 1}, Unit{"s", 1000}, Unit{"min", 60'000}, Unit{"h", 3'600'000},
                                    Unit{"d", 86'400'000}};

// "<number>[ ]<unit>", without overflow.
std::optional<uint64_t> parse_with_unit(std::string_view text, std::span<const Unit> units) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  if (unit.size() > 1 && unit.front() == ' ') unit.remove_prefix(1);
  for (const Unit& known : units) {
    if (known.name != unit) continue;
    uint64_t value = 0;
    if (__builtin_mul_overflow(number, known.factor, &value)) return std::nullopt;
    return value;
  }
  return std::nullopt;
}

// With the largest unit that leaves a whole number.
std::string format_with_unit(uint64_t value, std::span<const Unit> units) {
  const Unit* best = &units.front();
  for (const Unit& unit : units)
    if (!unit.name.empty() && unit.factor > best->factor && value != 0 && value % unit.factor == 0) best = &unit;
  return std::to_string(value / best->factor) + std::string(best->name);
}

}  // namespace

std::optional<uint64_t> parse_count(std::string_view text) {
  constexpr std::array kNone{Unit{"", 1}};
  return parse_with_unit(text, kNone);
}

std::optional<uint64_t> parse_bytes(std::string_view text) {
  return parse_with_unit(text, kByteUnits);
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text, bool bare_milliseconds) {
  constexpr std::array kNone{Unit{"", 1}};
  std::optional<uint64_t> value = parse_with_unit(text, kDurationUnits);
  if (!value && bare_milliseconds) value = parse_with_unit(text, kNone);
  if (!value || *value > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  return std::chrono::milliseconds(static_cast<int64_t>(*value));
}

std::optional<Address> parse_address(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const std::string_view allowed =
      bracketed ? "0123456789abcdefABCDEF:.%" : "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
  if (host.empty() || host.size() > 253 || host.find_first_not_of(allowed) != std::string_view::npos)
    return std::nullopt;
  const std::optional<uint64_t> port = parse_count(text.substr(colon + 1));
  if (!port || *port == 0 || *port > 65535) return std::nullopt;
  return Address{std::string(host), static_cast<uint16_t>(*port)};
}

std::string format_address(const Address& address) {
  const bool is_v6 = address.host.find(':') != std::string::npos;
  return (is_v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

std::string format_bytes(uint64_t bytes) {
  return format_with_unit(bytes, std::span{kByteUnits}.subspan(1));
}

std::string format_duration(std::chrono::milliseconds duration) {
  return format_with_unit(static_cast<uint64_t>(duration.count()), kDurationUnits);
}

std::optional<std::string> expect_absolute_path(std::string_view value) {
  if (value.starts_with('/')) return std::nullopt;
  return "an absolute path";
}

std::optional<std::string> expect_name(std::string_view value) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  if (value.find_first_not_of(kAllowed) == std::string_view::npos) return std::nullopt;
  return "a name of letters, digits, '-', '_' and '.'";
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0' ? name.data() : "localhost";
}

log::Level log_level(std::string_view name) {
  if (name == "debug") return log::Level::kDebug;
  if (name == "warn") return log::Level::kWarn;
  if (name == "error") return log::Level::kError;
  return log::Level::kInfo;
}

}  // namespace gatehouse::config
