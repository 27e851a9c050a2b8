// SPDX-License-Identifier: Apache-2.0
#include "agent/mask/times.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace gatehouse::mask {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kHour = 3600 * kSecond;
constexpr int64_t kDay = 24 * kHour;
// Hashed dates fall into 200 years, 1900 to 2099: any decoder knows those.
constexpr int32_t kFirstDay = -36'524, kHashedDays = 73'049;
constexpr int32_t kDaysBefore2000 = 730'425;  // since 0000-03-01

// Proleptic Gregorian, as the server counts; years before 1 are 0 and below.
struct Civil {
  int64_t year = 2000;
  int month = 1, day = 1;
};

int64_t days_of(const Civil& civil) {
  const int64_t year = civil.year - (civil.month <= 2 ? 1 : 0);
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const int64_t in_era = year - era * 400;
  const int64_t in_year = (153 * (civil.month + (civil.month > 2 ? -3 : 9)) + 2) / 5 + civil.day - 1;
  return era * 146'097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - kDaysBefore2000;
}

Civil civil_of(int64_t days) {
  days += kDaysBefore2000;
  const int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const int64_t in_era = days - era * 146'097;
  const int64_t year = (in_era - in_era / 1460 + in_era / 36'524 - in_era / 146'096) / 365;
  const int64_t in_year = in_era - (365 * year + year / 4 - year / 100);
  const int64_t shifted = (5 * in_year + 2) / 153;
  const auto month = static_cast<int>(shifted < 10 ? shifted + 3 : shifted - 9);
  return {.year = year + era * 400 + (month <= 2 ? 1 : 0),
          .month = month,
          .day = static_cast<int>(in_year - (153 * shifted + 2) / 5 + 1)};
}

int64_t floor_to(int64_t value, int64_t unit) {
  const int64_t rest = value % unit;
  return value - (rest < 0 ? rest + unit : rest);
}

uint64_t hashed(const Act& act, Domain domain, int64_t value) {
  return number_of(act.key->hmac(static_cast<uint8_t>(domain), std::as_bytes(std::span{&value, 1})));
}

int64_t masked_days(const Act& act, int64_t days) {
  switch (act.method) {
    case Method::kPartial:
      return days_of({.year = civil_of(days).year});
    case Method::kBucket: {
      const Civil civil = civil_of(days);
      return days_of({.year = civil.year, .month = civil.month});
    }
    case Method::kTokenise:
      act.count_fallback();
      [[fallthrough]];
    case Method::kHash:
      if (act.key == nullptr) return 0;
      return kFirstDay + static_cast<int64_t>(hashed(act, Domain::kDate, days) % kHashedDays);
    case Method::kRedact:
    case Method::kNull:
      return 0;
  }
  return 0;
}

