// SPDX-License-Identifier: Apache-2.0
#include "collector/approvals/reviewers.h"

#include <algorithm>
#include <array>
#include <ranges>

namespace gatehouse::approvals {
namespace {

bool has(const std::vector<std::string>& words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

bool shares(const std::vector<std::string>& groups, const auto& wanted) {
  return std::ranges::any_of(wanted, [&](const std::string& group) { return has(groups, group); });
}

// Whose process it is, under every name that is known of him.
std::vector<std::string> names_of(const v1::HoldRequest& request) {
  std::vector<std::string> names;
  const v1::Process& process = request.process();
  const auto add = [&](const std::string& name) {
    if (!name.empty()) names.push_back(name);
  };
  add(process.login());
  add(process.login_user());
  add(process.user());
  add(request.user());
  return names;
}

// What every process of a host descends from says nothing.
bool is_everybodys(const v1::Ancestor& ancestor) {
  constexpr std::array<std::string_view, 9> kPrograms{
      "systemd", "init", "sshd", "login", "cron", "crond", "tini", "containerd-shim", "dumb-init"};
  const std::string_view exe = ancestor.exe();
  const std::string_view name = exe.substr(exe.rfind('/') + 1);
  return ancestor.pid() <= 1 || std::ranges::find(kPrograms, name) != kPrograms.end();
}

// The command that decides runs beside what asks. It says so itself.
std::string runs_beside(const v1::HoldRequest& request, const v1::Claim& claim) {
  if (!request.has_process() || claim.host() != request.host()) return "";
  const v1::Process& process = request.process();
  const bool is_known = !process.login_user().empty() || !claim.login().empty();
  const bool is_same_login = is_known ? !claim.login().empty() && claim.login() == process.login_user()
                                      : !claim.user().empty() && claim.user() == process.user();
  if (is_same_login)
    return "this command runs under the login that asks for it (" + (is_known ? claim.login() : claim.user()) + ")";
  const auto& above = claim.ancestors();
  if (std::ranges::find(above, process.pid()) != above.end())
    return "this command was started by the process that asks";
  if (process.agent().empty()) return "";
  for (const v1::Ancestor& ancestor : process.ancestors())
    if (!is_everybodys(ancestor) && std::ranges::find(above, ancestor.pid()) != above.end())
      return "this command was started beside the process that asks, by the same " + process.agent();
  return "";
}

}  // namespace

const Reviewer* Reviewers::find(const std::string& name) const {
  const auto found = std::ranges::find(reviewers_, name, &Reviewer::name);
  return found == reviewers_.end() ? nullptr : &*found;
}

std::string Reviewers::is_own(const std::string& name, const v1::HoldRequest& request, const v1::Claim* claim) const {
  const std::vector<std::string> askers = names_of(request);
  if (has(askers, name)) return "nobody decides what he asks for himself: " + name + " asked";
  if (const Reviewer* const reviewer = find(name); reviewer != nullptr)
    for (const std::string& login : reviewer->logins)
      if (has(askers, login)) return "nobody decides what he asks for himself: " + login + " asked, who is " + name;
  if (claim == nullptr) return "";
  return runs_beside(request, *claim);
}

std::string Reviewers::may_decide(const std::string& name, const v1::HoldRequest& request,
                                  const v1::Claim* claim) const {
  const Reviewer* const reviewer = find(name);
  if (reviewer == nullptr && !reviewers_.empty())
    return name + " is no reviewer: approvals.reviewers in the collector's configuration does not name him";
  const bool is_asked =
      request.approvers().empty() || (reviewer != nullptr && shares(reviewer->groups, request.approvers()));
  if (!is_asked) return name + " is in none of the groups that are asked";
  return is_own(name, request, claim);
}

std::string Reviewers::may_break_glass(const std::string& name, const v1::HoldRequest& request,
                                       const v1::Claim* claim) const {
  const Reviewer* const reviewer = find(name);
  if (reviewer == nullptr || !shares(reviewer->groups, break_glass_))
    return name + " is in no group of approvals.break_glass in the collector's configuration";
  return is_own(name, request, claim);
}

std::string Reviewers::may_review(const std::string& name, const v1::ApprovalView& view, const v1::Claim* claim) const {
  if (find(name) == nullptr && !reviewers_.empty()) return name + " is no reviewer";
  for (const v1::ApprovalStep& step : view.steps())
    if (step.break_glass() && std::ranges::find(step.reviewers(), name) != step.reviewers().end())
      return "whoever broke the glass does not review it";
  return is_own(name, view.request(), claim);
}

std::vector<std::string> Reviewers::asked(const v1::HoldRequest& request) const {
  std::vector<std::string> asked;
  if (!request.approvers().empty()) {
    asked.assign(request.approvers().begin(), request.approvers().end());
  } else {
    for (const Reviewer& reviewer : reviewers_)
      if (may_decide(reviewer.name, request, nullptr).empty()) asked.push_back(reviewer.name);
  }
  return asked;
}

bool Reviewers::is_hopeless(const v1::HoldRequest& request) const {
  if (reviewers_.empty()) return !request.approvers().empty();
  const auto may = [&](const Reviewer& reviewer) { return may_decide(reviewer.name, request, nullptr).empty(); };
  return static_cast<uint64_t>(std::ranges::count_if(reviewers_, may)) < request.quorum();
}

}  // namespace gatehouse::approvals
