// SPDX-License-Identifier: Apache-2.0
#include "cli/when.h"

#include <algorithm>
#include <ctime>
#include <optional>
#include <string>

#include "rules/engine/time_text.h"

namespace gatehouse::cli {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;
constexpr uint64_t kNsPerDay = 86'400 * kNsPerSecond;
constexpr uint64_t kDaysMax = 366 * 500;

constexpr std::string_view kWhenHelp =
    "write 1h (ago), 2d, now-5m, today, yesterday, 14:30, 2026-11-25, \"2026-11-25 14:30\" (local time) or "
    "2026-11-25T14:30:00Z";
constexpr std::string_view kSpanHelp = "write a length of time such as 90s, 15min, 1h or 2d";

// Configuration files write minutes as "min", the filter language as "m": here both are heard.
std::string with_short_minutes(std::string_view text) {
  constexpr std::string_view kMinutes = "min";
  std::string out;
  for (size_t at = 0; at < text.size(); ++at) {
    out += text[at];
    if (!text.substr(at).starts_with(kMinutes)) continue;
    const std::string_view rest = text.substr(at + kMinutes.size());
    if (rest.empty() || (rest.front() >= '0' && rest.front() <= '9')) at += kMinutes.size() - 1;
  }
  return out;
}

std::tm local_time(uint64_t unix_ns) {
  const auto seconds = static_cast<time_t>(unix_ns / kNsPerSecond);
  std::tm out{};
  localtime_r(&seconds, &out);
  return out;
}

// Local midnight of the day `days_back` before that of `now_ns`.
uint64_t local_midnight(uint64_t now_ns, int days_back) {
  std::tm day = local_time(now_ns);
  day.tm_hour = day.tm_min = day.tm_sec = 0;
  day.tm_mday -= days_back;
  day.tm_isdst = -1;
  return static_cast<uint64_t>(mktime(&day)) * kNsPerSecond;
}

std::string local_date(uint64_t now_ns) {
  const std::tm day = local_time(now_ns);
  char out[sizeof "2026-11-25"];
  return {out, strftime(out, sizeof out, "%Y-%m-%d", &day)};
}

// `civil` is "2026-11-25T01:02:03" with or without decimals, meant as local time.
std::optional<uint64_t> from_local(const std::string& civil) {
  const auto as_if_utc = rules::parse_timestamp(civil + "Z");
  if (!as_if_utc) return std::nullopt;
  const auto seconds = static_cast<time_t>(*as_if_utc / kNsPerSecond);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  parts.tm_isdst = -1;
  const time_t local = mktime(&parts);
  if (local < 0) return std::nullopt;
  return static_cast<uint64_t>(local) * kNsPerSecond + *as_if_utc % kNsPerSecond;
}

std::optional<uint64_t> parse_calendar(std::string_view text, uint64_t now_ns) {
  constexpr size_t kDate = sizeof "2026-11-25" - 1;
  constexpr size_t kMinute = sizeof "14:30" - 1;
  if (const auto exact = rules::parse_timestamp(text)) return exact;
  std::string civil(text);
  if (text.size() >= kMinute && text[2] == ':') civil = local_date(now_ns) + "T" + civil;
  if (civil.size() == kDate) civil += "T00:00";
  if (civil.size() > kDate && civil[kDate] == ' ') civil[kDate] = 'T';
  if (civil.size() == kDate + 1 + kMinute) civil += ":00";
  return from_local(civil);
}

}  // namespace

tl::expected<uint64_t, std::string_view> parse_span(std::string_view text) {
  const size_t day = text.find('d');
  if (day == std::string_view::npos) {
    const auto ns = rules::parse_duration(with_short_minutes(text));
    if (!ns) return tl::unexpected(kSpanHelp);
    return *ns;
  }
  uint64_t days = 0;
  if (day == 0) return tl::unexpected(kSpanHelp);
  for (const char c : text.substr(0, day)) {
    if (c < '0' || c > '9' || days > kDaysMax) return tl::unexpected(kSpanHelp);
    days = days * 10 + static_cast<uint64_t>(c - '0');
  }
  const std::string_view rest = text.substr(day + 1);
  const auto ns = rest.empty() ? std::optional<uint64_t>(0) : rules::parse_duration(with_short_minutes(rest));
  if (!ns || days > kDaysMax || *ns > kNsPerDay * kDaysMax) return tl::unexpected(kSpanHelp);
  return days * kNsPerDay + *ns;
}

tl::expected<uint64_t, std::string_view> parse_when(std::string_view text, uint64_t now_ns) {
  if (text == "now") return now_ns;
  if (text == "today") return local_midnight(now_ns, 0);
  if (text == "yesterday") return local_midnight(now_ns, 1);
  if (const auto calendar = parse_calendar(text, now_ns)) return *calendar;
  if (text.starts_with("now-")) text.remove_prefix(4);
  const auto ago = parse_span(text);
  if (!ago) return tl::unexpected(kWhenHelp);
  return now_ns - std::min(*ago, now_ns);
}

}  // namespace gatehouse::cli
