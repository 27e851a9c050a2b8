// SPDX-License-Identifier: Apache-2.0
#include "agent/judge/examiner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/judge/actor_record.h"
#include "rules/schema/event.h"

namespace gatehouse::judge {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::string_view kRules = R"(rules:
  - id: unfiltered
    on: statement
    when: '"delete" in statement.effects && !statement.filters_rows'
    then: block
    mode: active
    severity: high
    message: Add a WHERE clause.
  - {id: customers, on: statement, when: '"customers" in statement.reads', then: alert, mode: active}
  - {id: unknown, on: statement, when: '"unknown" in statement.effects', then: hold, mode: dry-run}
  - {id: draft, on: statement, when: 'true', then: block}
  - {id: rows, on: statement, when: 'result.rows > 1000', then: alert, mode: active}
  - {id: root, on: connect, when: 'actor.user == "root"', then: alert, mode: active}
  - {id: refused, on: authenticate, when: 'outcome == "error"', then: alert, mode: active}
  - id: blind
    on: disconnect
    when: disconnect.coverage != "full" && disconnect.statements > 1
    then: alert
    mode: active
  - {id: hole, on: gap, when: 'gap.bytes > 10', then: alert, mode: active}
)";

std::shared_ptr<const rules::Policy> policy_of(std::string_view text) {
  const rules::PolicyFile file{.name = "rules.yaml", .text = std::string(text)};
  auto policy = rules::load_policy({&file, 1}, rules::event_kinds());
  EXPECT_TRUE(policy) << policy.error().message();
  return std::make_shared<const rules::Policy>(std::move(*policy));
}

class ExaminerTest : public testing::Test {
 protected:
  ExaminerTest() { examiner_.set_policy(policy_of(kRules)); }

  static Activity statement(std::string_view text) {
    return {.outcome = Outcome::kOk,
            .transaction = TransactionState::kIdle,
            .protocol = StatementProtocol::kSimple,
            .text = text,
            .text_bytes = text.size()};
  }
  std::vector<std::string> found(const Activity& activity, const Ending* ending = nullptr) {
    return names(examiner_.examine(subject_, activity, 1, ending));
  }
  static std::vector<std::string> names(const Examined& examined) {
    std::vector<std::string> names;
    for (const Found& found : examined.findings) names.emplace_back(found.rule);
    return names;
  }

  Examiner examiner_{{}};
  SessionMemory memory_{false};
  Subject subject_{.memory = &memory_};
};

TEST_F(ExaminerTest, EachStatementOfATextIsJudgedAndARuleIsFoundOnce) {
  EXPECT_THAT(found(statement("SELECT 1")), IsEmpty());
  EXPECT_THAT(found(statement("SELECT * FROM customers; DELETE FROM a; DELETE FROM b")),
              ElementsAre("customers", "unfiltered"));
  const FactsSummary& summary = examiner_.summary();
  EXPECT_THAT(summary.reads, ElementsAre("customers"));
  EXPECT_THAT(summary.writes, ElementsAre("a", "b"));
  EXPECT_TRUE(summary.effects.has_all({sql::Effect::kRead, sql::Effect::kDelete}));
}

TEST_F(ExaminerTest, WhatIsNotCarriedOutWouldHaveBeen) {
  const Examined block = examiner_.examine(subject_, statement("DELETE FROM a"), 1);
  ASSERT_EQ(block.findings.size(), 1U);
  EXPECT_TRUE(block.findings[0].would);
  EXPECT_EQ(block.findings[0].severity, rules::Severity::kHigh);
  EXPECT_EQ(block.findings[0].message, "Add a WHERE clause.");
  const Examined alert = examiner_.examine(subject_, statement("TABLE customers"), 1);
  ASSERT_EQ(alert.findings.size(), 1U);
  EXPECT_FALSE(alert.findings[0].would) << "an alert is what every agent can do";

  Examiner enforcing({.carries_out = rules::Verdict::kTerminate});
  enforcing.set_policy(policy_of(kRules));
  EXPECT_FALSE(enforcing.examine(subject_, statement("DELETE FROM a"), 1).findings[0].would);
  EXPECT_TRUE(enforcing.examine(subject_, statement("EXECUTE x"), 1).findings[0].would) << "a dry run stays one";
}

// What is run by name is what is judged; that its name alone tells nothing is no doubt any more.
TEST_F(ExaminerTest, WhatExecuteRuns) {
  EXPECT_THAT(found(statement("EXECUTE x")), ElementsAre("unknown"));
  Activity execute = statement("EXECUTE x");
  execute.resolved_text = "SELECT * FROM customers WHERE id = $1";
  EXPECT_THAT(found(execute), ElementsAre("customers"));
  EXPECT_THAT(examiner_.summary().reads, ElementsAre("customers"));
  execute.resolved_text = "SELECT f()";
  EXPECT_THAT(found(execute), ElementsAre("unknown"));
}

