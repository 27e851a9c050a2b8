// SPDX-License-Identifier: Apache-2.0
#include "collector/approvals/approval_desk.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "collector/approvals/approval_change.h"
#include "common/log.h"

namespace gatehouse::approvals {
namespace {

constexpr std::string_view kComponent = "approvals";
constexpr uint64_t kLimitNsMax = 366ULL * 24 * 3600 * 1'000'000'000;
constexpr uint32_t kQuorumMax = 16;
constexpr size_t kIdBytesMin = 8, kIdBytesMax = 64;
constexpr size_t kRequestBytesMax = 4U << 20;
// What is over is forgotten by a log that has grown beyond this, once it is so old.
constexpr uint64_t kLogBytesMax = 16U << 20;
constexpr uint64_t kKeptNs = 30ULL * 24 * 3600 * 1'000'000'000;
constexpr std::chrono::milliseconds kClockEvery{250};

bool is_id(std::string_view id) {
  const auto fits = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return id.size() >= kIdBytesMin && id.size() <= kIdBytesMax && std::ranges::all_of(id, fits);
}

bool is_request(const v1::HoldRequest& request) {
  return is_id(request.id()) && !request.rule().empty() && request.quorum() >= 1 && request.quorum() <= kQuorumMax &&
         request.left_ns() <= kLimitNsMax && request.binding_sha256().size() == 32 &&
         request.ByteSizeLong() <= kRequestBytesMax;
}

// The log's first entry is no event.
uint64_t event_number(const v1::ApprovalRecord& record) {
  return record.sequence() - 1;
}

bool is_over(const v1::ApprovalView& view) {
  return view.state() != "pending" && view.state() != "approved";
}

}  // namespace

Result<std::unique_ptr<ApprovalDesk>> ApprovalDesk::open(Options options) {
  std::unique_ptr<ApprovalDesk> desk(new ApprovalDesk(std::move(options)));
  GH_TRY(desk->restore().context("approvals"));
  desk->clock_ = std::thread([raw = desk.get()] { raw->watch_clock(); });
  desk->recorder_ = std::thread([raw = desk.get()] { raw->write_ledger(); });
  return desk;
}

ApprovalDesk::~ApprovalDesk() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  if (clock_.joinable()) clock_.join();
  if (recorder_.joinable()) recorder_.join();
}

Status ApprovalDesk::restore() {
  const uint64_t now_ns = options_.now_ns();
  const auto take = [&](ApprovalLog::Opened& opened) {
    for (const v1::ApprovalRecord& record : opened.records) {
      apply(record);
      to_record_.push_back({.sequence = event_number(record), .event = event_of(record)});
    }
  };
  GH_ASSIGN(ApprovalLog::Opened opened, ApprovalLog::open(options_.folder));
  take(opened);
  if (opened.torn_bytes > 0)
    log::warn(kComponent, "the end of the log was cut: nobody was told of it", {{"bytes", opened.torn_bytes}});
  if (opened.log == nullptr)
    log::error(kComponent, "the log is damaged: what is readable is kept, agents tell again what they hold",
               {{"bytes", opened.damaged_bytes}, {"copy", opened.damaged_path}});
  const bool is_large = opened.log != nullptr && opened.log->bytes() > kLogBytesMax;
  log_ = std::move(opened.log);
  if (log_ != nullptr && !is_large) return {};
  if (log_ != nullptr) {
    // What of it is not in the ledger goes there first.
    record_pending();
    if (!to_record_.empty()) return {};
  }
  to_record_.clear();
  std::erase_if(views_, [&](const auto& entry) {
    const v1::ApprovalView& view = entry.second;
    return is_over(view) && !view.needs_review() && view.grant_until_ns() < now_ns &&
           view.received_ns() + kKeptNs < now_ns;
  });
  std::vector<v1::ApprovalView> kept;
  for (const auto& [id, view] : views_) kept.push_back(view);
  GH_ASSIGN(ApprovalLog::Opened made, ApprovalLog::replace(options_.folder, kept, now_ns));
  views_.clear();
  take(made);
  log_ = std::move(made.log);
  return {};
}

