// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/cases.h"

#include <algorithm>

#include "rules/engine/nearest.h"
#include "rules/engine/policy_keys.h"
#include "rules/engine/source.h"

namespace gatehouse::rules {
namespace {

using config::Key;
using config::Type;

constexpr std::string_view kVerdicts = "allow|alert|mask|hold|block|terminate";
constexpr size_t kTextBytesMax = 1U << 20;

std::optional<std::string> expect_span(std::string_view value) {
  if (parse_span(value)) return std::nullopt;
  return "a time such as 1s, 5m or 7d";
}

constexpr Key kKeys[] = {
    {.path = "cases", .type = Type::kSections, .why = "What is tried."},
    {.path = "cases[].name", .required = true, .min = 1, .max = 400, .why = "What the case shows."},
    {.path = "cases[].on", .fallback = "statement", .max = 128, .why = "The kind of event."},
    {.path = "cases[].sql", .max = kTextBytesMax, .has_lines = true, .why = "The statement: short for statement.text."},
    {.path = "cases[].event", .type = Type::kAny, .why = "Fields by their names, such as actor.exe: /usr/bin/psql."},
    {.path = "cases[].repeat",
     .type = Type::kCount,
     .fallback = "1",
     .min = 1,
     .max = kCaseRepeatMax,
     .why = "It happens so many times, and the last one counts."},
    {.path = "cases[].every", .fallback = "1s", .why = "From one time to the next.", .check = expect_span},
    {.path = "cases[].after", .fallback = "1s", .why = "Since what happened before.", .check = expect_span},
    {.path = "cases[].before", .type = Type::kSections, .why = "What happens first, for windows and first_seen."},
    {.path = "cases[].before[].on", .fallback = "statement", .max = 128, .why = "As of the case."},
    {.path = "cases[].before[].sql", .max = kTextBytesMax, .has_lines = true, .why = "As of the case."},
    {.path = "cases[].before[].event", .type = Type::kAny, .why = "As of the case."},
    {.path = "cases[].before[].repeat",
     .type = Type::kCount,
     .fallback = "1",
     .min = 1,
     .max = kCaseRepeatMax,
     .why = "As of the case."},
    {.path = "cases[].before[].every", .fallback = "1s", .why = "As of the case.", .check = expect_span},
    {.path = "cases[].before[].after", .fallback = "1s", .why = "As of the case.", .check = expect_span},
    {.path = "cases[].expect", .type = Type::kSection, .required = true, .why = "What must come of it."},
    {.path = "cases[].expect.verdict",
     .type = Type::kChoice,
     .required = true,
     .choices = kVerdicts,
     .why = "The verdict."},
    {.path = "cases[].expect.findings", .type = Type::kTexts, .max = 128, .why = "All rules that match, by id."},
    {.path = "cases[].expect.excepted",
     .type = Type::kTexts,
     .max = 128,
     .why = "Rules that would match if it were not for an exception; not looked at if it is not said."},
};

class Reader {
 public:
  Reader(const PolicyFile& file, std::span<const EventKind> kinds, const Policy* policy)
      : file_(file), kinds_(kinds), policy_(policy) {}

  CheckedCases run() {
    std::vector<config::Problem> problems;
    const auto settings = config::Settings::check(file_.text, file_.name, kKeys, kPolicyFileNodesMax, problems);
    for (config::Problem& problem : problems)
      checked_.errors.push_back(
          {file_.name, problem.line, problem.column, std::move(problem.key), std::move(problem.what)});
    if (!settings) return std::move(checked_);
    for (const Section& section : sections_of({&file_, *settings}, "cases"))
      if (section.settings.sound()) add(section);
    return std::move(checked_);
  }

 private:
  void add(const Section& section) {
    const size_t errors = checked_.errors.size();
    const YamlNode& name = section.node("name");
    Case made{.name = name.text,
              .event = event_of(section),
              .verdict = static_cast<Verdict>(choice_index(kVerdicts, section.settings.text("expect.verdict"))),
              .findings = ids_of(section, "expect.findings"),
              .file = file_.name,
              .line = name.line,
              .column = name.column};
    if (section.settings.has("expect.excepted")) made.excepted = ids_of(section, "expect.excepted");
    const auto before = section.settings.sections("before");
    for (size_t i = 0; i < before.size(); ++i)
      made.before.push_back(event_of({&file_, before[i], section.shown + ".before[" + std::to_string(i) + "]"}));
    if (checked_.errors.size() == errors) checked_.cases.push_back(std::move(made));
  }

  CaseEvent event_of(const Section& section) {
    const config::Settings& settings = section.settings;
    CaseEvent event{.repeat = settings.count("repeat"),
                    .every_ns = *parse_span(settings.text("every")),
                    .after_ns = *parse_span(settings.text("after")),
                    .shown = section.shown};
    const std::string on = settings.text("on");
    const auto kind = std::ranges::find(kinds_, on, &EventKind::name);
    event.kind = static_cast<size_t>(kind - kinds_.begin());
    if (kind == kinds_.end()) {
      const auto nearest =
          std::ranges::min_element(kinds_, {}, [&](const EventKind& of) { return edit_distance(on, of.name); });
      checked_.errors.push_back(section.problem(
          "on", "there are no events `" + printable(on) + "`" +
                    (nearest == kinds_.end() ? "" : "; did you mean `" + std::string(nearest->name) + "`?")));
    }
    if (settings.has("sql")) {
      event.fields.push_back(section.node("sql"));
      event.fields.back().key = "statement.text";
    }
    if (!settings.has("event")) return event;
    const YamlNode& fields = section.node("event");
    if (fields.kind != YamlNode::Kind::kMap)
      checked_.errors.push_back(section.problem("event", "expected fields with values, such as {actor.exe: /bin/x}"));
    for (const YamlNode& field : fields.children) event.fields.push_back(field);
    return event;
  }

  std::vector<std::string> ids_of(const Section& section, std::string_view key) {
    std::vector<std::string> ids = section.settings.texts(key);
    for (size_t i = 0; policy_ != nullptr && i < ids.size(); ++i) {
      if (std::ranges::find(policy_->rules, ids[i], &Rule::id) != policy_->rules.end()) continue;
      const auto nearest = std::ranges::min_element(policy_->rules, {},
                                                    [&](const Rule& rule) { return edit_distance(ids[i], rule.id); });
      const YamlNode& item = section.node(key).children[i];
      checked_.errors.push_back({file_.name, item.line, item.column, section.shown + "." + std::string(key),
                                 "there is no rule `" + printable(ids[i]) + "`" +
                                     (nearest == policy_->rules.end() ? "" : "; did you mean `" + nearest->id + "`?")});
    }
    return ids;
  }

  const PolicyFile& file_;
  std::span<const EventKind> kinds_;
  const Policy* policy_;
  CheckedCases checked_{};
};

}  // namespace

bool is_cases_file(std::string_view name) {
  return name.ends_with("cases.yaml") || name.ends_with("cases.yml");
}

CheckedCases check_cases(const PolicyFile& file, std::span<const EventKind> kinds, const Policy* policy) {
  return Reader(file, kinds, policy).run();
}

}  // namespace gatehouse::rules
