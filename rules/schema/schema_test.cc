// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rules/engine/cel_program.h"
#include "rules/schema/event.h"
#include "rules/schema/event_builder.h"

namespace gatehouse::rules {
namespace {

const cel::Schema& schema_of(Occasion occasion) {
  return *event_kinds()[static_cast<size_t>(occasion)].schema;
}

// Evaluates `condition` over every statement of the event; a text that says how it ended.
std::string judge(EventBuilder& event, Occasion occasion, std::string_view condition) {
  const auto program = cel::compile(condition, schema_of(occasion), cel::kBool);
  if (!program) return program.error().message;
  std::string said;
  cel::Scratch scratch;
  for (size_t i = 0; i < event.count(); ++i) {
    const Variables variables(event.event(i));
    const cel::Value value = evaluate(*program, variables.values(), scratch);
    said += value.is_error() ? message_of(value.error_code()) : value.is_true() ? "true " : "false ";
  }
  return said;
}

std::string judge_sql(std::string_view sql, std::string_view condition) {
  sql::Analyzer analyzer;
  EventBuilder event(Occasion::kStatement, analyzer);
  EXPECT_TRUE(event.set("statement.text", {.text = std::string(sql)}));
  return judge(event, Occasion::kStatement, condition);
}

TEST(Schema, EveryFieldSaysWhatItMeans) {
  for (const EventKind& kind : event_kinds()) {
    for (const cel::Variable& variable : kind.schema->variables) {
      EXPECT_FALSE(variable.meaning.empty()) << variable.name;
      if (variable.type->record == nullptr) continue;
      EXPECT_FALSE(variable.type->record->fields.empty()) << variable.name;
      for (const cel::Field& field : variable.type->record->fields)
        EXPECT_FALSE(field.meaning.empty()) << variable.name << "." << field.name;
    }
  }
}

TEST(Schema, OccasionsAreTheKinds) {
  ASSERT_EQ(event_kinds().size(), kOccasions);
  EXPECT_EQ(event_kinds()[static_cast<size_t>(Occasion::kStatement)].name, "statement");
  EXPECT_EQ(event_kinds()[static_cast<size_t>(Occasion::kGap)].name, "gap");
  sql::Analyzer analyzer;
  for (size_t i = 0; i < kOccasions; ++i) {
    EventBuilder event(static_cast<Occasion>(i), analyzer);
    const Variables variables(event.event(0));
    EXPECT_EQ(variables.kind(), i);
    EXPECT_EQ(variables.values().size(), event_kinds()[i].schema->variables.size());
  }
}

// Every field, of an event of which nothing is known, and of one that has much.
TEST(Schema, EveryFieldCanBeRead) {
  sql::Analyzer analyzer;
  for (size_t i = 0; i < kOccasions; ++i) {
    const auto occasion = static_cast<Occasion>(i);
    EventBuilder empty(occasion, analyzer);
    EventBuilder full(occasion, analyzer);
    if (occasion == Occasion::kStatement) {
      ASSERT_TRUE(
          full.set("statement.text", {.text = "WITH x AS (DELETE FROM a.b WHERE c = 1 RETURNING d) "
                                              "SELECT pg_read_file('/x'), set_config('a.b', 'c', true) FROM x"}));
    }
    for (const cel::Variable& variable : event_kinds()[i].schema->variables) {
      if (variable.type->record == nullptr) continue;
      for (const cel::Field& field : variable.type->record->fields) {
        const std::string name = std::string(variable.name) + "." + std::string(field.name);
        EXPECT_EQ(judge(empty, occasion, name + " == " + name), "true ") << name;
        EXPECT_EQ(judge(full, occasion, name + " == " + name), "true ") << name;
      }
    }
  }
}

struct Case {
  std::string_view sql, condition, said;
};

TEST(Schema, FactsAreFields) {
  constexpr Case kCases[] = {
      {"DELETE FROM t", "statement.verb == 'DELETE' && !statement.filters_rows", "true "},
      {"DELETE FROM t WHERE id = 1", "statement.verb == 'DELETE' && !statement.filters_rows", "false "},
      {"WITH x AS (DELETE FROM t) SELECT 1", "statement.verb == 'SELECT' && 'delete' in statement.effects", "true "},
      {"SELECT 1; DROP TABLE t", "statement.command == 'DROP TABLE'", "false true "},
      {"SELECT email FROM s.customers c", "'s.customers' in statement.reads && 'customers' in statement.reads",
       "true "},
      {"SELECT email FROM customers", "statement.reads == ['customers']", "true "},
      {"SELECT email FROM customers", "statement.columns.exists(c, c.table == 'customers' && c.name == 'email')",
       "true "},
      {"UPDATE a SET x = 1 FROM b", "statement.writes == ['a'] && 'b' in statement.reads", "true "},
      {"SELECT pg_read_file('/etc/passwd')", "statement.functions.exists(f, f.class == 'file-read' && f.reason != '')",
       "true "},
      {"COPY t TO PROGRAM 'curl x'", "statement.accesses.exists(a, a.effect == 'program' && a.target == 'curl x')",
       "true "},
      {"SET row_security = off", "statement.changes.exists(c, c.name == 'row_security' && c.value == 'off')", "true "},
      {"SELECT 1 LIMIT 7", "statement.has_limit && statement.limit == 7", "true "},
      {"CREATE ROLE a SUPERUSER", "'superuser' in statement.details", "true "},
      {"SELEC 1", "!statement.parsed && statement.refusal == 'syntax' && 'unknown' in statement.effects", "true "},
      {"SELEC 1", "statement.filters_rows", "false "},
      {"-- nothing", "statement.effects == [] && statement.filters_rows && statement.parsed", "true "},
      {"SELECT 1", "statement.normalized == 'select ?' && statement.fingerprint.size() == 16", "true "},
      {"SELECT 1", "statement.verbs == ['SELECT']", "true "},
      {"DELETE FROM t", "statement.objects.exists(o, o.name == 't' && 'delete' in o.uses && !o.filtered)", "true "},
  };
  for (const Case& test : kCases) EXPECT_EQ(judge_sql(test.sql, test.condition), test.said) << test.sql;
}

// What is not in any text: who, where, when.
TEST(Schema, FieldsAreSet) {
  sql::Analyzer analyzer;
  EventBuilder event(Occasion::kConnect, analyzer);
  using Shape = FieldValue::Shape;
  ASSERT_TRUE(event.set("now", {.text = "2026-11-25T23:00:00Z"}));
  ASSERT_TRUE(event.set("duration", {.text = "1.5s"}));
  ASSERT_TRUE(event.set("actor.exe", {.text = "/usr/bin/psql"}));
  ASSERT_TRUE(event.set("actor.uid", {.text = "1000"}));
  ASSERT_TRUE(event.set("actor.deleted", {.text = "true"}));
  ASSERT_TRUE(event.set("actor.ancestry", {.shape = Shape::kTexts, .texts = {"/bin/bash", "/usr/sbin/sshd"}}));
  ASSERT_TRUE(event.set("actor.ancestors", {.shape = Shape::kTexts, .texts = {"node /opt/agent/cli.js"}}));
  ASSERT_TRUE(event.set("database.labels", {.shape = Shape::kLabels, .labels = {{"env", "production"}}}));
  ASSERT_TRUE(event.set("connect.options", {.shape = Shape::kLabels, .labels = {{"options", "-c x=y"}}}));
  EXPECT_EQ(judge(event, Occasion::kConnect,
                  "now.getHours() == 23 && duration == duration('1500ms') && actor.name == 'psql' && actor.deleted && "
                  "actor.uid == 1000 && '/usr/sbin/sshd' in actor.ancestry && database.labels.env == 'production' && "
                  "connect.options.options == '-c x=y' && actor.ancestors[0].command.endsWith('cli.js')"),
            "true ");
}

TEST(Schema, WhatCannotBeSetIsSaid) {
  sql::Analyzer analyzer;
  EventBuilder event(Occasion::kStatement, analyzer);
  const auto error = [&](std::string_view field, std::string_view text) {
    const Status status = event.set(field, {.text = std::string(text)});
    return status ? std::string() : status.error().message();
  };
  EXPECT_THAT(error("actor.exee", "x"), testing::HasSubstr("did you mean `actor.exe`?"));
  EXPECT_THAT(error("nobody", "x"), testing::HasSubstr("`nobody` is no field"));
  EXPECT_THAT(error("connect.options", "x"), testing::HasSubstr("is no field of this kind of event"));
  EXPECT_THAT(error("statement.effects", "read"), testing::HasSubstr("comes from statement.text"));
  EXPECT_THAT(error("actor.uid", "root"), testing::HasSubstr("expected a whole number"));
  EXPECT_THAT(error("actor.deleted", "yes"), testing::HasSubstr("expected true or false"));
  EXPECT_THAT(error("now", "yesterday"), testing::HasSubstr("expected a time"));
  EXPECT_THAT(error("database.labels", "x"), testing::HasSubstr("expected names with texts"));
  EXPECT_THAT(error("actor", "x"), testing::HasSubstr("expected a field of it, such as actor.pid"));
}

}  // namespace
}  // namespace gatehouse::rules
