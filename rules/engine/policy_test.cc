// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rules/engine/policy_keys.h"
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
    references: ["https://attack.mitre.org/techniques/T1485/"]
    false_positives: A nightly purge.
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
  EXPECT_THAT(rule.references, testing::ElementsAre("https://attack.mitre.org/techniques/T1485/"));
  EXPECT_EQ(rule.false_positives, "A nightly purge.");
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

constexpr std::string_view kLanguage = R"(
lists:
  - {name: dba, texts: [ada, grace]}
  - {name: ports, numbers: [5432, 6432]}
  - {name: shares, numbers: [1, 2.5]}
  - {name: tools, file: tools.txt}
macros:
  - name: tool
    is: statement.verb in lists.tools
  - name: risky
    is: macros.tool || statement.parameters.exists(o, o == "17" && !macros.filtered)
  - name: filtered
    is: statement.filters_rows
rules:
  - id: late
    on: statement
    then: hold
    mode: active
    # A macro's names are not those of the loop around it.
    when: statement.objects.exists(statement, statement.name == "staff" && macros.risky)
  - id: first
    on: statement
    then: alert
    priority: 7
    when: database.name in lists.dba || result.rows in lists.ports || 2.5 in lists.shares
    message: "{rule.id} of {rule.severity}: {statement.verb} of {result.rows} {{rows}} by {statement.parameters}"
exceptions:
  - rules: [late, first]
    when: database.name == "test"
    owner: ada
    reason: It is a test.
    expires: 2027-01-31
masks:
  - id: contact
    columns: [public.customers.email, "*.*.ssn"]
    detect: [email, pan]
    method: partial
    unless: database.name in lists.dba
    mode: active
)";

std::vector<PolicyFile> language_files() {
  return {{"rules/a.yaml", std::string(kLanguage)}, {"rules/tools.txt", "# those that write\n DELETE \r\n\nMERGE"}};
}

TEST(Policy, HasListsMacrosExceptionsAndMasks) {
  const auto policy = load_policy(language_files(), kKinds);
  ASSERT_TRUE(policy) << policy.error().message();
  ASSERT_EQ(policy->rules.size(), 2U);
  EXPECT_EQ(policy->rules[0].id, "first");
  EXPECT_EQ(policy->rules[1].id, "late");
  cel::example::Event event;
  cel::Scratch scratch;
  const auto late = [&] { return evaluate(policy->rules[1].when, cel::example::values_of(event), scratch).is_true(); };
  EXPECT_TRUE(late());
  event.statement.verb = "SELECT";
  EXPECT_TRUE(late());
  event.statement.filters_rows = true;
  EXPECT_FALSE(late());
  event.statement.verb = "MERGE";
  EXPECT_TRUE(late());
  EXPECT_TRUE(evaluate(policy->rules[0].when, cel::example::values_of(event), scratch).is_true());

  ASSERT_EQ(policy->exceptions.size(), 1U);
  const Exception& exception = policy->exceptions[0];
  EXPECT_THAT(exception.rules, testing::ElementsAre("late", "first"));
  EXPECT_EQ(exception.owner, "ada");
  EXPECT_EQ(exception.expires_unix_ns, 1'801'353'600'000'000'000U);
  EXPECT_THAT(policy->rules[0].exceptions, testing::ElementsAre(0));

  ASSERT_EQ(policy->masks.size(), 1U);
  const Mask& mask = policy->masks[0];
  EXPECT_THAT(mask.columns, testing::ElementsAre("public.customers.email", "*.*.ssn"));
  EXPECT_EQ(name_of(mask.method), "partial");
  EXPECT_EQ(name_of(mask.when_unknown), "mask");
  EXPECT_EQ(name_of(mask.predicates), "allow");
  ASSERT_TRUE(mask.unless);
}

TEST(Policy, AMaskMayShowNull) {
  const auto policy = load("masks:\n  - {id: m, method: null, columns: [a.b.c]}\n");
  ASSERT_TRUE(policy) << policy.error().message();
  EXPECT_EQ(policy->masks[0].method, MaskMethod::kNull);
}

TEST(Policy, MessagesAreRendered) {
  const auto policy = load_policy(language_files(), kKinds);
  ASSERT_TRUE(policy) << policy.error().message();
  cel::Scratch scratch;
  cel::example::Event event;
  const auto told = [&] {
    std::string out;
    policy->rules[0].message_template.render(cel::example::values_of(event), scratch, out);
    return out;
  };
  EXPECT_EQ(told(), "first of medium: DELETE of 50001 {rows} by 17, x");
  event.statement.verb = "a\nb\xFF";
  event.statement.parameters = {};
  EXPECT_EQ(told(), "first of medium: a?b? of 50001 {rows} by ");
  event.statement.parameters.assign(100, "\u00FC\u00FC\u00FC\u00FC\u00FC\u00FC\u00FC\u00FC\u00FC\u00FC");
  EXPECT_LE(told().size(), 60 + kMessageValueBytesMax);
  EXPECT_THAT(told(), testing::EndsWith("\u00FC\u2026"));
}

