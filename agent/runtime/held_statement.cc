// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/held_statement.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "gatehouse/v1/event.pb.h"

namespace gatehouse::runtime {
namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;
constexpr std::string_view kQueryCanceled = "57014";

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

}  // namespace

std::string time_words(uint64_t ns) {
  const uint64_t seconds = (ns + kSecondNs / 2) / kSecondNs;
  const uint64_t hours = seconds / 3600;
  const uint64_t minutes = seconds / 60 % 60;
  if (seconds < 120) return std::to_string(seconds) + " s";
  if (hours == 0)
    return std::to_string(minutes) + " min" + (seconds % 60 == 0 ? "" : " " + std::to_string(seconds % 60) + " s");
  return std::to_string(hours) + " h" + (minutes == 0 ? "" : " " + std::to_string(minutes) + " min");
}

HeldStatement::HeldStatement(Question question) : question_(std::move(question)), next_notice_ns_(question_.now_ns) {}

bool HeldStatement::is_released() const {
  const bool is_allowed = question_.hold.when_unreachable == rules::WhenUnreachable::kAllow;
  return state_ == State::kApproved || (state_ == State::kUnreachable && is_allowed);
}

bool HeldStatement::on_answer(const HoldAnswer& answer) {
  if (!is_waiting() || answer.id != question_.id) return false;
  switch (answer.kind) {
    case HoldAnswer::Kind::kKept:
      state_ = State::kKept;
      asked_ = answer.asked;
      // Said at once, if it is news.
      if (answer.is_hopeless && !is_hopeless_) next_notice_ns_ = 0;
      is_hopeless_ = answer.is_hopeless;
      return false;
    case HoldAnswer::Kind::kCancelled:
      state_ = State::kCancelled;
      return true;
    case HoldAnswer::Kind::kDecided:
      break;
  }
  const Sha256& binding = question_.binding;
  const bool is_it = answer.binding.size() == binding.size() &&
                     std::memcmp(answer.binding.data(), binding.data(), binding.size()) == 0;
  if (!is_it) return false;
  reviewers_ = answer.reviewers;
  reason_ = answer.reason;
  is_break_glass_ = answer.is_break_glass;
  switch (answer.verdict) {
    case v1::HOLD_VERDICT_APPROVE:
      state_ = State::kApproved;
      return true;
    case v1::HOLD_VERDICT_DENY:
      state_ = State::kDenied;
      return true;
    case v1::HOLD_VERDICT_EXPIRED:
      state_ = State::kExpired;
      return true;
    default:
      return false;
  }
}

bool HeldStatement::on_time(uint64_t now_ns) {
  if (!is_waiting()) return false;
  if (question_.timeout_ns != 0 && now_ns >= question_.timeout_ns) {
    state_ = State::kTimedOut;
  } else if (now_ns >= expires_ns()) {
    state_ = State::kExpired;
  } else if (state_ == State::kAsked && now_ns >= question_.now_ns + question_.hold.unreachable_after_ns) {
    state_ = State::kUnreachable;
  }
  return !is_waiting();
}

std::string HeldStatement::who_decides() const {
  const std::vector<std::string>& asked = asked_.empty() ? question_.hold.approvers : asked_;
  std::string who = asked.empty() ? "a reviewer" : joined(asked);
  if (question_.hold.quorum > 1) who += " (" + std::to_string(question_.hold.quorum) + " of them)";
  return who;
}

std::string HeldStatement::take_notice(uint64_t now_ns) {
  if (!is_waiting() || now_ns < next_notice_ns_) return {};
  const bool is_first = next_notice_ns_ == question_.now_ns;
  next_notice_ns_ = now_ns + question_.hold.remind_every_ns;
  const uint64_t left_ns = expires_ns() > now_ns ? expires_ns() - now_ns : 0;
  std::string text = is_first ? "held by rule " + question_.rule + ": waiting for the approval of " + who_decides()
                              : "still waiting for the approval of " + who_decides();
  text += "; request " + question_.id + ", " + time_words(left_ns) + (is_first ? "" : " left");
  if (is_hopeless_) text += "; there are too few reviewers to approve it";
  if (!is_first && state_ == State::kAsked) text += "; the collector has not been reached yet";
  return text;
}

shim::Ruling HeldStatement::refusal() {
  const std::string rule = "refused by rule " + question_.rule + ": ";
  std::string_view sqlstate = "42501";
  detail_ = "Gatehouse rule " + question_.rule + ", request " + question_.id + ", session " + question_.session + ".";
  hint_.clear();
  switch (state_) {
    case State::kDenied:
      message_ = rule + "denied by " + joined(reviewers_);
      detail_ = "Reason: " + reason_ + "\n" + detail_;
      hint_ = "The reviewer can tell more.";
      break;
    case State::kExpired:
      message_ = rule + "nobody decided within " + time_words(question_.hold.for_ns);
      hint_ = "Ask " + who_decides() + ", and try again.";
      break;
    case State::kUnreachable:
      message_ = rule + "it needs an approval, and the collector that would be asked for it cannot be reached";
      hint_ = "Try again later, or tell who keeps Gatehouse on this host.";
      break;
    case State::kTimedOut:
      sqlstate = kQueryCanceled;
      message_ = "canceling statement due to statement timeout";
      break;
    case State::kCancelled:
    default:
      sqlstate = kQueryCanceled;
      message_ = "canceling statement due to user request";
      break;
  }
  return {.kind = shim::Ruling::Kind::kRefuse,
          .rule = question_.rule,
          .sqlstate = sqlstate,
          .message = message_,
          .detail = detail_,
          .hint = hint_};
}

std::string_view HeldStatement::end_state() const {
  switch (state_) {
    case State::kApproved:
      return "executed";
    case State::kDenied:
      return "refused";
    case State::kExpired:
      return "expired";
    case State::kUnreachable:
      return "unreachable";
    default:
      return "cancelled";
  }
}

std::string_view HeldStatement::end_reason() const {
  if (state_ == State::kTimedOut) return "statement-timeout";
  return state_ == State::kCancelled ? "cancel-request" : std::string_view();
}

std::string HeldStatement::step(std::string_view state, std::string_view text) const {
  v1::Approval step;
  step.set_id(question_.id);
  step.set_state(std::string(state));
  step.set_rule(question_.rule);
  step.set_binding_sha256(question_.binding.data(), question_.binding.size());
  if (state == "asked") {
    step.set_text(std::string(text));
    for (const std::string& group : question_.hold.approvers) step.add_approvers(group);
    step.set_quorum(question_.hold.quorum);
    step.set_limit_ns(question_.hold.for_ns);
  } else if (state == "unreachable") {
    step.set_verdict(is_released() ? "allow" : "deny");
  } else if (state == "cancelled") {
    step.set_reason(std::string(end_reason()));
  } else if (state == "decided" || state == "executed") {
    if (state == "decided") step.set_verdict(state_ == State::kApproved ? "approve" : "deny");
    for (const std::string& reviewer : reviewers_) step.add_reviewers(reviewer);
    step.set_reason(reason_);
    step.set_break_glass(is_break_glass_);
  }
  return step.SerializeAsString();
}

std::string HeldStatement::cancelled_step(std::string_view reason) const {
  v1::Approval step;
  step.set_id(question_.id);
  step.set_state("cancelled");
  step.set_rule(question_.rule);
  step.set_binding_sha256(question_.binding.data(), question_.binding.size());
  step.set_reason(std::string(reason));
  return step.SerializeAsString();
}

}  // namespace gatehouse::runtime
