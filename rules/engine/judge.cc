// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/judge.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace gatehouse::rules {

std::string_view name_of(Verdict verdict) {
  if (verdict == Verdict::kAllow) return "allow";
  return name_of(static_cast<Action>(static_cast<uint8_t>(verdict) - 1));
}

Judge::Judge(std::shared_ptr<const Policy> policy) : policy_(std::move(policy)) {
  size_t most = 0;
  for (const RuleIndex& index : policy_->indexes) {
    lookups_.emplace_back(index);
    most = std::max(most, index.rules());
  }
  findings_.reserve(most);
}

Judgement Judge::judge(size_t kind, std::span<const cel::Value> variables, uint64_t /*now_unix_ns*/) {
  GH_CHECK(kind < lookups_.size());
  ++counters_.events;
  findings_.clear();
  policy_->indexes[kind].find(variables, lookups_[kind]);
  for (const uint32_t rule : lookups_[kind].found()) evaluate(rule, variables);
  Judgement judgement{.findings = findings_};
  for (const Finding& finding : findings_) {
    if (finding.would) continue;
    if (finding.in_doubt && finding.action > Action::kAlert) judgement.in_doubt = true;
    if (verdict_of(finding.action) <= judgement.verdict) continue;
    judgement.verdict = verdict_of(finding.action);
    judgement.decisive = &finding;
  }
  return judgement;
}

void Judge::evaluate(uint32_t rule, std::span<const cel::Value> variables) {
  const Rule& of = policy_->rules[rule];
  ++counters_.evaluations;
  const cel::Value result = cel::evaluate(of.when, variables, scratch_);
  const bool in_doubt = result.is_error() && cel::is_final(result.error_code());
  if (in_doubt) {
    ++counters_.in_doubt;
  } else if (result.is_error()) {
    ++counters_.errors;
  }
  if (!result.is_true() && !in_doubt) return;
  ++counters_.matches;
  findings_.push_back({.rule = rule, .action = of.then, .would = of.mode == RuleMode::kDryRun, .in_doubt = in_doubt});
}

void Judge::append_message(const Finding& finding, std::span<const cel::Value> /*variables*/, std::string& out) {
  out += rule(finding).message;
}

}  // namespace gatehouse::rules