TEST(Policy, AWindowIsRead) {
  const auto policy = load(R"(rules:
  - id: r
    on: statement
    when: "true"
    then: alert
    window: {distinct: statement.verb, over: 1h30m, by: [database.name, result.rows], at_least: 3}
  - id: s
    on: statement
    when: "true"
    then: alert
    first_seen: {key: [database.name], learn: 7d}
)");
  ASSERT_TRUE(policy) << policy.error().message();
  ASSERT_TRUE(policy->rules[0].window);
  EXPECT_EQ(policy->rules[0].window->over_ns, 5'400'000'000'000U);
  EXPECT_EQ(policy->rules[0].window->by.size(), 2U);
  EXPECT_EQ(name_of(policy->rules[0].window->measure), "distinct");
  ASSERT_TRUE(policy->rules[1].first_seen);
  EXPECT_EQ(policy->rules[1].first_seen->learn_ns, 604'800'000'000'000U);
  EXPECT_NE(policy->rules[0].memory_id, policy->rules[1].memory_id);
}

constexpr std::string_view kHeld = R"(rules:
  - id: usual
    on: statement
    when: "true"
    then: hold
  - id: told
    on: connect
    when: session.user == "root"
    then: hold
    hold: {for: 2m, approvers: [dba, security], quorum: 2, when_unreachable: allow, unreachable_after: 3s,
           remind_every: 5s, explain: true}
)";

