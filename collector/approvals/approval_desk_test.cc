// SPDX-License-Identifier: Apache-2.0
// What agents and reviewers say to the desk, and what it says to whom; with starts anew in between.
#include "collector/approvals/approval_desk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>

namespace gatehouse::approvals {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint64_t kSecond = 1'000'000'000;

class ApprovalDeskTest : public ::testing::Test {
 protected:
  ApprovalDeskTest() {
    std::filesystem::remove_all(folder_);
    start();
  }
  ~ApprovalDeskTest() override {
    desk_.reset();
    std::filesystem::remove_all(folder_);
  }

  void start() {
    desk_.reset();
    auto opened = ApprovalDesk::open(
        {.folder = folder_,
         .reviewers = {{{.name = "ada", .groups = {"dba"}, .logins = {}},
                        {.name = "grace", .groups = {"dba"}, .logins = {}},
                        {.name = "oncall", .groups = {"oncall"}, .logins = {}}},
                       {"oncall"}},
         .record = [this](const std::string& log_id, uint64_t first, std::span<const v1::Event> events) -> Status {
           const std::lock_guard lock(ledger_mutex_);
           for (size_t i = 0; i < events.size(); ++i)
             ledger_[log_id][first + i] = events[i].approval().state() + " " + events[i].approval().id();
           return {};
         },
         .tell =
             [this](std::string_view event, const v1::ApprovalView& view) {
               told_.push_back(std::string(event) + " " + view.request().id() + " " + view.state());
             },
         .now_ns = [this] { return now_ns_.load(); }});
    ASSERT_TRUE(opened.has_value()) << opened.error().message();
    desk_ = std::move(*opened);
  }
  // An agent connects, with what it waits for.
  void connect(const std::vector<std::string>& waiting = {}, const std::string& agent = "db1-aa") {
    desk_->connect(agent, [this](const v1::CollectorNote& note) { said_.push_back(words(note)); });
    v1::AgentNote note;
    note.mutable_hello()->set_boot_id("boot");
    for (const std::string& id : waiting) note.mutable_hello()->add_waiting(id);
    desk_->on_note(agent, note);
  }
  static v1::HoldRequest request(const std::string& id, uint32_t quorum = 1) {
    v1::HoldRequest out;
    out.set_id(id);
    out.set_rule("risky");
    out.add_approvers("dba");
    out.set_quorum(quorum);
    out.set_left_ns(60 * kSecond);
    out.set_limit_ns(60 * kSecond);
    out.set_binding_sha256(std::string(32, 'b'));
    out.set_context_sha256(std::string(32, 'c'));
    out.set_text("DELETE FROM t");
    out.mutable_facts()->set_fingerprint(77);
    out.mutable_process()->set_pid(500);
    out.mutable_process()->set_user("app");
    out.mutable_process()->set_login("joe");
    return out;
  }
  void ask(const v1::HoldRequest& request, const std::string& agent = "db1-aa") {
    v1::AgentNote note;
    *note.mutable_request() = request;
    desk_->on_note(agent, note);
  }
  void end(const std::string& id, const std::string& state, const std::string& agent = "db1-aa") {
    v1::AgentNote note;
    note.mutable_end()->set_id(id);
    note.mutable_end()->set_state(state);
    desk_->on_note(agent, note);
  }
  std::string decide(const std::string& name, const std::string& id, v1::DecideVerb verb,
                     const std::function<void(v1::DecideRequest&)>& more = {}) {
    v1::DecideRequest decision;
    decision.set_id(id);
    decision.set_verb(verb);
    decision.set_reason("because of " + name);
    if (more) more(decision);
    const Outcome outcome = desk_->decide(name, decision);
    return outcome.kind == Outcome::Kind::kDone ? outcome.view.state() : "! " + outcome.message;
  }
  std::string approve(const std::string& name, const std::string& id) {
    return decide(name, id, v1::DECIDE_VERB_APPROVE);
  }
  std::string state(const std::string& id) {
    const Outcome outcome = desk_->show("nobody", id);
    return outcome.kind == Outcome::Kind::kDone ? outcome.view.state() : "! " + outcome.message;
  }
  static std::string words(const v1::CollectorNote& note) {
    if (note.has_kept()) return "kept " + note.kept().id() + (note.kept().is_hopeless() ? " hopeless" : "");
    if (note.has_end_kept()) return "end-kept " + note.end_kept().id();
    if (note.has_grant())
      return "grant " + note.grant().scope() + " " + std::to_string(note.grant().left_ns() / kSecond) + "s";
    const v1::HoldDecision& decision = note.decision();
    std::string out = "decision " + decision.id() + " " + std::to_string(decision.verdict());
    for (const std::string& reviewer : decision.reviewers()) out += " " + reviewer;
    return out + (decision.reason().empty() ? "" : ": " + decision.reason());
  }
  std::vector<std::string> take_said() { return std::exchange(said_, {}); }
  // Every event of every log once, without a hole, when the recorder has come to it.
  std::vector<std::string> ledger(size_t events) {
    for (int i = 0; i < 500; ++i) {
      {
        const std::lock_guard lock(ledger_mutex_);
        size_t count = 0;
        std::vector<std::string> all;
        for (const auto& [log_id, entries] : ledger_) {
          count += entries.size();
          uint64_t next = 1;
          for (const auto& [number, words] : entries) {
            EXPECT_EQ(number, next++);
            all.push_back(words);
          }
        }
        if (count >= events) return all;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ADD_FAILURE() << "not in the ledger";
    return {};
  }

  const std::string folder_ = ::testing::TempDir() + "approval_desk_" + std::to_string(::getpid());
  std::atomic<uint64_t> now_ns_{1000 * kSecond};
  std::vector<std::string> said_, told_;
  std::mutex ledger_mutex_;
  std::map<std::string, std::map<uint64_t, std::string>> ledger_;
  std::unique_ptr<ApprovalDesk> desk_;
};

constexpr const char* kA = "aaaaaaaaaaaaaaaa";
constexpr const char* kB = "bbbbbbbbbbbbbbbb";

TEST_F(ApprovalDeskTest, AskedApprovedExecuted) {
  connect();
  ask(request(kA));
  EXPECT_THAT(take_said(), ElementsAre(std::string("kept ") + kA));
  EXPECT_EQ(desk_->list("ada", {}).size(), 1U);
  EXPECT_EQ(desk_->show("ada", "aaaa").view.steps_size(), 2);
  EXPECT_EQ(approve("ada", "aaaa"), "approved");
  EXPECT_THAT(take_said(), ElementsAre(std::string("decision ") + kA + " 1 ada: because of ada"));
  EXPECT_THAT(approve("grace", kA), HasSubstr("is approved already"));
  end(kA, "executed");
  EXPECT_THAT(take_said(), ElementsAre(std::string("end-kept ") + kA));
  EXPECT_EQ(state(kA), "executed");
  EXPECT_THAT(desk_->list("ada", {}), IsEmpty());
  EXPECT_THAT(told_, ElementsAre(HasSubstr("asked"), HasSubstr("decided")));
  const std::string id = kA;
  EXPECT_THAT(ledger(4), ElementsAre("asked " + id, "seen " + id, "decided " + id, "executed " + id));
}

TEST_F(ApprovalDeskTest, OneDenialIsEnough) {
  connect();
  ask(request(kA, 2));
  EXPECT_EQ(approve("ada", kA), "pending");
  EXPECT_EQ(decide("grace", kA, v1::DECIDE_VERB_DENY), "denied");
  take_said();
  end(kA, "refused");
  EXPECT_EQ(state(kA), "denied");
}

TEST_F(ApprovalDeskTest, AQuorumIsOfDifferentReviewers) {
  connect();
  ask(request(kA, 2));
  EXPECT_EQ(approve("ada", kA), "pending");
  EXPECT_THAT(approve("ada", kA), HasSubstr("approved it already"));
  start();  // votes are kept
  EXPECT_THAT(approve("ada", kA), HasSubstr("approved it already"));
  EXPECT_THAT(approve("oncall", kA), HasSubstr("none of the groups"));
  connect({kA});
  take_said();
  EXPECT_EQ(approve("grace", kA), "approved");
  EXPECT_THAT(take_said(), ElementsAre(std::string("decision ") + kA +
                                       " 1 ada grace: ada: because of ada; grace: because of grace"));
}

TEST_F(ApprovalDeskTest, NoReasonNoDecision) {
  connect();
  ask(request(kA));
  EXPECT_THAT(decide("ada", kA, v1::DECIDE_VERB_APPROVE, [](auto& d) { d.clear_reason(); }), HasSubstr("reason"));
  EXPECT_THAT(approve("ada", "cccc"), HasSubstr("there is no request"));
  EXPECT_THAT(approve("ada", ""), HasSubstr("there is no request"));
  ask(request("aaaabbbbaaaabbbb"));
  EXPECT_THAT(approve("ada", "aaaa"), HasSubstr("may be"));
  EXPECT_THAT(decide("ada", kA, v1::DECIDE_VERB_APPROVE, [](auto& d) { d.set_binding_sha256("other"); }),
              HasSubstr("not the one that was shown"));
  EXPECT_EQ(state(kA), "pending");
}

TEST_F(ApprovalDeskTest, TimeEndsIt) {
  connect();
  ask(request(kA));
  take_said();
  now_ns_ += 59 * kSecond;
  EXPECT_EQ(state(kA), "pending");
  now_ns_ += kSecond;
  EXPECT_THAT(approve("ada", kA), HasSubstr("is expired already"));
  EXPECT_THAT(take_said(), ElementsAre(std::string("decision ") + kA + " 3"));
}

// Sent again after a connection broke, or a collector was killed at any point: known, and answered by what is known.
TEST_F(ApprovalDeskTest, AgentsMaySayEverythingAgain) {
  connect();
  ask(request(kA));
  ask(request(kA));
  EXPECT_THAT(take_said(), ElementsAre(std::string("kept ") + kA, std::string("kept ") + kA));
  start();
  EXPECT_EQ(approve("ada", kA), "approved");  // while nobody is connected
  start();
  connect({kA});
  ask(request(kA));
  const std::string decision = std::string("decision ") + kA + " 1 ada: because of ada";
  EXPECT_THAT(take_said(), ElementsAre(decision, decision));
  end(kA, "executed");
  end(kA, "executed");
  EXPECT_THAT(take_said(), ElementsAre(std::string("end-kept ") + kA, std::string("end-kept ") + kA));
  end("dddddddddddddddd", "executed");  // never heard of; the agent need not say it again
  EXPECT_THAT(take_said(), ElementsAre("end-kept dddddddddddddddd"));
  EXPECT_EQ(state(kA), "executed");
}

TEST_F(ApprovalDeskTest, WhatAnAgentWaitsForNoLongerIsOver) {
  connect();
  ask(request(kA));
  ask(request(kB));
  connect({kB});
  EXPECT_EQ(state(kA), "cancelled");
  EXPECT_EQ(state(kB), "pending");
  EXPECT_THAT(approve("ada", kA), HasSubstr("is cancelled already"));
}

// An id is its agent's: another can neither take it over nor end it.
TEST_F(ApprovalDeskTest, OtherAgentsHaveNoPartInIt) {
  connect();
  ask(request(kA));
  connect({kA}, "db2-bb");
  take_said();
  ask(request(kA), "db2-bb");
  end(kA, "cancelled", "db2-bb");
  EXPECT_EQ(state(kA), "pending");
  v1::HoldRequest other = request(kA);
  other.set_binding_sha256(std::string(32, 'x'));
  ask(other);
  EXPECT_EQ(desk_->show("nobody", kA).view.request().binding_sha256(), std::string(32, 'b'));
}

TEST_F(ApprovalDeskTest, TheGlassMustBeLookedAt) {
  connect();
  ask(request(kA, 2));
  take_said();
  const auto breaks = [](v1::DecideRequest& decision) { decision.set_break_glass(true); };
  EXPECT_THAT(decide("ada", kA, v1::DECIDE_VERB_APPROVE, breaks), HasSubstr("no group of approvals.break_glass"));
  EXPECT_EQ(decide("oncall", kA, v1::DECIDE_VERB_APPROVE, breaks), "approved");
  EXPECT_THAT(take_said(), ElementsAre(HasSubstr(" 1 oncall")));
  end(kA, "executed");
  start();
  ASSERT_EQ(desk_->list("ada", {}).size(), 1U);
  EXPECT_TRUE(desk_->list("ada", {})[0].needs_review());
  EXPECT_THAT(decide("oncall", kA, v1::DECIDE_VERB_REVIEW), HasSubstr("does not review"));
  EXPECT_EQ(decide("ada", kA, v1::DECIDE_VERB_REVIEW), "executed");
  EXPECT_THAT(desk_->list("ada", {}), IsEmpty());
  EXPECT_THAT(decide("ada", kA, v1::DECIDE_VERB_REVIEW), HasSubstr("needs no review"));
}

TEST_F(ApprovalDeskTest, GrantsAreForATime) {
  const auto lasting = [](const std::string& scope, uint64_t seconds) {
    return [=](v1::DecideRequest& decision) {
      decision.set_grant_ns(seconds * kSecond);
      decision.set_grant_scope(scope);
    };
  };
  connect();
  v1::HoldRequest opaque = request(kB);
  opaque.mutable_facts()->clear_fingerprint();
  ask(opaque);
  EXPECT_THAT(decide("ada", kB, v1::DECIDE_VERB_APPROVE, lasting("process", 60)), HasSubstr("once only"));
  ask(request(kA));
  EXPECT_THAT(decide("ada", kA, v1::DECIDE_VERB_APPROVE, lasting("all", 60)), HasSubstr("process or person"));
  EXPECT_THAT(decide("ada", kA, v1::DECIDE_VERB_APPROVE, lasting("person", 90'000)), HasSubstr("24 hours"));
  EXPECT_THAT(decide("ada", kA, v1::DECIDE_VERB_DENY, lasting("person", 60)), HasSubstr("only an approval"));
  take_said();
  EXPECT_EQ(decide("ada", kA, v1::DECIDE_VERB_APPROVE, lasting("person", 60)), "approved");
  EXPECT_THAT(take_said(), ElementsAre(HasSubstr("decision"), "grant person 60s"));
  end(kA, "executed");
  now_ns_ += 20 * kSecond;
  start();
  connect();
  EXPECT_THAT(take_said(), ElementsAre("end-kept aaaaaaaaaaaaaaaa", "grant person 40s"));
  now_ns_ += 40 * kSecond;
  connect();
  EXPECT_THAT(take_said(), IsEmpty());
}

// Of a quorum, a grant is what all have agreed to.
TEST_F(ApprovalDeskTest, AGrantOfAQuorumIsTheLeast) {
  connect();
  ask(request(kA, 2));
  const auto lasting = [](uint64_t seconds, const char* scope) {
    return [=](v1::DecideRequest& decision) {
      decision.set_grant_ns(seconds * kSecond);
      decision.set_grant_scope(scope);
    };
  };
  decide("ada", kA, v1::DECIDE_VERB_APPROVE, lasting(30, "process"));
  take_said();
  EXPECT_EQ(decide("grace", kA, v1::DECIDE_VERB_APPROVE, lasting(60, "person")), "approved");
  EXPECT_THAT(take_said(), ElementsAre(HasSubstr("decision"), "grant process 30s"));
  ask(request(kB, 2));
  approve("ada", kB);
  take_said();
  decide("grace", kB, v1::DECIDE_VERB_APPROVE, lasting(60, "person"));
  EXPECT_THAT(take_said(), ElementsAre(HasSubstr("decision")));
}

TEST_F(ApprovalDeskTest, WhatIsNoRequestIsNotTaken) {
  connect();
  const auto without = [](const std::function<void(v1::HoldRequest&)>& change) {
    v1::HoldRequest changed = request(kA);
    change(changed);
    return changed;
  };
  ask(without([](auto& r) { r.set_id("../../etc"); }));
  ask(without([](auto& r) { r.set_quorum(0); }));
  ask(without([](auto& r) { r.set_quorum(99); }));
  ask(without([](auto& r) { r.set_left_ns(UINT64_MAX); }));
  ask(without([](auto& r) { r.clear_binding_sha256(); }));
  ask(without([](auto& r) { r.set_text(std::string(5U << 20, 'x')); }));
  EXPECT_THAT(take_said(), IsEmpty());
  v1::ListApprovalsRequest all;
  all.set_all(true);
  EXPECT_THAT(desk_->list("ada", all), IsEmpty());
}

// Seen: by who may decide, once each.
TEST_F(ApprovalDeskTest, WhoHasSeenItIsRecorded) {
  connect();
  ask(request(kA));
  for (const char* name : {"ada", "ada", "oncall", "nobody", "grace"}) desk_->show(name, kA);
  std::vector<std::string> seen;
  const Outcome shown = desk_->show("nobody", kA);
  for (const v1::ApprovalStep& step : shown.view.steps())
    if (step.state() == "seen") seen.push_back(step.reviewers(0));
  EXPECT_THAT(seen, ElementsAre("ada", "grace"));
}

}  // namespace
}  // namespace gatehouse::approvals
