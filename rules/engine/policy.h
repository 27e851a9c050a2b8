// SPDX-License-Identifier: Apache-2.0
// Rule files: YAML with conditions in CEL. docs/rules.md is the language; this is what becomes of a set of files.
//
// Checking tells everything that is wrong in all files, each with its place, what was expected and the nearest name.
// A policy is made of files without mistakes only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "rules/engine/cel_explain.h"
#include "rules/engine/cel_program.h"
#include "rules/engine/message.h"
#include "rules/engine/rule_index.h"

namespace gatehouse::rules {

enum class Action : uint8_t { kAlert, kMask, kHold, kBlock, kTerminate };
enum class RuleMode : uint8_t { kDraft, kDryRun, kActive };
enum class Severity : uint8_t { kInfo, kLow, kMedium, kHigh, kCritical };
enum class Measure : uint8_t { kCount, kSum, kDistinct };
enum class MaskMethod : uint8_t { kRedact, kNull, kPartial, kHash, kTokenise, kBucket };
enum class WhenUnknown : uint8_t { kMask, kBlock, kAllow };
enum class Predicates : uint8_t { kAllow, kBlock };

// "alert", "dry-run", "critical": as it is written.
std::string_view name_of(Action action);
std::string_view name_of(RuleMode mode);
std::string_view name_of(Severity severity);
std::string_view name_of(Measure measure);
std::string_view name_of(MaskMethod method);
std::string_view name_of(WhenUnknown when);
std::string_view name_of(Predicates predicates);

// What a rule can be about, and what its condition may speak of then.
struct EventKind {
  std::string_view name;
  const cel::Schema* schema;
};

// A rule with a window matches when so much has come together.
struct Window {
  Measure measure;
  cel::Program of;  // kCount: bool; kSum: a number; kDistinct: text, a number or a bool
  std::vector<cel::Program> by;
  std::string of_text;  // as written
  std::vector<std::string> by_texts;
  uint64_t over_ns;
  uint64_t at_least;
};
// A rule that learns for a time, and then matches what is new.
struct FirstSeen {
  std::vector<cel::Program> key;
  std::vector<std::string> key_texts;  // as written
  uint64_t learn_ns;
};

struct Rule {
  std::string id;
  size_t kind;  // of the event kinds that the policy was loaded with
  std::string condition;
  cel::Program when;
  Action then;
  RuleMode mode;
  Severity severity;
  int priority;  // higher ones first
  std::string message;
  MessageTemplate message_template;
  std::string description;
  std::vector<std::string> tags;
  std::vector<std::string> references;
  std::string false_positives;
  std::string place;  // "file:line:column"
  std::optional<Window> window;
  std::optional<FirstSeen> first_seen;
  uint64_t memory_id;                // of what window and first_seen are: state is taken over by a rule of the same
  std::vector<uint32_t> exceptions;  // of Policy::exceptions
};

// A rule that matches is not found where one of its exceptions holds. One that is about rules of several kinds of event
// is here once for each kind.
struct Exception {
  std::vector<std::string> rules;
  std::string condition;
  cel::Program when;
  std::string owner;
  std::string reason;
  uint64_t expires_unix_ns;
  std::string place;
};

struct Mask {
  std::string id;
  std::vector<std::string> columns;  // schema.table.column, with * in any
  std::vector<std::string> detect;
  MaskMethod method;
  std::string unless_condition;
  std::optional<cel::Program> unless;  // of the events "statement"
  WhenUnknown when_unknown;
  Predicates predicates;
  RuleMode mode;
  std::string description;
  std::string place;
};

// Rule files, and beside them lists: files whose name ends in .txt, of lines.
struct PolicyFile {
  std::string name;  // for messages; lists are found by it
  std::string text;
};

struct PolicyNames;  // lists and macros, which the programs borrow from

// Immutable after it is loaded; any number of threads read it.
struct Policy {
  Policy();
  Policy(Policy&&) noexcept;
  Policy& operator=(Policy&&) noexcept;
  ~Policy();

  std::vector<Rule> rules{};  // by priority; of the same, in the order of the files, and within each as written
  std::vector<Exception> exceptions{};
  std::vector<Mask> masks{};
  std::string version{};  // of the files' content: hexadecimal
  // By kind of event, as it was loaded with them: the rules that are not drafts.
  std::vector<RuleIndex> indexes{};
  std::unique_ptr<PolicyNames> names{};
};

// Why a rule's condition holds of an event or not. `variables`: of the rule's kind.
std::vector<cel::Part> explain(const Policy& policy, const Rule& rule, std::span<const cel::Value> variables);

// Makes every rule active, whatever it says: what the cases beside rules are held against.
void activate_all(Policy& policy);

// Of all files together. Ten times what the benchmarks ask for.
inline constexpr size_t kPolicyRulesMax = 100'000;
// Values in one file, as YAML counts them: a rule has some twenty.
inline constexpr size_t kPolicyFileNodesMax = 1'000'000;
inline constexpr size_t kListValuesMax = 1'000'000;
// Rules with a window or with first_seen: each takes up to 2 MiB of every judge.
inline constexpr size_t kMemoriesMax = 64;

// What is wrong, or worth a look: "file:line:column: rules[3].when: …".
struct Problem {
  std::string file;
  size_t line = 1;
  size_t column = 1;
  std::string key;  // "rules[3].when"; empty: the file as a whole
  std::string what;
};
std::string to_string(const Problem& problem);

struct CheckedPolicy {
  std::optional<Policy> policy{};  // if there are no errors
  std::vector<Problem> errors{};   // in the order of the files
  std::vector<Problem> warnings{};
};

// `kinds`, with all that they point to, outlive the policy. `now_unix_ns`: what expired exceptions are told by; 0: none
// are told.
CheckedPolicy check_policy(std::span<const PolicyFile> files, std::span<const EventKind> kinds,
                           uint64_t now_unix_ns = 0);
// The same; the error, of kind configuration, is all of them, a line each.
Result<Policy> load_policy(std::span<const PolicyFile> files, std::span<const EventKind> kinds);

}  // namespace gatehouse::rules
