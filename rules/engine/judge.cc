// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/judge.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "common/check.h"

namespace gatehouse::rules {
namespace {

constexpr std::string_view kStateMagic = "GHRULES1";

// Amounts are kept as double: at_least has no more digits than that.
std::optional<double> amount_of(const cel::Value& value) {
  double amount = 0;
  if (value.is(cel::Kind::kInt)) {
    amount = static_cast<double>(value.as_int());
  } else if (value.is(cel::Kind::kUint)) {
    amount = static_cast<double>(value.as_uint());
  } else if (value.is(cel::Kind::kDouble)) {
    amount = value.as_double();
  } else {
    return std::nullopt;
  }
  if (!std::isfinite(amount) || amount < 0) return std::nullopt;
  return amount;
}

// Equal values give equal hashes, whatever the types of numbers; what cannot be had is a value of its own.
void add(KeyHash& hash, const cel::Value& value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  switch (value.kind()) {
    case cel::Kind::kString:
    case cel::Kind::kBytes:
      hash.add(uint64_t{1});
      return hash.add(value.as_text());
    case cel::Kind::kDouble:
      if (std::abs(value.as_double()) <= kExact && std::trunc(value.as_double()) == value.as_double())
        return add(hash, cel::Value::integer(static_cast<int64_t>(value.as_double())));
      hash.add(uint64_t{2});
      return hash.add(std::bit_cast<uint64_t>(value.as_double()));
    case cel::Kind::kInt:
    case cel::Kind::kUint:
    case cel::Kind::kBool:
    case cel::Kind::kDuration:
      hash.add(uint64_t{3});
      return hash.add(value.as_uint());
    case cel::Kind::kTimestamp:
      hash.add(uint64_t{4});
      hash.add(static_cast<uint64_t>(value.as_timestamp().seconds));
      return hash.add(value.as_timestamp().ns);
    default:
      return hash.add(uint64_t{5});
  }
}

void put(std::string& out, uint64_t number) {
  for (size_t i = 0; i < sizeof number; ++i) out += static_cast<char>(number >> (8 * i) & 0xFF);
}

std::optional<uint64_t> take(std::string_view& bytes) {
  if (bytes.size() < sizeof(uint64_t)) return std::nullopt;
  uint64_t number = 0;
  for (size_t i = 0; i < sizeof number; ++i)
    number |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  bytes.remove_prefix(sizeof number);
  return number;
}

}  // namespace

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
  excepted_.reserve(most);
  memories_.resize(policy_->rules.size());
  for (size_t i = 0; i < policy_->rules.size(); ++i) {
    const Rule& rule = policy_->rules[i];
    if (rule.mode == RuleMode::kDraft) continue;
    if (rule.first_seen) {
      memories_[i] = std::make_unique<Memory>(FirstSeenTable(rule.first_seen->learn_ns));
    } else if (rule.window && rule.window->measure == Measure::kDistinct) {
      memories_[i] = std::make_unique<Memory>(DistinctWindow(rule.window->over_ns, rule.window->at_least));
    } else if (rule.window) {
      memories_[i] = std::make_unique<Memory>(SumWindow(rule.window->over_ns));
    }
  }
}

Judgement Judge::judge(size_t kind, std::span<const cel::Value> variables, uint64_t now_unix_ns, bool remembers) {
  GH_CHECK(kind < lookups_.size());
  ++counters_.events;
  findings_.clear();
  excepted_.clear();
  policy_->indexes[kind].find(variables, lookups_[kind]);
  const Event event{.variables = variables, .unix_ns = now_unix_ns, .remembers = remembers};
  for (const uint32_t rule : lookups_[kind].found()) evaluate(rule, event);
  Judgement judgement{.findings = findings_, .excepted = excepted_};
  for (const Finding& finding : findings_) {
    if (finding.would) continue;
    if (finding.in_doubt && finding.action > Action::kAlert) judgement.in_doubt = true;
    if (verdict_of(finding.action) <= judgement.verdict) continue;
    judgement.verdict = verdict_of(finding.action);
    judgement.decisive = &finding;
  }
  return judgement;
}

