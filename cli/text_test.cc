// SPDX-License-Identifier: Apache-2.0
// Text to terminal and to JSON: hostile input, widths, people's numbers and times.
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

#include "cli/human.h"
#include "cli/safe_text.h"
#include "cli/when.h"
#include "common/utf8.h"

namespace gatehouse::cli {
namespace {

struct SafeCase {
  std::string_view text;
  std::string_view want;
};

using namespace std::string_view_literals;

const SafeCase kSafe[] = {
    {"", ""},
    {"SELECT 1", "SELECT 1"},
    {"  SELECT\n\t 1\r\n ", "SELECT 1"},
    {"\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"},
    {"\x1b]0;owned\x07", "\\x1b]0;owned\\x07"},
    {"a\0b"sv, "a\\x00b"},
    {"back\x08\x7f", "back\\x08\\x7f"},
    {"\xc2\x9b"
     "31m",
     "\\u{009b}31m"},  // C1 CSI as UTF-8
    {"\x9b"
     "31m",
     "\\x9b31m"},                                          // and as a byte
    {"x\xe2\x80\xaetxt", "x\\u{202e}txt"},                 // right-to-left override
    {"\xe2\x81\xa6x\xe2\x81\xa9", "\\u{2066}x\\u{2069}"},  // isolates
    {"a\xe2\x80\x8b"
     "b",
     "a\\u{200b}b"},  // zero width space
    {"a\xe2\x80\xa8"
     "b",
     "a\\u{2028}b"},  // line separator
    {"\xef\xbb\xbfx", "\\u{feff}x"},
    {"\xf3\xa0\x81\x81", "\\u{e0041}"},  // tag character
    {"caf\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x98\x80", "café 日本 😀"},
    {"caf\xe9", "caf\\xe9"},     // Latin-1
    {"\xe6\x97", "\\xe6\\x97"},  // cut in the middle
    {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
    {"\xf0\x9f\x98", "\\xf0\\x9f\\x98"},
};

TEST(SafeText, NothingReachesTheTerminalButPrintableText) {
  for (const SafeCase& c : kSafe) EXPECT_EQ(safe(c.text), c.want);
}

// Every pair of bytes, alone and before text: the result is UTF-8 without a control byte.
TEST(SafeText, NoControlBytePassesWhateverStandsAroundIt) {
  for (unsigned a = 0; a < 256; ++a) {
    for (unsigned b = 0; b < 256; ++b) {
      std::string text = {static_cast<char>(a), static_cast<char>(b), 'x'};
      const std::string out = safe(text);
      ASSERT_TRUE(is_valid_utf8(out));
      for (const char c : out) ASSERT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F);
      ASSERT_EQ(out.find("\xc2\x9b"), std::string::npos);
    }
  }
}

TEST(SafeText, JsonStrings) {
  const SafeCase cases[] = {
      {"", R"("")"},
      {"a\"b\\c\n\t\r", R"("a\"b\\c\n\t\r")"},
      {"\x1b[0m\0"sv, R"("\u001b[0m\u0000")"},
      {"\x7f", R"("\u007f")"},
      {"\xc2\x9b\xe2\x80\xae", R"("\u009b\u202e")"},
      {"\xf3\xa0\x81\x81", R"("\udb40\udc41")"},
      {"日本 😀", R"("日本 😀")"},
      {"caf\xe9", R"("caf\ufffd")"},
  };
  for (const SafeCase& c : cases) {
    std::string out;
    append_json_string(out, c.text);
    EXPECT_EQ(out, c.want);
  }
}

TEST(SafeText, WidthsAndCuts) {
  EXPECT_EQ(display_width("abc"), 3U);
  EXPECT_EQ(display_width("日本"), 4U);
  EXPECT_EQ(display_width("e\xcc\x81"), 1U);  // combining acute
  EXPECT_EQ(display_width("😀"), 2U);
  struct Case {
    std::string_view text;
    size_t width;
    std::string_view want;
  };
  const Case cases[] = {
      {"abc", 3, "abc"},
      {"abcd", 3, "ab…"},
      {"abc", 1, "…"},
      {"abc", 0, ""},
      {"", 0, ""},
      {"日本語", 6, "日本語"},
      {"日本語", 5, "日本…"},
      {"日本語", 4, "日…"},
      {"日本語", 3, "日…"},
      {"日本語", 2, "…"},
      {"e\xcc\x81x", 2, "e\xcc\x81x"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(cut_to_width(c.text, c.width), c.want) << c.text << " " << c.width;
    EXPECT_LE(display_width(cut_to_width(c.text, c.width)), c.width);
  }
}

TEST(Human, Numbers) {
  EXPECT_EQ(human_duration(0), "0 ns");
  EXPECT_EQ(human_duration(812), "812 ns");
  EXPECT_EQ(human_duration(15'300), "15.3 µs");
  EXPECT_EQ(human_duration(999'400), "999 µs");
  EXPECT_EQ(human_duration(999'600), "1.00 ms");
  EXPECT_EQ(human_duration(4'210'000), "4.21 ms");
  EXPECT_EQ(human_duration(1'530'000'000), "1.53 s");
  EXPECT_EQ(human_duration(123'000'000'000), "2 m 03 s");
  EXPECT_EQ(human_duration(3'723'000'000'000), "1 h 02 m");
  EXPECT_EQ(human_duration(273'600'000'000'000), "3 d 04 h");
  EXPECT_EQ(human_bytes(812), "812 B");
  EXPECT_EQ(human_bytes(15'667), "15.3 KiB");
  EXPECT_EQ(human_bytes(1U << 20), "1.00 MiB");
  EXPECT_EQ(human_count(0), "0");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(1'234'567), "1 234 567");
  constexpr uint64_t kNow = 1'795'568'523'000'000'000;
  EXPECT_EQ(human_ago(0, kNow), "never");
  EXPECT_EQ(human_ago(kNow + 5, kNow), "now");
  EXPECT_EQ(human_ago(kNow - 3'000'000'000, kNow), "3 s ago");
  EXPECT_EQ(human_ago(kNow - 7'200'000'000'000, kNow), "2 h ago");
}

class When : public testing::Test {
 protected:
  void SetUp() override {
    setenv("TZ", "Europe/Berlin", 1);
    tzset();
  }
  void TearDown() override {
    unsetenv("TZ");
    tzset();
  }
};

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kNow = 1'795'568'523 * kSecond;  // 2026-11-25 01:02:03 UTC, 02:02:03 in Berlin

TEST_F(When, UnderstandsWhatPeopleWrite) {
  struct Case {
    std::string_view text;
    uint64_t want;
  };
  constexpr uint64_t kMidnight = 1'795'561'200 * kSecond;  // 2026-11-25 00:00 in Berlin
  const Case cases[] = {
      {"now", kNow},
      {"1h", kNow - 3600 * kSecond},
      {"90s", kNow - 90 * kSecond},
      {"1.5h", kNow - 5400 * kSecond},
      {"2d", kNow - 172'800 * kSecond},
      {"1d12h", kNow - 129'600 * kSecond},
      {"now-5m", kNow - 300 * kSecond},
      {"5m", kNow - 300 * kSecond},
      {"5min", kNow - 300 * kSecond},
      {"now-5min", kNow - 300 * kSecond},
      {"1d2h5min30s", kNow - (86'400 + 7200 + 330) * kSecond},
      {"1h5min", kNow - 3900 * kSecond},
      {"500ms", kNow - kSecond / 2},
      {"5min500ms", kNow - 300 * kSecond - kSecond / 2},
      {"today", kMidnight},
      {"yesterday", kMidnight - 86'400 * kSecond},
      {"2026-11-25", kMidnight},
      {"00:30", kMidnight + 1800 * kSecond},
      {"00:30:01.5", kMidnight + 1801 * kSecond + kSecond / 2},
      {"2026-11-25 00:30", kMidnight + 1800 * kSecond},
      {"2026-11-25T00:30:01", kMidnight + 1801 * kSecond},
      {"2026-11-25T01:02:03Z", kNow},
      {"2026-11-25T02:02:03+01:00", kNow},
      {"2026-07-01 12:00", 1'782'900'000 * kSecond},  // summer time
  };
  for (const Case& c : cases) {
    const auto when = parse_when(c.text, kNow);
    ASSERT_TRUE(when) << c.text;
    EXPECT_EQ(*when, c.want) << c.text;
  }
}

TEST_F(When, SaysWhatCanBeWritten) {
  for (const std::string_view text :
       {"", "soon", "5", "-5m", "now+5m", "25:00", "2026-13-01", "2026-11-25T", "d", "1dx", "99999999999999999d",
        "now-", "2026-11-25 00:30:00 CET", "99999999h", "min", "5mins", "5minn", "5minmin"}) {
    const auto when = parse_when(text, kNow);
    ASSERT_FALSE(when) << text;
    EXPECT_NE(when.error().find("now-5m"), std::string_view::npos);
  }
}

TEST_F(When, LocalTimestampsHaveMilliseconds) {
  EXPECT_EQ(local_timestamp(kNow + 7'000'000), "2026-11-25 02:02:03.007");
  EXPECT_EQ(local_timestamp(0), "");
}

}  // namespace
}  // namespace gatehouse::cli
