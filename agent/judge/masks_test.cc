// SPDX-License-Identifier: Apache-2.0
// What masks make of a statement, by a catalog made by hand. What a real server sends, and what of it reaches a client,
// is in tests/e2e/gate_masks.py.
#include "agent/judge/masks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/judge/examiner.h"
#include "rules/schema/event.h"

namespace gatehouse::judge {
namespace {

constexpr sql::Oid kPgCatalog = 11, kPublic = 2200, kText = 25;

std::shared_ptr<const sql::Catalog> made_catalog() {
  sql::CatalogRows rows;
  rows.version = 1;
  rows.roles = {{.oid = 10, .name = "owner"}};
  rows.schemas = {{.oid = kPgCatalog, .owner = 10, .name = "pg_catalog", .is_usable_by_all = true},
                  {.oid = kPublic, .owner = 10, .name = "public", .is_usable_by_all = true}};
  rows.functions.push_back({.oid = 900, .schema = kPgCatalog, .name = "upper"});
  rows.functions.push_back({.oid = 901, .schema = kPgCatalog, .name = "count"});
  sql::Oid oid = 30000;
  for (const char* name : {"people", "plain"}) {
    rows.relations.push_back({.oid = ++oid, .schema = kPublic, .name = name, .kind = 'r', .definition = {}});
    int16_t attribute = 0;
    for (const char* column : {"id", "email", "city"})
      rows.columns.push_back({.relation = oid, .type = kText, .name = column, .attribute = ++attribute});
  }
  return sql::Catalog::build(std::move(rows));
}

std::shared_ptr<const rules::Policy> policy_of(const std::string& keys) {
  const rules::PolicyFile file{
      .name = "rules.yaml",
      .text = "masks:\n  - {id: m, columns: [public.people.email], method: partial, mode: active" + keys + "}\n"};
  auto policy = rules::load_policy({&file, 1}, rules::event_kinds());
  EXPECT_TRUE(policy) << policy.error().message();
  return std::make_shared<const rules::Policy>(std::move(*policy));
}

class MasksTest : public testing::Test {
 protected:
  // One letter for each column: ' ' shown, 'm' masked, 'w' masked whole; "BLOCK: …" where it may not run; "-" where the
  // answer passes by. What is not described: what each column may be.
  std::string made_of(std::string_view text, std::string_view resolved = {},
                      StatementProtocol protocol = StatementProtocol::kSimple) {
    const Activity request{.transaction = TransactionState::kIdle,
                           .protocol = protocol,
                           .text = text,
                           .text_bytes = text.size(),
                           .resolved_text = resolved};
    SessionMemory memory(false);
    const rules::SessionView session{.user = "owner"};
    const Subject subject{.session = session,
                          .memory = &memory,
                          .catalog = &catalog,
                          .enforcement = Subject::Enforcement::kInline};
    const Examined examined = examiner.examine_request(subject, request, 1, true);
    if (examined.decisive != nullptr) return "BLOCK: " + std::string(examined.decisive->message);
    if (examined.answer == nullptr) return "-";
    std::string made;
    const auto letter = [](const MaskedOutput& output) {
      return output.mask == MaskedOutput::kNone ? ' ' : output.whole ? 'w' : 'm';
    };
    for (const MaskedResult& result : examined.answer->results) {
      if (!made.empty()) made += '/';
      if (!result.are_columns_known) made += letter(result.every), made += '*';
      for (const MaskedOutput& output : result.columns) made += letter(output);
    }
    return made;
  }