void Judge::evaluate(uint32_t rule, const Event& event) {
  const Rule& of = policy_->rules[rule];
  if (!event.remembers && memories_[rule] != nullptr) return;
  bool in_doubt = false;
  if (!holds(of.when, event, in_doubt) && !in_doubt) return;
  if (is_excepted(rule, event)) return;
  if (!in_doubt && of.window && !is_enough(*of.window, *memories_[rule], event)) return;
  if (!in_doubt && of.first_seen) {
    // What is refused is not known because it was tried.
    const bool keep = of.then == Action::kAlert;
    auto& table = std::get<FirstSeenTable>(*memories_[rule]);
    if (!table.is_new(key_of(of.first_seen->key, event), event.unix_ns, keep)) return;
  }
  ++counters_.matches;
  findings_.push_back({.rule = rule, .action = of.then, .would = of.mode == RuleMode::kDryRun, .in_doubt = in_doubt});
}

bool Judge::holds(const cel::Program& condition, const Event& event, bool& in_doubt) {
  ++counters_.evaluations;
  const cel::Value result = cel::evaluate(condition, event.variables, scratch_);
  if (result.is_error()) {
    in_doubt = cel::is_final(result.error_code());
    ++(in_doubt ? counters_.in_doubt : counters_.errors);
  }
  return result.is_true();
}

bool Judge::is_excepted(uint32_t rule, const Event& event) {
  for (const uint32_t number : policy_->rules[rule].exceptions) {
    const Exception& exception = policy_->exceptions[number];
    bool in_doubt = false;
    if (event.unix_ns >= exception.expires_unix_ns || !holds(exception.when, event, in_doubt)) continue;
    ++counters_.excepted;
    excepted_.push_back({.rule = rule, .exception = number});
    return true;
  }
  return false;
}

bool Judge::is_enough(const Window& window, Memory& memory, const Event& event) {
  const cel::Value of = cel::evaluate(window.of, event.variables, scratch_);
  if (of.is_error()) ++counters_.errors;
  if (of.is_error() || (window.measure == Measure::kCount && !of.is_true())) return false;
  if (window.measure == Measure::kDistinct) {
    KeyHash hash;
    add(hash, of);
    auto& values = std::get<DistinctWindow>(memory);
    return values.add(key_of(window.by, event), hash.value(), event.unix_ns) >= window.at_least;
  }
  const auto amount = window.measure == Measure::kCount ? 1.0 : amount_of(of);
  if (!amount) return false;
  auto& sums = std::get<SumWindow>(memory);
  return sums.add(key_of(window.by, event), *amount, event.unix_ns) >= static_cast<double>(window.at_least);
}

uint64_t Judge::key_of(std::span<const cel::Program> fields, const Event& event) {
  KeyHash hash;
  for (const cel::Program& field : fields) add(hash, cel::evaluate(field, event.variables, scratch_));
  return hash.value();
}

void Judge::append_message(const Finding& finding, std::span<const cel::Value> variables, std::string& out) {
  const Rule& of = rule(finding);
  if (of.message_template.is_empty()) {
    out += of.message;
  } else {
    of.message_template.render(variables, scratch_, out);
  }
}

std::string Judge::export_state() const {
  std::string out(kStateMagic);
  for (size_t i = 0; i < memories_.size(); ++i) {
    if (memories_[i] == nullptr) continue;
    std::string state;
    std::visit([&](const auto& memory) { memory.write(state); }, *memories_[i]);
    put(out, policy_->rules[i].memory_id);
    put(out, state.size());
    out += state;
  }
  return out;
}

bool Judge::import_state(std::string_view bytes) {
  if (!bytes.starts_with(kStateMagic)) return false;
  bytes.remove_prefix(kStateMagic.size());
  bool sound = true;
  while (!bytes.empty()) {
    const auto id = take(bytes);
    const auto size = take(bytes);
    if (!size || *size > bytes.size()) return false;
    const std::string_view state = bytes.substr(0, *size);
    bytes.remove_prefix(*size);
    for (size_t i = 0; i < memories_.size(); ++i) {
      if (memories_[i] == nullptr || policy_->rules[i].memory_id != *id) continue;
      sound = std::visit([&](auto& memory) { return memory.read(state); }, *memories_[i]) && sound;
    }
  }
  return sound;
}

}  // namespace gatehouse::rules