// As the inline path asks: before there is an answer, and without leaving a trace in what the session has set.
TEST_F(ExaminerTest, ARequestIsJudgedBeforeItsAnswer) {
  subject_.enforcement = Subject::Enforcement::kInline;
  const auto asked = [&](std::string_view text, bool runs = true) {
    Activity request = statement(text);
    request.outcome = Outcome::kUnknown;
    return examiner_.examine_request(subject_, request, 1, runs);
  };
  const Examined block = asked("DELETE FROM a");
  ASSERT_NE(block.decisive, nullptr);
  EXPECT_EQ(block.decisive->rule, "unfiltered");
  EXPECT_FALSE(block.decisive->would);
  EXPECT_EQ(asked("TABLE customers").decisive, nullptr) << "an alert lets it through";
  EXPECT_EQ(asked("EXECUTE x").decisive, nullptr) << "a dry run does";
  for (const std::string_view text :
       {"SET search_path = x", "BEGIN", "ROLLBACK", "SELECT f()", "CREATE TEMP TABLE t ()", "DROP TABLE t",
        "SELECT set_config('role', 'a', false)", "SELEC", "PREPARE p AS SELECT 1", "DEALLOCATE p",
        "DECLARE c CURSOR FOR SELECT 1"})
    EXPECT_TRUE(asked(text).changes_state) << text;
  for (const std::string_view text : {"SELECT 1", "INSERT INTO a VALUES (1)", "TABLE customers"})
    EXPECT_FALSE(asked(text).changes_state) << text;

  // One string, where backslashes escape.
  const std::string escape = R"(SELECT '\'; DELETE FROM a; --')";
  asked("SET standard_conforming_strings = off");
  EXPECT_NE(asked(escape).decisive, nullptr) << "what was only asked for has not happened";
  Activity set = statement("SET standard_conforming_strings = off");
  set.standard_conforming_strings = false;
  examiner_.note(subject_, set);
  Activity after = statement(escape);
  after.standard_conforming_strings = false;
  EXPECT_EQ(examiner_.examine_request(subject_, after, 1, true).decisive, nullptr);
}

// A rule with a window counts what is run, once: neither what is prepared, nor the answer.
TEST_F(ExaminerTest, WindowsCountWhatIsRun) {
  examiner_.set_policy(policy_of(R"(rules:
  - id: many
    on: statement
    when: '"delete" in statement.effects'
    window: {count: true, over: 1m, at_least: 2}
    then: block
    mode: active
)"));
  subject_.enforcement = Subject::Enforcement::kInline;
  const Activity request = statement("DELETE FROM a WHERE id = 1");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(examiner_.examine_request(subject_, request, 1, false).decisive, nullptr);
    examiner_.note(subject_, request);
  }
  EXPECT_EQ(examiner_.examine_request(subject_, request, 1, true).decisive, nullptr);
  EXPECT_NE(examiner_.examine_request(subject_, request, 1, true).decisive, nullptr);
}

// What is recorded of a gated session is what the shim did.
TEST_F(ExaminerTest, WhatTheShimDidIsWhatIsRecorded) {
  using Enforcement = Subject::Enforcement;
  for (const auto& [enforcement, would] : {std::pair{Enforcement::kReleased, true}, {Enforcement::kRefused, false}}) {
    subject_.enforcement = enforcement;
    EXPECT_EQ(examiner_.examine(subject_, statement("DELETE FROM a"), 1).findings[0].would, would);
    EXPECT_FALSE(examiner_.examine(subject_, statement("TABLE customers"), 1).findings[0].would);
  }
}

// Never harmless: its effect is unknown, and says why.
TEST_F(ExaminerTest, WhatCannotBeRead) {
  struct Case {
    Activity activity;
    std::string_view refusal;
  };
  Activity cut = statement("SELECT 1");
  cut.text_bytes = 1'000'000;
  Activity lost = statement("");
  lost.fidelity = Fidelity::kAfterGap;
  Activity call = statement("FUNCTION CALL 957");
  call.protocol = StatementProtocol::kFunctionCall;
  Activity replication = statement("START_REPLICATION 0/0");
  replication.protocol = StatementProtocol::kReplication;
  Activity broken = statement("SELECT '\xFF'");
  broken.client_encoding = "UTF8";
  const Case cases[] = {{cut, "cut"},         {lost, "not-seen"},
                        {call, "not-sql"},    {replication, "not-sql"},
                        {broken, "encoding"}, {statement("SELEC 1"), "syntax"}};
  for (const Case& test : cases) {
    EXPECT_THAT(found(test.activity), ElementsAre("unknown")) << test.refusal;
    EXPECT_EQ(examiner_.summary().refusal, test.refusal);
    EXPECT_TRUE(examiner_.summary().effects.has(sql::Effect::kUnknown));
  }
  EXPECT_EQ(examiner_.counters().not_parsed, std::size(cases));
  EXPECT_THAT(found(statement("")), IsEmpty()) << "an empty query does nothing";
}

