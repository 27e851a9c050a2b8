// SPDX-License-Identifier: Apache-2.0
// Events as people write them, and the cases beside rules: what was expected, and what came of it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/sql/analyzer.h"
#include "rules/engine/cases.h"
#include "rules/engine/judge.h"
#include "rules/schema/event_builder.h"

namespace gatehouse::cli {

// A field's value: text, a list of them, or names with texts. Nothing: it is none of these.
std::optional<rules::FieldValue> field_value(const YamlNode& node);
// Sets a field, or those of a record that is written as a map: {actor: {exe: /usr/bin/psql}}.
Status set_field(rules::EventBuilder& event, const YamlNode& field);

struct CaseOutcome {
  rules::Verdict verdict = rules::Verdict::kAllow;
  std::vector<std::string> findings{};  // in the order of the rules, each once
  std::vector<std::string> excepted{};
  std::optional<rules::Problem> problem{};  // the event cannot be made
  std::vector<std::string> differences{};   // from what was expected, in words; none: it passed

  [[nodiscard]] bool passed() const { return !problem && differences.empty(); }
};

// With a judge of its own. The policy's rules are all active.
CaseOutcome run_case(const rules::Case& of, const std::shared_ptr<const rules::Policy>& policy,
                     sql::Analyzer& analyzer);

}  // namespace gatehouse::cli
