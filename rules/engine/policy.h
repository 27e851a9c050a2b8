// SPDX-License-Identifier: Apache-2.0
// Rule files: YAML in which each rule has a condition in CEL (docs/cel.md). Loading one checks all of it; what is
// wrong is an error of kind configuration, "file:line:column: rules[3].when: …", with the nearest name.
//
//   rules:
//     - id: delete-without-where
//       on: statement                # the kind of event, which says what `when` may speak of
//       when: statement.verb in ["DELETE", "UPDATE"] && !statement.filters_rows
//       then: block                  # alert | mask | hold | block | terminate
//       mode: active                 # draft | dry-run | active; draft if it is not said
//       severity: high               # info | low | medium | high | critical; medium if it is not said
//       message: Add a WHERE clause.
//       tags: [attack.T1485]
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "rules/engine/cel_program.h"
#include "rules/engine/rule_index.h"

namespace gatehouse::rules {

enum class Action : uint8_t { kAlert, kMask, kHold, kBlock, kTerminate };
enum class RuleMode : uint8_t { kDraft, kDryRun, kActive };
enum class Severity : uint8_t { kInfo, kLow, kMedium, kHigh, kCritical };

// "alert", "dry-run", "critical": as it is written.
std::string_view name_of(Action action);
std::string_view name_of(RuleMode mode);
std::string_view name_of(Severity severity);

// What a rule can be about, and what its condition may speak of then.
struct EventKind {
  std::string_view name;
  const cel::Schema* schema;
};

struct Rule {
  std::string id;
  size_t kind;  // of the event kinds that the policy was loaded with
  cel::Program when;
  Action then;
  RuleMode mode;
  Severity severity;
  std::string message;
  std::string description;
  std::vector<std::string> tags;
  std::string place;  // "file:line:column"
};

struct PolicyFile {
  std::string name;  // for messages
  std::string text;
};

// Immutable after it is loaded; any number of threads read it.
struct Policy {
  std::vector<Rule> rules;  // in the order of the files, and within each as written
  std::string version;      // of the files' content: hexadecimal
  // By kind of event, as it was loaded with them: the rules that are not drafts.
  std::vector<RuleIndex> indexes;
};

// Of all files together. Ten times what the benchmarks ask for.
inline constexpr size_t kPolicyRulesMax = 100'000;
// Values in one file, as YAML counts them: a rule has some twenty.
inline constexpr size_t kPolicyFileNodesMax = 1'000'000;

// `kinds`, with all that they point to, outlive the policy.
Result<Policy> load_policy(std::span<const PolicyFile> files, std::span<const EventKind> kinds);

}  // namespace gatehouse::rules
