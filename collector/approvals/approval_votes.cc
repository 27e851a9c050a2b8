// SPDX-License-Identifier: Apache-2.0
// What reviewers do: votes, and reviews of what broke the glass.
#include <algorithm>
#include <utility>

#include "collector/approvals/approval_change.h"
#include "collector/approvals/approval_desk.h"
#include "common/log.h"

namespace gatehouse::approvals {
namespace {

constexpr std::string_view kComponent = "approvals";

// In the words of all who voted.
std::string reasons_of(const v1::ApprovalView& view, const v1::ApprovalStep& last) {
  std::string reasons;
  const auto add = [&](const v1::ApprovalStep& step) {
    for (const std::string& name : step.reviewers())
      reasons += (reasons.empty() ? "" : "; ") + name + ": " + step.reason();
  };
  for (const v1::ApprovalStep& step : view.steps())
    if (step.state() == "voted" && step.verdict() == last.verdict()) add(step);
  if (reasons.empty()) return last.reason();
  add(last);
  return reasons;
}

std::string text_of(const v1::Claim& claim) {
  if (claim.host().empty()) return "";
  std::string text = "host=" + claim.host() + " user=" + claim.user();
  if (!claim.login().empty()) text += " login=" + claim.login();
  if (claim.audit_session() != 0) text += " audit_session=" + std::to_string(claim.audit_session());
  return text.substr(0, 256);
}

}  // namespace

Outcome ApprovalDesk::review(const std::string& name, const v1::DecideRequest& request, v1::ApprovalView& view) {
  if (!view.needs_review())
    return {.kind = Outcome::Kind::kTooLate, .message = "request " + view.request().id() + " needs no review"};
  const v1::Claim* const claim = request.has_claim() ? &request.claim() : nullptr;
  if (const std::string why = options_.reviewers.may_review(name, view, claim); !why.empty())
    return {.kind = Outcome::Kind::kNotAllowed, .message = why};
  v1::ApprovalRecord record = change_of(view, options_.now_ns(), "reviewed", "");
  v1::ApprovalStep& step = *record.mutable_change()->mutable_step();
  step.add_reviewers(name);
  step.set_reason(request.reason());
  step.set_claimed(text_of(request.claim()));
  record.mutable_change()->set_is_reviewed(true);
  if (!commit({record})) return {.kind = Outcome::Kind::kFault, .message = "the collector cannot write"};
  return {.view = view};
}

std::string ApprovalDesk::grant_problem(const v1::DecideRequest& request, const v1::ApprovalView& view) const {
  if (request.grant_ns() == 0) return "";
  if (request.verb() != v1::DECIDE_VERB_APPROVE) return "only an approval can be for a time";
  if (request.grant_ns() > kGrantNsMax) return "for at most 24 hours";
  if (view.request().facts().fingerprint() == 0)
    return "this statement's fingerprint does not say what it does: it can be approved once only";
  if (request.grant_scope() == "process")
    return view.request().process().pid() != 0 ? "" : "who asks is no process of the agent's host";
  if (request.grant_scope() == "person")
    return !view.request().process().login().empty() ? ""
                                                     : "nobody is known to be logged in behind the process that asks";
  return "the scope is process or person";
}

Outcome ApprovalDesk::vote(const std::string& name, const v1::DecideRequest& request, v1::ApprovalView& view) {
  using Kind = Outcome::Kind;
  const bool approves = request.verb() == v1::DECIDE_VERB_APPROVE;
  if (!approves && request.verb() != v1::DECIDE_VERB_DENY) return {.kind = Kind::kMalformed, .message = "no such verb"};
  if (view.state() != "pending")
    return {.kind = Kind::kTooLate, .message = "request " + view.request().id() + " is " + view.state() + " already"};
  if (!request.binding_sha256().empty() && request.binding_sha256() != view.request().binding_sha256())
    return {.kind = Kind::kTooLate, .message = "the request is not the one that was shown"};
  if (std::string problem = grant_problem(request, view); !problem.empty())
    return {.kind = Kind::kMalformed, .message = std::move(problem)};
  const v1::Claim* const claim = request.has_claim() ? &request.claim() : nullptr;
  const bool breaks_glass = approves && request.break_glass();
  const std::string why = breaks_glass ? options_.reviewers.may_break_glass(name, view.request(), claim)
                                       : options_.reviewers.may_decide(name, view.request(), claim);
  if (!why.empty()) return {.kind = Kind::kNotAllowed, .message = why};

  std::vector<std::string> approvers;
  uint64_t grant_ns = request.grant_ns();
  std::string scope = request.grant_scope();
  for (const v1::ApprovalStep& step : view.steps()) {
    if (step.state() != "voted") continue;
    approvers.insert(approvers.end(), step.reviewers().begin(), step.reviewers().end());
    // What it covers is what all of them have agreed to.
    grant_ns = std::min(grant_ns, step.grant_ns());
    if (step.grant_scope() == "process") scope = "process";
  }
  if (approves && std::ranges::find(approvers, name) != approvers.end())
    return {.kind = Kind::kTooLate,
            .message = name + " has approved it already; " + std::to_string(view.request().quorum()) +
                       " different reviewers must"};
  if (!approves) approvers.clear();
  approvers.push_back(name);
  const bool is_final = !approves || breaks_glass || approvers.size() >= view.request().quorum();

  std::vector<v1::ApprovalRecord> records;
  const uint64_t now_ns = options_.now_ns();
  const auto add = [&](std::string_view step_name, std::string_view state) -> v1::ApprovalChange& {
    records.push_back(change_of(view, now_ns, step_name, state));
    v1::ApprovalChange& change = *records.back().mutable_change();
    change.mutable_step()->set_verdict(approves ? "approve" : "deny");
    change.mutable_step()->set_reason(request.reason());
    change.mutable_step()->set_break_glass(breaks_glass);
    change.mutable_step()->set_claimed(text_of(request.claim()));
    return change;
  };
  if (!is_final) {
    v1::ApprovalStep& step = *add("voted", "").mutable_step();
    step.add_reviewers(name);
    step.set_grant_ns(request.grant_ns());
    step.set_grant_scope(request.grant_scope());
  } else {
    v1::ApprovalChange& change = add("decided", approves ? "approved" : "denied");
    for (const std::string& each : approvers) change.mutable_step()->add_reviewers(each);
    v1::ApprovalStep last = change.step();
    last.clear_reviewers();
    last.add_reviewers(name);
    change.mutable_step()->set_reason(reasons_of(view, last));
    change.set_needs_review(breaks_glass);
    if (approves && grant_ns > 0) {
      change.set_grant_ns(grant_ns);
      change.set_grant_scope(scope);
    }
  }
  if (!commit(std::move(records))) return {.kind = Kind::kFault, .message = "the collector cannot write"};
  if (is_final) {
    say_decision(view);
    if (view.grant_ns() > 0) say_grant(view);
    options_.tell("decided", view);
    log::info(kComponent, "decided",
              {{"request", view.request().id()}, {"state", view.state()}, {"by", name}, {"break_glass", breaks_glass}});
  }
  return {.view = view};
}

}  // namespace gatehouse::approvals