TEST(Policy, HoldsSayHowTheyAsk) {
  const auto policy = load(kHeld);
  ASSERT_TRUE(policy) << policy.error().message();
  ASSERT_TRUE(policy->rules[0].hold);
  const Hold& usual = *policy->rules[0].hold;
  EXPECT_EQ(usual.for_ns, 900'000'000'000U);
  EXPECT_THAT(usual.approvers, testing::IsEmpty());
  EXPECT_EQ(usual.quorum, 1U);
  EXPECT_EQ(name_of(usual.when_unreachable), "deny");
  EXPECT_EQ(usual.unreachable_after_ns, 10'000'000'000U);
  EXPECT_EQ(usual.remind_every_ns, 30'000'000'000U);
  EXPECT_FALSE(usual.explain);
  const Hold& told = *policy->rules[1].hold;
  EXPECT_EQ(told.for_ns, 120'000'000'000U);
  EXPECT_THAT(told.approvers, testing::ElementsAre("dba", "security"));
  EXPECT_EQ(told.quorum, 2U);
  EXPECT_EQ(name_of(told.when_unreachable), "allow");
  EXPECT_EQ(told.unreachable_after_ns, 3'000'000'000U);
  EXPECT_EQ(told.remind_every_ns, 5'000'000'000U);
  EXPECT_TRUE(told.explain);
  EXPECT_FALSE(load(kFile)->rules[0].hold);
}

std::string rule_with(std::string_view when) {
  return "rules:\n  - id: r\n    on: statement\n    then: alert\n    when: " + std::string(when) + "\n";
}

std::string limited_with(std::string_view keys, std::string_view on = "statement") {
  return "rules:\n  - id: r\n    on: " + std::string(on) + "\n    when: 'true'\n    " + std::string(keys) + "\n";
}

TEST(Policy, Limits) {
  const auto policy = load(limited_with("then: alert\n    sqlstate: 54P99\n    limit: {rows: 1000, bytes: 1MiB}"));
  ASSERT_TRUE(policy);
  EXPECT_EQ(policy->rules[0].limit->rows, 1000U);
  EXPECT_EQ(policy->rules[0].limit->bytes, 1U << 20);
  EXPECT_EQ(policy->rules[0].sqlstate, "54P99");
  EXPECT_EQ(load(limited_with("then: block"))->rules[0].sqlstate, "42501");
  for (const std::string_view keys :
       {"then: block\n    limit: {rows: 1}", "then: alert\n    limit: {}", "then: alert\n    limit: {rows: 0}",
        "then: alert\n    limit: {rows: x}", "then: block\n    sqlstate: 00000", "then: block\n    sqlstate: 4250",
        "then: alert\n    limit: {rows: 1}\n    window: {count: 'true', over: 5m, at_least: 2}"})
    EXPECT_FALSE(load(limited_with(keys))) << keys;
  EXPECT_FALSE(load(limited_with("then: alert\n    limit: {rows: 1}", "connect")));
}

std::string held_with(std::string_view hold) {
  return "rules:\n  - id: r\n    on: statement\n    then: hold\n    when: 'true'\n    hold: " + std::string(hold) +
         "\n";
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
       "rules.yaml:6:9: rules[1].id: a rule or mask of this name stands at rules.yaml:2:9"},
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
      {rule_with("'true'") + "    hold: {for: 5m}\n",
       "rules.yaml:6:11: rules[0].hold: only a rule with `then: hold` has this"},
      {held_with("{for: soon}"), "rules.yaml:6:17: rules[0].hold.for: expected a time such as 90s"},
      {held_with("{quorum: 0}"), "rules.yaml:6:20: rules[0].hold.quorum: expected"},
      {held_with("{quorums: 2}"), "rules.yaml:6:12: rules[0].hold.quorums: unknown key; did you mean quorum?"},
      {held_with("{when_unreachable: mask}"),
       "rules.yaml:6:30: rules[0].hold.when_unreachable: expected one of deny, allow"},
      {held_with("{for: 5s, unreachable_after: 10s}"), "rules.yaml:6:40: rules[0].hold.unreachable_after: longer than"},
      {held_with("{approvers: [dba, 'a b']}"), "rules.yaml:6:29: rules[0].hold.approvers: expected"},
      {held_with("{approvers: [dba, dba]}"), "rules[0].hold.approvers: `dba` stands there twice"},
      {held_with("{explain: maybe}"), "rules.yaml:6:21: rules[0].hold.explain: expected one of false, true"},
  };
  for (const Mistake& c : mistakes) {
    const auto policy = load(c.text);
    ASSERT_FALSE(policy) << c.text;
    EXPECT_EQ(policy.error().kind(), ErrorKind::kConfiguration);
    EXPECT_THAT(policy.error().message(), testing::HasSubstr(c.message)) << c.text;
  }
}

// Everything at once, in the order of the files.
TEST(Policy, AllMistakesOfAllFilesAreTold) {
  const PolicyFile files[] = {{"a.yaml", R"(rules:
  - id: a
    on: statment
    when: statement.verbb == ""
    then: alrt
  - id: a
    on: statement
    when: statement.verbb == "" && true
    then: alert
    message: "{statement.verbb} {"
    window: {sum: statement.verb, over: 5x, at_least: 1}
)"},
                              {"b.yaml", "rules: [\n"},
                              {"c.yaml", R"(exceptions:
  - rules: [b]
    when: "true"
    owner: me
    reason: none
    expires: tomorrow
masks:
  - id: m
    columns: [ssn]
    method: partly
    detect: [emale]
macros:
  - {name: one, is: macros.two}
  - {name: two, is: "true && macros.one"}
lists:
  - {name: n, numbers: [1, x]}
)"}};
  const CheckedPolicy checked = check_policy(files, kKinds);
  EXPECT_FALSE(checked.policy);
  std::string told;
  for (const Problem& problem : checked.errors) told += to_string(problem).substr(0, 60) + "\n";
  EXPECT_EQ(told,
            "a.yaml:3:9: rules[0].on: there are no events `statment`; did\n"
            "a.yaml:5:11: rules[0].then: expected one of alert, mask, hol\n"
            "a.yaml:6:9: rules[1].id: a rule or mask of this name stands \n"
            "a.yaml:8:21: rules[1].when: there is no field `verbb` in `st\n"
            "a.yaml:11:41: rules[1].window.over: expected a time such as \n"
            "b.yaml:1:9: not YAML: end of sequence flow not found\n"
            "c.yaml:6:14: exceptions[0].expires: expected a date such as \n"
            "c.yaml:9:15: masks[0].columns: expected a column as schema.t\n"
            "c.yaml:10:13: masks[0].method: expected one of redact, null,\n"
            "c.yaml:11:14: masks[0].detect: expected one of email, pan, i\n"
            "c.yaml:13:21: macros[0].is: macros go in a circle: `macros.o\n"
            "c.yaml:16:28: lists[0].numbers: expected a number, found \"x\"\n");
}

std::string first_error(std::string_view text) {
  const auto policy = load(text);
  return policy ? "" : policy.error().message();
}

TEST(Policy, MistakesInTheRestOfTheLanguage) {
  const std::string rule = "rules:\n  - id: r\n    on: statement\n    then: alert\n    when: 'true'\n";
  const Mistake mistakes[] = {
      {rule + "    window: {over: 5m, at_least: 1}\n", "rules[0].window: a window has `count`, `sum` or `distinct`"},
      {rule + "    window: {sum: statement.verb, over: 5m, at_least: 1}\n",
       "rules.yaml:6:19: rules[0].window.sum: this is string, and must be a number"},
      {rule + "    window: {count: statement.verb, over: 5m, at_least: 1}\n", "this is string, and must be bool"},
      {rule + "    window: {distinct: statement.objects, over: 5m, at_least: 1}\n",
       "this is list(object), and must be"},
      {rule + "    window: {distinct: statement.verb, over: 5m, at_least: 300}\n", "at most 256 different values"},
      {rule + "    window: {count: 'true', over: 5m, at_least: 3, by: [statement.verbb]}\n",
       "rules.yaml:6:67: rules[0].window.by: there is no field `verbb`"},
      {rule + "    first_seen: {key: [statement.verb], learn: 1ms}\n", "rules[0].first_seen.learn: expected a time"},
      {rule + "    message: 'x {statement.verbb}'\n", "rules.yaml:6:28: rules[0].message: there is no field `verbb`"},
      {rule + "    message: 'x {y'\n", "rules.yaml:6:17: rules[0].message: a `{` that is not closed"},
      {rule + "exceptions:\n  - {rules: [s], when: 'true', owner: o, reason: r, expires: 2027-01-01}\n",
       "rules.yaml:7:14: exceptions[0].rules: there is no rule `s`; did you mean `r`?"},
      {rule + "exceptions:\n  - {rules: [r], when: 'true', owner: o, expires: 2027-01-01}\n",
       "exceptions[0].reason: missing"},
      {"masks:\n  - {id: m, method: nil}\n", "expected one of redact"},
      {"masks:\n  - {id: m, method: }\n", "expected one of redact"},
      {"masks:\n  - {id: m, method: hash}\n", "a mask has `columns`, or tells by `detect`"},
      {"masks:\n  - {id: m, method: hash, columns: ['*.*.x'], unless: statement.verbb == ''}\n",
       "rules.yaml:2:65: masks[0].unless: there is no field `verbb`"},
      {"lists:\n  - {name: a-b, texts: [x]}\n", "lists[0].name: expected a name of letters"},
      {"lists:\n  - {name: a}\n", "a list has `texts`, `numbers` or a `file`"},
      {"lists:\n  - {name: a, file: b.txt}\n", "there is no file of lines `b.txt`"},
      {"macros:\n  - {name: a, is: 'true &&'}\n", "macros[0].is: the expression ends too early"},
      {"macros:\n  - {name: prod, is: session.user == 'x'}\nrules:\n  - {id: r, on: statement, then: alert, when: "
       "macros.prd}\n",
       "rules.yaml:4:47: rules[0].when: there is no `macros.prd`; did you mean `macros.prod`?"},
      {"macros:\n  - {name: prod, is: session.user == 'x'}\nrules:\n  - {id: r, on: statement, then: alert, when: "
       "macros.prod}\n",
       "rules.yaml:2:22: macros[0].is: there is no `session.user`"},
      {"lists:\n  - {name: dbas, texts: [x]}\nrules:\n  - {id: r, on: statement, then: alert, when: \"'x' in "
       "lists.dbs\"}\n",
       "did you mean `lists.dba"},
  };
  for (const Mistake& c : mistakes) EXPECT_THAT(first_error(c.text), testing::HasSubstr(c.message)) << c.text;
}

TEST(Policy, WarnsOfWhatIsWorthALook) {
  const PolicyFile file{"a.yaml", R"(rules:
  - {id: a, on: statement, then: alert, mode: active, when: statement.filters_rows, description: d}
  - {id: b, on: statement, then: alert, when: " statement . filters_rows // the same", description: d}
  - {id: c, on: statement, then: alert, mode: active, when: "true"}
exceptions:
  - {rules: [a], when: "true", owner: o, reason: r, expires: 2026-01-01}
lists:
  - {name: nobody, texts: [x]}
)"};
  const CheckedPolicy checked = check_policy({&file, 1}, kKinds, 1'795'568'523'000'000'000);
  EXPECT_TRUE(checked.policy);
  std::string told;
  for (const Problem& problem : checked.warnings) told += to_string(problem) + "\n";
  EXPECT_EQ(told,
            "a.yaml:3:5: rules[1].mode: a draft: this rule is not judged by\n"
            "a.yaml:3:49: rules[1].when: the rule at a.yaml:2:10 has the same condition\n"
            "a.yaml:4:10: rules[2].id: no description: nobody will know why there is this rule\n"
            "a.yaml:6:62: exceptions[0].expires: expired: this exception does not apply any more\n"
            "a.yaml:8:12: lists[0].name: no condition uses this list\n");
}

TEST(Policy, TheTableOfKeysIsSound) {
  EXPECT_THAT(config::problems(policy_keys()), testing::IsEmpty());
}

}  // namespace
}  // namespace gatehouse::rules
