// SPDX-License-Identifier: Apache-2.0
// Rule files. Oracle: a mistake is told with a line and a column that the file has; what loads is what it says it is,
// loads again as the same, and judges: what its index leaves out does not match, and messages keep their bound.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>

#include "rules/engine/judge.h"
#include "tests/support/cel_example.h"

namespace {

using namespace gatehouse::rules;

constexpr std::string_view kName = "f.yaml";
constexpr std::string_view kList = "ada\n# nobody\n grace \n";
constexpr EventKind kKinds[] = {{"statement", &cel::example::kSchema}};

void require(bool holds) {
  if (!holds) std::abort();
}

void check_place(const Problem& problem, std::string_view file) {
  require(problem.file == kName && !problem.what.empty());
  const auto lines = static_cast<size_t>(std::ranges::count(file, '\n')) + 1;
  require(problem.line >= 1 && problem.line <= lines && problem.column >= 1 && problem.column <= file.size() + 1);
}

void judge(const std::shared_ptr<const Policy>& policy) {
  static const cel::example::Event event;
  static cel::Scratch scratch;
  const auto variables = cel::example::values_of(event);
  Judge judge(policy);
  const Judgement judgement = judge.judge(0, variables, 1'795'568'523'000'000'000);
  std::string message;
  for (const Finding& finding : judgement.findings) {
    message.clear();
    judge.append_message(finding, variables, message);
    require(message.size() <= kMessageBytesMax + 8);
  }
  for (size_t i = 0; i < policy->rules.size(); ++i) {
    const Rule& rule = policy->rules[i];
    if (rule.mode == RuleMode::kDraft || !rule.exceptions.empty() || rule.window || rule.first_seen) continue;
    if (!evaluate(rule.when, variables, scratch).is_true()) continue;
    require(std::ranges::find(judgement.findings, i, &Finding::rule) != judgement.findings.end());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const PolicyFile files[] = {
      {.name = std::string(kName), .text = std::string(reinterpret_cast<const char*>(data), size)},
      {.name = "list.txt", .text = std::string(kList)}};
  CheckedPolicy checked = check_policy(files, kKinds, 1'795'568'523'000'000'000);
  require(checked.policy.has_value() == checked.errors.empty());
  for (const Problem& problem : checked.errors) check_place(problem, files[0].text);
  for (const Problem& problem : checked.warnings) check_place(problem, files[0].text);
  if (!checked.policy) return 0;
  for (const Rule& rule : checked.policy->rules) {
    require(!rule.id.empty() && rule.kind == 0 && rule.when.type_name() != "string");
    explain(*checked.policy, rule, cel::example::values_of({}));
  }
  const auto again = load_policy(files, kKinds);
  require(again && again->version == checked.policy->version && again->rules.size() == checked.policy->rules.size());
  judge(std::make_shared<const Policy>(std::move(*checked.policy)));
  return 0;
}
