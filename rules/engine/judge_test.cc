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

TEST(Judge, ARuleIsNotFoundWhereAnExceptionHolds) {
  Judge judge(load("rules:\n" + rule("a", "block", "active", "true") + rule("b", "alert", "active", "true") +
                   "exceptions:\n"
                   "  - {rules: [a], when: \"database.name == 'test'\", owner: o, reason: r, "
                   "expires: 2027-01-01}\n"));
  Event event;
  constexpr uint64_t kBefore = 1'798'761'599'999'999'999;
  EXPECT_EQ(shown(judge, judge.judge(0, cel::example::values_of(event), kBefore)), "block: a* b");
  event.database.name = "test";
  const Judgement judgement = judge.judge(0, cel::example::values_of(event), kBefore);
  EXPECT_EQ(shown(judge, judgement), "alert: b*");
  ASSERT_EQ(judgement.excepted.size(), 1U);
  EXPECT_EQ(judge.policy().rules[judgement.excepted[0].rule].id, "a");
  EXPECT_EQ(judge.policy().exceptions[judgement.excepted[0].exception].owner, "o");
  EXPECT_EQ(judge.counters().excepted, 1U);
  // From the first instant of that day on it does not apply.
  EXPECT_EQ(shown(judge, judge.judge(0, cel::example::values_of(event), kBefore + 1)), "block: a* b");
}

constexpr uint64_t kStart = 1'795'568'523'000'000'000;
constexpr uint64_t kMinute = 60'000'000'000;

std::string windowed(std::string_view memory, std::string_view when = "true", std::string_view then = "alert") {
  return "rules:\n  - {id: w, on: statement, mode: active, then: " + std::string(then) + ", when: '" +
         std::string(when) + "', " + std::string(memory) + "}\n";
}

TEST(Judge, AWindowCountsWhatMatches) {
  Judge judge(load(windowed("window: {count: result.rows > 0, over: 5m, by: [database.name], at_least: 3}",
                            "statement.verb == \"DELETE\"")));
  const auto at = [&](uint64_t minute, const Event& event = {}) {
    return judge.judge(0, cel::example::values_of(event), kStart + minute * kMinute).findings.size();
  };
  Event other, select, empty;
  other.database.name = "other";
  select.statement.verb = "SELECT";
  empty.rows = 0;
  EXPECT_EQ(at(0), 0U);
  EXPECT_EQ(at(1), 0U);
  EXPECT_EQ(at(1, other), 0U);
  EXPECT_EQ(at(1, select), 0U);
  EXPECT_EQ(at(1, empty), 0U);
  EXPECT_EQ(at(2), 1U);
  EXPECT_EQ(at(2), 1U);
  EXPECT_EQ(at(2, empty), 0U);  // it is not counted itself
  EXPECT_EQ(at(20), 0U);
}

TEST(Judge, AWindowSumsAndTellsApart) {
  Event event;
  event.rows = 400;
  Judge sum(load(windowed("window: {sum: result.rows, over: 5m, at_least: 1000}")));
  const auto summed = [&] { return sum.judge(0, cel::example::values_of(event), kStart).findings.size(); };
  EXPECT_EQ(summed(), 0U);
  EXPECT_EQ(summed(), 0U);
  EXPECT_EQ(summed(), 1U);
  Judge distinct(load(windowed("window: {distinct: database.name, over: 5m, at_least: 3}")));
  const auto seen = [&](std::string_view name) {
    event.database.name = name;
    return distinct.judge(0, cel::example::values_of(event), kStart).findings.size();
  };
  EXPECT_EQ(seen("a"), 0U);
  EXPECT_EQ(seen("b"), 0U);
  EXPECT_EQ(seen("a"), 0U);
  EXPECT_EQ(seen("c"), 1U);
}

