// SPDX-License-Identifier: Apache-2.0
// From the approvals log to the ledger.
#include <algorithm>
#include <chrono>
#include <utility>

#include "collector/approvals/approval_desk.h"
#include "common/log.h"

namespace gatehouse::approvals {
namespace {

constexpr std::string_view kComponent = "approvals";
constexpr size_t kEventTextBytesMax = 64U << 10;
constexpr std::chrono::milliseconds kRecordAgain{1000};
constexpr size_t kEventsPerCall = 256;

}  // namespace

v1::Event ApprovalDesk::event_of(const v1::ApprovalRecord& record) const {
  v1::Event event;
  event.set_time_ns(record.time_ns());
  v1::Approval& approval = *event.mutable_approval();
  const std::string* id = nullptr;
  switch (record.body_case()) {
    case v1::ApprovalRecord::kAsked:
      id = &record.asked().request().id();
      approval.set_state("asked");
      break;
    case v1::ApprovalRecord::kKept:
      id = &record.kept().request().id();
      approval.set_state("kept");
      break;
    case v1::ApprovalRecord::kChange:
      id = &record.change().id();
      approval.set_state(record.change().step().state());
      break;
    default:
      return event;
  }
  approval.set_id(*id);
  const auto found = views_.find(*id);
  if (found != views_.end()) {
    const v1::HoldRequest& request = found->second.request();
    approval.set_rule(request.rule());
    approval.set_session(request.session());
    approval.set_database_label(request.database_label());
    approval.set_host(request.host());
    approval.set_binding_sha256(request.binding_sha256());
  }
  if (record.has_asked()) {
    const v1::HoldRequest& request = record.asked().request();
    approval.set_text(request.text().substr(0, kEventTextBytesMax));
    *approval.mutable_approvers() = request.approvers();
    approval.set_quorum(request.quorum());
    approval.set_limit_ns(request.limit_ns());
  } else if (record.has_change()) {
    const v1::ApprovalStep& step = record.change().step();
    approval.set_verdict(step.verdict());
    *approval.mutable_reviewers() = step.reviewers();
    approval.set_reason(step.reason());
    approval.set_break_glass(step.break_glass());
    approval.set_claimed(step.claimed());
    approval.set_grant_ns(record.change().grant_ns());
    approval.set_grant_scope(record.change().grant_scope());
  }
  return event;
}

// Called where nobody else touches it, or by recorder_ without the lock held.
void ApprovalDesk::record_pending() {
  while (options_.record) {
    std::vector<v1::Event> events;
    uint64_t first = 0;
    std::string log_id;
    {
      const std::unique_lock lock(mutex_);
      if (to_record_.empty()) return;
      first = to_record_.front().sequence;
      log_id = log_->id();
      for (size_t i = 0; i < std::min(kEventsPerCall, to_record_.size()); ++i) events.push_back(to_record_[i].event);
    }
    const Status recorded = options_.record(log_id, first, events);
    if (!recorded) return log::warn(kComponent, "not in the ledger yet", {{"reason", recorded.error().message()}});
    const std::unique_lock lock(mutex_);
    to_record_.erase(to_record_.begin(), to_record_.begin() + static_cast<std::ptrdiff_t>(events.size()));
  }
  const std::unique_lock lock(mutex_);
  to_record_.clear();
}

void ApprovalDesk::write_ledger() {
  for (;;) {
    record_pending();
    std::unique_lock lock(mutex_);
    if (is_stopping_) return;
    if (to_record_.empty())
      changed_.wait(lock, [this] { return is_stopping_ || !to_record_.empty(); });
    else
      changed_.wait_for(lock, kRecordAgain, [this] { return is_stopping_; });
  }
}

}  // namespace gatehouse::approvals