TEST_F(ExaminerTest, EveryKindOfEventIsJudged) {
  identity::Process process;
  process.exe = "/usr/bin/psql";
  process.user = "root";
  const ActorRecord actor(std::make_shared<const identity::Process>(process), {}, nullptr, 0);
  subject_.actor = &actor.actor();
  EXPECT_THAT(found({.kind = ActivityKind::kConnect}), ElementsAre("root"));
  EXPECT_THAT(found({.kind = ActivityKind::kAuthenticate, .outcome = Outcome::kError}), ElementsAre("refused"));
  const Ending ending{.coverage = "gaps", .statements = 2};
  EXPECT_THAT(found({.kind = ActivityKind::kDisconnect}, &ending), ElementsAre("blind"));
  for (const ActivityKind kind : {ActivityKind::kCancel, ActivityKind::kNotify, ActivityKind::kOpaque})
    EXPECT_THAT(found({.kind = kind}), IsEmpty());
  EXPECT_THAT(names(examiner_.examine_gap(subject_, "ring-full", 11, 0, 1)), ElementsAre("hole"));
  EXPECT_THAT(names(examiner_.examine_gap(subject_, "ring-full", 10, 0, 1)), IsEmpty());
}

TEST_F(ExaminerTest, EqualFactsHaveOneKey) {
  const auto key = [&](const Activity& activity) { return examiner_.examine(subject_, activity, 1).facts; };
  const uint64_t first = key(statement("SELECT a FROM t WHERE id = 1"));
  EXPECT_NE(first, 0U);
  EXPECT_EQ(key(statement("SELECT a FROM t WHERE id = 2")), first);
  EXPECT_NE(key(statement("SELECT b FROM t WHERE id = 2")), first);
  Activity execute = statement("EXECUTE x");
  execute.resolved_text = "SELECT a FROM t WHERE id = 3";
  EXPECT_NE(key(execute), first);
  EXPECT_EQ(key({.kind = ActivityKind::kConnect}), 0U);
}

TEST_F(ExaminerTest, WithoutRulesNothingIsAskedUnlessFactsAreWanted) {
  EXPECT_FALSE(examiner_.is_idle());
  examiner_.set_policy(nullptr);
  EXPECT_TRUE(examiner_.is_idle());
  EXPECT_EQ(examiner_.policy_version(), "");
  Examiner always({.always_facts = true});
  EXPECT_FALSE(always.is_idle());
  EXPECT_NE(always.examine(subject_, statement("SELECT 1"), 1).facts, 0U);
}

// The text means what this session's server reads in it.
TEST_F(ExaminerTest, TextsAreReadAsTheSessionHasSetIt) {
  // A backslash hides a quote only where strings are not standard.
  constexpr std::string_view kOne = R"(SELECT '\'; DELETE FROM a; --')";
  constexpr std::string_view kTwo = R"(SELECT '\\'; DELETE FROM a; --')";
  EXPECT_THAT(found(statement(kOne)), ElementsAre("unfiltered"));
  EXPECT_THAT(found(statement(kTwo)), ElementsAre("unfiltered"));
  const auto escaping = [](std::string_view text) {
    Activity activity = statement(text);
    activity.standard_conforming_strings = false;
    return activity;
  };
  found(escaping("SET standard_conforming_strings = off"));
  EXPECT_FALSE(memory_.state().lexical().mode.standard_conforming_strings);
  EXPECT_THAT(found(escaping(kOne)), IsEmpty()) << "all of it is a literal now";
  EXPECT_THAT(found(escaping(kTwo)), ElementsAre("unfiltered"));
}

TEST_F(ExaminerTest, WhatSetsSomethingTakesEffectWhenItIsDone) {
  const Setting options[] = {{"user", "app"}, {"database", "shop"}, {"options", "-c search_path=a"}};
  Activity connect{.kind = ActivityKind::kConnect};
  connect.options = options;
  found(connect);
  EXPECT_EQ(memory_.state().names().search_path, "a");
  found(statement("SET search_path = b"));
  EXPECT_EQ(memory_.state().names().search_path, "b");
  Activity failed = statement("SET search_path = c");
  failed.outcome = Outcome::kError;
  found(failed);
  EXPECT_EQ(memory_.state().names().search_path, "b");
  for (const char* text : {"BEGIN", "SET LOCAL search_path = d"}) {
    Activity within = statement(text);
    within.transaction = TransactionState::kActive;
    found(within);
  }
  EXPECT_EQ(memory_.state().names().search_path, "d");
  found(statement("ROLLBACK"));
  EXPECT_EQ(memory_.state().names().search_path, "b");
  Activity skipped = statement("SET search_path = e");
  skipped.outcome = Outcome::kSkipped;
  found(skipped);
  EXPECT_EQ(memory_.state().names().search_path, "b");
}