// A key that cannot be had is a key of its own, so that nothing goes uncounted.
TEST(Judge, AWindowCountsWhatHasNoKey) {
  Judge judge(load(windowed("window: {count: \"true\", over: 5m, by: [database.labels.nothing], at_least: 2}")));
  const Event event;
  EXPECT_EQ(judge.judge(0, cel::example::values_of(event), kStart).findings.size(), 0U);
  EXPECT_EQ(judge.judge(0, cel::example::values_of(event), kStart).findings.size(), 1U);
}

TEST(Judge, WhatIsFirstSeenIsFoundOnceUnlessItIsRefused) {
  for (const bool refused : {false, true}) {
    Judge judge(load(windowed("first_seen: {key: [database.name, statement.verb], learn: 10m}", "true",
                              refused ? "block" : "alert")));
    const auto at = [&](uint64_t minute, std::string_view name) {
      Event event;
      event.database.name = name;
      return judge.judge(0, cel::example::values_of(event), kStart + minute * kMinute).findings.size();
    };
    EXPECT_EQ(at(0, "a"), 0U);
    EXPECT_EQ(at(9, "b"), 0U);
    EXPECT_EQ(at(10, "a"), 0U);
    EXPECT_EQ(at(10, "c"), 1U);
    EXPECT_EQ(at(11, "c"), refused ? 1U : 0U);
  }
}

TEST(Judge, StateGoesOnInAnother) {
  const std::string count = windowed("window: {count: \"true\", over: 5m, at_least: 3}");
  const auto policy = load(count +
                           "  - {id: f, on: statement, mode: active, then: alert, when: \"true\", "
                           "first_seen: {key: [statement.verb], learn: 1s}}\n");
  Judge first(policy);
  const Event event;
  for (int i = 0; i < 2; ++i) first.judge(0, cel::example::values_of(event), kStart);
  const std::string state = first.export_state();
  Judge second(policy);
  EXPECT_TRUE(second.import_state(state));
  EXPECT_EQ(shown(second, second.judge(0, cel::example::values_of(event), kStart + kMinute)), "alert: w*");
  // A rule that counts something else begins anew.
  Judge other(load(windowed("window: {count: \"true\", over: 6m, at_least: 3}")));
  EXPECT_TRUE(other.import_state(state));
  EXPECT_EQ(shown(other, other.judge(0, cel::example::values_of(event), kStart + kMinute)), "allow:");
  EXPECT_FALSE(other.import_state("what is this"));
  EXPECT_FALSE(second.import_state(std::string_view(state).substr(0, state.size() - 1)));
}

TEST(Judge, TellsWhatTheRuleSays) {
  Judge judge(
      load("rules:\n  - {id: a, on: statement, mode: active, then: block, when: \"true\", "
           "message: \"{rule.id}: no {statement.verb}\"}\n" +
           rule("b", "alert", "active", "true")));
  const Event event;
  const auto values = cel::example::values_of(event);
  const Judgement judgement = judge.judge(0, values, 0);
  std::string told;
  for (const Finding& finding : judgement.findings) judge.append_message(finding, values, told);
  EXPECT_EQ(told, "a: no DELETEm");
}

TEST(Judge, NothingIsAllocatedOnceItStands) {
  std::string rules = "rules:\n";
  for (int i = 0; i < 50; ++i)
    rules += rule("r" + std::to_string(i), "alert", "active",
                  "statement.objects.map(o, o.schema + o.name).exists(n, n.matches(\"a+l\"))");
  rules +=
      "  - {id: w, on: statement, mode: active, then: alert, when: \"true\", "
      "window: {count: \"true\", over: 5m, by: [database.name], at_least: 1}}\n"
      "  - {id: d, on: statement, mode: active, then: alert, when: \"true\", "
      "window: {distinct: database.name, over: 5m, by: [database.name], at_least: 1}}\n";
  Judge judge(load(rules));
  const Event event;
  const auto values = cel::example::values_of(event);
  ASSERT_EQ(judge.judge(0, values, 0).findings.size(), 52U);
  const uint64_t before = allocations;
  for (int i = 0; i < 100; ++i) judge.judge(0, values, 0);
  EXPECT_EQ(allocations, before);
}

}  // namespace
}  // namespace gatehouse::rules