void ApprovalDesk::apply(const v1::ApprovalRecord& record) {
  switch (record.body_case()) {
    case v1::ApprovalRecord::kKept:
      views_[record.kept().request().id()] = record.kept();
      return;
    case v1::ApprovalRecord::kAsked: {
      v1::ApprovalView& view = views_[record.asked().request().id()];
      *view.mutable_request() = record.asked().request();
      view.set_agent_id(record.asked().agent_id());
      view.set_state("pending");
      view.set_received_ns(record.time_ns());
      view.set_expires_ns(record.asked().expires_ns());
      v1::ApprovalStep& step = *view.add_steps();
      step.set_time_ns(record.time_ns());
      step.set_state("asked");
      return;
    }
    case v1::ApprovalRecord::kChange: {
      const auto found = views_.find(record.change().id());
      if (found == views_.end()) return;
      v1::ApprovalView& view = found->second;
      const v1::ApprovalChange& change = record.change();
      *view.add_steps() = change.step();
      if (!change.state().empty()) view.set_state(change.state());
      const bool votes = change.step().state() == "voted";
      if (votes && change.step().verdict() == "approve") view.set_approvals(view.approvals() + 1);
      if (change.state() == "approved") view.set_approvals(static_cast<uint32_t>(change.step().reviewers_size()));
      if (change.step().break_glass()) view.set_break_glass(true);
      if (change.needs_review()) view.set_needs_review(true);
      if (change.is_reviewed()) view.set_needs_review(false);
      if (change.grant_ns() > 0) {
        view.set_grant_ns(change.grant_ns());
        view.set_grant_scope(change.grant_scope());
        view.set_grant_until_ns(record.time_ns() + change.grant_ns());
      }
      return;
    }
    case v1::ApprovalRecord::kLogId:
    case v1::ApprovalRecord::BODY_NOT_SET:
      return;
  }
}

Status ApprovalDesk::commit(std::vector<v1::ApprovalRecord> records) {
  if (const Status appended = log_->append(records); !appended) {
    log::error(kComponent, "cannot write: nothing is taken, and nothing decided",
               {{"error", appended.error().message()}});
    return appended;
  }
  for (const v1::ApprovalRecord& record : records) {
    apply(record);
    to_record_.push_back({.sequence = event_number(record), .event = event_of(record)});
  }
  changed_.notify_all();
  return {};
}

uint64_t ApprovalDesk::connect(const std::string& agent_id, Say say) {
  const std::lock_guard lock(connections_mutex_);
  const uint64_t number = ++connections_made_;
  connections_[agent_id] = {.number = number, .say = std::move(say)};
  return number;
}

void ApprovalDesk::disconnect(const std::string& agent_id, uint64_t connection) {
  const std::lock_guard lock(connections_mutex_);
  const auto found = connections_.find(agent_id);
  if (found != connections_.end() && found->second.number == connection) connections_.erase(found);
}

void ApprovalDesk::say(const std::string& agent_id, const v1::CollectorNote& note) {
  Say say;
  {
    const std::lock_guard lock(connections_mutex_);
    const auto found = connections_.find(agent_id);
    if (found != connections_.end()) say = found->second.say;
  }
  if (say) say(note);
}

void ApprovalDesk::say_kept(const v1::ApprovalView& view) {
  v1::CollectorNote note;
  note.mutable_kept()->set_id(view.request().id());
  for (const std::string& who : options_.reviewers.asked(view.request())) note.mutable_kept()->add_asked(who);
  note.mutable_kept()->set_is_hopeless(options_.reviewers.is_hopeless(view.request()));
  say(view.agent_id(), note);
}

void ApprovalDesk::say_decision(const v1::ApprovalView& view) {
  v1::CollectorNote note;
  v1::HoldDecision& decision = *note.mutable_decision();
  decision.set_id(view.request().id());
  decision.set_binding_sha256(view.request().binding_sha256());
  if (view.state() == "expired") {
    decision.set_verdict(v1::HOLD_VERDICT_EXPIRED);
  } else {
    decision.set_verdict(view.state() == "approved" ? v1::HOLD_VERDICT_APPROVE : v1::HOLD_VERDICT_DENY);
    for (const v1::ApprovalStep& step : view.steps()) {
      if (step.state() != "decided") continue;
      *decision.mutable_reviewers() = step.reviewers();
      decision.set_reason(step.reason());
      decision.set_break_glass(step.break_glass());
    }
  }
  say(view.agent_id(), note);
}