// Reads what stands at the front of a text.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}
  [[nodiscard]] bool done() const { return text_.empty(); }
  bool eat(char c) {
    if (text_.empty() || text_[0] != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool eat(std::string_view word) {
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }
  // min to max digits.
  std::optional<int64_t> number(size_t min, size_t max) {
    size_t count = 0;
    int64_t value = 0;
    while (count < text_.size() && count < max && is_digit(text_[count])) value = value * 10 + (text_[count++] - '0');
    if (count < min) return std::nullopt;
    text_.remove_prefix(count);
    return value;
  }
  [[nodiscard]] std::string_view rest() const { return text_; }

 private:
  std::string_view text_;
};

std::optional<Civil> read_date(Cursor& cursor) {
  const auto year = cursor.number(4, 6);
  if (!year || !cursor.eat('-')) return std::nullopt;
  const auto month = cursor.number(2, 2);
  if (!month || *month < 1 || *month > 12 || !cursor.eat('-')) return std::nullopt;
  const auto day = cursor.number(2, 2);
  if (!day || *day < 1 || *day > 31) return std::nullopt;
  return Civil{.year = *year, .month = static_cast<int>(*month), .day = static_cast<int>(*day)};
}

std::optional<int64_t> read_time(Cursor& cursor) {
  const auto hour = cursor.number(2, 2);
  if (!hour || !cursor.eat(':')) return std::nullopt;
  const auto minute = cursor.number(2, 2);
  if (!minute || !cursor.eat(':')) return std::nullopt;
  const auto second = cursor.number(2, 2);
  if (!second) return std::nullopt;
  int64_t time = ((*hour * 60 + *minute) * 60 + *second) * kSecond;
  if (!cursor.eat('.')) return time;
  const size_t before = cursor.rest().size();
  const auto fraction = cursor.number(1, 6);
  if (!fraction) return std::nullopt;
  int64_t unit = kSecond;
  for (size_t i = cursor.rest().size(); i < before; ++i) unit /= 10;
  return time + *fraction * unit;
}

// "+02", "-03:30", "+00:19:32": microseconds east.
std::optional<int64_t> read_zone(Cursor& cursor) {
  const bool west = cursor.rest().starts_with('-');
  if (!cursor.eat('+') && !cursor.eat('-')) return std::nullopt;
  int64_t seconds = 0;
  const auto hour = cursor.number(2, 2);
  if (!hour) return std::nullopt;
  seconds = *hour * 3600;
  if (cursor.eat(':')) seconds += cursor.number(2, 2).value_or(0) * 60;
  if (cursor.eat(':')) seconds += cursor.number(2, 2).value_or(0);
  return (west ? -seconds : seconds) * kSecond;
}

void append_number(std::string& out, int64_t value, size_t digits) {
  std::array<char, 20> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  const auto used = static_cast<size_t>(end - text.data());
  if (used < digits) out.append(digits - used, '0');
  out.append(text.data(), used);
}
// Whether the year is one before Christ, which is said at the very end.
bool append_date(std::string& out, int64_t days) {
  const Civil civil = civil_of(days);
  append_number(out, civil.year > 0 ? civil.year : 1 - civil.year, 4);
  out.push_back('-');
  append_number(out, civil.month, 2);
  out.push_back('-');
  append_number(out, civil.day, 2);
  return civil.year <= 0;
}
void append_time(std::string& out, int64_t time) {
  append_number(out, time / kHour, 2);
  out.push_back(':');
  append_number(out, time / (60 * kSecond) % 60, 2);
  out.push_back(':');
  append_number(out, time / kSecond % 60, 2);
  if (time % kSecond == 0) return;
  out.push_back('.');
  append_number(out, time % kSecond, 6);
  while (out.back() == '0') out.pop_back();
}

bool mask_iso_date(const Act& act, std::string_view value, std::string& out) {
  Cursor cursor(value);
  auto civil = read_date(cursor);
  if (!civil) return false;
  if (cursor.eat(" BC")) civil->year = 1 - civil->year;
  if (!cursor.done()) return false;
  if (append_date(out, masked_days(act, days_of(*civil)))) out += " BC";
  return true;
}

bool mask_iso_timestamp(const Act& act, bool zoned, std::string_view value, std::string& out) {
  Cursor cursor(value);
  auto civil = read_date(cursor);
  if (!civil || (!cursor.eat(' ') && !cursor.eat('T'))) return false;
  const auto time = read_time(cursor);
  if (!time) return false;
  const std::string_view zone = cursor.rest();
  int64_t east = 0;
  size_t zone_size = 0;
  if (zoned) {
    const auto read = read_zone(cursor);
    if (!read) return false;
    east = *read;
    zone_size = zone.size() - cursor.rest().size();
  }
  if (cursor.eat(" BC")) civil->year = 1 - civil->year;
  if (!cursor.done()) return false;
  const int64_t local = days_of(*civil) * kDay + *time;
  // What people see is cut where they see it; what is hashed is the moment itself.
  const bool by_moment = act.method == Method::kHash || act.method == Method::kTokenise;
  const int64_t masked = by_moment ? mask_timestamp(act, local - east) + east : mask_timestamp(act, local);
  const int64_t day = floor_to(masked, kDay);
  const bool before_christ = append_date(out, day / kDay);
  out.push_back(' ');
  append_time(out, masked - day);
  out += zone.substr(0, zone_size);
  if (before_christ) out += " BC";
  return true;
}

bool mask_iso_time(const Act& act, bool zoned, std::string_view value, std::string& out) {
  Cursor cursor(value);
  const auto time = read_time(cursor);
  if (!time) return false;
  const std::string_view zone = cursor.rest();
  if (zoned && !read_zone(cursor)) return false;
  if (!cursor.done()) return false;
  append_time(out, mask_time(act, *time));
  if (zoned) out += zone;
  return true;
}

// The longest that the server writes: a weekday, a date, a time with a fraction, a zone, BC. Abbreviations of zones.
constexpr size_t kStyledMax = 64, kZoneMax = 6;

// Whether `names`, of three letters each, have this one.
bool is_one_of(std::string_view names, std::string_view word) {
  const size_t at = names.find(word);
  return at != std::string_view::npos && at % 3 == 0;
}

// 17/12/1997, 17.12.1997 07:37:16.5 PST, Wed Dec 17 07:37:16 1997 PST: the first of January stands wherever a day and
// a month do, so it does not matter which is which.
bool mask_styled(const Act& act, std::string_view value, std::string& out) {
  const bool shows_year = act.method == Method::kPartial || act.method == Method::kBucket;
  bool in_time = false;
  size_t words = 0;
  if (value.size() > kStyledMax) return false;
  for (size_t at = 0; at < value.size();) {
    size_t end = at;
    if (is_digit(value[at])) {
      while (end < value.size() && is_digit(value[end])) ++end;
      const bool starts_time = end < value.size() && value[end] == ':';
      const bool ends_time = at > 0 && (value[at - 1] == ':' || (value[at - 1] == '.' && in_time));
      const bool in_zone = at > 0 && (value[at - 1] == '+' || (value[at - 1] == '-' && in_time));
      in_time = in_time || starts_time;
      if (in_zone) {
        out += value.substr(at, end - at);
      } else if (starts_time || ends_time) {
        out.append(end - at, '0');
      } else if (end - at >= 4) {
        shows_year ? out += value.substr(at, end - at) : out += "2000";
      } else {
        out += "01";
      }
    } else if (is_letter(value[at])) {
      while (end < value.size() && is_letter(value[end])) ++end;
      const std::string_view word = value.substr(at, end - at);
      static constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
      static constexpr std::string_view kWeekdays = "SunMonTueWedThuFriSat";
      const bool is_name = word.size() == 3 && words < 2;
      if (is_name && is_one_of(kMonths, word)) {
        out += "Jan";
      } else if (is_name && is_one_of(kWeekdays, word)) {
        out += "Sat";
      } else {
        if (word.size() > kZoneMax) return false;
        out += word;  // a zone's name, BC
      }
      ++words;
    } else {
      if (std::string_view{" .:/+-,"}.find(value[at]) == std::string_view::npos) return false;
      out.push_back(value[end++]);
    }
    at = end;
  }
  return words <= 5;
}

}  // namespace

