// SPDX-License-Identifier: Apache-2.0
#include "cli/rules_commands.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "cli/rules_cases.h"
#include "cli/rules_text.h"
#include "cli/safe_text.h"
#include "rules/engine/policy_files.h"
#include "rules/engine/time_text.h"
#include "rules/schema/event.h"

namespace gatehouse::cli {
namespace {

std::string counted(size_t count, const std::string& thing) {
  return std::to_string(count) + " " + thing + (count == 1 ? "" : "s");
}

int fail(const Surroundings& to, const std::string& message, int exit_code) {
  to.problems.write("gatehouse: " + safe(message) + "\n");
  to.problems.flush();
  return exit_code;
}

void tell(const std::vector<rules::Problem>& problems, bool is_error, std::span<const rules::PolicyFile> files,
          const Options& options, const Surroundings& to) {
  for (const rules::Problem& problem : problems)
    to.out.write(options.json ? to_json(problem, is_error) : render_problem(problem, is_error, files, to.style));
}

std::optional<size_t> kind_of(const std::string& name) {
  const auto kinds = rules::event_kinds();
  const auto found = std::ranges::find(kinds, name, &rules::EventKind::name);
  if (found == kinds.end()) return std::nullopt;
  return static_cast<size_t>(found - kinds.begin());
}
std::string unknown_kind(const std::string& name) {
  std::string all;
  for (const rules::EventKind& kind : rules::event_kinds()) all += (all.empty() ? "" : ", ") + std::string(kind.name);
  return "--on: there are no events `" + name + "`: there are " + all;
}

// A policy of the files that were named; what is wrong with it was told.
struct Loaded {
  rules::PolicyFiles files{};
  rules::CheckedPolicy checked{};
  int exit_code = kExitOk;  // not 0: there is no policy
};
Loaded load(const Options& options, const Surroundings& to, bool with_warnings) {
  Loaded loaded;
  auto files = rules::read_policy_files(options.paths);
  if (!files) {
    loaded.exit_code = fail(to, files.error().message(), kExitConfiguration);
    return loaded;
  }
  loaded.files = std::move(*files);
  if (loaded.files.rules.empty()) {
    loaded.exit_code = fail(to, "there are no rule files here: their names end in .yaml", kExitConfiguration);
    return loaded;
  }
  loaded.checked = rules::check_policy(loaded.files.rules, rules::event_kinds(), to.now_ns);
  tell(loaded.checked.errors, true, loaded.files.rules, options, to);
  if (with_warnings) tell(loaded.checked.warnings, false, loaded.files.rules, options, to);
  if (!loaded.checked.policy) loaded.exit_code = kExitConfiguration;
  return loaded;
}

// Rules that no case finds, and rules that no case leaves alone.
std::vector<std::string> untried(const rules::Policy& policy, const std::vector<rules::Case>& cases) {
  std::map<size_t, size_t> of_kind;
  std::map<std::string, size_t> found_in;
  for (const rules::Case& of : cases) {
    ++of_kind[of.event.kind];
    for (const std::string& id : std::set(of.findings.begin(), of.findings.end())) ++found_in[id];
  }
  std::vector<std::string> told;
  for (const rules::Rule& rule : policy.rules) {
    if (found_in[rule.id] == 0) told.push_back(rule.id + ": no case in which it is found");
    if (of_kind[rule.kind] <= found_in[rule.id]) told.push_back(rule.id + ": no case in which it stays silent");
  }
  return told;
}

// "actor.exe=/usr/bin/psql" as a field; names below one that holds names with texts go into it, and what is given again
// makes a list.
void add_field(const std::string& written, size_t kind, std::vector<YamlNode>& fields) {
  const size_t equals = written.find('=');
  YamlNode value;
  value.kind = YamlNode::Kind::kScalar;
  value.text = written.substr(equals + 1);
  std::string name = written.substr(0, equals);
  for (const RuleField& known : fields_of(*rules::event_kinds()[kind].schema)) {
    if (!known.type.starts_with("map(") || !name.starts_with(known.name + ".")) continue;
    value.key = name.substr(known.name.size() + 1);
    name = known.name;
    break;
  }
  const auto same = std::ranges::find(fields, name, &YamlNode::key);
  if (same != fields.end() && same->kind == YamlNode::Kind::kScalar) {
    YamlNode first;
    first.kind = YamlNode::Kind::kScalar;
    first.text = same->text;
    same->kind = YamlNode::Kind::kList;
    same->children.push_back(std::move(first));
  }
  if (same != fields.end()) {
    same->children.push_back(std::move(value));
    return;
  }
  YamlNode field;
  field.key = name;
  field.kind = value.key.empty() ? YamlNode::Kind::kScalar : YamlNode::Kind::kMap;
  field.text = value.text;
  if (!value.key.empty()) field.children.push_back(std::move(value));
  fields.push_back(std::move(field));
}

// One of the event's statements, against one rule or against all that match.
void explain_statement(rules::Judge& judge, const rules::Variables& variables, const Options& options,
                       const Surroundings& to) {
  const rules::Policy& policy = judge.policy();
  const rules::Judgement judgement = judge.judge(variables.kind(), variables.values(), to.now_ns);
  std::set<const rules::Rule*> shown;
  for (const rules::Rule& rule : policy.rules)
    if (rule.id == options.rule && rule.kind == variables.kind()) shown.insert(&rule);
  std::string findings;
  for (const rules::Finding& finding : judgement.findings) {
    const rules::Rule& rule = judge.rule(finding);
    if (options.rule.empty()) shown.insert(&rule);
    if (!options.json)
      findings +=
          "  " + std::string(name_of(finding.action)) + (finding.would ? " (dry run)" : "") + "  " + rule.id + "\n";
  }
  if (!options.json) {
    to.out.write("verdict  " + std::string(name_of(judgement.verdict)) +
                 (judgement.in_doubt ? ", in doubt: whoever enforces refuses" : "") + "\n" + findings);
    for (const rules::Excepted& excepted : judgement.excepted)
      to.out.write("  excepted  " + policy.rules[excepted.rule].id + ": " +
                   safe(policy.exceptions[excepted.exception].reason) + "\n");
  }
  for (const rules::Rule& rule : policy.rules) {
    if (rule.kind != variables.kind()) continue;
    const bool remembers = rule.window || rule.first_seen;
    // Of one that looks at other events too, also where not enough of them has come together.
    if (!shown.contains(&rule) && (!remembers || !options.rule.empty() || rule.mode == rules::RuleMode::kDraft))
      continue;
    const auto parts = rules::explain(policy, rule, variables.values());
    if (!shown.contains(&rule) && (parts.empty() || parts[0].holds != true)) continue;
    if (options.json) {
      std::string line = "{\"verdict\":";
      append_json_string(line, name_of(judgement.verdict));
      line += ",\"rule\":";
      append_json_string(line, rule.id);
      to.out.write(line + ",\"parts\":" + to_json(parts) + memory_to_json(rule, variables.values()) + "}\n");
    } else {
      const std::string head = "\n" + rule.id + "  " + std::string(name_of(rule.mode)) + "  " + safe(rule.place) + "\n";
      to.out.write(head + render_parts(parts, to.style) + render_memory(rule, variables.values(), to.style));
    }
  }
}

}  // namespace

int check_rules(const Options& options, const Surroundings& to) {
  Loaded loaded = load(options, to, true);
  if (loaded.files.rules.empty()) return loaded.exit_code;
  const rules::Policy* policy = loaded.checked.policy ? &*loaded.checked.policy : nullptr;
  size_t errors = loaded.checked.errors.size();
  for (const rules::PolicyFile& file : loaded.files.cases) {
    const rules::CheckedCases cases = rules::check_cases(file, rules::event_kinds(), policy);
    errors += cases.errors.size();
    tell(cases.errors, true, {&file, 1}, options, to);
  }
  if (!options.json) {
    std::string text;
    if (policy != nullptr)
      text = counted(policy->rules.size(), "rule") + ", " + counted(policy->masks.size(), "mask") + ", " +
             counted(policy->exceptions.size(), "exception") + "; ";
    text += counted(errors, "error") + ", " + counted(loaded.checked.warnings.size(), "warning") + "\n";
    if (policy != nullptr) text += "version  " + policy->version + "\n";
    to.out.write(text);
  }
  to.out.flush();
  return errors == 0 ? kExitOk : kExitConfiguration;
}

int test_rules(const Options& options, const Surroundings& to) {
  Loaded loaded = load(options, to, false);
  if (loaded.exit_code != kExitOk) {
    to.out.flush();
    return loaded.exit_code;
  }
  rules::activate_all(*loaded.checked.policy);
  const auto policy = std::make_shared<const rules::Policy>(std::move(*loaded.checked.policy));
  std::vector<rules::Case> cases;
  bool sound = true;
  for (const rules::PolicyFile& file : loaded.files.cases) {
    rules::CheckedCases checked = rules::check_cases(file, rules::event_kinds(), policy.get());
    tell(checked.errors, true, {&file, 1}, options, to);
    sound = sound && checked.errors.empty();
    std::ranges::move(checked.cases, std::back_inserter(cases));
  }
  sql::Analyzer analyzer;
  size_t failed = 0;
  for (const rules::Case& of : cases) {
    const CaseOutcome outcome = run_case(of, policy, analyzer);
    failed += outcome.passed() ? 0 : 1;
    if (options.json) {
      to.out.write(to_json(of, outcome));
    } else if (!outcome.passed()) {
      to.out.write(render_outcome(of, outcome, to.style));
    }
  }
  const std::vector<std::string> missing = options.complete ? untried(*policy, cases) : std::vector<std::string>();
  for (const std::string& what : missing)
    to.out.write(options.json ? "{\"missing\":\"" + what + "\"}\n" : safe(what) + "\n");
  if (!options.json) {
    to.out.write(counted(cases.size(), "case") + " of " + counted(policy->rules.size(), "rule") + ", " +
                 std::to_string(failed) + " failed" +
                 (missing.empty() ? "" : ", " + counted(missing.size(), "case") + " missing") + "\n");
  }
  to.out.flush();
  if (!sound) return kExitConfiguration;
  return failed == 0 && missing.empty() ? kExitOk : kExitDamaged;
}

std::shared_ptr<const rules::Policy> load_for_backtest(const Options& options, const Surroundings& to, int& exit_code) {
  Loaded loaded = load(options, to, false);
  to.out.flush();
  exit_code = loaded.exit_code;
  if (exit_code != kExitOk) return nullptr;
  rules::activate_all(*loaded.checked.policy);
  return std::make_shared<const rules::Policy>(std::move(*loaded.checked.policy));
}

int explain_rules(const Options& options, const Surroundings& to) {
  const auto kind = kind_of(options.on);
  if (!kind) return fail(to, unknown_kind(options.on), kExitUsage);
  Loaded loaded = load(options, to, false);
  if (loaded.exit_code != kExitOk) {
    to.out.flush();
    return loaded.exit_code;
  }
  const auto policy = std::make_shared<const rules::Policy>(std::move(*loaded.checked.policy));
  const auto found = std::ranges::find(policy->rules, options.rule, &rules::Rule::id);
  if (!options.rule.empty() && found == policy->rules.end())
    return fail(to, "--rule: there is no rule `" + options.rule + "`", kExitUsage);
  if (!options.rule.empty() && found->kind != *kind)
    return fail(to,
                "--rule: `" + options.rule + "` is about other events: --on " +
                    std::string(rules::event_kinds()[found->kind].name),
                kExitUsage);
  std::vector<YamlNode> fields;
  if (!options.sql.empty()) add_field("statement.text=" + options.sql, *kind, fields);
  for (const std::string& written : options.fields) {
    if (written.find('=') == std::string::npos)
      return fail(to, "--field: `" + written + "` is not NAME=VALUE", kExitUsage);
    add_field(written, *kind, fields);
  }
  sql::Analyzer analyzer;
  rules::EventBuilder event(static_cast<rules::Occasion>(*kind), analyzer);
  if (auto set = event.set("now", {.text = rules::format_timestamp(to.now_ns)}); !set)
    return fail(to, set.error().message(), kExitUsage);
  for (const YamlNode& field : fields)
    if (auto set = set_field(event, field); !set) return fail(to, "--field: " + set.error().message(), kExitUsage);
  rules::Judge judge(policy);
  for (size_t i = 0; i < event.count(); ++i) {
    const rules::Variables variables(event.event(i));
    if (i > 0 && !options.json) to.out.write("\n");
    explain_statement(judge, variables, options, to);
  }
  to.out.flush();
  return kExitOk;
}

int list_rule_fields(const Options& options, const Surroundings& to) {
  const auto kind = kind_of(options.on);
  if (!kind) return fail(to, unknown_kind(options.on), kExitUsage);
  const rules::EventKind& of = rules::event_kinds()[*kind];
  std::vector<std::vector<Cell>> rows;
  for (const RuleField& field : fields_of(*of.schema)) {
    if (options.json) {
      to.out.write(to_json(field, of.name));
    } else {
      rows.push_back({{field.name}, {field.type}, {field.meaning}, {field.example, Tone::kFaint}});
    }
  }
  if (!options.json) {
    to.out.write(render_table({{.title = "field", .max_width = 48},
                               {.title = "type", .max_width = 24},
                               {.title = "meaning", .takes_rest = true},
                               {.title = "example", .max_width = 24}},
                              to.style, rows));
  }
  to.out.flush();
  return kExitOk;
}

}  // namespace gatehouse::cli
