// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/lexer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace gatehouse::sql {
namespace {

constexpr LexicalMode kStandard{};
constexpr LexicalMode kEscaping{.standard_conforming_strings = false};

// Tokens as "kind:text", one space between: w word, q quoted identifier, s string, n number, o other, ! broken;
// ; ( ) stand for themselves.
std::string transcript(std::string_view text, LexicalMode mode) {
  constexpr std::string_view kLetters = "$wqsn;()o!";
  Lexer lexer{text, mode};
  std::string out;
  for (Token token = lexer.next(); token.kind != Token::Kind::kEnd; token = lexer.next()) {
    EXPECT_EQ(token.text, text.substr(token.offset, token.text.size())) << text;
    if (!out.empty()) out += ' ';
    const char letter = kLetters[static_cast<size_t>(token.kind)];
    out += letter;
    if (letter != ';' && letter != '(' && letter != ')') out += ":" + std::string(token.text);
  }
  EXPECT_EQ(lexer.offset(), text.size()) << text;
  return out;
}

struct Case {
  std::string_view text, want;
};

TEST(SqlLexer, Standard) {
  constexpr Case kCases[] = {
      {"", ""},
      {" \t\r\n\f", ""},
      {"SELECT a1, _b", "w:SELECT w:a1 o:, w:_b"},
      {"a$b$c ;", "w:a$b$c ;"},
      {"f(x[1])", "w:f ( w:x ( n:1 ) )"},
      {"1.5e", "n:1.5 w:e"},
      {"$1 + $23", "n:$1 o:+ n:$23"},
      // Comments.
      {"a -- ; b\nc", "w:a w:c"},
      {"a -- ; b\rc", "w:a w:c"},
      {"a --", "w:a"},
      {"a /* ; */ b", "w:a w:b"},
      {"/* a /* b */ ; */ c", "w:c"},
      {"/*/ ; */ c", "w:c"},
      {"/***/ c", "w:c"},
      {"a /* b /* c */", "w:a !: /* b /* c */"},
      {"a+--b\n c", "w:a o:+ w:c"},
      {"a/b*c-d", "w:a o:/ w:b o:* w:c o:- w:d"},
      // Literals.
      {"'a''b'", "s:'a''b'"},
      {R"('a\' b)", R"(s:'a\' w:b)"},
      {R"(E'a\'b' c)", R"(s:E'a\'b' w:c)"},
      {R"(e'\\' c)", R"(s:e'\\' w:c)"},
      {R"(E'a''b\\')", R"(s:E'a''b\\')"},
      {R"(n'a\' b)", R"(s:n'a\' w:b)"},
      {R"(U&'d\0061' b)", R"(s:U&'d\0061' w:b)"},
      {R"(U&"d""x" b)", R"(q:U&"d""x" w:b)"},
      {"u & 'a'", "w:u o:& s:'a'"},
      {"B'01' X'ff'", "s:B'01' s:X'ff'"},
      {"ae'x'", "w:ae s:'x'"},
      {"1e'x'", "n:1 s:e'x'"},
      {"'a", "!:'a"},
      {"x 'a''", "w:x !:'a''"},
      {R"(E'\')", R"(!:E'\')"},
      {R"(E'\)", R"(!:E'\)"},
      {R"("a;""b" c)", R"(q:"a;""b" w:c)"},
      {R"("a)", R"(!:"a)"},
      // A literal goes on after a line end, in the way it began.
      {"'a'\n'b'", "s:'a'\n'b'"},
      {"'a' 'b'", "s:'a' s:'b'"},
      {"'a' -- c\n 'b'", "s:'a' -- c\n 'b'"},
      {"'a' -- c\n b", "s:'a' w:b"},
      {"'a'\n/* c */'b'", "s:'a' s:'b'"},
      {"E'a'\n'\\'b' c", "s:E'a'\n'\\'b' w:c"},
      // Dollar quotes.
      {"$$a;'b$$ c", "s:$$a;'b$$ w:c"},
      {"$t$ $$ $T$ $t$ c", "s:$t$ $$ $T$ $t$ w:c"},
      {"$a$b$c$a$", "s:$a$b$c$a$"},
      {"$b$ $a$b$ c", "s:$b$ $a$b$ w:c"},
      {"$\xc3\xa9$;$\xc3\xa9$", "s:$\xc3\xa9$;$\xc3\xa9$"},
      {"$t$a", "!:$t$a"},
      {"$1$$a$$", "n:$1 s:$$a$$"},
      {"a$$b$$", "w:a$$b$$"},
      {"$a b", "n:$ w:a w:b"},
  };
  for (const Case& c : kCases) EXPECT_EQ(transcript(c.text, kStandard), c.want) << c.text;
}

TEST(SqlLexer, WithoutStandardConformingStrings) {
  constexpr Case kCases[] = {
      {R"('a\'b' c)", R"(s:'a\'b' w:c)"}, {R"(n'a\'b' c)", R"(s:n'a\'b' w:c)"},   {R"(E'a\'b' c)", R"(s:E'a\'b' w:c)"},
      {R"(x'\' c)", R"(s:x'\' w:c)"},     {R"("a\" c)", R"(q:"a\" w:c)"},         {R"($$\$$ c)", R"(s:$$\$$ w:c)"},
      {"U&'a'; b", "!:U&'a'; b"},         {"'a'\n'\\'b' c", "s:'a'\n'\\'b' w:c"},
  };
  for (const Case& c : kCases) EXPECT_EQ(transcript(c.text, kEscaping), c.want) << c.text;
}

// The second byte looks like a backslash (5c), a bar (7c) or a letter; the same bytes in UTF-8 would mean otherwise.
TEST(SqlLexer, LaterBytesAreNotAscii) {
  struct CharsetCase {
    std::string_view encoding, text, want;
  };
  constexpr CharsetCase kCases[] = {
      {"SJIS", "E'\x83\\' c", "s:E'\x83\\' w:c"},
      {"SJIS", "E'\xb1\\' c' d", "s:E'\xb1\\' c' w:d"},  // a half-width letter stands alone
      {"SHIFT_JIS_2004", "E'\x95\\' c", "s:E'\x95\\' w:c"},
      {"BIG5", "E'\xa5\\' c", "s:E'\xa5\\' w:c"},
      {"GBK", "E'\xb1\\' c", "s:E'\xb1\\' w:c"},
      {"UHC", "E'\xb1\x5a' c", "s:E'\xb1\x5a' w:c"},
      {"GB18030", "E'\x81\x30\x81\x30\\' c' d", "s:E'\x81\x30\x81\x30\\' c' w:d"},
      {"GB18030", "E'\xb1\\' c", "s:E'\xb1\\' w:c"},
      {"UTF8", "E'\xb1\\' c' d", "s:E'\xb1\\' c' w:d"},
      {"LATIN1", "E'\xb1\\' c' d", "s:E'\xb1\\' c' w:d"},
      {"SJIS", "\x83\\\x83| c", "w:\x83\\\x83| w:c"},
      {"GBK", "$\xb1\\$;$\xb1\\$ c", "s:$\xb1\\$;$\xb1\\$ w:c"},
      {"SJIS", "$\x83|a$;$\x83|$;$\x83|a$ c", "s:$\x83|a$;$\x83|$;$\x83|a$ w:c"},
      {"GBK", "'\xb1", "!:'\xb1"},
      {"GBK", "$\xb1", "n:$ w:\xb1"},
      {"GBK", "-- \xb1\n;", ""},  // the lead byte takes the line end along, as the server's conversion refuses it
      {"SJIS", "/* \x83*/ c */ d", "w:d"},
  };
  for (const CharsetCase& c : kCases)
    EXPECT_EQ(transcript(c.text, {.charset = charset_of(c.encoding)}), c.want) << c.encoding << ' ' << c.text;
}

TEST(SqlLexer, KeyWordsIgnoreCase) {
  Lexer lexer{"SeLeCt \"select\"", kStandard};
  EXPECT_TRUE(lexer.next().is_word("select"));
  EXPECT_FALSE(lexer.next().is_word("select"));
}

// Whatever the bytes: tokens do not overlap, go forward, and the lexer comes to the end.
TEST(SqlLexer, EveryPrefixEnds) {
  const std::string text = "SELECT E'a\\'b', $t$x$t$, \"q\", U&'x', /* /* */ */ 1.5 -- c\n, 'a'\n'b', \x83\\ FROM t;";
  for (const bool standard : {true, false})
    for (const Charset charset : {Charset::kAsciiSafe, Charset::kShiftJis, Charset::kDoubleByte, Charset::kGb18030})
      for (size_t size = 0; size <= text.size(); ++size) {
        Lexer lexer{std::string_view(text).substr(0, size), {standard, charset}};
        size_t at = 0;
        for (Token token = lexer.next(); token.kind != Token::Kind::kEnd; token = lexer.next()) {
          ASSERT_GE(token.offset, at);
          ASSERT_FALSE(token.text.empty());
          at = token.offset + token.text.size();
        }
        ASSERT_LE(at, size);
      }
}

}  // namespace
}  // namespace gatehouse::sql