int32_t mask_date(const Act& act, int32_t days) {
  if (days == INT32_MAX || days == INT32_MIN) return 0;  // infinity
  return static_cast<int32_t>(masked_days(act, days));
}

int64_t mask_timestamp(const Act& act, int64_t microseconds) {
  if (microseconds == INT64_MAX || microseconds == INT64_MIN) return 0;  // infinity
  if (act.method == Method::kHash || act.method == Method::kTokenise) {
    if (act.method == Method::kTokenise) act.count_fallback();
    if (act.key == nullptr) return 0;
    const uint64_t seconds = hashed(act, Domain::kTimestamp, microseconds) % (uint64_t{kHashedDays} * 86'400);
    return kFirstDay * kDay + static_cast<int64_t>(seconds) * kSecond;
  }
  return masked_days(act, floor_to(microseconds, kDay) / kDay) * kDay;
}

int64_t mask_time(const Act& act, int64_t microseconds) {
  switch (act.method) {
    case Method::kPartial:
    case Method::kBucket:
      return std::min(floor_to(microseconds, kHour), 23 * kHour);
    case Method::kTokenise:
      act.count_fallback();
      [[fallthrough]];
    case Method::kHash:
      if (act.key == nullptr) return 0;
      return static_cast<int64_t>(hashed(act, Domain::kTime, microseconds) % 86'400) * kSecond;
    case Method::kRedact:
    case Method::kNull:
      return 0;
  }
  return 0;
}

bool mask_time_text(const Act& act, Kind kind, std::string_view value, std::string& out) {
  const size_t begin = out.size();
  bool done = false;
  switch (kind) {
    case Kind::kDate:
      done = mask_iso_date(act, value, out);
      break;
    case Kind::kTimestamp:
    case Kind::kTimestampTz:
      done = mask_iso_timestamp(act, kind == Kind::kTimestampTz, value, out);
      break;
    case Kind::kTime:
    case Kind::kTimeTz:
      done = mask_iso_time(act, kind == Kind::kTimeTz, value, out);
      break;
    default:  // kInterval, by its IntervalStyle
      out += value.starts_with('P') ? "PT0S" : value.starts_with('@') ? "@ 0" : "00:00:00";
      return true;
  }
  if (done) return true;
  out.resize(begin);
  if (kind == Kind::kTime || kind == Kind::kTimeTz) {
    out += kind == Kind::kTime ? "00:00:00" : "00:00:00+00";
  } else if (value.find("infinity") != std::string_view::npos) {
    out += kind == Kind::kDate        ? "2000-01-01"
           : kind == Kind::kTimestamp ? "2000-01-01 00:00:00"
                                      : "2000-01-01 00:00:00+00";
  } else {
    return mask_styled(act, value, out);
  }
  return true;
}

}  // namespace gatehouse::mask
