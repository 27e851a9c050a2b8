// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/held_statement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "agent/runtime/hold_request.h"
#include "agent/runtime/session_holds.h"
#include "agent/sql/analyzer.h"
#include "common/clock.h"
#include "gatehouse/v1/event.pb.h"

namespace gatehouse::runtime {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using State = HeldStatement::State;

constexpr uint64_t kSecond = 1'000'000'000;

HeldStatement held(rules::WhenUnreachable when = rules::WhenUnreachable::kDeny, uint64_t timeout_ns = 0) {
  HeldStatement::Question question;
  question.id = "0123456789abcdef";
  question.rule = "risky";
  question.session = "a/b/1";
  question.hold = {.for_ns = 60 * kSecond,
                   .approvers = {"dba"},
                   .quorum = 1,
                   .when_unreachable = when,
                   .unreachable_after_ns = 10 * kSecond,
                   .remind_every_ns = 30 * kSecond,
                   .explain = false};
  question.binding.fill(std::byte{7});
  question.now_ns = 100 * kSecond;
  question.timeout_ns = timeout_ns;
  return HeldStatement(question);
}
HoldAnswer kept() {
  return {.kind = HoldAnswer::Kind::kKept, .id = "0123456789abcdef"};
}
HoldAnswer decided(v1::HoldVerdict verdict) {
  return {.kind = HoldAnswer::Kind::kDecided,
          .id = "0123456789abcdef",
          .verdict = verdict,
          .binding = std::string(32, '\7'),
          .reviewers = {"ada"},
          .reason = "use staging"};
}

TEST(HeldStatement, ADecisionIsAboutThisQuestionOnly) {
  HeldStatement statement = held();
  HoldAnswer other = decided(v1::HOLD_VERDICT_APPROVE);
  other.id = "x";
  EXPECT_FALSE(statement.on_answer(other));
  other = decided(v1::HOLD_VERDICT_APPROVE);
  other.binding[3] = 'x';
  EXPECT_FALSE(statement.on_answer(other));
  other.binding.clear();
  EXPECT_FALSE(statement.on_answer(other));
  EXPECT_FALSE(statement.on_answer(decided(v1::HOLD_VERDICT_UNSPECIFIED)));
  EXPECT_TRUE(statement.is_waiting());
  EXPECT_TRUE(statement.on_answer(decided(v1::HOLD_VERDICT_APPROVE)));
  EXPECT_TRUE(statement.is_released());
  // The last word is the first.
  EXPECT_FALSE(statement.on_answer(decided(v1::HOLD_VERDICT_DENY)));
  EXPECT_TRUE(statement.is_released());
}

TEST(HeldStatement, DeniedSaysByWhomAndWhy) {
  HeldStatement statement = held();
  EXPECT_TRUE(statement.on_answer(decided(v1::HOLD_VERDICT_DENY)));
  const shim::Ruling ruling = statement.refusal();
  EXPECT_EQ(ruling.kind, shim::Ruling::Kind::kRefuse);
  EXPECT_EQ(ruling.sqlstate, "42501");
  EXPECT_EQ(ruling.message, "refused by rule risky: denied by ada");
  EXPECT_THAT(std::string(ruling.detail), HasSubstr("use staging"));
}

TEST(HeldStatement, TheClockEndsIt) {
  HeldStatement unheard = held();
  EXPECT_FALSE(unheard.on_time(109 * kSecond));
  EXPECT_TRUE(unheard.on_time(110 * kSecond));
  EXPECT_EQ(unheard.state(), State::kUnreachable);
  EXPECT_FALSE(unheard.is_released());
  HeldStatement allowed = held(rules::WhenUnreachable::kAllow);
  EXPECT_TRUE(allowed.on_time(110 * kSecond));
  EXPECT_TRUE(allowed.is_released());
  // Whom the collector has asked, it waits for, whatever becomes of the connection.
  HeldStatement asked = held(rules::WhenUnreachable::kAllow);
  EXPECT_FALSE(asked.on_answer(kept()));
  EXPECT_FALSE(asked.on_time(159 * kSecond));
  EXPECT_TRUE(asked.on_time(160 * kSecond));
  EXPECT_EQ(asked.state(), State::kExpired);
  EXPECT_FALSE(asked.is_released());
  HeldStatement timed = held(rules::WhenUnreachable::kAllow, 105 * kSecond);
  EXPECT_TRUE(timed.on_time(105 * kSecond));
  EXPECT_EQ(timed.refusal().sqlstate, "57014");
  EXPECT_FALSE(timed.is_released());
}

TEST(HeldStatement, CancelledAsByTheServer) {
  HeldStatement statement = held();
  EXPECT_TRUE(statement.on_answer({.kind = HoldAnswer::Kind::kCancelled, .id = "0123456789abcdef"}));
  EXPECT_EQ(statement.refusal().sqlstate, "57014");
  EXPECT_EQ(statement.refusal().message, "canceling statement due to user request");
  EXPECT_EQ(statement.end_state(), "cancelled");
}

TEST(HeldStatement, NoticesAtOnceAndNowAndThen) {
  HeldStatement statement = held();
  EXPECT_EQ(statement.take_notice(100 * kSecond),
            "held by rule risky: waiting for the approval of dba; request 0123456789abcdef, 60 s");
  EXPECT_EQ(statement.take_notice(101 * kSecond), "");
  EXPECT_THAT(statement.take_notice(130 * kSecond), HasSubstr("still waiting"));
  EXPECT_EQ(statement.take_notice(140 * kSecond), "");
  // That nobody can approve it is news.
  HoldAnswer hopeless = kept();
  hopeless.is_hopeless = true;
  EXPECT_FALSE(statement.on_answer(hopeless));
  EXPECT_THAT(statement.take_notice(141 * kSecond), HasSubstr("too few reviewers"));
  EXPECT_EQ(statement.take_notice(142 * kSecond), "");
}

TEST(HeldStatement, TimeInWords) {
  EXPECT_EQ(time_words(2 * kSecond), "2 s");
  EXPECT_EQ(time_words(90 * kSecond), "90 s");
  EXPECT_EQ(time_words(900 * kSecond), "15 min");
  EXPECT_EQ(time_words(150 * kSecond), "2 min 30 s");
  EXPECT_EQ(time_words(9000 * kSecond), "2 h 30 min");
}

// Everything that an approval is for, one thing changed at a time: no two have one digest.
TEST(HoldRequest, EveryDifferenceIsAnotherQuestion) {
  struct Scene {
    SessionFacts session;
    std::string session_id = "a/b/1", host = "db1";
    std::vector<std::pair<std::string, std::string>> startup{{"user", "joe"}, {"database", "d"}};
    std::vector<std::string> statements;
    rules::Actor actor;
    bool has_actor = true, has_digest = true;
    Activity request;
    std::vector<Parameter> parameters{{.value = "1"}, {.value = "23"}};
  };
  const auto digest = [](Scene& scene) {
    sql::SessionState state;
    state.on_startup(scene.startup);
    state.on_parameter_status("search_path", "public");
    state.on_ready('I');
    sql::Analyzer analyzer;
    for (const std::string& text : scene.statements) {
      const auto facts = analyzer.analyze_fresh(text, {}).facts;
      for (const sql::Statement& statement : facts->statements)
        state.on_finished(statement, statement.effects, sql::StatementOutcome::kOk);
      state.on_ready('I');
    }
    scene.request.parameters = scene.parameters;
    return to_hex(binding_digest({.session = scene.session,
                                  .session_id = scene.session_id,
                                  .host = scene.host,
                                  .state = state,
                                  .actor = scene.has_actor ? &scene.actor : nullptr,
                                  .has_digest = scene.has_digest},
                                 scene.request));
  };
  const auto base = [] {
    Scene scene;
    scene.session.database_label = "shop";
    scene.session.server_address = "10.0.0.1";
    scene.session.server_port = 5432;
    scene.session.database = "d";
    scene.session.user = "joe";
    scene.session.client_encoding = "UTF8";
    scene.actor = {.pid = 500, .exe = "/usr/bin/psql", .sha256 = "aa", .command = "psql -d d", .login = "joe"};
    scene.actor.start = {.seconds = 5, .ns = 6};
    scene.request.kind = ActivityKind::kStatement;
    scene.request.protocol = StatementProtocol::kExtended;
    scene.request.text = "DELETE FROM t WHERE a = $1 AND b = $2";
    scene.request.text_bytes = scene.request.text.size();
    return scene;
  };
  const std::vector<std::function<void(Scene&)>> changes{
      [](Scene&) {},
      [](Scene& s) { s.request.text = "DELETE FROM t WHERE a = $1 AND b = $2 "; },
      [](Scene& s) { s.request.resolved_text = "DELETE"; },
      [](Scene& s) { s.request.protocol = StatementProtocol::kSimple; },
      [](Scene& s) { s.parameters[1].value = "24"; },
      [](Scene& s) { s.parameters = {{.value = "12"}, {.value = "3"}}; },  // the same bytes, cut elsewhere
      [](Scene& s) { s.parameters[1].is_null = true; },
      [](Scene& s) { s.parameters[1].is_binary = true; },
      [](Scene& s) { s.parameters[1].type_oid = 23; },
      [](Scene& s) { s.parameters.pop_back(); },
      [](Scene& s) { s.session_id = "a/b/2"; },
      [](Scene& s) { s.host = "db2"; },
      [](Scene& s) { s.session.database_label = "other"; },
      [](Scene& s) { s.session.server_port = 5433; },
      [](Scene& s) { s.session.server_address = "10.0.0.2"; },
      [](Scene& s) { s.session.database = "e"; },
      [](Scene& s) { s.session.user = "ann"; },
      [](Scene& s) { s.session.client_encoding = "SJIS"; },
      [](Scene& s) { s.statements = {"SET search_path = other"}; },
      [](Scene& s) { s.statements = {"SET ROLE ann"}; },
      [](Scene& s) { s.statements = {"SET SESSION AUTHORIZATION ann"}; },
      [](Scene& s) { s.statements = {"SET standard_conforming_strings = off"}; },
      [](Scene& s) { s.statements = {"CREATE TEMP TABLE t (a int)"}; },
      [](Scene& s) { s.actor.pid = 501; },
      [](Scene& s) { s.actor.start.ns = 7; },
      [](Scene& s) { s.actor.exe = "/usr/bin/other"; },
      [](Scene& s) { s.actor.sha256 = "bb"; },
      [](Scene& s) { s.actor.command = "psql -d e"; },
      [](Scene& s) { s.actor.uid = 1; },
      [](Scene& s) { s.actor.login = "ann"; },
      [](Scene& s) { s.has_actor = false; },
  };
  std::map<std::string, size_t> seen;
  for (size_t i = 0; i < changes.size(); ++i) {
    Scene scene = base();
    changes[i](scene);
    const auto [known, is_new] = seen.emplace(digest(scene), i);
    EXPECT_TRUE(is_new) << "change " << i << " is as change " << known->second;
    EXPECT_EQ(digest(scene), known->first) << i;
  }
  // A digest of the program that comes late changes nothing.
  Scene early = base(), late = base();
  early.has_digest = late.has_digest = false;
  early.actor.sha256 = "";
  EXPECT_EQ(digest(early), digest(late));
}

TEST(HoldRequest, WhatIsNotThereIsNotBound) {
  Activity whole{.text = "DELETE", .text_bytes = 6};
  EXPECT_TRUE(is_bindable(whole));
  Activity cut = whole;
  cut.text_bytes = 7;
  EXPECT_FALSE(is_bindable(cut));
  Activity forgotten = whole;
  forgotten.fidelity = Fidelity::kAfterGap;
  EXPECT_FALSE(is_bindable(forgotten));
  const Parameter parameters[] = {{.value = "x", .is_cut = true}};
  Activity parameter = whole;
  parameter.parameters = parameters;
  EXPECT_FALSE(is_bindable(parameter));
}

// The book and the session's holds together, with a collector that is played.
class SessionHoldsTest : public ::testing::Test, public RecordSink {
 protected:
  SessionHoldsTest() {
    const rules::PolicyFile file{.name = "rules.yaml", .text = R"(rules:
  - {id: one, on: statement, when: "true", then: hold, mode: active, hold: {approvers: [dba]}}
  - {id: two, on: statement, when: "statement.verb != ''", then: hold, mode: active}
)"};
    auto loaded = rules::load_policy({&file, 1}, rules::event_kinds());
    EXPECT_TRUE(loaded.has_value());
    policy_ = std::make_shared<const rules::Policy>(std::move(*loaded));
    session_.user = "joe";
    state_.on_startup({{"user", "joe"}});
    request_.text = "DELETE FROM t";
    request_.text_bytes = request_.text.size();
    request_.request_offset = 40;
    holds_ = std::make_unique<SessionHolds>(SessionHolds::Options{
        .book = &book_, .records = this, .socket = 9, .tell = [this](const HoldAnswer& a) { answers_.push_back(a); }});
  }
  void on_socket_opened(const SocketOpened&) override {}
  void on_chunk(const Chunk&) override {}
  void on_socket_opaque(const SocketOpaque&) override {}
  void on_socket_closed(const SocketClosed&) override {}
  void on_process_exec(const ProcessExec&) override {}
  void on_process_fork(const ProcessFork&) override {}
  void on_process_exit(const ProcessExit&) override {}
  void on_approval(const ApprovalStep& step) override {
    v1::Approval approval;
    EXPECT_TRUE(approval.ParseFromArray(step.approval.data(), static_cast<int>(step.approval.size())));
    EXPECT_EQ(step.socket, 9U);
    steps_.push_back(approval.state() + " " + approval.rule() +
                     (approval.reason().empty() ? "" : " " + approval.reason()));
  }
  HoldContext context() { return {.session = session_, .session_id = "a/b/1", .host = "h", .state = state_}; }
  shim::Ruling hold(std::initializer_list<const char*> rules) {
    std::vector<judge::Found> found;
    for (const char* rule : rules) found.push_back({.rule = rule, .action = rules::Action::kHold});
    const HoldContext from = context();
    return holds_->hold({.context = from,
                         .request = request_,
                         .policy = policy_,
                         .findings = found,
                         .facts = facts_,
                         .changes_state = true},
                        boottime_ns(), 1);
  }
  std::optional<shim::Ruling> resume() { return holds_->resume(context(), request_, policy_, boottime_ns(), 1); }
  std::string asked_id() {
    std::string id;
    for (const v1::AgentNote& note : book_.take_notes())
      if (note.has_request()) {
        id = note.request().id();
        binding_ = note.request().binding_sha256();
      }
    return id;
  }
  // The collector's word, brought to the session as a desk does.
  bool decide(const std::string& id, v1::HoldVerdict verdict) {
    v1::CollectorNote note;
    note.mutable_decision()->set_id(id);
    note.mutable_decision()->set_verdict(verdict);
    note.mutable_decision()->set_binding_sha256(binding_);
    note.mutable_decision()->set_reason("why");
    note.mutable_decision()->add_reviewers("ada");
    book_.on_note(note);
    bool resumes = false;
    for (const HoldAnswer& answer : std::exchange(answers_, {})) resumes = holds_->on_answer(answer, 2) || resumes;
    return resumes;
  }

