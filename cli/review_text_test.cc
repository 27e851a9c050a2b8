// SPDX-License-Identifier: Apache-2.0
#include "cli/review_text.h"

#include <gtest/gtest.h>

#include <string>

namespace gatehouse::cli {
namespace {

struct Case {
  std::string text, want;
  size_t escaped = 0, lookalikes = 0;
};

TEST(ReviewText, ShowsWhatRunsAndNothingElse) {
  const Case cases[] = {
      {"SELECT 1", "   1  SELECT 1\n"},
      // What stands behind a comment's line runs.
      {"SELECT 1 -- harmless\n; DROP TABLE t", "   1  SELECT 1 -- harmless\n   2  ; DROP TABLE t\n"},
      {"SELECT 1 -- x\r\nFROM t", "   1  SELECT 1 -- x\n   2  FROM t\n"},
      // A terminal would write the second over the first.
      {"DROP TABLE t --\rSELECT 1", "   1  DROP TABLE t --\\x0dSELECT 1\n", 1},
      {"SELECT '\x1b[2K\x1b[1A'", "   1  SELECT '\\x1b[2K\\x1b[1A'\n", 2},
      {"SELECT '\x00'", "   1  SELECT '\n"},  // the literal ends at its NUL, as the server's text does
      {"a\x7f\x80z", "   1  a\\x7f\\x80z\n", 2},
      // Right to left: reads as another statement.
      {"SELECT '\xe2\x80\xae' -- x", "   1  SELECT '\\u{202e}' -- x\n", 1},
      {"us\xe2\x80\x8b"
       "ers",
       "   1  us\\u{200b}ers\n", 1},
      // Cyrillic among Latin.
      {"DELETE FROM us\xd0\xb5rs", "   1  DELETE FROM us\\u{0435}rs\n", 0, 1},
      // A word of nothing but what looks Latin; and one that is Russian.
      {"FROM \xd1\x80\xd0\xb0\xd1\x83", "   1  FROM \\u{0440}\\u{0430}\\u{0443}\n", 0, 3},
      {"'\xd0\xb6\xd1\x83\xd0\xba'", "   1  '\xd0\xb6\xd1\x83\xd0\xba'\n"},
      {"'caf\xc3\xa9', '\xe6\x97\xa5\xe6\x9c\xac'", "   1  'caf\xc3\xa9', '\xe6\x97\xa5\xe6\x9c\xac'\n"},
      // Greek question mark, full-width apostrophe, no-break space.
      {"SELECT 1\xcd\xbe", "   1  SELECT 1\\u{037e}\n", 0, 1},
      {"\xef\xbc\x87x", "   1  \\u{ff07}x\n", 0, 1},
      {"a\xc2\xa0"
       "b",
       "   1  a\\u{00a0}b\n", 0, 1},
      {"\tx", "   1      x\n"},
      {"a  b", "   1  a  b\n"},
  };
  for (const Case& c : cases) {
    const ReviewText review = review_text(c.text, 0);
    EXPECT_EQ(review.text, c.want) << c.text;
    EXPECT_EQ(review.escaped, c.escaped) << c.text;
    EXPECT_EQ(review.lookalikes, c.lookalikes) << c.text;
    EXPECT_EQ(review.lines_left_out, 0U);
  }
}

// Whatever the text, what is shown is printable, and whole without a limit.
TEST(ReviewText, NothingReachesTheTerminal) {
  std::string every;
  for (int byte = 0; byte < 256; ++byte) every += static_cast<char>(byte);
  const std::string shown = review_text(every, 0).text;
  for (const char c : shown) EXPECT_TRUE(c == '\n' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f)) << int{c};
}

TEST(ReviewText, WhatIsLeftOutIsCountedAndAtTheEnd) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "SELECT " + std::to_string(i) + ";\n";
  const ReviewText review = review_text(text, 50);
  EXPECT_EQ(review.text.substr(0, 16), "   1  SELECT 0;\n");
  EXPECT_GT(review.lines_left_out, 90U);
  EXPECT_GE(review.bytes_left_out, text.size() - 60);
  EXPECT_LE(review.bytes_left_out, text.size() - 40);
  EXPECT_EQ(review.lines, 101U);
  // One long line is cut between characters, and marked.
  const ReviewText line = review_text(std::string(30, 'x') + "\xc3\xa9" + std::string(30, 'y'), 31);
  EXPECT_EQ(line.text, "   1  " + std::string(30, 'x') + " \u2026\n");
  EXPECT_EQ(line.bytes_left_out, 32U);
  EXPECT_EQ(line.lines_left_out, 1U);
  // Every limit: the shown and the left out are the whole.
  for (size_t limit = 1; limit < 120; ++limit) {
    const ReviewText each = review_text("ab\ncdefgh\n\nij", limit);
    EXPECT_LE(each.bytes_left_out, 13U);
    EXPECT_EQ(each.lines_left_out == 0, each.bytes_left_out == 0) << limit;
  }
}

}  // namespace
}  // namespace gatehouse::cli
