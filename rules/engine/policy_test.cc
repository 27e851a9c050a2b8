// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/cel_example.h"

namespace gatehouse::rules {
namespace {

constexpr cel::Variable kConnectVariables[] = {
    {"session.user", &cel::kString, "who", "app"},
};
constexpr cel::Schema kConnectSchema{kConnectVariables};
constexpr EventKind kKinds[] = {{"statement", &cel::example::kSchema}, {"connect", &kConnectSchema}};

constexpr std::string_view kFile = R"(rules:
  - id: delete-without-where
    description: It happens.
    on: statement
    when: statement.verb in ["DELETE", "UPDATE"] && !statement.filters_rows
    then: block
    mode: active
    severity: high
    message: Add a WHERE clause.
    tags: [attack.T1485, guardrail]
  - id: root
    on: connect
    when: |
      // Nobody works as such.
      session.user == "postgres"
    then: alert
)";

Result<Policy> load(std::string_view text) {
  const PolicyFile file{.name = "rules.yaml", .text = std::string(text)};
  return load_policy({&file, 1}, kKinds);
}

TEST(Policy, RulesAreRead) {
  const auto policy = load(kFile);
  ASSERT_TRUE(policy) << policy.error().message();
  ASSERT_EQ(policy->rules.size(), 2U);
  const Rule& rule = policy->rules[0];
  EXPECT_EQ(rule.id, "delete-without-where");
  EXPECT_EQ(rule.kind, 0U);
  EXPECT_EQ(name_of(rule.then), "block");
  EXPECT_EQ(name_of(rule.mode), "active");
  EXPECT_EQ(name_of(rule.severity), "high");
  EXPECT_EQ(rule.message, "Add a WHERE clause.");
  EXPECT_EQ(rule.description, "It happens.");
  EXPECT_THAT(rule.tags, testing::ElementsAre("attack.T1485", "guardrail"));
  EXPECT_EQ(rule.place, "rules.yaml:2:9");
  cel::Scratch scratch;
  const cel::example::Event event;
  EXPECT_TRUE(evaluate(rule.when, cel::example::values_of(event), scratch).is_true());
  const Rule& root = policy->rules[1];
  EXPECT_EQ(root.kind, 1U);
  EXPECT_EQ(root.mode, RuleMode::kDraft);
  EXPECT_EQ(root.severity, Severity::kMedium);
  EXPECT_THAT(root.tags, testing::IsEmpty());
  const cel::Value user = cel::Value::string("postgres");
  EXPECT_TRUE(evaluate(root.when, {&user, 1}, scratch).is_true());
}

TEST(Policy, TheVersionIsThatOfTheContent) {
  const auto version = [](std::vector<PolicyFile> files) { return load_policy(files, kKinds)->version; };
  const std::string text(kFile);
  EXPECT_EQ(version({{"a", text}}), version({{"b", text}}));
  EXPECT_NE(version({{"a", text}}), version({{"a", text + "# changed\n"}}));
  EXPECT_NE(version({{"a", text}, {"b", ""}}), version({{"a", text}}));
  EXPECT_EQ(version({}).size(), 64U);
}

std::string rule_with(std::string_view when) {
  return "rules:\n  - id: r\n    on: statement\n    then: alert\n    when: " + std::string(when) + "\n";
}

struct Mistake {
  std::string text;
  std::string_view message;
};

TEST(Policy, MistakesAreToldWithFileLineAndColumn) {
  const Mistake mistakes[] = {
      {"rules:\n  - id: a\n    onn: statement\n", "rules.yaml:3:5: rules[0].onn: unknown key; did you mean on?"},
      {"rules:\n  - id: a\n    on: statment\n    when: 'true'\n    then: alert\n",
       "rules.yaml:3:9: rules[0].on: there are no events `statment`; did you mean `statement`?"},
      {"rules:\n  - id: a\n    on: statement\n    then: alert\n", "rules[0].when: missing; The condition, in CEL."},
      {"rules:\n  - id: a b\n", "rules.yaml:2:9: rules[0].id: expected"},
      {rule_with("'true'") + "    severity: hihg\n", "rules.yaml:6:15: rules[0].severity: expected"},
      {rule_with("'true'") + "  - id: r\n    on: statement\n    then: alert\n    when: 'true'\n",
       "rules.yaml:6:9: rules[1].id: a rule of this name stands at rules.yaml:2:9"},
      {rule_with("'1 > 2'"), "rules.yaml:5:12: rules[0].when: this is never true"},
      // Within a condition, however it is written.
      {rule_with("statement.verbb == \"x\""),
       "rules.yaml:5:21: rules[0].when: there is no field `verbb` in `statement`; did you mean `verb`?"},
      {rule_with("\"true && statement.verbb == 'x'\""), "rules.yaml:5:30: "},
      {rule_with("'true && statement.verbb'"), "rules.yaml:5:30: "},
      {rule_with("true &&\n      statement.verbb"), "rules.yaml:6:17: "},
      {rule_with("|\n      // ünï\n      true &&\n        statement.verbb"), "rules.yaml:8:19: "},
      {rule_with(">\n      true\n      && statement.verbb"), "rules.yaml:7:20: "},
      {rule_with("|\n      true && 'ü' == 'ü' && statement.verbb == ''"), "rules.yaml:6:39: "},
      {rule_with("true &&"), "rules.yaml:5:18: rules[0].when: the expression ends too early"},
      {rule_with("statement.verb"), "rules.yaml:5:11: rules[0].when: this is string, and must be bool"},
  };
  for (const Mistake& c : mistakes) {
    const auto policy = load(c.text);
    ASSERT_FALSE(policy) << c.text;
    EXPECT_EQ(policy.error().kind(), ErrorKind::kConfiguration);
    EXPECT_THAT(policy.error().message(), testing::HasSubstr(c.message)) << c.text;
  }
}

}  // namespace
}  // namespace gatehouse::rules
