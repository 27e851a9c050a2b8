// SPDX-License-Identifier: Apache-2.0
// A condition of WHERE chooses rows, or it takes all of them, or none.
#include "agent/sql/predicate.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "agent/sql/analyzer.h"

namespace gatehouse::sql {
namespace {

bool filters(std::string_view condition) {
  Analyzer analyzer;
  const Analysis analysis = analyzer.analyze("DELETE FROM t WHERE " + std::string(condition), {});
  EXPECT_TRUE(analysis.facts->parsed) << condition << ": " << analysis.facts->refusal_detail;
  return analysis.facts->parsed && analysis.facts->statements.front().filters_rows;
}

TEST(SqlPredicate, TakesAllRows) {
  for (const std::string_view condition : {
           "true",
           "NOT false",
           "1=1",
           "1 = 1.0",
           "1 <> 2",
           "2 > 1",
           "'a' = 'a'",
           "'a' <> 'b'",
           "'t'",
           "'yes'::bool",
           "true OR a = 1",
           "a = 1 OR true",
           "a = 1 OR 1 = 1",
           "a = 1 OR (b = 2 OR NOT false)",
           "true AND 1=1",
           "(1=1)",
           "((true))",
           "1=1 AND NOT 1=2",
           "a = a",
           "t.a = t.a",
           "a + 1 = a + 1",
           "a <= a",
           "a >= a",
           "a LIKE a",
           "a IN (b, a)",
           "a BETWEEN a AND a",
           "a IS NOT DISTINCT FROM a",
           "a IS NULL OR a IS NOT NULL",
           "a = 1 OR a <> 1",
           "a < 1 OR a >= 1",
           "a = 1 OR NOT (a = 1)",
           "a LIKE 'x' OR a NOT LIKE 'x'",
           "a LIKE '%'",
           "a ILIKE '%%'",
           "a ~ ''",
           "a ~ '.*'",
           "CASE WHEN a THEN true ELSE true END",
           "coalesce(true, a)",
           "(a = a) IS TRUE",
           "(a = a) IS NOT UNKNOWN",
           "$1",
           "$1 = 1",
           "$1 = $2",
           "now() > '2020-01-01'",
           "random() < 2",
           "f(1)",
           "'a' LIKE '%'",
           "EXISTS (SELECT 1)",
           "1 IN (1, 2)",
           "length('x') = 1",
           "current_user = 'x'",
           "NOT (1 = 2)",
           "NOT f()",
           "a = 2 AND false OR true",
           "pg_sleep(1) IS NULL",
       })
    EXPECT_FALSE(filters(condition)) << condition;
}

TEST(SqlPredicate, ChoosesRows) {
  for (const std::string_view condition : {
           "a = 1",
           "a = b",
           "a",
           "NOT a",
           "a IS NULL",
           "a IN (1, 2)",
           "a = $1",
           "a LIKE 'x%'",
           "a ~ 'x'",
           "false",
           "1=2",
           "a = 1 AND true",
           "a = 1 OR false",
           "a = 1 OR b = 2",
           "a = 1 OR a = 2",
           "a <> 1 OR b = 1",
           "a IN (SELECT b FROM u)",
           "EXISTS (SELECT 1 FROM u WHERE u.k = t.k)",
           "f(a)",
           "a < a",
           "a <> a",
           "a IS DISTINCT FROM a",
           "CASE WHEN a THEN true ELSE false END",
           "coalesce(a, true)",
           "CURRENT OF c",
           "null",
           "a NOT LIKE '%'",
           "(a = 1) IS TRUE",
           "random() < a",
           "f() = f(a)",
           "'f'",
           "a BETWEEN 1 AND 2",
           "1 = 2 OR a",
       })
    EXPECT_TRUE(filters(condition)) << condition;
}

// Each alternative is held against all others, which has an end.
TEST(SqlPredicate, AlternativesHaveALimit) {
  const auto alternatives = [](size_t count) {
    std::string text = "a = 0";
    for (size_t i = 1; i < count; ++i) text += " OR a = " + std::to_string(i);
    return text;
  };
  EXPECT_TRUE(filters(alternatives(kAlternativesMax)));
  EXPECT_FALSE(filters(alternatives(kAlternativesMax - 1) + " OR a <> 7"));
  EXPECT_FALSE(filters(alternatives(kAlternativesMax + 1)));
}

}  // namespace
}  // namespace gatehouse::sql
