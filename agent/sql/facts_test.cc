// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/facts.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "agent/sql/analyzer.h"
#include "tests/support/sql_facts.h"

namespace gatehouse::sql {
namespace {

struct Case {
  std::string text, want;
};

constexpr const char* kCasesFile = GH_SOURCE_DIR "/tests/corpus/sql_facts/cases.txt";

// A line of text, a line of facts behind two blanks; empty lines and those with # do not count.
std::vector<Case> read_cases() {
  std::ifstream file(kCasesFile);
  std::vector<Case> cases;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.front() == '#') continue;
    if (line.starts_with("  "))
      cases.back().want = line.substr(2);
    else
      cases.push_back({.text = line});
  }
  return cases;
}

// The table is read by people: GH_UPDATE_CASES=1 writes it anew, and the difference is to be looked at.
TEST(SqlFacts, Table) {
  std::vector<Case> cases = read_cases();
  ASSERT_FALSE(cases.empty());
  Analyzer analyzer;
  const bool updates = std::getenv("GH_UPDATE_CASES") != nullptr;
  for (Case& c : cases) {
    const std::string got = test::describe(*analyzer.analyze_fresh(c.text, {}).facts);
    if (updates) c.want = got;
    EXPECT_EQ(got, c.want) << c.text;
  }
  if (!updates) return;
  std::ofstream file(kCasesFile);
  file << "# Statements and their facts, as tests/support/sql_facts.h says them; agent/sql/facts_test.cc reads it.\n";
  for (const Case& c : cases) file << c.text << "\n  " << c.want << "\n";
}

// The facts of a text of several statements are those of each.
TEST(SqlFacts, StatementsDoNotMix) {
  const std::vector<Case> cases = read_cases();
  Analyzer analyzer;
  for (size_t i = 0; i + 1 < cases.size(); ++i) {
    const std::string &a = cases[i].text, &b = cases[i + 1].text;
    if (cases[i].want.starts_with("refused") || cases[i + 1].want.starts_with("refused")) continue;
    std::string both = a;
    both.append(" ; /* ; */\n").append(b).append(";");
    const Analysis analysis = analyzer.analyze_fresh(both, {});
    EXPECT_EQ(test::describe(*analysis.facts), cases[i].want + " | " + cases[i + 1].want) << both;
    ASSERT_EQ(analysis.ranges.size(), analysis.facts->statements.size());
    if (analysis.ranges.size() != 2) continue;
    EXPECT_EQ(both.substr(analysis.ranges[0].offset, analysis.ranges[0].size), a);
    EXPECT_EQ(both.substr(analysis.ranges[1].offset, analysis.ranges[1].size), b);
  }
}

std::string refused(std::string_view text, const LexicalState& state = {}) {
  Analyzer analyzer;
  const Analysis analysis = analyzer.analyze(text, state);
  EXPECT_EQ(analysis.facts->parsed, analysis.facts->refusal == Refusal::kNone);
  if (!analysis.facts->parsed) {
    EXPECT_TRUE(analysis.facts->statements.empty());
  }
  return std::string(to_string(analysis.facts->refusal));
}

std::string repeated(std::string_view before, std::string_view piece, size_t count, std::string_view middle,
                     std::string_view after) {
  std::string out(before);
  for (size_t i = 0; i < count; ++i) out += piece;
  out += middle;
  for (size_t i = 0; i < count; ++i) out += after;
  return out;
}

TEST(SqlFacts, Refuses) {
  EXPECT_EQ(refused("SELECT 1"), "none");
  EXPECT_EQ(refused(""), "none");
  EXPECT_EQ(refused("-- nothing"), "none");
  EXPECT_EQ(refused("SELECT 1 FROM"), "syntax");
  EXPECT_EQ(refused("SELECT 'a"), "syntax");
  EXPECT_EQ(refused("SELECT 1; DROP"), "syntax");
  EXPECT_EQ(refused("SELECT '" + std::string(kTextBytesMax, 'x') + "'"), "too-long");
  EXPECT_EQ(refused(std::string_view("SELECT 1\0; DROP TABLE t", 22)), "encoding");
  EXPECT_EQ(refused("SELECT '\xff'"), "encoding");
  EXPECT_EQ(refused(repeated("", "SELECT 1;", kStatementsMax, "", "")), "none");
  EXPECT_EQ(refused(repeated("", "SELECT 1;", kStatementsMax + 1, "", "")), "too-many");
}

// On a stack as small as a thread's may be.
TEST(SqlFacts, DeepNestingIsRefusedAndNothingOverflows) {
  const auto check = [](size_t count) {
    const std::string texts[] = {
        repeated("SELECT ", "(", count, "1", ")"),
        repeated("SELECT 1", "+1", count, "", ""),
        repeated("SELECT ", "NOT ", count, "a", ""),
        repeated("SELECT ", "- ", count, "a", ""),
        repeated("SELECT ARRAY", "[", count, "1", "]"),
        repeated("SELECT a", "::b", count, "", ""),
        repeated("SELECT a", " COLLATE c", count, "", ""),
        repeated("SELECT 1", " UNION SELECT 1, 2", count, "", ""),
        repeated("SELECT 1 FROM a", " JOIN b ON c AND d", count, "", ""),
        repeated("SELECT ", "(SELECT ", count, "1", ")"),
        repeated("SELECT ", "f(", count, "1", ")"),
        repeated("SELECT ", "CASE WHEN a AND ", count, "b", " THEN 1 END"),
        repeated("SELECT a", " BETWEEN 1 AND 2 IS TRUE", count, "", ""),
        repeated("SELECT 1 FROM ", "(SELECT * FROM ", count, "t", ") x"),
    };
    for (const std::string& text : texts) {
      if (text.size() > kTextBytesMax) continue;
      const std::string got = refused(text);
      const bool is_deep =
          count > kNestingMax && !text.starts_with("SELECT ((") && !text.starts_with("SELECT a BETWEEN");
      EXPECT_TRUE(got == "too-deep" || got == "syntax" || (!is_deep && got == "none"))
          << got << ": " << text.substr(0, 50);
    }
  };
  for (const size_t count : {10U, 300U, 3000U, 9000U, 40000U}) {
    std::thread thread(check, count);
    thread.join();
  }
}

