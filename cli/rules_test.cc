// SPDX-License-Identifier: Apache-2.0
// `gatehouse rules …` from words to text and exit code, and docs/rules.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "cli/commands.h"
#include "cli/rules_cases.h"
#include "cli/rules_text.h"
#include "common/config_doc.h"
#include "common/file.h"
#include "common/testing.h"
#include "rules/engine/policy_keys.h"
#include "rules/schema/event.h"
#include "rules/schema/programs.h"

namespace gatehouse::cli {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr uint64_t kNow = 1'795'568'523'000'000'000;
constexpr const char* kDocument = GH_SOURCE_DIR "/docs/rules.md";

class Text : public Output {
 public:
  bool write(std::string_view text) override {
    text_ += text;
    return true;
  }
  bool flush() override { return true; }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_{};
};

constexpr std::string_view kRules = R"(rules:
  - id: delete-all
    on: statement
    when: '"delete" in statement.effects && !statement.filters_rows && database.labels.env == "production"'
    then: block
    description: d
    mode: active
  - id: many
    on: authenticate
    when: outcome == "error"
    then: alert
    description: d
    window: {count: "true", over: 1m, at_least: 3}
)";
constexpr std::string_view kCases = R"(cases:
  - name: all goes
    sql: SELECT 1; DELETE FROM staff
    event: {database: {labels: {env: production}}}
    expect: {verdict: block, findings: [delete-all]}
  - name: three times
    on: authenticate
    event: {outcome: error}
    repeat: 3
    expect: {verdict: alert, findings: [many]}
)";

class RulesCommand : public testing::Test {
 protected:
  void write(const std::string& name, std::string_view text) { std::ofstream(folder_.path() + "/" + name) << text; }

  int run_words(std::vector<std::string> words) {
    out_ = Text();
    problems_ = Text();
    words.insert(words.begin(), "rules");
    const auto options = parse_options(std::move(words), [](const char*) { return std::nullopt; }, kNow);
    if (!options) {
      problems_.write(options.error().text);
      return options.error().exit_code;
    }
    return run(*options, {.out = out_, .problems = problems_, .style = {}, .now_ns = kNow});
  }
  [[nodiscard]] const std::string& path() const { return folder_.path(); }

  test::TemporaryFolder folder_{};
  Text out_{};
  Text problems_{};
};

