// SPDX-License-Identifier: Apache-2.0
#include "common/utf8.h"

#include <gtest/gtest.h>

namespace gatehouse {
namespace {

struct Case {
  std::string_view in, want;
};
// The rows of RFC 3629 section 4 (syntax) and Unicode table 3-7 (well-formed sequences), with their neighbours.
constexpr Case kCases[] = {
    {"", ""},
    {"SELECT 'plain ascii, longer than a word'", "SELECT 'plain ascii, longer than a word'"},
    {"\xC3\xA9", "\xC3\xA9"},
    {"\xC1\xA9", "\\xc1\\xa9"},           // overlong
    {"\xE0\x9F\xBF", "\\xe0\\x9f\\xbf"},  // overlong
    {"\xE0\xA0\x80", "\xE0\xA0\x80"},
    {"\xED\xA0\x80", "\\xed\\xa0\\x80"},  // surrogate
    {"\xED\x9F\xBF", "\xED\x9F\xBF"},
    {"\xF0\x8F\xBF\xBF", "\\xf0\\x8f\\xbf\\xbf"},  // overlong
    {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
    {"\xF4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},  // above U+10FFFF
    {"\xF5\x80\x80\x80", "\\xf5\\x80\\x80\\x80"},
    {"abcdefgh\xFFijklmnop", "abcdefgh\\xffijklmnop"},
    {"cut \xE2\x82", "cut \\xe2\\x82"},
    {"\x80", "\\x80"},
};

TEST(Utf8, EscapesExactlyWhatIsNotUtf8) {
  for (const Case& c : kCases) {
    std::string scratch;
    EXPECT_EQ(as_utf8(c.in, scratch), c.want);
    EXPECT_EQ(is_valid_utf8(c.in), c.in == c.want) << c.want;
    EXPECT_TRUE(is_valid_utf8(as_utf8(c.in, scratch)));
  }
}

}  // namespace
}  // namespace gatehouse
