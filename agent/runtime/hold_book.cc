// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/hold_book.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/clock.h"
#include "common/pki.h"

namespace gatehouse::runtime {
namespace {

// Ends that the collector has not confirmed: it takes what it is not told for ended all the same.
constexpr size_t kEndsMax = 1000;
constexpr size_t kGrantsMax = 10'000;
constexpr size_t kIdBytes = 8;

}  // namespace

std::string new_hold_id() {
  return pki::random_hex(kIdBytes);
}

v1::AgentNote HoldBook::note_of(Waiting& waiting) const {
  v1::AgentNote note;
  const uint64_t now_ns = boottime_ns();
  *note.mutable_request() = waiting.request;
  note.mutable_request()->set_left_ns(waiting.expires_boottime_ns > now_ns ? waiting.expires_boottime_ns - now_ns : 0);
  waiting.is_sent = true;
  return note;
}

void HoldBook::put(v1::AgentNote note) {
  notes_.push_back(std::move(note));
  if (waker_) waker_();
}

void HoldBook::ask(v1::HoldRequest request, uint64_t expires_boottime_ns, HoldTeller tell, bool explains) {
  // Of one statement that was read whole, and has all its values.
  const bool can_explain = explains && explain_ && request.parameters().empty() && request.text_bytes() == 0 &&
                           request.resolved_text().empty() && request.has_facts() && request.facts().refusal().empty();
  {
    const std::lock_guard lock(mutex_);
    Waiting& waiting = waiting_[request.id()];
    waiting = {.request = request, .expires_boottime_ns = expires_boottime_ns, .tell = std::move(tell)};
    waiting.awaits_plan = can_explain;
    if (is_connected() && !can_explain) put(note_of(waiting));
  }
  if (can_explain) explain_(request);
}

void HoldBook::add_plan(const std::string& id, std::string plan, std::optional<uint64_t> rows) {
  const std::lock_guard lock(mutex_);
  const auto found = waiting_.find(id);
  if (found == waiting_.end() || !found->second.awaits_plan) return;
  Waiting& waiting = found->second;
  waiting.awaits_plan = false;
  waiting.request.set_plan(std::move(plan));
  waiting.request.set_has_estimate(rows.has_value());
  waiting.request.set_estimated_rows(rows.value_or(0));
  if (is_connected()) put(note_of(waiting));
}

void HoldBook::end(const std::string& id, std::string_view state, std::string_view reason) {
  const std::lock_guard lock(mutex_);
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return;
  const bool is_sent = found->second.is_sent;
  waiting_.erase(found);
  // The collector has never heard of it.
  if (!is_sent) return;
  v1::HoldEnd end;
  end.set_id(id);
  end.set_state(std::string(state));
  end.set_reason(std::string(reason));
  if (is_connected()) {
    v1::AgentNote note;
    *note.mutable_end() = end;
    put(std::move(note));
  }
  if (ends_.size() < kEndsMax) ends_[id] = std::move(end);
}

std::optional<v1::HoldGrant> HoldBook::find_grant(const GrantQuestion& question) {
  if (question.fingerprint == 0) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const uint64_t now_ns = boottime_ns();
  std::erase_if(grants_, [&](const Grant& grant) { return grant.until_boottime_ns <= now_ns; });
  const auto covers = [&](const Grant& each) {
    const v1::HoldGrant& grant = each.grant;
    if (grant.rule() != question.rule || grant.fingerprint() != question.fingerprint) return false;
    if (grant.database_label() != question.database_label) return false;
    if (grant.context_sha256().size() != question.context.size() ||
        std::memcmp(grant.context_sha256().data(), question.context.data(), question.context.size()) != 0)
      return false;
    if (grant.scope() == "process")
      return question.pid != 0 && grant.pid() == question.pid &&
             grant.process_start_ns() == question.process_start_unix_ns && grant.exe_sha256() == question.exe_sha256;
    return grant.scope() == "person" && !question.login.empty() && grant.login() == question.login;
  };
  const auto found = std::ranges::find_if(grants_, covers);
  if (found == grants_.end()) return std::nullopt;
  return found->grant;
}

void HoldBook::watch_cancel(const std::string& key, const std::string& id) {
  const std::lock_guard lock(mutex_);
  by_cancel_[key] = id;
}

void HoldBook::forget_cancel(const std::string& key) {
  const std::lock_guard lock(mutex_);
  by_cancel_.erase(key);
}

bool HoldBook::cancel(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto by = by_cancel_.find(key);
  if (by == by_cancel_.end()) return false;
  const auto found = waiting_.find(by->second);
  if (found == waiting_.end()) return false;
  found->second.tell({.kind = HoldAnswer::Kind::kCancelled, .id = found->first});
  return true;
}

size_t HoldBook::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

std::vector<v1::AgentNote> HoldBook::on_connected() {
  const std::lock_guard lock(mutex_);
  is_connected_.store(true, std::memory_order_relaxed);
  notes_.clear();
  std::vector<v1::AgentNote> notes(1);
  v1::AgentHello& hello = *notes.front().mutable_hello();
  hello.set_boot_id(boot_id_);
  for (auto& [id, waiting] : waiting_) {
    hello.add_waiting(id);
    if (!waiting.awaits_plan) notes.push_back(note_of(waiting));
  }
  // Before the hello, they would be of a stream that has not begun; after it, the collector has taken them for lost,
  // and learns better.
  for (const auto& [id, end] : ends_) {
    hello.add_waiting(id);
    *notes.emplace_back().mutable_end() = end;
  }
  return notes;
}

void HoldBook::on_disconnected() {
  const std::lock_guard lock(mutex_);
  is_connected_.store(false, std::memory_order_relaxed);
  notes_.clear();
}

std::vector<v1::AgentNote> HoldBook::take_notes() {
  const std::lock_guard lock(mutex_);
  return std::exchange(notes_, {});
}

void HoldBook::set_waker(std::function<void()> waker) {
  const std::lock_guard lock(mutex_);
  waker_ = std::move(waker);
}

void HoldBook::on_note(const v1::CollectorNote& note) {
  const std::lock_guard lock(mutex_);
  HoldAnswer answer;
  switch (note.note_case()) {
    case v1::CollectorNote::kKept:
      answer.id = note.kept().id();
      answer.asked.assign(note.kept().asked().begin(), note.kept().asked().end());
      answer.is_hopeless = note.kept().is_hopeless();
      break;
    case v1::CollectorNote::kDecision:
      answer.kind = HoldAnswer::Kind::kDecided;
      answer.id = note.decision().id();
      answer.verdict = note.decision().verdict();
      answer.binding = note.decision().binding_sha256();
      answer.reviewers.assign(note.decision().reviewers().begin(), note.decision().reviewers().end());
      answer.reason = note.decision().reason();
      answer.is_break_glass = note.decision().break_glass();
      break;
    case v1::CollectorNote::kGrant: {
      std::erase_if(grants_, [&](const Grant& grant) { return grant.grant.id() == note.grant().id(); });
      if (grants_.size() < kGrantsMax)
        grants_.push_back({.grant = note.grant(), .until_boottime_ns = boottime_ns() + note.grant().left_ns()});
      return;
    }
    case v1::CollectorNote::kEndKept:
      ends_.erase(note.end_kept().id());
      return;
    case v1::CollectorNote::kWelcome:
    case v1::CollectorNote::NOTE_NOT_SET:
      return;
  }
  if (const auto found = waiting_.find(answer.id); found != waiting_.end()) found->second.tell(answer);
}

}  // namespace gatehouse::runtime
