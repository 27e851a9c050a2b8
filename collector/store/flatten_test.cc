// SPDX-License-Identifier: Apache-2.0
#include "collector/store/flatten.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collector/store/testing.h"

namespace gatehouse::store {
namespace {

class FlattenTest : public ::testing::Test {
 protected:
  FlattenTest() : batch_(statement_batch(1, 1)), event_(*batch_.mutable_events(0)) {}

  v1::Row row() {
    v1::Row row;
    row.set_detail("of the row before");
    Flattener(batch_, {.agent_id = "agent", .boot_id = "boot", .first_sequence = 41}).flatten(0, row);
    return row;
  }

  v1::Batch batch_;
  v1::Event& event_;
};

TEST_F(FlattenTest, ASessionThatTheServerEndedSaysWhy) {
  event_.mutable_disconnect()->set_reason("fatal-error");
  event_.mutable_disconnect()->set_sqlstate("28000");
  event_.mutable_disconnect()->set_error_message("no such role");
  EXPECT_EQ(row().result_sqlstate(), "28000");
  EXPECT_EQ(row().result_error(), "no such role");
}

// Every queryable field gets its value from somewhere: one that no event fills is a field forgotten.
TEST_F(FlattenTest, EveryFieldIsFilled) {
  batch_.mutable_processes(0)->set_exe_sha256("ab");
  batch_.mutable_processes(0)->set_cwd("/srv");
  batch_.mutable_processes(0)->set_uid(1000);
  batch_.mutable_processes(0)->set_login_user("alice");
  batch_.mutable_processes(0)->set_tty("pts/3");
  batch_.mutable_processes(0)->set_systemd_unit("ssh.service");
  batch_.mutable_processes(0)->set_container_id("c0");
  v1::Process& opener = *batch_.add_processes();
  opener.set_id(8);
  opener.set_pid(4000);
  opener.set_exe("/usr/bin/pool");
  v1::Session& session = *batch_.mutable_sessions(0);
  session.set_opener_process(8);
  v1::Process& server = *batch_.add_processes();
  server.set_id(9);
  server.set_pid(700);
  server.set_exe("/usr/sbin/postgres");
  session.set_server_process(9);
  session.set_database_label("production");
  session.set_application_name("psql");
  session.set_server_version("15.6");
  session.set_backend_pid(99);
  session.set_encrypted(true);
  session.set_gated(true);
  session.set_named_by("process-title");
  v1::Statement& statement = *event_.mutable_statement();
  statement.set_resolved_text("SELECT 2");
  statement.set_command_tag("SELECT 1");
  statement.set_statement_name("s1");
  statement.set_portal_name("p1");
  statement.add_parameters()->set_value("x");
  statement.set_copy_bytes(1);
  statement.set_statement_index(2);
  statement.set_sqlstate("42P01");
  statement.set_error_message("no such table");
  statement.set_request_bytes(3);
  statement.set_response_bytes(4);
  statement.set_text_bytes(100'000);
  statement.set_transaction(v1::TRANSACTION_STATE_FAILED);
  judge(event_, 1);
  v1::Row got = row();
  event_.set_facts(2);
  got.MergeFrom(row());
  v1::Coverage& coverage = *event_.mutable_disconnect()->mutable_coverage();
  coverage.set_verdict(v1::COVERAGE_VERDICT_GAPS);
  for (v1::StreamCoverage* stream : {coverage.mutable_request(), coverage.mutable_response()}) {
    stream->set_begin(1);
    stream->set_decoded(2);
    stream->set_withheld(3);
    stream->set_cut(4);
    stream->set_opaque(5);
    stream->add_lost()->set_bytes(6);
  }
  got.MergeFrom(row());
  v1::Approval& approval = *event_.mutable_approval();
  approval.set_id("h-1");
  approval.set_state("decided");
  approval.set_verdict("deny");
  approval.set_rule("risky");
  approval.add_reviewers("eve");
  approval.set_reason("not today");
  got.MergeFrom(row());
  const auto* reflection = v1::Row::GetReflection();
#define GH_FIELD(name, member, type, help)                                                                       \
  {                                                                                                              \
    const auto* field = v1::Row::descriptor()->FindFieldByName(#member);                                         \
    EXPECT_TRUE(field->is_repeated() ? reflection->FieldSize(got, field) > 0 : reflection->HasField(got, field)) \
        << name;                                                                                                 \
  }
#include "proto/fields.def"
#undef GH_FIELD
}

TEST_F(FlattenTest, WhatRulesSaid) {
  judge(event_, 1);
  const v1::Row got = row();
  EXPECT_EQ(got.verdict(), "mask");
  EXPECT_EQ(got.severity(), "high");
  EXPECT_THAT(got.findings(), testing::ElementsAre("no-reads", "orders", "contact"));
  EXPECT_THAT(got.finding_messages(), testing::ElementsAre("", "Somebody reads orders.", ""));
  EXPECT_THAT(got.masked(), testing::ElementsAre("public.customers.email partial 12 contact",
                                                 "public.customers.phone partial 12 contact"));
  EXPECT_EQ(got.statement_fingerprint(), "0000000000c0ffee");
  EXPECT_EQ(got.policy(), "5c0ffee");
  EXPECT_THAT(got.database_labels(), testing::ElementsAre("env=production"));
}

TEST_F(FlattenTest, FactsThatTheBatchDoesNotHaveAreNone) {
  event_.set_facts(3);
  EXPECT_EQ(row().statement_fingerprint(), "");
}

// The strongest of what was done comes before what would have been done; an alert does nothing to anybody.
TEST(FindingSum, VerdictOfSeveral) {
  struct Case {
    std::vector<std::pair<v1::Action, bool>> findings;  // and whether it is a would
    std::string_view verdict;
  };
  const Case cases[] = {
      {{}, ""},
      {{{v1::ACTION_ALERT, false}}, "alert"},
      {{{v1::ACTION_ALERT, true}}, "would alert"},
      {{{v1::ACTION_BLOCK, true}, {v1::ACTION_ALERT, false}}, "would block"},
      {{{v1::ACTION_BLOCK, false}, {v1::ACTION_TERMINATE, true}}, "block"},
      {{{v1::ACTION_MASK, false}, {v1::ACTION_BLOCK, false}, {v1::ACTION_HOLD, false}}, "block"},
      {{{v1::ACTION_BLOCK, true}, {v1::ACTION_BLOCK, false}}, "block"},
  };
  for (const Case& test : cases) {
    FindingSum sum;
    for (const auto& [action, would] : test.findings) sum.add(action, would, v1::SEVERITY_LOW);
    EXPECT_EQ(to_text(static_cast<v1::Action>(sum.action), sum.would), test.verdict);
  }
}

TEST_F(FlattenTest, Identity) {
  const v1::Row got = row();
  EXPECT_EQ(got.id(), "agent/boot/41");
  EXPECT_EQ(got.session(), "agent/boot/3");
  EXPECT_EQ(got.agent_id(), "agent");
  EXPECT_EQ(got.host(), "db1");
  EXPECT_EQ(got.detail(), "");
}

TEST_F(FlattenTest, Actor) {
  const v1::Row got = row();
  EXPECT_EQ(got.actor_command(), "psql shop");
  EXPECT_EQ(got.actor_ancestry(), "bash < sshd");
  EXPECT_EQ(got.actor_agent() + " " + got.actor_agent_kind(), "claude coding-agent");
  EXPECT_EQ(got.actor_automation() + " " + got.actor_automation_kind(), "cron scheduler");
  EXPECT_EQ(got.actor_login(), "ann");
  EXPECT_EQ(got.actor_opener_pid(), 0U) << "the opener is the writer";
}

TEST_F(FlattenTest, ServerProcess) {
  EXPECT_EQ(row().database_pid(), 0U) << "a server elsewhere";
  v1::Process& server = *batch_.add_processes();
  server.set_id(11);
  server.set_pid(700);
  server.set_exe("/usr/lib/postgresql/15/bin/postgres");
  batch_.mutable_sessions(0)->set_server_process(11);
  EXPECT_EQ(row().database_pid(), 700U);
  EXPECT_EQ(row().database_exe(), "/usr/lib/postgresql/15/bin/postgres");
}

TEST_F(FlattenTest, OpenerOfAnotherImageOfTheSameProcessIsTheSame) {
  v1::Process& before_exec = *batch_.add_processes();
  before_exec = batch_.processes(0);
  before_exec.set_id(9);
  before_exec.set_exe("/bin/sh");
  batch_.mutable_sessions(0)->set_opener_process(9);
  EXPECT_EQ(row().actor_opener_pid(), 0U);
  batch_.mutable_processes(1)->set_start_time_ns(1);
  EXPECT_EQ(row().actor_opener_exe(), "/bin/sh");
}

TEST_F(FlattenTest, WhatTheBatchDoesNotHoldStaysUnknown) {
  event_.set_process(1234);
  event_.set_session(5678);
  const v1::Row got = row();
  EXPECT_EQ(got.actor_pid(), 0U);
  EXPECT_EQ(got.session(), "agent/boot/5678");
  EXPECT_EQ(got.session_user(), "");
  event_.set_session(0);
  EXPECT_EQ(row().session(), "");
}

TEST_F(FlattenTest, Addresses) {
  v1::Session& session = *batch_.mutable_sessions(0);
  EXPECT_EQ(row().session_client(), "127.0.0.1:50000");
  session.set_server_address("::1");
  EXPECT_EQ(row().database_address(), "[::1]:5432");
  session.set_transport(v1::TRANSPORT_UNIX);
  session.set_server_address("/run/postgresql/.s.PGSQL.5432");
  EXPECT_EQ(row().database_address(), "/run/postgresql/.s.PGSQL.5432");
  EXPECT_EQ(row().session_client(), "unix");
  EXPECT_EQ(row().session_transport(), "unix");
}

TEST_F(FlattenTest, BytesThatAreNotUtf8AreShown) {
  event_.mutable_statement()->set_text("SELECT '\xe9t\xe9'");
  EXPECT_EQ(row().statement_text(), "SELECT '\\xe9t\\xe9'");
}

TEST_F(FlattenTest, Parameters) {
  v1::Statement& statement = *event_.mutable_statement();
  statement.clear_parameters();
  statement.add_parameters()->set_value("text");
  statement.add_parameters()->set_is_null(true);
  v1::Parameter& binary = *statement.add_parameters();
  binary.set_is_binary(true);
  binary.set_value(std::string("\x00\xff\x10", 3));
  statement.add_parameters()->set_value("\xff");
  const v1::Row got = row();
  EXPECT_EQ(std::vector<std::string>(got.statement_parameters().begin(), got.statement_parameters().end()),
            (std::vector<std::string>{"text", "NULL", "\\x00ff10", "\\xff"}));
}

TEST_F(FlattenTest, CoverageSaysWhatIsMissingAndWhy) {
  v1::Coverage& coverage = *event_.mutable_disconnect()->mutable_coverage();
  coverage.set_verdict(v1::COVERAGE_VERDICT_GAPS);
  coverage.set_joined(true);
  coverage.mutable_request()->set_begin(100);
  coverage.mutable_request()->set_decoded(50);
  v1::StreamCoverage& response = *coverage.mutable_response();
  response.set_begin(200);
  response.set_left_out(1000);
  v1::Lost& lost = *response.add_lost();
  lost.set_reason("ring-full");
  lost.set_bytes(30);
  lost.set_gaps(2);
  lost.set_first_offset(210);
  lost.set_end_offset(900);
  const v1::Row got = row();
  EXPECT_EQ(got.coverage_verdict(), "gaps");
  EXPECT_EQ(
      std::vector<std::string>(got.coverage_reasons().begin(), got.coverage_reasons().end()),
      (std::vector<std::string>{"request opened-before-watching bytes=100", "response opened-before-watching bytes=200",
                                "response ring-full bytes=30 gaps=2 from=210 to=900"}));
  EXPECT_EQ(got.coverage_unseen_bytes(), 300U);
  EXPECT_EQ(got.coverage_lost_bytes(), 30U);
  EXPECT_EQ(got.coverage_decoded_bytes(), 50U);
  EXPECT_EQ(got.coverage_left_out_bytes(), 1000U);
  // A Unix socket's past is not counted by anyone.
  coverage.mutable_request()->clear_begin();
  response.clear_begin();
  EXPECT_EQ(row().coverage_reasons(0), "opened-before-watching");
}

TEST_F(FlattenTest, KindsAndDetails) {
  struct Case {
    const char* kind;
    const char* detail;
    void (*make)(v1::Event&);
  };
  const Case cases[] = {
      {"connect", "protocol=3.0 a=1 b=2",
       [](v1::Event& event) {
         event.mutable_connect()->set_protocol_version("3.0");
         (*event.mutable_connect()->mutable_options())["b"] = "2";
         (*event.mutable_connect()->mutable_options())["a"] = "1";
       }},
      {"authenticate", "scram-sha-256",
       [](v1::Event& event) { event.mutable_authenticate()->set_method("scram-sha-256"); }},
      {"cancel", "backend=7", [](v1::Event& event) { event.mutable_cancel()->set_backend_pid(7); }},
      {"notification", "channel=jobs", [](v1::Event& event) { event.mutable_notification()->set_channel("jobs"); }},
      {"opaque", "tls", [](v1::Event& event) { event.mutable_opaque()->set_reason("tls"); }},
      {"disconnect", "terminate statements=3",
       [](v1::Event& event) {
         event.mutable_disconnect()->set_reason("terminate");
         event.mutable_disconnect()->set_statements(3);
       }},
      {"disconnect", "closed statements=0 lost_request_bytes=1 lost_response_bytes=2",
       [](v1::Event& event) {
         event.mutable_disconnect()->set_reason("closed");
         event.mutable_disconnect()->set_lost_request_bytes(1);
         event.mutable_disconnect()->set_lost_response_bytes(2);
       }},
      {"gap", "ring-full response offset=10 bytes=5",
       [](v1::Event& event) {
         event.mutable_gap()->set_reason("ring-full");
         event.mutable_gap()->set_response(true);
         event.mutable_gap()->set_offset(10);
         event.mutable_gap()->set_bytes(5);
       }},
      {"gap", "opened-before-watching request offset=0 bytes=7 response_bytes=9 state=idle in transaction",
       [](v1::Event& event) {
         event.mutable_gap()->set_reason("opened-before-watching");
         event.mutable_gap()->set_bytes(7);
         event.mutable_gap()->set_response_bytes(9);
         event.mutable_gap()->set_server_state("idle in transaction");
       }},
      {"gap", "spool-full events=12",
       [](v1::Event& event) {
         event.mutable_gap()->set_reason("spool-full");
         event.mutable_gap()->set_events(12);
       }},
      {"agent", "phase=start version=0.1.0 plane=socket kernel=6.18.0 lost=2 seen=9",
       [](v1::Event& event) {
         event.mutable_agent_status()->set_phase("start");
         event.mutable_agent_status()->set_plane("socket");
         event.mutable_agent_status()->set_kernel("6.18.0");
         (*event.mutable_agent_status()->mutable_counters())["seen"] = 9;
         (*event.mutable_agent_status()->mutable_counters())["lost"] = 2;
       }},
      {"unknown", "", [](v1::Event& event) { event.clear_body(); }},
  };
  for (const Case& one : cases) {
    event_.clear_body();
    one.make(event_);
    const v1::Row got = row();
    EXPECT_EQ(got.kind(), one.kind);
    EXPECT_EQ(got.detail(), one.detail);
  }
}

}  // namespace
}  // namespace gatehouse::store