  std::shared_ptr<const sql::Catalog> catalog = made_catalog();
  Examiner examiner{{}};
};

TEST_F(MasksTest, ColumnsOfResults) {
  examiner.set_policy(policy_of(""));
  const std::pair<const char*, const char*> table[] = {
      {"SELECT id, city FROM people", "-"},
      {"SELECT * FROM plain", "-"},
      {"SELECT 1", "-"},
      {"SELECT count(email) FROM people", " "},  // messages may tell
      {"SELECT id, email FROM people", " m"},
      {"SELECT * FROM people", " m "},
      {"SELECT upper(email), p.email FROM people p", "wm"},
      {"SELECT p FROM people p", "w"},
      {"SELECT id FROM people; SELECT email FROM people; SELECT 1", " /m/ "},
      {"SELECT email FROM plain UNION ALL SELECT email FROM people", "m"},
      {"UPDATE people SET city = 'x' RETURNING email", "m"},
      {"COPY people (id, email) TO STDOUT", " m"},
      {"SELECT nobody_knows(1)", "w"},
      {"SELEC", "w*"},
      {"SELECT most_common_vals FROM pg_stats", "w"},
  };
  for (const auto& [text, want] : table) EXPECT_EQ(made_of(text), want) << text;
}

TEST_F(MasksTest, WhatIsRunByName) {
  examiner.set_policy(policy_of(""));
  EXPECT_EQ(made_of("EXECUTE p", "SELECT id, email FROM people"), " m");
  EXPECT_EQ(made_of("SELECT city FROM people; FETCH 3 FROM c", "SELECT email FROM people"), " /m");
  EXPECT_EQ(made_of("EXECUTE p"), "w*") << "nobody has seen what it runs";
  EXPECT_EQ(made_of("EXECUTE p", "SELECT city FROM people"), "-");
}

TEST_F(MasksTest, WhatCannotBeMasked) {
  examiner.set_policy(policy_of(""));
  using testing::HasSubstr;
  for (const char* text : {"INSERT INTO plain SELECT * FROM people", "CREATE TABLE x AS SELECT email FROM people",
                           "COPY people TO '/tmp/x'", "SELECT set_config('a.b', email, false) FROM people",
                           "UPDATE plain SET city = email FROM people", "ALTER TABLE people RENAME email TO e",
                           "ALTER TABLE public.people SET SCHEMA other", "ALTER SCHEMA public RENAME TO p"})
    EXPECT_THAT(made_of(text), HasSubstr("BLOCK: refused by mask m")) << text;
  EXPECT_THAT(made_of("START_REPLICATION SLOT s", {}, StatementProtocol::kReplication), HasSubstr("BLOCK"));
  EXPECT_THAT(made_of("UPDATE people SET email = 'x' || email"), testing::Not(HasSubstr("BLOCK")))
      << "it stays where it is masked";
  EXPECT_EQ(made_of("SELECT id FROM people WHERE email LIKE 'a%'"), " ") << "messages may still tell";
}

TEST_F(MasksTest, Doubt) {
  examiner.set_policy(policy_of(", when_unknown: block"));
  EXPECT_THAT(made_of("SELECT nobody_knows(1)"), testing::HasSubstr("cannot be told which columns"));
  EXPECT_EQ(made_of("SELECT email FROM people"), "m");
  examiner.set_policy(policy_of(", when_unknown: allow"));
  EXPECT_EQ(made_of("SELECT email, nobody_knows(1) FROM people"), "m ");
  EXPECT_EQ(made_of("INSERT INTO plain SELECT * FROM people").substr(0, 5) == "BLOCK", false);
  catalog = nullptr;
  examiner.set_policy(policy_of(""));
  EXPECT_EQ(made_of("SELECT * FROM people"), "w*") << "without a catalog";
}

TEST_F(MasksTest, WhatATextDefinesForItself) {
  examiner.set_policy(policy_of(""));
  EXPECT_EQ(made_of("CREATE TABLE x (a int); SELECT city FROM people"), "-");
  EXPECT_EQ(made_of("CREATE RULE r AS ON UPDATE TO plain DO ALSO SELECT * FROM people; UPDATE plain SET id = '1'"),
            " */w*");
}

TEST_F(MasksTest, Predicates) {
  examiner.set_policy(policy_of(", predicates: block"));
  for (const char* text : {"SELECT id FROM people WHERE email LIKE 'a%'", "SELECT id FROM people ORDER BY email",
                           "SELECT CASE WHEN email < 'm' THEN 1 END FROM people"})
    EXPECT_THAT(made_of(text), testing::HasSubstr("chooses rows by a masked column")) << text;
  EXPECT_EQ(made_of("SELECT email FROM people WHERE id = 1"), "m");
}

TEST_F(MasksTest, WhomItDoesNotConcern) {
  examiner.set_policy(policy_of(", unless: 'session.user == \"owner\"'"));
  EXPECT_EQ(made_of("SELECT email FROM people"), "-");
  examiner.set_policy(policy_of(", unless: 'session.user == \"other\"'"));
  EXPECT_EQ(made_of("SELECT email FROM people"), "m");
}

}  // namespace
}  // namespace gatehouse::judge
