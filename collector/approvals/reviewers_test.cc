// SPDX-License-Identifier: Apache-2.0
#include "collector/approvals/reviewers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gatehouse::approvals {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Reviewers people() {
  return {{{.name = "ada", .groups = {"dba"}, .logins = {"ada.l"}},
           {.name = "grace", .groups = {"dba", "security"}, .logins = {}},
           {.name = "oncall", .groups = {"oncall"}, .logins = {}}},
          {"oncall"}};
}

v1::HoldRequest asked_by(const std::string& login, const std::string& user) {
  v1::HoldRequest request;
  request.set_id("0123456789abcdef");
  request.add_approvers("dba");
  request.set_quorum(1);
  request.set_host("db1");
  v1::Process& process = *request.mutable_process();
  process.set_pid(500);
  process.set_user(user);
  process.set_login_user(login);
  process.set_login(login);
  return request;
}

v1::Claim at(const std::string& host, const std::string& user, const std::string& login) {
  v1::Claim claim;
  claim.set_host(host);
  claim.set_user(user);
  claim.set_login(login);
  return claim;
}

TEST(Reviewers, GroupsAreAsked) {
  const Reviewers reviewers = people();
  const v1::HoldRequest request = asked_by("joe", "app");
  EXPECT_EQ(reviewers.may_decide("ada", request, nullptr), "");
  EXPECT_EQ(reviewers.may_decide("grace", request, nullptr), "");
  EXPECT_THAT(reviewers.may_decide("oncall", request, nullptr), HasSubstr("none of the groups"));
  EXPECT_THAT(reviewers.may_decide("admin", request, nullptr), HasSubstr("no reviewer"));
  EXPECT_THAT(reviewers.asked(request), ElementsAre("dba"));
  v1::HoldRequest open = request;
  open.clear_approvers();
  EXPECT_EQ(reviewers.may_decide("oncall", open, nullptr), "");
  EXPECT_THAT(reviewers.asked(open), ElementsAre("ada", "grace", "oncall"));
}

TEST(Reviewers, WithoutAConfigurationOperatorsDecideWhereNoGroupIsAsked) {
  const Reviewers none;
  v1::HoldRequest request = asked_by("joe", "app");
  EXPECT_NE(none.may_decide("admin", request, nullptr), "");
  EXPECT_TRUE(none.is_hopeless(request));
  request.clear_approvers();
  EXPECT_EQ(none.may_decide("admin", request, nullptr), "");
  EXPECT_FALSE(none.is_hopeless(request));
}

// The very person, under every name that is known of him.
TEST(Reviewers, NobodyDecidesWhatHeAsksFor) {
  const Reviewers reviewers = people();
  for (const auto& [login, user] : std::vector<std::pair<std::string, std::string>>{
           {"ada", "app"}, {"ada.l", "app"}, {"", "ada"}, {"", "ada.l"}, {"joe", "ada"}}) {
    EXPECT_THAT(reviewers.may_decide("ada", asked_by(login, user), nullptr), HasSubstr("asks for himself"))
        << login << ' ' << user;
    EXPECT_EQ(reviewers.may_decide("grace", asked_by(login, user), nullptr), "");
  }
  v1::HoldRequest by_database_user = asked_by("joe", "app");
  by_database_user.set_user("ada");
  EXPECT_NE(reviewers.may_decide("ada", by_database_user, nullptr), "");
  EXPECT_NE(reviewers.may_break_glass("oncall", asked_by("oncall", "app"), nullptr), "");
}

// With another's certificate, but from the same login, or out of the process that asks.
TEST(Reviewers, WhereTheCommandRunsCanSpeakAgainstIt) {
  const Reviewers reviewers = people();
  v1::HoldRequest request = asked_by("joe", "app");
  const auto why = [&](const v1::Claim& claim) { return reviewers.may_decide("ada", request, &claim); };
  EXPECT_EQ(why(at("db1", "ada", "ada")), "");
  EXPECT_THAT(why(at("db1", "root", "joe")), HasSubstr("under the login"));
  EXPECT_EQ(why(at("elsewhere", "root", "joe")), "");
  EXPECT_EQ(why(at("db1", "app", "ada")), "");  // another login in the same service's account
  request.mutable_process()->clear_login();
  request.mutable_process()->clear_login_user();
  EXPECT_NE(why(at("db1", "app", "")), "");
  EXPECT_EQ(why(at("db1", "root", "")), "");
  v1::Claim child = at("db1", "root", "");
  child.add_ancestors(700);
  child.add_ancestors(500);
  EXPECT_THAT(why(child), HasSubstr("started by the process"));
  // An AI agent that has both under it.
  v1::Ancestor& agent = *request.mutable_process()->add_ancestors();
  agent.set_pid(400);
  agent.set_exe("/usr/bin/node");
  v1::Ancestor& init = *request.mutable_process()->add_ancestors();
  init.set_pid(1);
  v1::Claim sibling = at("db1", "root", "");
  sibling.add_ancestors(400);
  sibling.add_ancestors(1);
  EXPECT_EQ(why(sibling), "");
  request.mutable_process()->set_agent("claude");
  EXPECT_THAT(why(sibling), HasSubstr("beside the process"));
  v1::Claim stranger = at("db1", "root", "");
  stranger.add_ancestors(1);
  EXPECT_EQ(why(stranger), "");
}

TEST(Reviewers, TooFewAreHopeless) {
  const Reviewers reviewers = people();
  v1::HoldRequest request = asked_by("joe", "app");
  request.set_quorum(2);
  EXPECT_FALSE(reviewers.is_hopeless(request));
  request.set_quorum(3);
  EXPECT_TRUE(reviewers.is_hopeless(request));
  request = asked_by("ada", "app");
  request.set_quorum(2);
  EXPECT_TRUE(reviewers.is_hopeless(request));
  request.clear_approvers();
  request.add_approvers("nobody");
  request.set_quorum(1);
  EXPECT_TRUE(reviewers.is_hopeless(request));
}

TEST(Reviewers, TheGlassIsForItsGroup) {
  const Reviewers reviewers = people();
  const v1::HoldRequest request = asked_by("joe", "app");
  EXPECT_EQ(reviewers.may_break_glass("oncall", request, nullptr), "");
  EXPECT_NE(reviewers.may_break_glass("ada", request, nullptr), "");
  v1::ApprovalView view;
  *view.mutable_request() = request;
  v1::ApprovalStep& step = *view.add_steps();
  step.set_break_glass(true);
  step.add_reviewers("oncall");
  EXPECT_NE(reviewers.may_review("oncall", view, nullptr), "");
  EXPECT_EQ(reviewers.may_review("ada", view, nullptr), "");
}

}  // namespace
}  // namespace gatehouse::approvals
