// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/shape.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "agent/sql/normalized.h"

namespace gatehouse::sql {
namespace {

std::string key(std::string_view text, LexicalMode mode = {}) {
  Shape shape;
  shape.read(text, mode);
  std::string out;
  for (const char c : shape.key()) {
    if (static_cast<unsigned char>(c) < ' ')
      out += "<" + std::to_string(c) + ">";
    else
      out += c;
  }
  return shape.is_exact_only() ? "exact " + out : out;
}

struct Case {
  std::string_view text, want;
};

TEST(SqlShape, Key) {
  constexpr Case kCases[] = {
      {"", ""},
      {"SELECT a FROM T WHERE b=1", "select a from t where b=<2>"},
      {"SELECT  a -- c\nFROM/* d */t", "select a from t"},
      {"SELECT 'a''b', E'c', $$d\\$$, $x$e$x$", "select <1>, <1>, <1>, <1>"},
      {"SELECT 'a'\n'b', 'c' 'd'", "select <1>, <1> <1>"},
      {"SELECT 123456789, 1234567890, 1.5, 1., .5", "select <2>, 1234567890, <3>, 1., .5"},
      {"SELECT 1e5, 1.5e5, 12abc, 1..2, t.5", "select 1e5, 1.5e5, 12abc, 1..2, t.5"},
      {"SELECT $1, a$1", "select $1, a$1"},
      {"SELECT x'1f', B'01'", "select <5>, <4>"},
      {"SELECT N'a'", "exact select <1>"},
      {"SELECT U&'a', U&\"b\"", "exact select <1>, U&\"b\""},
      {"SELECT \"A b\", \"\"\"\"", "select \"A b\", \"\"\"\""},
      {"SELECT a<-1, a< -1, a <- 1", "select a<-<2>, a< -<2>, a <- <2>"},
      {"SELECT 1;", "select <2>;"},
      {"SELECT 1; ;", "select <2>; ;"},
      {"SELECT 1; SELECT 2", "exact select <2>; select <2>"},
      {"SELECT \x01", "exact select <1>"},
      {"SELECT 'a", "exact select 'a"},
      {"SELECT a\xc3\xa9 B", "select a\xc3\xa9 b"},
  };
  for (const Case& c : kCases) EXPECT_EQ(key(c.text), c.want) << c.text;
  EXPECT_EQ(key("SELECT 'a\\'', 1", {.standard_conforming_strings = false}), "exact select <1>, <2>");
}

TEST(SqlShape, StatementAndLiterals) {
  Shape shape;
  shape.read(" /* a */ SELECT 'x', 1.5 ; ; ", {});
  EXPECT_EQ(shape.text().substr(shape.statement().offset, shape.statement().size), "SELECT 'x', 1.5");
  ASSERT_EQ(shape.literals().size(), 2U);
  EXPECT_EQ(shape.literal_text(0), "'x'");
  EXPECT_EQ(shape.literal_text(1), "1.5");
  EXPECT_EQ(shape.literal_at(16), 0U);
  EXPECT_EQ(shape.literal_at(17), 2U);
}

TEST(SqlShape, Normalized) {
  constexpr Case kCases[] = {
      {"SELECT a,b FROM T WHERE c=1", "select a, b from t where c = ?"},
      {"select  a , b from t where c = $1 -- x", "select a, b from t where c = ?"},
      {"SELECT * FROM t WHERE a IN (1, 2,3)", "select * from t where a in (?)"},
      {"SELECT * FROM t WHERE a IN ($1, -2)", "select * from t where a in (?)"},
      {"INSERT INTO t VALUES (1,'a'), (2, 'b'),(3,'c')", "insert into t values (?)"},
      {"INSERT INTO t VALUES (1,now()), (2, now())", "insert into t values (?, now()), (?, now())"},
      {"SELECT f(), g(a), h (b)", "select f(), g(a), h (b)"},
      {"SELECT \"A\".\"B c\"", "select \"A\".\"B c\""},
      {"SELECT a=-1, b<=2, c->>'d', e||'f'", "select a = - ?, b <= ?, c ->> ?, e || ?"},
      {"SELECT ARRAY[1,2]", "select array[?]"},
      {"", ""},
  };
  for (const Case& c : kCases) EXPECT_EQ(normalized_text(c.text, {}), c.want) << c.text;
}

TEST(SqlShape, FingerprintIsStable) {
  EXPECT_EQ(fingerprint_of(""), 0xcbf29ce484222325ULL);
  EXPECT_EQ(fingerprint_of("select ?"), 0x2fb7a5a1a5a9a58ULL);
}

}  // namespace
}  // namespace gatehouse::sql