TEST(SqlFacts, LongListsAreNotDeep) {
  EXPECT_EQ(refused(repeated("INSERT INTO t VALUES (0)", ",(1, 'a', f(2 + 3))", 10000, "", "")), "none");
  EXPECT_EQ(refused(repeated("SELECT 1 FROM t WHERE a = 1", " OR a = 2", 10000, "", "")), "none");
  EXPECT_EQ(refused(repeated("SELECT 1 FROM t WHERE a = 1", " AND a BETWEEN 2 AND 3", 10000, "", "")), "none");
  EXPECT_EQ(refused(repeated("SELECT 1 FROM t WHERE a IN (1", ",2", 100000, "", "") + ")"), "none");
}

// Threads come and go, several at a time; each parses right and wrong texts.
TEST(SqlFacts, Threads) {
  constexpr size_t kThreads = 4;
  for (int round = 0; round < 20; ++round) {
    std::vector<std::thread> threads;
    threads.reserve(kThreads);
    for (size_t i = 0; i < kThreads; ++i)
      threads.emplace_back([] {
        Analyzer analyzer;
        for (int n = 0; n < 20; ++n) {
          EXPECT_TRUE(analyzer.analyze_fresh("SELECT a FROM t WHERE b = 1", {}).facts->parsed);
          EXPECT_FALSE(analyzer.analyze_fresh("SELECT a FROM WHERE", {}).facts->parsed);
          EXPECT_FALSE(
              analyzer.analyze_fresh("SELECT 'a\\'", {.mode = {.standard_conforming_strings = false}}).facts->parsed);
        }
      });
    for (std::thread& thread : threads) thread.join();
  }
}

// The text is read as the session's server reads it.
TEST(SqlFacts, LexicalState) {
  Analyzer analyzer;
  const auto facts_of = [&](std::string_view text, const LexicalState& state) {
    return test::describe(*analyzer.analyze(text, state).facts);
  };
  const LexicalState off = lexical_state("UTF8", false);
  constexpr std::string_view kBackslash = R"(SELECT 'a\'; DELETE FROM t; --')";
  EXPECT_EQ(facts_of(kBackslash, {}), "SELECT | DELETE; delete; relation t [delete]; all rows");
  EXPECT_EQ(facts_of(kBackslash, off), "SELECT");
  EXPECT_EQ(facts_of("SELECT U&'a'", off), "refused: syntax");
  // 0x95 0x5c is one character of SJIS; elsewhere its second byte would be a backslash.
  constexpr std::string_view kSjis = "SELECT E'\x95\\'; DELETE FROM t; --'";
  EXPECT_EQ(facts_of(kSjis, lexical_state("SJIS", true)), "SELECT | DELETE; delete; relation t [delete]; all rows");
  EXPECT_EQ(facts_of(kSjis, lexical_state("LATIN1", true)), "SELECT");
  EXPECT_EQ(facts_of(kSjis, lexical_state("UTF8", true)), "refused: encoding");
  // A lead byte swallows the quote.
  constexpr std::string_view kGbk = "SELECT '\xbf'; DELETE FROM t; --'";
  EXPECT_EQ(facts_of(kGbk, lexical_state("GBK", true)), "SELECT");
  EXPECT_EQ(facts_of(kGbk, lexical_state("LATIN1", true)), "SELECT | DELETE; delete; relation t [delete]; all rows");
  EXPECT_EQ(facts_of("SELECT 1 AS \xbf", lexical_state("BIG5", true)), "refused: encoding");
  // Names that cannot be told are unknown.
  EXPECT_EQ(facts_of("SELECT a FROM \xe9t\xe9", lexical_state("LATIN1", true)),
            "SELECT; read unknown; relation ?t? [read]; ?t?.a [read]; all rows");
  EXPECT_EQ(facts_of("SELECT a FROM \xc3\xa9t", {}),
            "SELECT; read; relation \xc3\xa9t [read]; \xc3\xa9t.a [read]; all rows");
}

TEST(SqlFacts, Literals) {
  Analyzer analyzer;
  const std::string text = R"(SELECT 'a''b', 1.5, $1, E'c', $$d$$, x'1f', "e", 'f'
 'g' /* 'h' */ FROM t1 WHERE a2 = -3)";
  std::string hidden = text;
  for (const Literal& literal : analyzer.analyze(text, {}).literals)
    hidden.replace(literal.offset, literal.size, literal.size, '#');
  EXPECT_EQ(hidden, R"(SELECT ######, ###, $1, ####, #####, #####, "e", ########)"
                    R"( /* 'h' */ FROM t1 WHERE a2 = -#)");
}

}  // namespace
}  // namespace gatehouse::sql
