// SPDX-License-Identifier: Apache-2.0
// tests/sql/session_on_server holds the rules against a server; here is what it does not reach.
#include "agent/sql/session_state.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "agent/sql/analyzer.h"
#include "agent/sql/catalog.h"

namespace gatehouse::sql {
namespace {

class SessionStateTest : public ::testing::Test {
 protected:
  SessionStateTest() { state_.on_startup({{"user", "joe"}, {"database", "d"}}); }

  void run(const std::string& text, StatementOutcome outcome = StatementOutcome::kOk) {
    const Facts& facts = *analyzer_.analyze_fresh(text, {}).facts;
    ASSERT_TRUE(facts.parsed) << text;
    for (const Statement& statement : facts.statements) state_.on_finished(statement, statement.effects, outcome);
  }
  std::string path() { return state_.names().search_path.value_or("?"); }

  Analyzer analyzer_;
  SessionState state_;
};

// PostgreSQL 15's answers to SHOW search_path after each text.
TEST_F(SessionStateTest, RecordedFromAServer) {
  struct Step {
    std::string text;
    char ready;
    std::string want;
  };
  const std::vector<Step> steps{
      {"SET search_path = a", 'I', "a"},
      {"SET LOCAL search_path TO DEFAULT; RESET ALL", 'I', "a"},  // it was not set any more, so it is not reset
      {"BEGIN; SET LOCAL search_path = b", 'T', "b"},
      {"SAVEPOINT s; SET search_path = c", 'T', "c"},
      {"ROLLBACK TO s", 'T', "b"},
      {"SET search_path = d; SET LOCAL search_path = e; RELEASE s", 'T', "e"},
      {"COMMIT", 'I', "d"},
      {"SET LOCAL search_path = x", 'I', "d"},
      {"SELECT set_config('search_path', 'y, \"Z\"', false)", 'I', "y, \"Z\""},
      {"BEGIN; SET search_path TO DEFAULT; SET search_path = q", 'T', "q"},
      {"ROLLBACK", 'I', "y, \"Z\""},
      {"SET search_path TO a, \"B c\", 'd, e', ''", 'I', "a, \"B c\", \"d, e\", \"\""},
  };
  state_.on_ready('I');
  for (const Step& step : steps) {
    run(step.text);
    state_.on_ready(step.ready);
    EXPECT_EQ(path(), step.want) << step.text;
  }
}

// What PostgreSQL 15 makes of each, as SELECT setting FROM pg_settings says it.
TEST_F(SessionStateTest, StatementTimeouts) {
  EXPECT_EQ(state_.statement_timeout_ms(), 0U);
  const std::vector<std::pair<std::string, uint64_t>> cases{
      {"SET statement_timeout = 5000", 5000},
      {"SET statement_timeout = '5s'", 5000},
      {"SET statement_timeout TO '1.5 s'", 1500},
      {"SET statement_timeout TO '2min'", 120'000},
      {"SET Statement_Timeout TO '250ms'", 250},
      {"SET statement_timeout = '1h'", 3'600'000},
      {"SET statement_timeout = 0", 0},
      {"SET SESSION statement_timeout = '1d'", 86'400'000},
      {"SELECT set_config('statement_timeout', '700', false)", 700}};
  state_.on_ready('I');
  for (const auto& [text, want] : cases) {
    run(text);
    state_.on_ready('I');
    EXPECT_EQ(state_.statement_timeout_ms(), want) << text;
  }
  run("BEGIN; SET LOCAL statement_timeout = '3s'");
  state_.on_ready('T');
  EXPECT_EQ(state_.statement_timeout_ms(), 3000U);
  run("COMMIT");
  state_.on_ready('I');
  EXPECT_EQ(state_.statement_timeout_ms(), 700U);
  state_.on_startup({{"user", "joe"}, {"options", "-c statement_timeout=4s"}});
  EXPECT_EQ(state_.statement_timeout_ms(), 4000U);
  state_.on_startup({{"user", "joe"}, {"statement_timeout", "12"}});
  EXPECT_EQ(state_.statement_timeout_ms(), 12U);
}

TEST_F(SessionStateTest, AnErrorRollsBackAtOnce) {
  run("SET search_path = a");
  state_.on_ready('I');
  run("BEGIN; SET search_path = b");
  state_.on_ready('T');
  run("SELECT 1", StatementOutcome::kError);
  EXPECT_EQ(path(), "a");
  state_.on_ready('E');
  run("COMMIT");
  state_.on_ready('I');
  EXPECT_EQ(path(), "a");
}

// What was sent is taken for done; an error takes it back.
TEST_F(SessionStateTest, APipelineIsAppliedToACopy) {
  run("SET search_path = a");
  state_.on_ready('I');
  SessionState ahead = state_;
  const Facts& facts = *analyzer_.analyze_fresh("SET search_path = b; SET client_encoding = sjis", {}).facts;
  for (const Statement& statement : facts.statements)
    ahead.on_finished(statement, statement.effects, StatementOutcome::kOk);
  EXPECT_EQ(ahead.names().search_path, "b");
  EXPECT_EQ(ahead.lexical().mode.charset, Charset::kShiftJis);
  EXPECT_EQ(path(), "a");
  EXPECT_EQ(state_.lexical(), LexicalState{});
}

TEST_F(SessionStateTest, WhatIsLostIsNotKnown) {
  run("SET search_path = a");
  run("SET search_path = b", StatementOutcome::kNotKnown);
  EXPECT_EQ(path(), "?");
  run("SET search_path = a");
  run("SELECT some_function()");
  EXPECT_EQ(path(), "?");
  run("SET search_path = a");
  run("SELECT set_config(lower('X'), 'y', false)");
  EXPECT_EQ(path(), "?");
  // A block that ended unseen.
  state_.on_ready('I');
  run("SET search_path = a");
  state_.on_ready('I');
  run("BEGIN; SET search_path = b");
  state_.on_ready('I');
  EXPECT_EQ(path(), "?");
  state_.on_joined();
  EXPECT_EQ(path(), "?");
  EXPECT_TRUE(state_.session_user().empty());
}

// What a rolled-back transaction ran has changed nothing.
TEST_F(SessionStateTest, UnknownCodeIsRolledBackToo) {
  run("SET search_path = a");
  state_.on_ready('I');
  run("BEGIN; SELECT some_function()");
  state_.on_ready('T');
  EXPECT_EQ(path(), "?");
  run("ROLLBACK");
  state_.on_ready('I');
  EXPECT_EQ(path(), "a");
}

TEST_F(SessionStateTest, ParameterStatusIsTheLastWord) {
  state_.on_parameter_status("client_encoding", "GBK");
  state_.on_parameter_status("standard_conforming_strings", "off");
  state_.on_ready('I');
  EXPECT_EQ(state_.lexical(), lexical_state("GBK", false));
  run("RESET client_encoding; SET standard_conforming_strings = on");
  EXPECT_EQ(state_.lexical(), lexical_state("GBK", true));
  state_.on_parameter_status("client_encoding", "UTF8");
  EXPECT_EQ(state_.lexical(), lexical_state("UTF8", true));
  state_.on_parameter_status("search_path", "a, b");  // from PostgreSQL 18 on
  EXPECT_EQ(path(), "a, b");
}

TEST_F(SessionStateTest, DefaultsComeFromTheCatalog) {
  CatalogRows rows;
  rows.roles = {{.oid = 20000, .name = "joe"}, {.oid = 20001, .name = "ann"}};
  rows.settings = {{.name = "search_path", .value = "server"},
                   {.is_of_database = true, .name = "search_path", .value = "database"},
                   {.role = 20001, .name = "search_path", .value = "other"}};
  const auto without_role = Catalog::build(rows);
  rows.settings.push_back({.role = 20000, .name = "search_path", .value = "role"});
  const auto with_role = Catalog::build(rows);
  EXPECT_EQ(path(), "?");
  SessionState other = state_;
  state_.apply_defaults(*without_role);
  EXPECT_EQ(path(), "database");
  // A session keeps what it began with.
  state_.apply_defaults(*with_role);
  EXPECT_EQ(path(), "database");
  EXPECT_EQ(state_.names().role, "joe");
  std::swap(state_, other);
  run("SET search_path = a");
  state_.apply_defaults(*with_role);
  EXPECT_EQ(path(), "a");
  run("RESET search_path");
  EXPECT_EQ(path(), "role");
}

TEST_F(SessionStateTest, StartupOptions) {
  state_.on_startup({{"user", "joe"},
                     {"options", R"(-c search_path=a,\ b --standard-conforming-strings=off -crole=ann -d x)"},
                     {"client_encoding", "shift_jis"}});
  EXPECT_EQ(path(), "a, b");
  EXPECT_EQ(state_.lexical(), lexical_state("SJIS", false));
  EXPECT_EQ(state_.names().role, "ann");
  EXPECT_EQ(state_.session_user(), "joe");
  EXPECT_EQ(state_.database(), "joe");
}

TEST_F(SessionStateTest, TemporaryTablesAndSchemaChanges) {
  run("CREATE TEMP TABLE t (a int); SELECT 1 AS a INTO TEMP u; CREATE TABLE pg_temp.w (a int); CREATE TABLE x (a int)");
  EXPECT_EQ(state_.names().temporary_tables, (std::vector<std::string>{"t", "u", "w"}));
  EXPECT_FALSE(state_.names().has_other_temporaries);
  EXPECT_FALSE(state_.names().has_changed_schema);
  run("CREATE VIEW v AS SELECT * FROM t");
  EXPECT_TRUE(state_.names().has_other_temporaries);
  EXPECT_TRUE(state_.names().has_changed_schema);
  state_.on_ready('I');
  EXPECT_FALSE(state_.names().has_changed_schema);
  run("DISCARD TEMP");
  EXPECT_TRUE(state_.names().temporary_tables.empty());
  EXPECT_FALSE(state_.names().has_other_temporaries);
}

TEST_F(SessionStateTest, SavepointsHaveALimit) {
  run("SET search_path = a");
  state_.on_ready('I');
  run("BEGIN");
  for (size_t i = 0; i < kSavepointsMax + 1; ++i) run("SAVEPOINT s");
  run("SET search_path = b");
  EXPECT_EQ(path(), "b");
  run("ROLLBACK TO s");
  run("COMMIT");
  EXPECT_EQ(path(), "?");
}

}  // namespace
}  // namespace gatehouse::sql