  HoldBook book_{"boot"};
  std::shared_ptr<const rules::Policy> policy_;
  SessionFacts session_;
  sql::SessionState state_;
  Activity request_;
  judge::FactsSummary facts_;
  std::string binding_;
  std::vector<HoldAnswer> answers_;
  std::vector<std::string> steps_;
  std::unique_ptr<SessionHolds> holds_;
};

TEST_F(SessionHoldsTest, ApprovedItRunsOnce) {
  book_.on_connected();
  EXPECT_EQ(hold({"one"}).kind, shim::Ruling::Kind::kWait);
  const std::string id = asked_id();
  EXPECT_EQ(resume()->kind, shim::Ruling::Kind::kWait);  // for another reason
  EXPECT_TRUE(decide(id, v1::HOLD_VERDICT_APPROVE));
  const auto ruling = resume();
  EXPECT_EQ(ruling->kind, shim::Ruling::Kind::kRelease);
  EXPECT_TRUE(ruling->changes_state);
  EXPECT_FALSE(resume());  // the next time it is judged anew
  EXPECT_FALSE(decide(id, v1::HOLD_VERDICT_APPROVE));
  EXPECT_THAT(steps_, ElementsAre("asked one", "decided one why", "executed one why"));
  EXPECT_EQ(book_.waiting(), 0U);
}

TEST_F(SessionHoldsTest, EachRuleIsAsked) {
  book_.on_connected();
  hold({"one", "two"});
  const std::string first = asked_id();
  decide(first, v1::HOLD_VERDICT_APPROVE);
  EXPECT_EQ(resume()->kind, shim::Ruling::Kind::kWait);
  const std::string second = asked_id();
  EXPECT_NE(second, first);
  EXPECT_NE(second, "");
  decide(second, v1::HOLD_VERDICT_DENY);
  EXPECT_EQ(resume()->kind, shim::Ruling::Kind::kRefuse);
  EXPECT_FALSE(holds_->is_holding());
}

TEST_F(SessionHoldsTest, WhatHasChangedIsAskedAnew) {
  book_.on_connected();
  hold({"one"});
  const std::string id = asked_id();
  decide(id, v1::HOLD_VERDICT_APPROVE);
  session_.client_encoding = "SJIS";
  EXPECT_FALSE(resume());
  EXPECT_FALSE(holds_->is_holding());
  hold({"one"});
  EXPECT_NE(asked_id(), id);
  policy_ = std::make_shared<const rules::Policy>();
  EXPECT_FALSE(resume());
  EXPECT_THAT(steps_, ElementsAre("asked one", "decided one why", "cancelled one changed", "asked one",
                                  "cancelled one rules-changed"));
}

TEST_F(SessionHoldsTest, ASessionThatEndsCancels) {
  book_.on_connected();
  hold({"one"});
  const std::string id = asked_id();
  holds_.reset();
  EXPECT_THAT(steps_, ElementsAre("asked one", "cancelled one disconnected"));
  const auto notes = book_.take_notes();
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_EQ(notes[0].end().id(), id);
  // Until the collector has it, it is said on every stream.
  EXPECT_EQ(book_.on_connected().size(), 2U);
  v1::CollectorNote kept;
  kept.mutable_end_kept()->set_id(id);
  book_.on_note(kept);
  EXPECT_EQ(book_.on_connected().size(), 1U);
}

// Asked without a connection, and again with each.
TEST_F(SessionHoldsTest, AStreamBeginsWithAllThatWaits) {
  hold({"one"});
  EXPECT_THAT(book_.take_notes(), IsEmpty());
  for (int i = 0; i < 2; ++i) {
    const auto notes = book_.on_connected();
    ASSERT_EQ(notes.size(), 2U);
    EXPECT_EQ(notes[0].hello().waiting(0), notes[1].request().id());
    EXPECT_LE(notes[1].request().left_ns(), notes[1].request().limit_ns());
    book_.on_disconnected();
  }
}

TEST_F(SessionHoldsTest, CancelsFindTheirSession) {
  holds_->on_cancel_key("key");
  EXPECT_FALSE(book_.cancel("key"));
  hold({"one"});
  EXPECT_FALSE(book_.cancel("other"));
  EXPECT_TRUE(book_.cancel("key"));
  ASSERT_EQ(answers_.size(), 1U);
  EXPECT_TRUE(holds_->on_answer(answers_[0], 2));
  EXPECT_EQ(resume()->sqlstate, "57014");
  EXPECT_FALSE(book_.cancel("key"));
}

TEST_F(SessionHoldsTest, WithoutAnybodyToAskItIsRefused) {
  SessionHolds alone({.book = nullptr, .records = this, .socket = 9, .tell = {}});
  const judge::Found found{.rule = "one", .action = rules::Action::kHold};
  const HoldContext from = context();
  const shim::Ruling ruling = alone.hold(
      {.context = from, .request = request_, .policy = policy_, .findings = {&found, 1}, .facts = facts_}, 1, 1);
  EXPECT_EQ(ruling.kind, shim::Ruling::Kind::kRefuse);
  request_.text_bytes = 100;
  EXPECT_EQ(hold({"one"}).kind, shim::Ruling::Kind::kRefuse);
  EXPECT_EQ(hold({"no-such-rule"}).kind, shim::Ruling::Kind::kRefuse);
  EXPECT_EQ(hold({}).kind, shim::Ruling::Kind::kRefuse);
}

TEST_F(SessionHoldsTest, AGrantCoversWhatItSays) {
  book_.on_connected();
  facts_.fingerprint = 77;
  v1::CollectorNote note;
  v1::HoldGrant& grant = *note.mutable_grant();
  grant.set_id("g");
  grant.set_rule("one");
  grant.set_fingerprint(77);
  grant.set_scope("person");
  grant.set_login("joe");
  grant.set_left_ns(60 * kSecond);
  const Sha256 bound = context_digest(context());
  grant.set_context_sha256(bound.data(), bound.size());
  GrantQuestion question{.rule = "one", .fingerprint = 77, .context = bound, .login = "joe"};
  EXPECT_FALSE(book_.find_grant(question));
  book_.on_note(note);
  EXPECT_TRUE(book_.find_grant(question));
  for (const std::function<void(GrantQuestion&)>& change : std::vector<std::function<void(GrantQuestion&)>>{
           [](auto& q) { q.rule = "two"; }, [](auto& q) { q.fingerprint = 78; }, [](auto& q) { q.fingerprint = 0; },
           [](auto& q) { q.context[0] ^= std::byte{1}; }, [](auto& q) { q.login = "ann"; },
           [](auto& q) { q.login = ""; }, [](auto& q) { q.database_label = "x"; }}) {
    GrantQuestion changed = question;
    change(changed);
    EXPECT_FALSE(book_.find_grant(changed));
  }
  grant.set_left_ns(0);
  book_.on_note(note);
  EXPECT_FALSE(book_.find_grant(question));
}

}  // namespace
}  // namespace gatehouse::runtime
