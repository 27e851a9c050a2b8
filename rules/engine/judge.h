// SPDX-License-Identifier: Apache-2.0
// What the rules of a policy say to an event: one verdict, and all findings.
//
//   Judge judge(policy);                                    // one for each thread
//   const Judgement found = judge.judge(kind, values, now);
//   if (found.verdict >= Verdict::kBlock || found.in_doubt) refuse(…);
//
// A rule is not found where an exception holds, and one with a window only when enough has come together. The same
// policy and the same events give the same judgements. A rule cannot fail the judge: what goes wrong in a condition is
// counted, and is no match. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "rules/engine/policy.h"
#include "rules/engine/window.h"

namespace gatehouse::rules {

// From the weakest to the strongest; beyond kAllow as Action.
enum class Verdict : uint8_t { kAllow, kAlert, kMask, kHold, kBlock, kTerminate };
std::string_view name_of(Verdict verdict);
constexpr Verdict verdict_of(Action action) {
  return static_cast<Verdict>(static_cast<uint8_t>(action) + 1);
}

// A rule that matched.
struct Finding {
  uint32_t rule;  // of Policy::rules
  Action action;
  bool would;  // the rule is on a dry run: it is recorded what it would have done, and nothing more
  // Its condition was too dear to evaluate: it counts as if it had matched. Where the fields rule out that it matches,
  // since it asks them to be equal to something else, it is not evaluated, however dear it would be.
  bool in_doubt;
};

// A rule that would have been found if it were not for an exception.
struct Excepted {
  uint32_t rule;       // of Policy::rules
  uint32_t exception;  // of Policy::exceptions
};

struct Judgement {
  // The strongest action of the findings that are not `would`.
  Verdict verdict = Verdict::kAllow;
  // A rule that may do more than alert could not be evaluated: whoever enforces refuses, whatever the verdict is.
  bool in_doubt = false;
  // In the order of the policy's rules. Good until the next call of judge().
  std::span<const Finding> findings{};
  std::span<const Excepted> excepted{};
  // The first finding whose action is the verdict: what a refusal speaks of. Null: kAllow.
  const Finding* decisive = nullptr;
};

struct JudgeCounters {
  uint64_t events = 0;
  uint64_t evaluations = 0;  // of conditions; those that the index rules out are not evaluated
  uint64_t matches = 0;
  uint64_t errors = 0;    // conditions that ended in an error of CEL, such as a key that is missing: no match
  uint64_t in_doubt = 0;  // those that were too dear
  uint64_t excepted = 0;  // matches that an exception was for
};

class Judge {
 public:
  explicit Judge(std::shared_ptr<const Policy> policy);

  // `kind`: of the event kinds that the policy was loaded with. `variables`: of that kind's schema, in its order.
  // `now_unix_ns`: when the event happened. Allocates nothing. Without `remembers` it is asked what would be found, as
  // of something that may never happen: rules with a window or first_seen are passed over, and what they remember
  // stays.
  Judgement judge(size_t kind, std::span<const cel::Value> variables, uint64_t now_unix_ns, bool remembers = true);

  // Appends the message of a finding's rule. `variables`: those of the event that it was found in.
  void append_message(const Finding& finding, std::span<const cel::Value> variables, std::string& out);

  // What windows and first_seen remember, as bytes: for a restart, or for a judge of a newer policy. Rules take over
  // the state of those that remember the same: id, condition, fields and lengths. import_state() gives false if some of
  // it was not what export_state() makes; what could be read is taken over all the same.
  [[nodiscard]] std::string export_state() const;
  bool import_state(std::string_view bytes);

  [[nodiscard]] const Policy& policy() const { return *policy_; }
  [[nodiscard]] const std::shared_ptr<const Policy>& shared_policy() const { return policy_; }
  [[nodiscard]] const Rule& rule(const Finding& finding) const { return policy_->rules[finding.rule]; }
  [[nodiscard]] const JudgeCounters& counters() const { return counters_; }

 private:
  using Memory = std::variant<SumWindow, DistinctWindow, FirstSeenTable>;
  struct Event {
    std::span<const cel::Value> variables;
    uint64_t unix_ns;
    bool remembers;
  };

  void evaluate(uint32_t rule, const Event& event);
  bool holds(const cel::Program& condition, const Event& event, bool& in_doubt);
  bool is_excepted(uint32_t rule, const Event& event);
  bool is_enough(const Window& window, Memory& memory, const Event& event);
  uint64_t key_of(std::span<const cel::Program> fields, const Event& event);

  std::shared_ptr<const Policy> policy_;
  std::vector<RuleIndex::Lookup> lookups_{};         // by kind of event
  std::vector<std::unique_ptr<Memory>> memories_{};  // by rule; null: it remembers nothing
  std::vector<Finding> findings_{};
  std::vector<Excepted> excepted_{};
  cel::Scratch scratch_{};
  JudgeCounters counters_{};
};

}  // namespace gatehouse::rules