void ApprovalDesk::say_grant(const v1::ApprovalView& view) {
  const uint64_t now_ns = options_.now_ns();
  if (view.grant_until_ns() <= now_ns) return;
  v1::CollectorNote note;
  v1::HoldGrant& grant = *note.mutable_grant();
  const v1::HoldRequest& request = view.request();
  grant.set_id(request.id());
  grant.set_rule(request.rule());
  grant.set_fingerprint(request.facts().fingerprint());
  grant.set_context_sha256(request.context_sha256());
  grant.set_database_label(request.database_label());
  grant.set_scope(view.grant_scope());
  grant.set_pid(request.process().pid());
  grant.set_process_start_ns(request.process().start_time_ns());
  grant.set_exe_sha256(request.process().exe_sha256());
  grant.set_login(request.process().login());
  for (const v1::ApprovalStep& step : view.steps()) {
    if (step.state() != "decided") continue;
    *grant.mutable_reviewers() = step.reviewers();
    grant.set_reason(step.reason());
  }
  grant.set_left_ns(view.grant_until_ns() - now_ns);
  say(view.agent_id(), note);
}

void ApprovalDesk::on_note(const std::string& agent_id, const v1::AgentNote& note) {
  const std::lock_guard lock(mutex_);
  switch (note.note_case()) {
    case v1::AgentNote::kHello:
      return on_hello(agent_id, note.hello());
    case v1::AgentNote::kRequest:
      return on_request(agent_id, note.request());
    case v1::AgentNote::kEnd:
      return on_end(agent_id, note.end());
    case v1::AgentNote::NOTE_NOT_SET:
      return;  // from a newer agent
  }
}

void ApprovalDesk::on_hello(const std::string& agent_id, const v1::AgentHello& hello) {
  expire_locked(options_.now_ns());
  std::vector<v1::ApprovalRecord> lost;
  for (const auto& [id, view] : views_) {
    if (view.agent_id() != agent_id) continue;
    if (std::ranges::find(hello.waiting(), id) != hello.waiting().end()) {
      if (view.state() == "pending")
        say_kept(view);
      else if (view.state() == "approved" || view.state() == "denied" || view.state() == "expired")
        say_decision(view);
    } else if (!is_over(view)) {
      // An agent that was killed does not say what it had let through; its own record does.
      lost.push_back(change_of(view, options_.now_ns(), "cancelled", "cancelled"));
      lost.back().mutable_change()->mutable_step()->set_reason("agent-gone");
    }
    say_grant(view);
  }
  if (!lost.empty()) static_cast<void>(commit(std::move(lost)));
}

void ApprovalDesk::on_request(const std::string& agent_id, const v1::HoldRequest& request) {
  if (!is_request(request)) return log::warn(kComponent, "a request that is none", {{"agent", agent_id}});
  if (const auto known = views_.find(request.id()); known != views_.end()) {
    const v1::ApprovalView& view = known->second;
    if (view.agent_id() != agent_id || view.request().binding_sha256() != request.binding_sha256()) return;
    if (view.state() == "pending") return say_kept(view);
    return say_decision(view);
  }
  const auto is_pending = [&](const auto& entry) {
    return entry.second.agent_id() == agent_id && entry.second.state() == "pending";
  };
  if (static_cast<size_t>(std::ranges::count_if(views_, is_pending)) >= kPendingPerAgentMax)
    return log::warn(kComponent, "too many requests of one agent", {{"agent", agent_id}});
  v1::ApprovalRecord record;
  const uint64_t now_ns = options_.now_ns();
  record.set_time_ns(now_ns);
  record.mutable_asked()->set_agent_id(agent_id);
  *record.mutable_asked()->mutable_request() = request;
  record.mutable_asked()->set_expires_ns(now_ns + request.left_ns());
  if (!commit({record})) return;
  const v1::ApprovalView& view = views_[request.id()];
  say_kept(view);
  log::info(kComponent, "asked", {{"request", request.id()}, {"rule", request.rule()}, {"agent", agent_id}});
  if (options_.reviewers.is_hopeless(request))
    log::warn(kComponent, "there are too few reviewers to approve it", {{"request", request.id()}});
  options_.tell("asked", view);
}

void ApprovalDesk::on_end(const std::string& agent_id, const v1::HoldEnd& end) {
  v1::CollectorNote note;
  note.mutable_end_kept()->set_id(end.id());
  const auto found = views_.find(end.id());
  if (found != views_.end() && found->second.agent_id() == agent_id && !is_over(found->second) &&
      end.state() != "refused") {
    v1::ApprovalRecord record = change_of(found->second, options_.now_ns(), end.state(), end.state());
    record.mutable_change()->mutable_step()->set_reason(end.reason());
    if (!commit({record})) return;
    if (end.state() == "expired") options_.tell("expired", found->second);
  }
  say(agent_id, note);
}

