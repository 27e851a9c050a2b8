// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/bench/allocations.h"
#include "tests/support/cel_example.h"

namespace gatehouse::rules {
namespace {

using cel::example::Event;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr cel::Variable kConnectVariables[] = {
    {"session.user", &cel::kString, "who", "app"},
};
constexpr cel::Schema kConnectSchema{kConnectVariables};
constexpr EventKind kKinds[] = {{"statement", &cel::example::kSchema}, {"connect", &kConnectSchema}};

std::shared_ptr<const Policy> load(const std::string& text) {
  const PolicyFile file{.name = "rules.yaml", .text = text};
  auto policy = load_policy({&file, 1}, kKinds);
  if (!policy) {
    ADD_FAILURE() << policy.error().message();
    return std::make_shared<const Policy>();
  }
  return std::make_shared<const Policy>(std::move(*policy));
}

std::string rule(std::string_view id, std::string_view then, std::string_view mode, std::string_view when,
                 std::string_view on = "statement") {
  std::string text = "  - {id: " + std::string(id) + ", on: " + std::string(on) + ", then: " + std::string(then) +
                     ", mode: " + std::string(mode) + ", message: m, when: '" + std::string(when) + "'}\n";
  return text;
}

// "verdict!: id id?", with "!" for in_doubt, "*" for the decisive finding, "?" for one that only would.
std::string shown(const Judge& judge, const Judgement& judgement) {
  std::string text = std::string(name_of(judgement.verdict)) + (judgement.in_doubt ? "!:" : ":");
  for (const Finding& finding : judgement.findings) {
    text += " " + judge.rule(finding).id;
    if (&finding == judgement.decisive) text += "*";
    if (finding.would) text += "?";
    if (finding.in_doubt) text += "!";
  }
  return text;
}

std::string judged(const std::string& rules, const Event& event = {}) {
  Judge judge(load("rules:\n" + rules));
  return shown(judge, judge.judge(0, cel::example::values_of(event), 0));
}

TEST(Judge, TheStrongestActionIsTheVerdictAndAllThatMatchesIsFound) {
  const std::string alert = rule("alert", "alert", "active", "true");
  const std::string hold = rule("hold", "hold", "active", "statement.verb == \"DELETE\"");
  const std::string block = rule("block", "block", "active", "true");
  const std::string other = rule("other", "terminate", "active", "statement.verb == \"DROP\"");
  EXPECT_EQ(judged(other), "allow:");
  EXPECT_EQ(judged(alert), "alert: alert*");
  EXPECT_EQ(judged(alert + hold), "hold: alert hold*");
  EXPECT_EQ(judged(block + hold + other + alert), "block: block* hold alert");
  EXPECT_EQ(judged(block + rule("second", "block", "active", "true")), "block: block* second");
  EXPECT_EQ(judged(rule("mask", "mask", "active", "true") + alert), "mask: mask* alert");
  EXPECT_EQ(judged(rule("end", "terminate", "active", "true") + block), "terminate: end* block");
}

TEST(Judge, ADryRunIsRecordedOnlyAndADraftIsNotLookedAt) {
  EXPECT_EQ(judged(rule("dry", "block", "dry-run", "true") + rule("draft", "block", "draft", "true")), "allow: dry?");
  EXPECT_EQ(judged(rule("dry", "block", "dry-run", "true") + rule("a", "alert", "active", "true")), "alert: dry? a*");
}

TEST(Judge, EachKindOfEventHasItsRules) {
  Judge judge(load("rules:\n" + rule("a", "alert", "active", "true") +
                   rule("b", "block", "active", "session.user == \"root\"", "connect")));
  EXPECT_EQ(shown(judge, judge.judge(0, cel::example::values_of(Event{}), 0)), "alert: a*");
  const cel::Value root = cel::Value::string("root");
  EXPECT_EQ(shown(judge, judge.judge(1, {&root, 1}, 0)), "block: b*");
}

TEST(Judge, AnErrorIsNoMatchAndIsCounted) {
  Judge judge(load("rules:\n" + rule("a", "block", "active", "database.labels.nothing != \"x\"") +
                   rule("b", "block", "active", "1 / int(result.rows - result.rows) > 0") +
                   rule("c", "alert", "active", "database.labels.nothing == \"x\" || true")));
  const Event event;
  EXPECT_EQ(shown(judge, judge.judge(0, cel::example::values_of(event), 0)), "alert: c*");
  EXPECT_EQ(judge.counters().events, 1U);
  EXPECT_EQ(judge.counters().evaluations, 3U);
  EXPECT_EQ(judge.counters().errors, 2U);
  EXPECT_EQ(judge.counters().in_doubt, 0U);
  EXPECT_EQ(judge.counters().matches, 1U);
}

TEST(Judge, WhatIsTooDearToEvaluateIsInDoubt) {
  Event event;
  event.statement.parameters.assign(1000, "a");
  const std::string dear =
      "statement.parameters.all(a, statement.parameters.all(b, statement.parameters.all(c, a == b || b == c)))";
  EXPECT_EQ(judged(rule("a", "alert", "active", dear), event), "alert: a*!");
  EXPECT_EQ(judged(rule("a", "block", "active", dear), event), "block!: a*!");
  EXPECT_EQ(judged(rule("a", "block", "active", "!(" + dear + ")"), event), "block!: a*!");
  EXPECT_EQ(judged(rule("a", "block", "dry-run", dear) + rule("b", "alert", "active", "true"), event), "alert: a?! b*");
}

TEST(Judge, NothingIsAllocatedOnceItStands) {
  std::string rules = "rules:\n";
  for (int i = 0; i < 50; ++i)
    rules += rule("r" + std::to_string(i), "alert", "active",
                  "statement.objects.map(o, o.schema + o.name).exists(n, n.matches(\"a+l\"))");
  Judge judge(load(rules));
  const Event event;
  const auto values = cel::example::values_of(event);
  ASSERT_EQ(judge.judge(0, values, 0).findings.size(), 50U);
  const uint64_t before = allocations;
  for (int i = 0; i < 100; ++i) judge.judge(0, values, 0);
  EXPECT_EQ(allocations, before);
}

}  // namespace
}  // namespace gatehouse::rules
