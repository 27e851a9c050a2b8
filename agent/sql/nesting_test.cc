// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/nesting.h"

#include <gtest/gtest.h>
#include <pg_query.h>

#include <string>

#include "agent/sql/tree.h"
#include "tests/support/sql_statements.h"

namespace gatehouse::sql {
namespace {

// Levels of the tree that one level of the text makes at most, and what stands around the smallest statement.
constexpr size_t kTreeLevels = 4;
constexpr size_t kTreeLevelsAround = 8;

TEST(SqlNesting, BoundsTheTree) {
  constexpr size_t kTexts = 3000;
  test::StatementMaker maker(11);
  Tree tree;
  for (size_t i = 0; i < kTexts; ++i) {
    std::string text = maker.statement();
    if (i % 4 == 3) text = maker.mutated(text);
    const PgQueryParseResult parsed = pg_query_parse(text.c_str());
    if (parsed.error == nullptr) {
      EXPECT_EQ(tree.read(parsed.parse_tree, kTreeLevelsAround + kTreeLevels * nesting_bound(text, {})),
                Tree::Outcome::kOk)
          << text;
    }
    pg_query_free_parse_result(parsed);
  }
}

TEST(SqlNesting, Bound) {
  EXPECT_LE(nesting_bound("SELECT a, b, c FROM t WHERE a = 1 AND b = 2 AND c = 3", {}), 12U);
  EXPECT_GE(nesting_bound("SELECT ((((1))))", {}), 5U);
  EXPECT_GE(nesting_bound("SELECT 1+1+1+1", {}), 5U);
  EXPECT_GE(nesting_bound("SELECT 1, 2 UNION SELECT 1, 2 UNION SELECT 1, 2 UNION SELECT 1, 2", {}), 4U);
  EXPECT_GE(nesting_bound("SELECT a BETWEEN 1 AND 2 IS TRUE BETWEEN 1 AND 2 IS TRUE BETWEEN 1 AND 2", {}), 12U);
}

}  // namespace
}  // namespace gatehouse::sql