// A catalog says what a name means, and what runs behind it.
TEST_F(ExaminerTest, WhatTheCatalogTells) {
  sql::CatalogRows rows;
  rows.version = 1;
  rows.schemas.push_back({.oid = 2200, .owner = 10, .name = "public", .is_usable_by_all = true});
  rows.relations.push_back({.oid = 20000, .schema = 2200, .owner = 10, .name = "customers", .kind = 'r'});
  rows.functions.push_back({.oid = 20001,
                            .schema = 2200,
                            .owner = 10,
                            .name = "purge",
                            .language = "sql",
                            .source = "DELETE FROM public.customers"});
  const std::shared_ptr<const sql::Catalog> catalog = sql::Catalog::build(std::move(rows));
  EXPECT_THAT(found(statement("SELECT purge()")), ElementsAre("unknown"));
  subject_.catalog = &catalog;
  const Setting options[] = {{"user", "app"}, {"search_path", "public"}};
  Activity connect{.kind = ActivityKind::kConnect};
  connect.options = options;
  found(connect);
  EXPECT_THAT(found(statement("SELECT purge()")), IsEmpty()) << "nothing about it is unknown";
  EXPECT_TRUE(examiner_.summary().effects.has(sql::Effect::kDelete));
  EXPECT_THAT(examiner_.summary().writes, ElementsAre("public.customers"));
}

TEST(ActorRecord, SaysWhatTheKernelSaid) {
  const auto shell = std::make_shared<identity::Process>();
  shell->key = {.pid = 10};
  shell->exe = "/bin/bash";
  shell->arguments = {"bash", "-l"};
  const auto client = std::make_shared<identity::Process>();
  client->key = {.pid = 11, .start_ns = 5};
  client->exe = "/usr/bin/psql";
  client->arguments = {"psql", "shop"};
  client->uid = 1000;
  client->euid = UINT32_MAX;
  const ActorRecord record(client, {shell}, shell, 1'000'000'000);
  const rules::Actor& actor = record.actor();
  EXPECT_EQ(actor.name, "psql");
  EXPECT_EQ(actor.command, "psql shop");
  EXPECT_EQ(actor.uid, 1000);
  EXPECT_EQ(actor.euid, -1) << "not known is nobody's";
  EXPECT_THAT(actor.ancestry, ElementsAre("/bin/bash"));
  EXPECT_EQ(actor.ancestors[0].command, "bash -l");
  EXPECT_EQ(actor.opener_exe, "/bin/bash");
  EXPECT_EQ(actor.start.seconds, 1);
  EXPECT_EQ(actor.start.ns, 5U);
}

// Whom it acts for is made of programs and arguments; who logged in of the audit's login, or of ancestry.
TEST(ActorRecord, SaysForWhom) {
  const auto process = [](std::vector<std::string> arguments, std::string user) {
    const auto made = std::make_shared<identity::Process>();
    made->exe = arguments.front();
    made->arguments = std::move(arguments);
    made->user = std::move(user);
    return made;
  };
  const auto client = process({"/usr/bin/psql", "shop"}, "postgres");
  const std::vector<ProcessRef> ancestors = {
      process({"/usr/bin/bash"}, "postgres"), process({"/usr/bin/node", "/usr/local/bin/claude"}, "ann"),
      process({"/opt/Runner.Worker"}, "ann"), process({"/usr/bin/bash", "-l"}, "ann"),
      process({"/usr/sbin/sshd"}, "root")};
  const ActorRecord record(client, ancestors, nullptr, 0);
  EXPECT_EQ(record.actor().agent, "claude");
  EXPECT_EQ(record.actor().agent_kind, "coding-agent");
  EXPECT_EQ(record.actor().automation, "github-actions");
  EXPECT_EQ(record.actor().automation_kind, "ci-runner");
  EXPECT_EQ(record.actor().login, "ann");
  EXPECT_EQ(record.actor().ancestors[2].name, "Runner.Worker");
  client->login_user = "grace";
  EXPECT_EQ(ActorRecord(client, ancestors, nullptr, 0).actor().login, "grace");
  EXPECT_EQ(ActorRecord(client, {}, nullptr, 0).actor().agent, "");
}

}  // namespace
}  // namespace gatehouse::judge
