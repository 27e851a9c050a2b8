// SPDX-License-Identifier: Apache-2.0
#include "cli/rules_cases.h"

#include <algorithm>
#include <set>

#include "rules/engine/time_text.h"

namespace gatehouse::cli {
namespace {

using rules::CaseEvent;

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

// Judges a case's events one after another.
class Runner {
 public:
  Runner(const std::shared_ptr<const rules::Policy>& policy, sql::Analyzer& analyzer)
      : judge_(policy), analyzer_(analyzer) {}

  // What came of the last time that it happened. The error is about a field.
  struct Mistake {
    const YamlNode* field;
    std::string what;
  };
  std::optional<Mistake> run(const CaseEvent& event, CaseOutcome& outcome) {
    rules::EventBuilder builder(static_cast<rules::Occasion>(event.kind), analyzer_);
    bool has_time = false;
    for (const YamlNode& field : event.fields) {
      if (auto set = set_field(builder, field); !set) return Mistake{&field, set.error().message()};
      if (field.key != "now") continue;
      has_time = true;
      now_ns_ = rules::parse_timestamp(field.text).value_or(now_ns_);
    }
    if (!has_time && begun_) now_ns_ += event.after_ns;
    for (uint64_t i = 0; i < event.repeat; ++i) {
      if (i > 0) now_ns_ += event.every_ns;
      const rules::FieldValue now{.text = rules::format_timestamp(now_ns_)};
      if (auto set = builder.set("now", now); !set) return Mistake{&event.fields.front(), set.error().message()};
      judge(builder, outcome);
    }
    begun_ = true;
    return std::nullopt;
  }

 private:
  void judge(rules::EventBuilder& builder, CaseOutcome& outcome) {
    outcome = {};
    std::set<uint32_t> findings;
    std::set<uint32_t> excepted;
    for (size_t i = 0; i < builder.count(); ++i) {
      const rules::Variables variables(builder.event(i));
      const rules::Judgement judgement = judge_.judge(variables.kind(), variables.values(), now_ns_);
      outcome.verdict = std::max(outcome.verdict, judgement.verdict);
      for (const rules::Finding& finding : judgement.findings) findings.insert(finding.rule);
      for (const rules::Excepted& one : judgement.excepted) excepted.insert(one.rule);
    }
    for (const uint32_t rule : findings) outcome.findings.push_back(judge_.policy().rules[rule].id);
    for (const uint32_t rule : excepted) outcome.excepted.push_back(judge_.policy().rules[rule].id);
  }

  rules::Judge judge_;
  sql::Analyzer& analyzer_;
  uint64_t now_ns_ = rules::kCasesBeginUnixNs;
  bool begun_ = false;
};

void compare(std::vector<std::string> expected, std::vector<std::string> found, const std::string& what,
             std::vector<std::string>& differences) {
  std::ranges::sort(expected);
  expected.erase(std::unique(expected.begin(), expected.end()), expected.end());
  std::ranges::sort(found);
  if (expected != found) differences.push_back(what + ": expected " + joined(expected) + "; got " + joined(found));
}

}  // namespace

std::optional<rules::FieldValue> field_value(const YamlNode& node) {
  rules::FieldValue value;
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return value;
    case YamlNode::Kind::kScalar:
      value.text = node.text;
      return value;
    case YamlNode::Kind::kList:
      value.shape = rules::FieldValue::Shape::kTexts;
      for (const YamlNode& item : node.children) {
        if (item.kind != YamlNode::Kind::kScalar) return std::nullopt;
        value.texts.push_back(item.text);
      }
      return value;
    case YamlNode::Kind::kMap:
      value.shape = rules::FieldValue::Shape::kLabels;
      for (const YamlNode& item : node.children) {
        if (item.kind != YamlNode::Kind::kScalar) return std::nullopt;
        value.labels.emplace_back(item.key, item.text);
      }
      return value;
  }
  return std::nullopt;
}

Status set_field(rules::EventBuilder& event, const YamlNode& field) {
  if (field.kind == YamlNode::Kind::kMap && field.key.find('.') == std::string::npos) {
    for (YamlNode child : field.children) {
      child.key = field.key + "." + child.key;
      GH_TRY(set_field(event, child));
    }
    return {};
  }
  const auto value = field_value(field);
  if (!value) return Error::configuration(field.key + ": expected a text, a list of texts, or names with texts");
  return event.set(field.key, *value);
}

CaseOutcome run_case(const rules::Case& of, const std::shared_ptr<const rules::Policy>& policy,
                     sql::Analyzer& analyzer) {
  Runner runner(policy, analyzer);
  CaseOutcome outcome;
  const auto run = [&](const CaseEvent& event) {
    const auto mistake = runner.run(event, outcome);
    if (!mistake) return true;
    outcome = {};
    outcome.problem = rules::Problem{of.file, mistake->field->line, mistake->field->column, event.shown, mistake->what};
    return false;
  };
  if (!std::ranges::all_of(of.before, run) || !run(of.event)) return outcome;
  if (outcome.verdict != of.verdict) {
    outcome.differences.push_back("verdict: expected " + std::string(name_of(of.verdict)) + "; got " +
                                  std::string(name_of(outcome.verdict)));
  }
  compare(of.findings, outcome.findings, "findings", outcome.differences);
  if (of.excepted) compare(*of.excepted, outcome.excepted, "excepted", outcome.differences);
  return outcome;
}

}  // namespace gatehouse::cli
