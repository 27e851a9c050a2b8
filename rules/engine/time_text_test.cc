// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/time_text.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

namespace gatehouse::rules {
namespace {

std::string printed(Instant time) {
  std::array<char, kInstantBytesMax> text{};
  return {text.data(), write_instant(text, time)};
}

// Seconds from `date -u -d TEXT +%s`.
struct Case {
  std::string_view text;
  int64_t seconds;
  uint32_t ns;
  std::string_view want;  // printed; empty: as it was written
};
constexpr Case kInstants[] = {
    {"1970-01-01T00:00:00Z", 0, 0, ""},
    {"0001-01-01T00:00:00Z", -62135596800, 0, ""},
    {"9999-12-31T23:59:59.999999999Z", 253402300799, 999999999, ""},
    {"1969-12-31T23:59:59.500Z", -1, 500000000, ""},
    {"2009-02-13T23:31:30Z", 1234567890, 0, ""},
    {"2026-11-25T01:02:03.25+01:00", 1795564923, 250000000, "2026-11-25T00:02:03.250Z"},
    {"2024-02-29T12:00:00.000001Z", 1709208000, 1000, ""},
};

TEST(TimeText, InstantsAreReadAndPrinted) {
  for (const Case& c : kInstants) {
    const auto time = parse_instant(c.text);
    ASSERT_TRUE(time) << c.text;
    EXPECT_EQ(time->seconds, c.seconds) << c.text;
    EXPECT_EQ(time->ns, c.ns) << c.text;
    EXPECT_EQ(printed(*time), c.want.empty() ? c.text : c.want);
  }
}

TEST(TimeText, WhatIsNoInstantIsRefused) {
  for (const std::string_view text :
       {"", "2026-11-25", "2026-11-25T01:02:03", "2026-13-01T00:00:00Z", "2023-02-29T00:00:00Z", "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "10000-01-01T00:00:00Z", "2026-11-25T24:00:00Z",
        "2026-11-25T01:02:03.1234567890Z", "2026-11-25T01:02:03.Z", "2026-11-25T01:02:03Zulu"})
    EXPECT_FALSE(parse_instant(text)) << text;
}

TEST(TimeText, ShiftingAndMeasuringAgree) {
  const Instant times[] = {{-62135596800, 0}, {-1, 999999999}, {0, 0}, {1795564923, 250000000}, {253402300799, 0}};
  const int64_t moves[] = {0, 1, -1, 999'999'999, -999'999'999, 1'000'000'000, 86'400'000'000'001, -86'400'000'000'001};
  for (const Instant& time : times) {
    for (const int64_t ns : moves) {
      const auto moved = shift(time, ns);
      if (!moved) continue;
      EXPECT_EQ(between(time, *moved), ns);
      EXPECT_EQ(shift(*moved, -ns), time);
      EXPECT_EQ(*moved > time, ns > 0);
    }
  }
  EXPECT_FALSE(shift({-62135596800, 0}, -1));
  EXPECT_FALSE(shift({253402300799, 999999999}, 1));
  EXPECT_FALSE(between({-62135596800, 0}, {253402300799, 0}));
}

TEST(TimeText, DurationsMayHaveASign) {
  EXPECT_EQ(parse_signed_duration("-1.5s"), -1'500'000'000);
  EXPECT_EQ(parse_signed_duration("+1h30m"), 5'400'000'000'000);
  EXPECT_EQ(parse_signed_duration("-0"), 0);
  EXPECT_EQ(parse_signed_duration("9223372036854775807ns"), std::numeric_limits<int64_t>::max());
  for (const std::string_view text : {"", "-", "--1s", "1s-", "9223372036854775808ns", "1x", "1"})
    EXPECT_FALSE(parse_signed_duration(text)) << text;
}

}  // namespace
}  // namespace gatehouse::rules