TEST_F(RulesCommand, CheckTellsEverythingWithItsLine) {
  write("a.yaml", kRules);
  write("cases.yaml", kCases);
  EXPECT_EQ(run_words({"check", path()}), kExitOk);
  EXPECT_THAT(out_.text(), HasSubstr("a.yaml:8:5: warning: rules[1].mode: a draft"));
  EXPECT_THAT(out_.text(), HasSubstr("2 rules, 0 masks, 0 exceptions; 0 errors, 1 warning\nversion  "));

  write("b.yaml", "rules:\n  - id: x\n    on: statement\n    then: alert\n    when: '\"ünï\" == statement.verbb'\n");
  write("c.cases.yaml", "cases:\n  - {name: n, expect: {verdict: allow}, event: 5}\n");
  EXPECT_EQ(run_words({"check", path()}), kExitConfiguration);
  EXPECT_THAT(out_.text(), HasSubstr("b.yaml:5:31: error: rules[0].when: "));
  EXPECT_THAT(out_.text(), HasSubstr("\n    when: '\"ünï\" == statement.verbb'\n" + std::string(30, ' ') + "^\n"));
  EXPECT_THAT(out_.text(), HasSubstr("c.cases.yaml:2:48: error: cases[0].event: expected fields"));
  EXPECT_EQ(run_words({"check", path(), "--json"}), kExitConfiguration);
  EXPECT_THAT(out_.text(), HasSubstr(R"("line":5,"column":31,"key":"rules[0].when","what":")"));
  EXPECT_EQ(run_words({"check", path() + "/none"}), kExitConfiguration);
  EXPECT_THAT(problems_.text(), HasSubstr("No such file"));
  EXPECT_EQ(run_words({"check", path() + "/cases.yaml"}), kExitConfiguration);
  EXPECT_THAT(problems_.text(), HasSubstr("no rule files"));
  EXPECT_EQ(run_words({"check"}), kExitUsage);
}

TEST_F(RulesCommand, TestRunsTheCases) {
  write("a.yaml", kRules);
  write("cases.yaml", kCases);
  EXPECT_EQ(run_words({"test", path()}), kExitOk) << out_.text();
  EXPECT_EQ(out_.text(), "2 cases of 2 rules, 0 failed\n");
  EXPECT_EQ(run_words({"test", path(), "--complete"}), kExitDamaged);
  EXPECT_THAT(out_.text(), HasSubstr("many: no case in which it stays silent\n"));

  write("b.cases.yaml", R"(cases:
  - name: twice
    on: authenticate
    event: {outcome: error}
    repeat: 2
    expect: {verdict: alert, findings: [many]}
  - name: nothing
    sql: DELETE FROM t
    event: {database.labels: {env: test}}
    expect: {verdict: allow}
)");
  EXPECT_EQ(run_words({"test", path()}), kExitDamaged);
  EXPECT_THAT(out_.text(), HasSubstr("b.cases.yaml:2:11: failed: twice\n    verdict: expected alert; got allow\n"
                                     "    findings: expected many; got none\n"));
  EXPECT_EQ(run_words({"test", path(), "--json"}), kExitDamaged);
  EXPECT_THAT(out_.text(), HasSubstr(R"("passed":false,"verdict":"allow","findings":[],)"));

  write("b.cases.yaml", "cases:\n  - name: n\n    event: {actor.exee: x}\n    expect: {verdict: allow}\n");
  EXPECT_EQ(run_words({"test", path()}), kExitDamaged);
  EXPECT_THAT(out_.text(), HasSubstr("b.cases.yaml:3:25: cases[0]: `actor.exee` is no field of this kind of event; "
                                     "did you mean `actor.exe`?"));
}

TEST_F(RulesCommand, ExplainShowsEveryPart) {
  write("a.yaml", kRules);
  EXPECT_EQ(run_words({"explain", path(), "--sql", "DELETE FROM staff", "--field", "database.labels.env=production"}),
            kExitOk);
  EXPECT_THAT(out_.text(), HasSubstr("verdict  block\n  block  delete-all\n"));
  EXPECT_THAT(out_.text(), HasSubstr("+ database.labels.env == \"production\"  = true\n"));
  EXPECT_THAT(out_.text(), HasSubstr("statement.effects  = [\"delete\"]\n"));
  EXPECT_EQ(run_words({"explain", path(), "--rule", "delete-all", "--sql", "DELETE FROM staff", "--json"}), kExitOk);
  EXPECT_THAT(out_.text(), HasSubstr(R"({"verdict":"allow","rule":"delete-all","parts":[{"depth":0,)"));
  EXPECT_THAT(out_.text(), HasSubstr(R"("value":"error: no such key","error":true})"));
  write("w.yaml", R"(rules:
  - id: sum
    on: statement
    when: '"read" in statement.effects'
    then: alert
    mode: active
    window: {sum: result.rows, over: 90m, by: [session.user, actor.exe], at_least: 500}
  - {id: new, on: statement, when: 'true', then: alert, mode: active, first_seen: {key: [session.user], learn: 7d}}
  - id: seldom
    on: statement
    when: result.rows > 9
    then: alert
    mode: active
    window: {count: 'true', over: 1m, at_least: 3}
)");
  EXPECT_EQ(run_words({"explain", path(), "--sql", "SELECT a FROM t", "--field", "result.rows=5", "--field",
                       "session.user=ann"}),
            kExitOk);
  EXPECT_THAT(out_.text(), HasSubstr("  and this adds up to at least 500 within 90m:\n      result.rows  = 5\n"
                                     "  counted apart by:\n      session.user  = \"ann\"\n      actor.exe  = \"\"\n"));
  EXPECT_THAT(out_.text(), HasSubstr("  and these together were not seen before, after 168h of learning:\n"
                                     "      session.user  = \"ann\"\n"));
  EXPECT_THAT(out_.text(), Not(HasSubstr("\nseldom  "))) << "its condition does not hold";
  EXPECT_EQ(run_words({"explain", path(), "--rule", "seldom", "--sql", "SELECT 1", "--json"}), kExitOk);
  EXPECT_THAT(out_.text(), HasSubstr(R"(,"window":{"measure":"count","of":"true","value":"true","over":"1m",)"
                                     R"("at_least":3,"by":[]}})"));
  EXPECT_EQ(run_words({"explain", path(), "--rule", "many"}), kExitUsage);
  EXPECT_THAT(problems_.text(), HasSubstr("`many` is about other events: --on authenticate"));
  EXPECT_EQ(run_words({"explain", path(), "--rule", "none"}), kExitUsage);
  EXPECT_EQ(run_words({"explain", path(), "--on", "none"}), kExitUsage);
  EXPECT_EQ(run_words({"explain", path(), "--field", "actor.exe"}), kExitUsage);
  EXPECT_EQ(run_words({"explain", path(), "--field", "actor.exee=x"}), kExitUsage);
  EXPECT_THAT(problems_.text(), HasSubstr("did you mean `actor.exe`?"));
}

TEST_F(RulesCommand, FieldsAreListed) {
  EXPECT_EQ(run_words({"fields"}), kExitOk);
  EXPECT_THAT(out_.text(), HasSubstr("statement.objects[].name"));
  EXPECT_EQ(run_words({"fields", "--on", "gap", "--json"}), kExitOk);
  EXPECT_THAT(out_.text(), HasSubstr(R"({"name":"gap.bytes","on":"gap","type":"int",)"));
}

std::string table_of(const std::vector<RuleField>& fields) {
  const auto cell = [](std::string text) {
    for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
    return text;
  };
  std::string table = "| field | type | meaning | example |\n|---|---|---|---|\n";
  for (const RuleField& field : fields) {
    const std::string example = field.example.empty() ? "" : "`" + cell(field.example) + "`";
    table += "| `" + field.name + "` | " + field.type + " | " + cell(field.meaning) + " | " + example + " |\n";
  }
  return table;
}

void expect_document(std::string_view name, const std::string& want) {
  const auto same = config::check_document(kDocument, name, want);
  EXPECT_TRUE(same) << (same ? "" : same.error().message());
}

TEST(RulesDocument, TablesAreThoseOfTheCode) {
  expect_document("rule files", config::markdown(rules::policy_keys()));
  const auto kinds = rules::event_kinds();
  std::vector<RuleField> shared = fields_of(*kinds.front().schema);
  for (const rules::EventKind& kind : kinds) {
    std::set<std::string> here;
    for (const RuleField& field : fields_of(*kind.schema)) here.insert(field.name);
    std::erase_if(shared, [&](const RuleField& field) { return !here.contains(field.name); });
  }
  expect_document("every event", table_of(shared));
  std::set<std::string> known;
  for (const RuleField& field : shared) known.insert(field.name);
  for (const rules::EventKind& kind : kinds) {
    std::vector<RuleField> own = fields_of(*kind.schema);
    std::erase_if(own, [&](const RuleField& field) { return known.contains(field.name); });
    expect_document(kind.name, table_of(own));
  }
}

TEST(RulesDocument, ProgramsAreThoseOfTheTable) {
  std::string table = "| kind | name | program | why |\n|---|---|---|---|\n";
  for (const rules::KnownProgram& program : rules::known_programs()) {
    std::string pattern(program.pattern);
    if (program.match == rules::ProgramMatch::kBegins) pattern += "*";
    if (program.match == rules::ProgramMatch::kEnds) pattern.insert(0, "*");
    if (program.match == rules::ProgramMatch::kPath) pattern = "…/" + pattern + "/…";
    table += "| " + std::string(to_string(program.kind)) + " | `" + std::string(program.name) + "` | `" + pattern +
             "` | " + std::string(program.why) + " |\n";
  }
  expect_document("known programs", table);
}

// Fenced blocks of a language, each as a file.
std::vector<rules::PolicyFile> blocks(const std::string& text, const std::string& language) {
  std::vector<rules::PolicyFile> files;
  std::istringstream in(text);
  bool open = false;
  for (std::string line; std::getline(in, line);) {
    if (open && line == "```") {
      open = false;
    } else if (open) {
      files.back().text += line + "\n";
    } else if (line == "```" + language) {
      open = true;
      files.push_back({.name = "block " + std::to_string(files.size() + 1), .text = {}});
    }
  }
  return files;
}

TEST(RulesDocument, ExamplesAreSoundAndTheirCasesPass) {
  const std::string document = *read_file(kDocument, 1U << 20);
  const std::vector<rules::PolicyFile> files = blocks(document, "yaml");
  ASSERT_GE(files.size(), 6U);
  rules::CheckedPolicy checked = rules::check_policy(files, rules::event_kinds(), kNow);
  for (const rules::Problem& problem : checked.errors) ADD_FAILURE() << to_string(problem);
  ASSERT_TRUE(checked.policy);
  rules::activate_all(*checked.policy);
  const auto policy = std::make_shared<const rules::Policy>(std::move(*checked.policy));
  const std::vector<rules::PolicyFile> cases = blocks(document, "yaml cases");
  ASSERT_EQ(cases.size(), 1U);
  const rules::CheckedCases read = rules::check_cases(cases[0], rules::event_kinds(), policy.get());
  EXPECT_THAT(read.errors, IsEmpty());
  EXPECT_GE(read.cases.size(), 4U);
  sql::Analyzer analyzer;
  for (const rules::Case& of : read.cases)
    EXPECT_TRUE(run_case(of, policy, analyzer).passed()) << render_outcome(of, run_case(of, policy, analyzer), {});
}

}  // namespace
}  // namespace gatehouse::cli
