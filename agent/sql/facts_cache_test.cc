// SPDX-License-Identifier: Apache-2.0
// What is remembered is what a fresh analysis gives, whatever came before.
#include "agent/sql/facts_cache.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "agent/sql/analyzer.h"
#include "tests/support/sql_facts.h"
#include "tests/support/sql_statements.h"

namespace gatehouse::sql {
namespace {

struct Answer {
  std::string facts, normalized;
  std::vector<Literal> literals;
  std::vector<size_t> ranges;
  bool operator==(const Answer&) const = default;
};

Answer answer_of(const Analysis& analysis) {
  Answer out{.facts = test::describe(*analysis.facts),
             .normalized = analysis.facts->normalized,
             .literals = {analysis.literals.begin(), analysis.literals.end()}};
  for (const TextRange& range : analysis.ranges) {
    out.ranges.push_back(range.offset);
    out.ranges.push_back(range.size);
  }
  return out;
}

class CacheTest : public testing::Test {
 protected:
  // Whether it was there.
  bool check(std::string_view text, const LexicalState& state = {}) {
    const uint64_t before = analyzer_.hit_count();
    const Answer got = answer_of(analyzer_.analyze(text, state));
    EXPECT_EQ(got.facts, answer_of(fresh_.analyze_fresh(text, state)).facts) << text;
    EXPECT_EQ(got, answer_of(fresh_.analyze_fresh(text, state))) << text;
    return analyzer_.hit_count() > before;
  }

 private:
  Analyzer analyzer_, fresh_;
};

TEST_F(CacheTest, ValuesThatDoNotMatter) {
  EXPECT_FALSE(check("SELECT a FROM t WHERE b = 1 AND c = 'x'"));
  EXPECT_TRUE(check("SELECT a FROM t WHERE b = 222 AND c = 'y''z'"));
  EXPECT_TRUE(check("select  A from T /* x */ where B = 3 and C = $$q$$"));
  EXPECT_FALSE(check("SELECT a FROM t WHERE b = 1.5 AND c = 'x'"));
  EXPECT_FALSE(check("SELECT a FROM t WHERE b = 1 AND c = 'x'", {.mode = {.standard_conforming_strings = false}}));
  EXPECT_FALSE(check("SELECT a FROM t WHERE b = 1 AND c LIKE 'x'"));
  EXPECT_TRUE(check("SELECT a FROM t WHERE b = 1 AND c LIKE 'y%'"));
}

TEST_F(CacheTest, ValuesThatMatter) {
  EXPECT_FALSE(check("DELETE FROM t WHERE 1 = 1"));
  EXPECT_FALSE(check("DELETE FROM t WHERE 1 = 2"));
  EXPECT_TRUE(check("DELETE FROM t WHERE 1 = 2"));
  EXPECT_FALSE(check("DELETE FROM t WHERE c LIKE 'x'"));
  EXPECT_FALSE(check("DELETE FROM t WHERE c LIKE '%'"));
  EXPECT_FALSE(check("SELECT set_config('a', 'b', true)"));
  EXPECT_FALSE(check("SELECT set_config('a', 'c', true)"));
  EXPECT_FALSE(check("SELECT nextval('a')"));
  EXPECT_FALSE(check("SELECT nextval('b')"));
  EXPECT_FALSE(check("SELECT * FROM t LIMIT 1"));
  EXPECT_FALSE(check("SELECT * FROM t LIMIT 2"));
  EXPECT_FALSE(check("COPY t TO '/a'"));
  EXPECT_FALSE(check("COPY t TO '/b'"));
  EXPECT_FALSE(check("SELECT 1; DELETE FROM t WHERE a = 1"));
  EXPECT_FALSE(check("SELECT 12; DELETE FROM t WHERE a = 1"));
  EXPECT_TRUE(check("SELECT 12; DELETE FROM t WHERE a = 1"));
  EXPECT_FALSE(check("SELECT U&\"a!0062\" UESCAPE '!' FROM t"));
  EXPECT_FALSE(check("SELECT U&\"a!0062\" UESCAPE '?' FROM t"));
  EXPECT_FALSE(check("SELECT '\xff'"));
  EXPECT_FALSE(check("SELECT 'x'"));
  EXPECT_FALSE(check("SELECT '\xfe'"));
  EXPECT_FALSE(check("SELECT"));
  EXPECT_FALSE(check(""));
}

TEST_F(CacheTest, MadeTextsInAnyOrder) {
  constexpr uint64_t kSeed = 7;
  constexpr size_t kTexts = 3000;
  test::StatementMaker maker(kSeed);
  size_t hits = 0;
  std::vector<std::string> texts;
  for (size_t i = 0; i < kTexts; ++i) {
    // Half of them are variants of what came before.
    std::string text = texts.empty() || i % 2 == 0 ? maker.statement() : maker.with_other_values(texts.back());
    if (i % 16 == 15) text = maker.mutated(text);
    hits += check(text) ? 1 : 0;
    texts.push_back(std::move(text));
  }
  EXPECT_GT(hits, kTexts / 10);
}

TEST_F(CacheTest, SetsOverflow) {
  Analyzer small({.entries_max = 4, .text_bytes_max = 100});
  for (int round = 0; round < 3; ++round)
    for (int i = 0; i < 50; ++i) {
      const std::string text = "SELECT a FROM t" + std::to_string(i);
      EXPECT_EQ(small.analyze(text, {}).facts->statements.front().objects.front().name, "t" + std::to_string(i));
    }
  const std::string big = "SELECT '" + std::string(100, 'x') + "'";
  small.analyze(big, {});
  const uint64_t hits = small.hit_count();
  EXPECT_TRUE(small.analyze(big, {}).facts->parsed);
  EXPECT_EQ(small.hit_count(), hits);
}

}  // namespace
}  // namespace gatehouse::sql
