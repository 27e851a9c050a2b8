// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/encoding.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace gatehouse::sql {
namespace {

using Encoding = LexicalState::Encoding;

TEST(SqlEncoding, States) {
  EXPECT_EQ(lexical_state("UTF8", true), LexicalState{});
  EXPECT_EQ(lexical_state("LATIN1", true).encoding, Encoding::kAsciiSafe);
  EXPECT_EQ(lexical_state("SQL_ASCII", true).encoding, Encoding::kAsciiSafe);
  EXPECT_EQ(lexical_state("SJIS", false).encoding, Encoding::kAsciiUnsafe);
  EXPECT_FALSE(lexical_state("SJIS", false).mode.standard_conforming_strings);
}

TEST(SqlEncoding, Utf8) {
  for (const std::string_view text : {"", "abcdefgh\x7f", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                      "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf", "\xef\xbf\xbf"})
    EXPECT_EQ(text_encoding(text, Encoding::kUtf8), TextEncoding::kUtf8) << text;
  for (const std::string_view text :
       {"\x80", "\xc1\x81", "\xc3", "abc\xc3(", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80",
        "\xf8\x88\x80\x80\x80", "\xff", "0123456\xe9"})
    EXPECT_EQ(text_encoding(text, Encoding::kUtf8), TextEncoding::kBroken) << text;
  EXPECT_EQ(text_encoding(std::string_view("a\0b", 3), Encoding::kUtf8), TextEncoding::kBroken);
  EXPECT_EQ(text_encoding("\xff", Encoding::kAsciiSafe), TextEncoding::kOther);
  EXPECT_EQ(text_encoding("abc", Encoding::kAsciiUnsafe), TextEncoding::kUtf8);
}

TEST(SqlEncoding, Masks) {
  std::string out;
  ASSERT_TRUE(mask_later_bytes("a\x95\\'\xb1'", Charset::kShiftJis, out));
  EXPECT_EQ(out, "a\x95\xdc'\xb1'");
  ASSERT_TRUE(mask_later_bytes("\x81\x30\x81\x30;", Charset::kGb18030, out));
  EXPECT_EQ(out, "\x81\xb0\x81\xb0;");
  out = "SELECT E'\\\xb1\xdc', \xe9, $\xe9$\xe9$\xe9$, \"\xe9\"";
  mask_literals({}, out);
  EXPECT_EQ(out, "SELECT E'\\?\?', \xe9, $\xe9$\xe9$\xe9$, \"\xe9\"");
  EXPECT_FALSE(mask_later_bytes("a\x95", Charset::kShiftJis, out));
  EXPECT_FALSE(mask_later_bytes("a\x81\x30\x81", Charset::kGb18030, out));
}

}  // namespace
}  // namespace gatehouse::sql