void ApprovalDesk::expire() {
  const std::lock_guard lock(mutex_);
  expire_locked(options_.now_ns());
}

void ApprovalDesk::expire_locked(uint64_t now_ns) {
  std::vector<v1::ApprovalRecord> records;
  std::vector<std::string> ids;
  for (const auto& [id, view] : views_) {
    if (view.state() != "pending" || view.expires_ns() > now_ns) continue;
    records.push_back(change_of(view, now_ns, "expired", "expired"));
    ids.push_back(id);
  }
  if (records.empty() || !commit(std::move(records))) return;
  for (const std::string& id : ids) {
    say_decision(views_[id]);
    options_.tell("expired", views_[id]);
  }
}

ApprovalDesk::Views::iterator ApprovalDesk::find(const std::string& id, std::string& problem) {
  const auto exact = views_.find(id);
  if (exact != views_.end()) return exact;
  const auto first = views_.lower_bound(id);
  if (id.empty() || first == views_.end() || !first->first.starts_with(id)) {
    problem = "there is no request " + id;
    return views_.end();
  }
  if (const auto next = std::next(first); next != views_.end() && next->first.starts_with(id)) {
    problem = "request " + id + " may be " + first->first + " or " + next->first;
    return views_.end();
  }
  return first;
}

std::vector<v1::ApprovalView> ApprovalDesk::list(const std::string& name, const v1::ListApprovalsRequest& request) {
  const std::lock_guard lock(mutex_);
  expire_locked(options_.now_ns());
  std::vector<v1::ApprovalView> out;
  for (const auto& [id, view] : views_)
    if (request.all() || view.state() == "pending" || view.needs_review()) out.push_back(view);
  std::ranges::sort(out, {},
                    [](const v1::ApprovalView& view) { return std::pair(view.received_ns(), view.request().id()); });
  if (request.limit() != 0 && out.size() > request.limit())
    out.erase(out.begin(), out.end() - static_cast<std::ptrdiff_t>(request.limit()));
  for (v1::ApprovalView& view : out)
    if (view.state() == "pending") view.set_may_not(options_.reviewers.may_decide(name, view.request(), nullptr));
  return out;
}

Outcome ApprovalDesk::show(const std::string& name, const std::string& id) {
  const std::lock_guard lock(mutex_);
  const uint64_t now_ns = options_.now_ns();
  expire_locked(now_ns);
  std::string problem;
  const auto found = find(id, problem);
  if (found == views_.end()) return {.kind = Outcome::Kind::kNotFound, .message = problem};
  v1::ApprovalView& view = found->second;
  const std::string may_not = options_.reviewers.may_decide(name, view.request(), nullptr);
  const auto is_theirs = [&](const v1::ApprovalStep& step) {
    return step.state() == "seen" && std::ranges::find(step.reviewers(), name) != step.reviewers().end();
  };
  // Who may decide has seen it from here on, and the record says so; once for each.
  if (view.state() == "pending" && may_not.empty() && std::ranges::none_of(view.steps(), is_theirs)) {
    v1::ApprovalRecord record = change_of(view, now_ns, "seen", "");
    record.mutable_change()->mutable_step()->add_reviewers(name);
    if (!commit({record})) return {.kind = Outcome::Kind::kFault, .message = "it cannot be recorded that it was shown"};
  }
  Outcome outcome{.view = view};
  outcome.view.set_may_not(view.state() == "pending" ? may_not : "");
  return outcome;
}

Outcome ApprovalDesk::decide(const std::string& name, const v1::DecideRequest& request) {
  const std::lock_guard lock(mutex_);
  expire_locked(options_.now_ns());
  std::string problem;
  const auto found = find(request.id(), problem);
  if (found == views_.end()) return {.kind = Outcome::Kind::kNotFound, .message = problem};
  if (request.reason().empty()) return {.kind = Outcome::Kind::kMalformed, .message = "a reason is needed"};
  if (request.reason().size() > kReasonBytesMax)
    return {.kind = Outcome::Kind::kMalformed, .message = "the reason is too long"};
  if (request.verb() == v1::DECIDE_VERB_REVIEW) return review(name, request, found->second);
  return vote(name, request, found->second);
}

void ApprovalDesk::watch_clock() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kClockEvery, [this] { return is_stopping_; })) expire_locked(options_.now_ns());
}

}  // namespace gatehouse::approvals
