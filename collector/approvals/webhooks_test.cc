// SPDX-License-Identifier: Apache-2.0
// Against a service over a real socket is tests/e2e/gate_holds.py; here is what a message is, and what is kept.
#include "collector/approvals/webhooks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "collector/approvals/webhook_body.h"

namespace gatehouse::approvals {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

v1::ApprovalView view() {
  v1::ApprovalView view;
  v1::HoldRequest& request = *view.mutable_request();
  request.set_id("0123456789abcdef");
  request.set_rule("risky");
  request.add_approvers("dba");
  request.set_quorum(2);
  request.set_text("DELETE FROM t WHERE ssn = '123-45'");
  request.mutable_facts()->set_normalized("delete from t where ssn = ? <!here> ``` x");
  request.mutable_facts()->add_writes("t");
  request.set_database_label("shop");
  request.set_host("db1");
  request.mutable_process()->set_exe("/usr/bin/psql");
  request.mutable_process()->set_pid(5);
  view.set_state("pending");
  view.set_expires_ns(1'795'568'523'000'000'000);
  return view;
}

TEST(WebhookBody, HasNoLiterals) {
  for (const auto format : {WebhookFormat::kJson, WebhookFormat::kSlack, WebhookFormat::kTeams}) {
    const std::string body = webhook_body(format, "asked", view());
    EXPECT_TRUE(json::accept(body)) << body;
    EXPECT_THAT(body, Not(HasSubstr("123-45")));
    EXPECT_THAT(body, HasSubstr("0123456789abcdef"));
  }
}

TEST(WebhookBody, JsonTellsWhatWas) {
  v1::ApprovalView decided = view();
  decided.set_state("approved");
  v1::ApprovalStep& step = *decided.add_steps();
  step.set_state("decided");
  step.set_verdict("approve");
  step.add_reviewers("ada");
  step.set_reason("a \xff reason");
  const json body = json::parse(webhook_body(WebhookFormat::kJson, "decided", decided));
  EXPECT_EQ(body["version"], 1);
  EXPECT_EQ(body["event"], "decided");
  EXPECT_EQ(body["verdict"], "approve");
  EXPECT_EQ(body["reviewers"], json::array({"ada"}));
  EXPECT_EQ(body["expires_at"], "2026-11-25T01:02:03Z");
  EXPECT_EQ(body["actor"]["exe"], "/usr/bin/psql");
}

// A statement writes no mentions and does not leave its block.
TEST(WebhookBody, SlackTextIsText) {
  const json body = json::parse(webhook_body(WebhookFormat::kSlack, "asked", view()));
  const std::string code = body["blocks"][2]["text"]["text"];
  EXPECT_THAT(code, HasSubstr("&lt;!here&gt;"));
  EXPECT_EQ(code.find("```", 3), code.size() - 3);
  EXPECT_LE(body["blocks"][1]["fields"].size(), 10U);  // as many as Slack takes
}

TEST(WebhookBody, ALongStatementIsCutAndMarked) {
  v1::ApprovalView large = view();
  large.mutable_request()->mutable_facts()->set_normalized(std::string(999, 'x') + "\xc3\xa9" + std::string(5000, 'y'));
  const json body = json::parse(webhook_body(WebhookFormat::kJson, "asked", large));
  const std::string shown = body["statement"]["normalized"];
  EXPECT_THAT(shown, HasSubstr("bytes more"));
  EXPECT_LT(shown.size(), 1100U);
}

// openssl: printf '1700000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
TEST(WebhookSignature, IsTheHmacOfTimeAndBody) {
  EXPECT_EQ(webhook_signature("0123456789abcdef", 1700000000, "{}"),
            "sha256=e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e");
  EXPECT_NE(webhook_signature("0123456789abcdef", 1700000001, "{}"),
            webhook_signature("0123456789abcdef", 1700000000, "{}"));
}

TEST(Webhooks, OnlyToWhereNobodyReadsAlong) {
  for (const char* good :
       {"https://hooks.slack.com/x", "http://127.0.0.1:8080/a", "http://localhost/", "http://[::1]:1"})
    EXPECT_TRUE(is_webhook_url(good)) << good;
  for (const char* bad : {"http://example.com/", "ftp://127.0.0.1/", "https://", "http://127.0.0.1.example.com/",
                          "http://localhost.evil/", "file:///etc/passwd", ""})
    EXPECT_FALSE(is_webhook_url(bad)) << bad;
}

// Nobody listens: what was to be said is in files, and is there after a restart.
TEST(Webhooks, WhatIsNotDeliveredIsKept) {
  const std::string folder = ::testing::TempDir() + "webhooks_" + std::to_string(::getpid());
  std::filesystem::remove_all(folder);
  const auto open = [&] {
    auto opened =
        Webhooks::open({.folder = folder,
                        .hooks = {{.url = "http://127.0.0.1:1/", .secret = "0123456789abcdef", .events = {"asked"}}},
                        .retry_min_ms = 10});
    EXPECT_TRUE(opened.has_value());
    return std::move(*opened);
  };
  {
    const auto webhooks = open();
    webhooks->tell("asked", view());
    webhooks->tell("decided", view());  // is not wanted
    webhooks->tell("asked", view());
    for (int i = 0; i < 500 && webhooks->counters().failed_attempts < 2; ++i) ::usleep(10'000);
    EXPECT_GE(webhooks->counters().failed_attempts, 2U);
    EXPECT_EQ(webhooks->counters().waiting, 2U);
  }
  EXPECT_EQ(open()->counters().waiting, 2U);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace gatehouse::approvals
