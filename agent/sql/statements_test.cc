// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/statements.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace gatehouse::sql {
namespace {

constexpr size_t kManyStatements = 64;

std::string joined(std::string_view text, LexicalMode mode = {}, size_t statements_max = kManyStatements) {
  std::vector<TextRange> ranges;
  switch (split_statements(text, mode, statements_max, ranges)) {
    case SplitOutcome::kBroken:
      return "broken";
    case SplitOutcome::kTooMany:
      return "too many";
    case SplitOutcome::kOk:
      break;
  }
  std::string out;
  for (const TextRange& range : ranges) out += "[" + std::string(text.substr(range.offset, range.size)) + "]";
  EXPECT_TRUE(ranges.size() <= 1 || may_have_several(text)) << text;
  return out;
}

struct Case {
  std::string_view text, want;
};

TEST(SqlStatements, Split) {
  constexpr Case kCases[] = {
      {"", ""},
      {" ; ;; ", ""},
      {"-- only a comment", ""},
      {"SELECT 1", "[SELECT 1]"},
      {"  SELECT 1 ; ", "[SELECT 1]"},
      {"SELECT 1;SELECT 2", "[SELECT 1][SELECT 2]"},
      {"SELECT 1; -- a\n SELECT 2", "[SELECT 1][-- a\n SELECT 2]"},
      {"SELECT ';'; SELECT \";\", $$;$$, /* ; */ 1", "[SELECT ';'][SELECT \";\", $$;$$, /* ; */ 1]"},
      {"SELECT 'a", "broken"},
      {"SELECT 1; SELECT 'a", "broken"},
      {"SELECT 1; /* a", "broken"},
      {"CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3",
       "[CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)][SELECT 3]"},
      {"SELECT 1); SELECT 2", "[SELECT 1)][SELECT 2]"},
  };
  for (const Case& c : kCases) EXPECT_EQ(joined(c.text), c.want) << c.text;
}

TEST(SqlStatements, RoutineBodies) {
  constexpr Case kCases[] = {
      {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 3",
       "[CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END][SELECT 3]"},
      {"CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END; SELECT 3",
       "[CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END][SELECT 3]"},
      {"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$SELECT 1;$$; SELECT 3",
       "[CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$SELECT 1;$$][SELECT 3]"},
      // Words that mean something else there.
      {"CREATE FUNCTION begin() RETURNS int LANGUAGE sql AS 'SELECT 1'; DROP TABLE t",
       "[CREATE FUNCTION begin() RETURNS int LANGUAGE sql AS 'SELECT 1'][DROP TABLE t]"},
      {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 AS end; SELECT 2 AS case; END; SELECT 3",
       "[CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 AS end; SELECT 2 AS case; END][SELECT 3]"},
      {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT t.end FROM t; SELECT 1 begin; END; SELECT 3",
       "[CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT t.end FROM t; SELECT 1 begin; END][SELECT 3]"},
      {"CREATE TABLE function (begin int); BEGIN; SELECT 1; END",
       "[CREATE TABLE function (begin int)][BEGIN][SELECT 1][END]"},
  };
  for (const Case& c : kCases) EXPECT_EQ(joined(c.text), c.want) << c.text;
}

TEST(SqlStatements, ModeDecides) {
  constexpr std::string_view kText = R"(SELECT 'a\'; SELECT '; SELECT 2)";
  EXPECT_EQ(joined(kText), "broken");
  EXPECT_EQ(joined(kText, {.standard_conforming_strings = false}), R"([SELECT 'a\'; SELECT '][SELECT 2])");
  constexpr std::string_view kSjis = "SELECT E'\x83\\'; SELECT '\x95\\'";
  EXPECT_EQ(joined(kSjis, {.charset = charset_of("SJIS")}), "[SELECT E'\x83\\'][SELECT '\x95\\']");
  EXPECT_EQ(joined(kSjis, {.charset = charset_of("UTF8")}), "broken");
}

TEST(SqlStatements, TooMany) {
  EXPECT_EQ(joined("a;b;c", {}, 3), "[a][b][c]");
  EXPECT_EQ(joined("a;b;c;", {}, 2), "too many");
}

TEST(SqlStatements, FirstVerb) {
  constexpr Case kCases[] = {
      {"SELECT 1", "SELECT"},
      {"  ((select 1))", "select"},
      {"/* a */ -- b\nwith x as (select 1) select 2", "with"},
      {"", ""},
      {"'a'", ""},
      {"\"select\"", ""},
      {"[a", ""},
  };
  for (const Case& c : kCases) EXPECT_EQ(first_verb(c.text), c.want) << c.text;
}

TEST(SqlStatements, MayHaveSeveral) {
  EXPECT_FALSE(may_have_several(""));
  EXPECT_FALSE(may_have_several("SELECT 1; \n"));
  EXPECT_TRUE(may_have_several("SELECT 1;;"));
  EXPECT_TRUE(may_have_several("SELECT ';'"));
}

std::string described(const NamedCommand& command) {
  constexpr std::string_view kWords[] = {"none",  "prepare", "execute",    "declare",
                                         "fetch", "close",   "deallocate", "discard all"};
  std::string out(kWords[static_cast<size_t>(command.kind)]);
  if (command.is_all) return out + " all";
  if (command.name.size > 0) out += " " + std::string(command.name.view());
  if (command.is_hold) out += " hold";
  if (!command.body.empty()) out += ": " + std::string(command.body);
  return out;
}

TEST(SqlStatements, NamedCommands) {
  constexpr Case kCases[] = {
      {"PREPARE q AS SELECT 1", "prepare q: SELECT 1"},
      {"prepare \"A\"\"b\" (int, text) as\n SELECT $1 ", "prepare A\"b: SELECT $1"},
      {"PREPARE Q(int)AS(SELECT 1)", "prepare q: (SELECT 1)"},
      {"/* c */ PREPARE q /* AS */ AS /* d */ SELECT 1", "prepare q: /* d */ SELECT 1"},
      {"PREPARE TRANSACTION 'x'", "none"},
      {"PREPARE U&\"a\" AS SELECT 1", "none"},
      {"PREPARE q AS", "prepare q"},
      {"PREPARE q", "none"},
      {"EXECUTE q (1, 2)", "execute q"},
      {"EXECUTE \"Q\"", "execute Q"},
      {"EXECUTE 1", "none"},
      {"EXPLAIN EXECUTE q", "execute q"},
      {"EXPLAIN ANALYZE VERBOSE EXECUTE q", "execute q"},
      {"EXPLAIN (ANALYZE, BUFFERS off) EXECUTE q(1)", "execute q"},
      {"EXPLAIN ANALYZE CREATE TABLE x AS EXECUTE q", "execute q"},
      {"EXPLAIN SELECT 1", "none"},
      {"EXPLAIN (ANALYZE", "none"},
      {"CREATE TABLE x AS EXECUTE q", "execute q"},
      {"CREATE TEMP TABLE x (a, b) ON COMMIT DROP AS EXECUTE q (1)", "execute q"},
      {"CREATE TABLE x AS SELECT 1 AS execute", "none"},
      {"CREATE TABLE x (a int)", "none"},
      {"DECLARE c CURSOR FOR SELECT 1", "declare c: SELECT 1"},
      {"DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT 1", "declare c hold: SELECT 1"},
      {"DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1", "declare c: SELECT 1"},
      {"FETCH c", "fetch c"},
      {"FETCH 3 FROM c", "fetch c"},
      {"FETCH ABSOLUTE -2 IN \"C\"", "fetch C"},
      {"MOVE ALL c;", "fetch c"},
      {"FETCH", "none"},
      {"FETCH 'a", "none"},
      {"CLOSE c", "close c"},
      {"CLOSE ALL", "close all"},
      {"CLOSE \"all\"", "close all"},
      {"DEALLOCATE q", "deallocate q"},
      {"DEALLOCATE PREPARE q", "deallocate q"},
      {"DEALLOCATE PREPARE", "deallocate prepare"},
      {"DEALLOCATE PREPARE ALL", "deallocate all"},
      {"DEALLOCATE ALL", "deallocate all"},
      {"DISCARD ALL", "discard all"},
      {"DISCARD PLANS", "none"},
      {"SELECT 1", "none"},
      {"", "none"},
  };
  for (const Case& c : kCases) EXPECT_EQ(described(parse_named_command(c.text, {})), c.want) << c.text;
  EXPECT_TRUE(parse_named_command("CLOSE ALL", {}).is_all);
  EXPECT_FALSE(parse_named_command("CLOSE \"all\"", {}).is_all);
}

TEST(SqlStatements, NamesAreCut) {
  const std::string name(70, 'X');
  EXPECT_EQ(parse_named_command("EXECUTE " + name, {}).name.view(), std::string(63, 'x'));
  EXPECT_EQ(parse_named_command("EXECUTE \"" + name + "\"", {}).name.view(), std::string(63, 'X'));
}

}  // namespace
}  // namespace gatehouse::sql
