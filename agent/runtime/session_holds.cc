// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/session_holds.h"

#include <algorithm>
#include <utility>

#include "common/clock.h"
#include "common/limits.h"
#include "gatehouse/v1/event.pb.h"

namespace gatehouse::runtime {
namespace {

constexpr uint64_t kMillisecondNs = 1'000'000;

void bump(std::atomic<uint64_t>& counter) {
  counter.fetch_add(1, std::memory_order_relaxed);
}

std::atomic<uint64_t>& counter_of(HoldCounters& counters, HeldStatement::State state) {
  switch (state) {
    case HeldStatement::State::kApproved:
      return counters.approved;
    case HeldStatement::State::kDenied:
      return counters.denied;
    case HeldStatement::State::kExpired:
      return counters.expired;
    case HeldStatement::State::kUnreachable:
      return counters.unreachable;
    default:
      return counters.cancelled;
  }
}

}  // namespace

SessionHolds::~SessionHolds() {
  if (!held_) return;
  record(held_->statement.cancelled_step("disconnected"), boottime_ns());
  bump(options_.book->counters().cancelled);
  leave("cancelled", "disconnected");
}

void SessionHolds::record(std::string_view step, uint64_t now_ns) {
  options_.records->on_approval({.socket = options_.socket, .time_ns = now_ns, .approval = step});
}

// It is not held any more.
void SessionHolds::leave(std::string_view state, std::string_view reason) {
  options_.book->end(held_->statement.question().id, state, reason);
  if (!cancel_key_.empty()) options_.book->forget_cancel(cancel_key_);
  held_.reset();
}

shim::Ruling SessionHolds::refuse(std::string rule, std::string message) {
  rule_ = std::move(rule);
  message_ = std::move(message);
  detail_ = "Gatehouse rule " + rule_ + ", session " + session_id_ + ".";
  hint_ = "Whoever keeps the rules of this host can tell why, and grant an exception.";
  return {.kind = shim::Ruling::Kind::kRefuse, .rule = rule_, .message = message_, .detail = detail_, .hint = hint_};
}

void SessionHolds::ask(Held held) {
  held_ = std::move(held);
  bump(options_.book->counters().asked);
  record(held_->statement.step("asked", std::string_view(held_->request.text()).substr(0, kRequestBytesMax)),
         held_->statement.question().now_ns);
  if (!cancel_key_.empty()) options_.book->watch_cancel(cancel_key_, held_->statement.question().id);
  options_.book->ask(held_->request, held_->statement.expires_ns(), options_.tell,
                     held_->statement.question().hold.explain);
}

HeldStatement SessionHolds::question_of(const Holder& holder, const Sha256& binding, uint64_t timeout_ns,
                                        uint64_t now_ns) const {
  return HeldStatement({.id = new_hold_id(),
                        .rule = holder.rule->id,
                        .session = session_id_,
                        .hold = *holder.rule->hold,
                        .binding = binding,
                        .now_ns = now_ns,
                        .timeout_ns = timeout_ns});
}

namespace {

void put_question(const HeldStatement& statement, const rules::Rule& rule, std::string_view message,
                  uint64_t now_unix_ns, v1::HoldRequest& request) {
  const HeldStatement::Question& question = statement.question();
  request.set_id(question.id);
  request.set_rule(question.rule);
  request.set_rule_message(std::string(message));
  request.set_severity(static_cast<v1::Severity>(static_cast<int>(rule.severity) + 1));
  request.clear_approvers();
  for (const std::string& group : question.hold.approvers) request.add_approvers(group);
  request.set_quorum(question.hold.quorum);
  request.set_limit_ns(question.hold.for_ns);
  request.set_asked_time_ns(now_unix_ns);
  request.set_binding_sha256(question.binding.data(), question.binding.size());
}

}  // namespace

void SessionHolds::note_grant(const Holder& holder, const v1::HoldGrant& grant, const Sha256& binding,
                              uint64_t now_ns) {
  bump(options_.book->counters().granted);
  v1::Approval step;
  step.set_id(grant.id());
  step.set_state("executed");
  step.set_rule(holder.rule->id);
  for (const std::string& reviewer : grant.reviewers()) step.add_reviewers(reviewer);
  step.set_reason(grant.reason());
  step.set_grant_scope(grant.scope());
  step.set_grant_ns(grant.left_ns());
  step.set_binding_sha256(binding.data(), binding.size());
  record(step.SerializeAsString(), now_ns);
}

shim::Ruling SessionHolds::hold(const Asked& asked, uint64_t now_ns, uint64_t now_unix_ns) {
  session_id_ = asked.context.session_id;
  std::vector<Holder> holders;
  for (const judge::Found& found : asked.findings) {
    if (found.would || found.action != rules::Action::kHold) continue;
    const auto rule = std::ranges::find(asked.policy->rules, found.rule, &rules::Rule::id);
    // A rule that cannot be asked about is not passed over.
    if (rule == asked.policy->rules.end() || !rule->hold)
      return refuse(std::string(found.rule), "refused by rule " + std::string(found.rule));
    holders.push_back({.rule = &*rule, .message = std::string(found.message)});
  }
  if (holders.empty()) return refuse("gatehouse.hold", "refused: no rule says how to ask for an approval");
  const std::string rule = holders.front().rule->id;
  if (options_.book == nullptr)
    return refuse(rule, "refused by rule " + rule + ": it needs an approval, which nobody can be asked for here");
  if (!is_bindable(asked.request))
    return refuse(rule, "refused by rule " + rule +
                            ": it needs an approval, and is too long, or not known well enough, to be approved");

  HoldContext context = asked.context;
  context.has_digest = context.actor != nullptr && !context.actor->sha256.empty();
  const Sha256 binding = binding_digest(context, asked.request);
  v1::HoldRequest request;
  describe_hold(context, asked.request, asked.facts, request);
  GrantQuestion question{.fingerprint = request.facts().fingerprint(),
                         .context = context_digest(context),
                         .database_label = context.session.database_label};
  if (context.actor != nullptr) {
    question.pid = request.process().pid();
    question.process_start_unix_ns = request.process().start_time_ns();
    question.exe_sha256 = context.actor->sha256;
    question.login = context.actor->login;
  }
  // What somebody has agreed to for a time is not asked again.
  std::erase_if(holders, [&](const Holder& holder) {
    question.rule = holder.rule->id;
    const auto grant = options_.book->find_grant(question);
    if (grant) note_grant(holder, *grant, binding, now_ns);
    return grant.has_value();
  });
  if (holders.empty()) return {.changes_state = asked.changes_state};

  const uint64_t timeout_ms = context.state.statement_timeout_ms();
  const uint64_t timeout_ns = timeout_ms == 0 ? 0 : now_ns + timeout_ms * kMillisecondNs;
  Held held{.statement = question_of(holders.front(), binding, timeout_ns, now_ns),
            .request = std::move(request),
            .offset = asked.request.request_offset,
            .had_digest = context.has_digest,
            .changes_state = asked.changes_state,
            .policy = asked.policy,
            .holders = std::move(holders)};
  put_question(held.statement, *held.holders.front().rule, held.holders.front().message, now_unix_ns, held.request);
  ask(std::move(held));
  return {.kind = shim::Ruling::Kind::kWait};
}

std::optional<shim::Ruling> SessionHolds::resume(const HoldContext& told, const Activity& request,
                                                 const std::shared_ptr<const rules::Policy>& policy, uint64_t now_ns,
                                                 uint64_t now_unix_ns) {
  if (!held_) return std::nullopt;
  HeldStatement& statement = held_->statement;
  HoldContext context = told;
  context.has_digest = held_->had_digest;
  const Sha256 binding = binding_digest(context, request);
  const bool is_same = request.request_offset == held_->offset && binding == statement.question().binding;
  if (!is_same || policy != held_->policy) {
    const std::string_view why = is_same ? "rules-changed" : "changed";
    record(statement.cancelled_step(why), now_ns);
    bump(options_.book->counters().cancelled);
    leave("cancelled", why);
    return std::nullopt;
  }
  if (statement.is_waiting()) return shim::Ruling{.kind = shim::Ruling::Kind::kWait};
  bump(counter_of(options_.book->counters(), statement.state()));
  if (!statement.is_released()) {
    const std::string_view state = statement.end_state();
    if (state != "refused") record(statement.step(state), now_ns);
    refused_ = statement;
    leave(state, std::string(refused_->end_reason()));
    return refused_->refusal();
  }
  if (statement.state() == HeldStatement::State::kUnreachable) record(statement.step("unreachable"), now_ns);
  // One rule is content; is there another?
  const bool is_last = held_->holder + 1 == held_->holders.size();
  if (is_last) {
    record(statement.step("executed"), now_ns);
    const bool changes_state = held_->changes_state;
    const bool is_approved = statement.state() == HeldStatement::State::kApproved;
    leave(is_approved ? "executed" : "unreachable", is_approved ? "" : "allowed");
    return shim::Ruling{.changes_state = changes_state};
  }
  Held next = *held_;
  leave("executed", "");
  const Holder& holder = next.holders[++next.holder];
  next.statement = question_of(holder, binding, next.statement.question().timeout_ns, now_ns);
  put_question(next.statement, *holder.rule, holder.message, now_unix_ns, next.request);
  ask(std::move(next));
  return shim::Ruling{.kind = shim::Ruling::Kind::kWait};
}

bool SessionHolds::on_answer(const HoldAnswer& answer, uint64_t now_ns) {
  if (!held_ || !held_->statement.on_answer(answer)) return false;
  if (answer.kind == HoldAnswer::Kind::kDecided && answer.verdict != v1::HOLD_VERDICT_EXPIRED)
    record(held_->statement.step("decided"), now_ns);
  return true;
}

SessionHolds::Due SessionHolds::on_time(uint64_t now_ns) {
  if (!held_) return {};
  if (held_->statement.on_time(now_ns)) return {.resumes = true, .notice = {}};
  return {.resumes = false, .notice = held_->statement.take_notice(now_ns)};
}

}  // namespace gatehouse::runtime
