// SPDX-License-Identifier: Apache-2.0
// Parts of timestamps, in UTC or at a fixed offset from it, and of durations. Named time zones would need the host's
// database of them, which a pure library does not read.
#include <chrono>
#include <optional>

#include "rules/engine/cel_functions.h"

namespace gatehouse::rules::cel {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// "UTC", "+02:00", "-02:30" or "02:00"; seconds east.
std::optional<int64_t> offset_of(std::string_view zone) {
  if (zone == "UTC" || zone == "Z") return 0;
  const bool west = zone.starts_with('-');
  if (west || zone.starts_with('+')) zone.remove_prefix(1);
  if (zone.size() != 5 || zone[2] != ':') return std::nullopt;
  for (const size_t i : {0U, 1U, 3U, 4U}) {
    if (!is_digit(zone[i])) return std::nullopt;
  }
  const int64_t hours = (zone[0] - '0') * 10 + (zone[1] - '0');
  const int64_t minutes = (zone[3] - '0') * 10 + (zone[4] - '0');
  if (hours > 23 || minutes > 59) return std::nullopt;
  const int64_t seconds = hours * 3600 + minutes * 60;
  return west ? -seconds : seconds;
}

struct Local {
  std::chrono::sys_days day;
  std::chrono::year_month_day date;
  int64_t second_of_day;
  uint32_t ns;
};

// `part` of a timestamp where its zone is; an error if that is none.
template <typename Part>
Value of_timestamp(std::span<const Value> args, Part part) {
  if (!args[0].is(Kind::kTimestamp)) return Value::error(ErrorCode::kNoOverload);
  int64_t offset = 0;
  if (args.size() > 1) {
    if (!args[1].is(Kind::kString)) return Value::error(ErrorCode::kNoOverload);
    const auto found = offset_of(args[1].as_text());
    if (!found) return Value::error(ErrorCode::kBadTimeZone);
    offset = *found;
  }
  const Timestamp time = args[0].as_timestamp();
  const std::chrono::sys_seconds local{std::chrono::seconds{time.seconds + offset}};
  const auto day = std::chrono::floor<std::chrono::days>(local);
  return Value::integer(part(Local{.day = day, .date = {day}, .second_of_day = (local - day).count(), .ns = time.ns}));
}

// A duration's whole `unit_ns`, or a part of a timestamp.
template <typename Part>
Value of_time(std::span<const Value> args, int64_t unit_ns, Part part) {
  if (args[0].is(Kind::kDuration) && args.size() == 1) return Value::integer(args[0].as_int() / unit_ns);
  return of_timestamp(args, part);
}

}  // namespace

Value get_full_year(std::span<const Value> args, Scratch& /*scratch*/) {
  return of_timestamp(args, [](const Local& time) { return static_cast<int>(time.date.year()); });
}
// From 0.
Value get_month(std::span<const Value> args, Scratch& /*scratch*/) {
  return of_timestamp(args, [](const Local& time) { return int64_t{static_cast<unsigned>(time.date.month())} - 1; });
}
// From 1.
Value get_date(std::span<const Value> args, Scratch& /*scratch*/) {
  return of_timestamp(args, [](const Local& time) { return int64_t{static_cast<unsigned>(time.date.day())}; });
}
// From 0.
Value get_day_of_month(std::span<const Value> args, Scratch& /*scratch*/) {
  return of_timestamp(args, [](const Local& time) { return int64_t{static_cast<unsigned>(time.date.day())} - 1; });
}
// 0 is Sunday.
Value get_day_of_week(std::span<const Value> args, Scratch& /*scratch*/) {
  return of_timestamp(args, [](const Local& time) { return int64_t{std::chrono::weekday{time.day}.c_encoding()}; });
}
// From 0.
Value get_day_of_year(std::span<const Value> args, Scratch& /*scratch*/) {
  return of_timestamp(args, [](const Local& time) {
    const std::chrono::sys_days first{time.date.year() / std::chrono::January / 1};
    return int64_t{(time.day - first).count()};
  });
}
Value get_hours(std::span<const Value> args, Scratch& /*scratch*/) {
  return of_time(args, 3600 * kNsPerSecond, [](const Local& time) { return time.second_of_day / 3600; });
}
Value get_minutes(std::span<const Value> args, Scratch& /*scratch*/) {
  return of_time(args, 60 * kNsPerSecond, [](const Local& time) { return time.second_of_day / 60 % 60; });
}
Value get_seconds(std::span<const Value> args, Scratch& /*scratch*/) {
  return of_time(args, kNsPerSecond, [](const Local& time) { return time.second_of_day % 60; });
}
// Of a duration, too, what is beyond whole seconds: so the specification has it.
Value get_milliseconds(std::span<const Value> args, Scratch& /*scratch*/) {
  if (args[0].is(Kind::kDuration) && args.size() == 1)
    return Value::integer(args[0].as_int() % kNsPerSecond / 1'000'000);
  return of_timestamp(args, [](const Local& time) { return int64_t{time.ns / 1'000'000}; });
}

}  // namespace gatehouse::rules::cel
