// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/cases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/cel_example.h"

namespace gatehouse::rules {
namespace {

constexpr EventKind kKinds[] = {{"statement", &cel::example::kSchema}, {"connect", &cel::example::kSchema}};

Policy policy() {
  const PolicyFile file{"a.yaml",
                        "rules:\n  - {id: no-drop, on: statement, then: block, when: statement.verb == 'DROP'}\n"};
  return *load_policy({&file, 1}, kKinds);
}

TEST(Cases, AreRead) {
  const Policy rules = policy();
  const CheckedCases checked = check_cases({"x/cases.yaml", R"(cases:
  - name: a DROP is refused
    sql: DROP TABLE t
    event: {actor.exe: /usr/bin/psql, database.labels: {env: production}}
    expect: {verdict: block, findings: [no-drop]}
  - name: the third connection is one too many
    on: connect
    before:
      - {on: connect, repeat: 2, every: 5m}
    after: 10m
    expect: {verdict: allow}
)"},
                                           kKinds, &rules);
  ASSERT_THAT(checked.errors, testing::IsEmpty());
  ASSERT_EQ(checked.cases.size(), 2U);
  const Case& drop = checked.cases[0];
  EXPECT_EQ(drop.name, "a DROP is refused");
  EXPECT_EQ(drop.event.kind, 0U);
  ASSERT_EQ(drop.event.fields.size(), 3U);
  EXPECT_EQ(drop.event.fields[0].key, "statement.text");
  EXPECT_EQ(drop.event.fields[0].text, "DROP TABLE t");
  EXPECT_EQ(drop.event.fields[1].key, "actor.exe");
  EXPECT_EQ(drop.event.fields[2].children[0].text, "production");
  EXPECT_EQ(drop.verdict, Verdict::kBlock);
  EXPECT_THAT(drop.findings, testing::ElementsAre("no-drop"));
  EXPECT_EQ(drop.line, 2U);
  const Case& third = checked.cases[1];
  EXPECT_EQ(third.event.kind, 1U);
  EXPECT_EQ(third.event.after_ns, 600'000'000'000U);
  ASSERT_EQ(third.before.size(), 1U);
  EXPECT_EQ(third.before[0].repeat, 2U);
  EXPECT_EQ(third.before[0].every_ns, 300'000'000'000U);
  EXPECT_TRUE(is_cases_file("x/cases.yaml"));
  EXPECT_TRUE(is_cases_file("x/drop.cases.yaml"));
  EXPECT_FALSE(is_cases_file("x/rules.yaml"));
}

TEST(Cases, MistakesAreToldWithTheirPlace) {
  const Policy rules = policy();
  const CheckedCases checked = check_cases({"c.yaml", R"(cases:
  - name: one
    expect: {verdict: blok}
  - name: two
    on: statment
    expect: {verdict: block, findings: [nodrop]}
  - sql: x
    event: y
    expect: {verdict: allow}
)"},
                                           kKinds, &rules);
  std::string told;
  for (const Problem& problem : checked.errors) told += to_string(problem) + "\n";
  EXPECT_EQ(told,
            "c.yaml:3:23: cases[0].expect.verdict: expected one of allow, alert, mask, hold, block, terminate, found "
            "\"blok\"\n"
            "c.yaml:7:5: cases[2].name: missing; What the case shows.\n"
            "c.yaml:5:9: cases[1].on: there are no events `statment`; did you mean `statement`?\n"
            "c.yaml:6:41: cases[1].expect.findings: there is no rule `nodrop`; did you mean `no-drop`?\n");
}

}  // namespace
}  // namespace gatehouse::rules
