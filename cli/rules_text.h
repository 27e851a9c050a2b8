// SPDX-License-Identifier: Apache-2.0
// What `gatehouse rules …` shows, for people and for scripts. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/rules_cases.h"
#include "cli/table.h"
#include "rules/engine/cel_schema.h"
#include "rules/engine/policy.h"

namespace gatehouse::cli {

// A mistake with its line and a caret under it, where the file is among `files`.
std::string render_problem(const rules::Problem& problem, bool is_error, std::span<const rules::PolicyFile> files,
                           const TableStyle& style);
std::string to_json(const rules::Problem& problem, bool is_error);

std::string render_outcome(const rules::Case& of, const CaseOutcome& outcome, const TableStyle& style);
std::string to_json(const rules::Case& of, const CaseOutcome& outcome);

// One rule's condition over one event: its parts, each below what it is a part of.
std::string render_parts(std::span<const rules::cel::Part> parts, const TableStyle& style);
std::string to_json(std::span<const rules::cel::Part> parts);

// What of other events a rule with a window or first_seen goes by besides, with this event's values; empty for others.
std::string render_memory(const rules::Rule& rule, std::span<const rules::cel::Value> variables,
                          const TableStyle& style);
// The same as members of an object: `,"window":{…}`.
std::string memory_to_json(const rules::Rule& rule, std::span<const rules::cel::Value> variables);

// A field that rules may name, with all that lie below it.
struct RuleField {
  std::string name;  // "statement.verb"; of the elements of a list "statement.objects[].name"
  std::string type;
  std::string meaning;
  std::string example;
};
std::vector<RuleField> fields_of(const rules::cel::Schema& schema);
std::string to_json(const RuleField& field, std::string_view kind);

}  // namespace gatehouse::cli
