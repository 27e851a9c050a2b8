// SPDX-License-Identifier: Apache-2.0
// HeldStatement: one statement that waits in the shim for somebody's word, from the question to what came of it. Who
// owns it moves the clock, asks and tells. Pure: no I/O, clock or lock.
//
//   kAsked ──▶ kKept ──▶ kApproved | kDenied        by the collector
//     │          │
//     └──────────┴─────▶ kExpired | kTimedOut       by the clock: the rule's limit, the session's statement_timeout
//     └────────────────▶ kUnreachable               by the clock: the collector has not taken it
//     └──────────┴─────▶ kCancelled                 by a CancelRequest
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/runtime/hold_book.h"
#include "agent/shim/gate.h"
#include "common/digest.h"
#include "rules/engine/policy.h"

namespace gatehouse::runtime {

class HeldStatement {
 public:
  enum class State : uint8_t { kAsked, kKept, kApproved, kDenied, kExpired, kTimedOut, kUnreachable, kCancelled };
  struct Question {
    std::string id;
    std::string rule;
    std::string session;  // Row.session
    rules::Hold hold;
    Sha256 binding{};
    uint64_t now_ns = 0;
    uint64_t timeout_ns = 0;  // statement_timeout as a time; 0: none
  };
  explicit HeldStatement(Question question);

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool is_waiting() const { return state_ == State::kAsked || state_ == State::kKept; }
  // It may run: approved, or nobody can be asked and the rule allows that.
  [[nodiscard]] bool is_released() const;
  [[nodiscard]] const Question& question() const { return question_; }
  [[nodiscard]] uint64_t expires_ns() const { return question_.now_ns + question_.hold.for_ns; }

  // What the collector says, or a CancelRequest. A decision about anything but this very question is none. True: it is
  // not waiting any more.
  bool on_answer(const HoldAnswer& answer);
  // The clock. True: it is not waiting any more.
  bool on_time(uint64_t now_ns);
  // What the client is to be told now; empty: nothing.
  std::string take_notice(uint64_t now_ns);

  // For who asked: what came of it, once it is not waiting and not released. Good for as long as this and unchanged.
  [[nodiscard]] shim::Ruling refusal();
  // The step for the record, and for HoldEnd: its state, and why.
  [[nodiscard]] std::string_view end_state() const;
  [[nodiscard]] std::string_view end_reason() const;
  // gatehouse.v1.Approval, serialized. `state`: "asked" with `text`, "decided", "executed" or end_state().
  [[nodiscard]] std::string step(std::string_view state, std::string_view text = {}) const;
  // As it is, for a session that ends: "cancelled" for that reason.
  [[nodiscard]] std::string cancelled_step(std::string_view reason) const;

 private:
  [[nodiscard]] std::string who_decides() const;

  Question question_;
  State state_ = State::kAsked;
  uint64_t next_notice_ns_;
  std::vector<std::string> asked_;
  bool is_hopeless_ = false;
  std::vector<std::string> reviewers_;
  std::string reason_;
  bool is_break_glass_ = false;
  std::string message_, detail_, hint_;
};

// "15 min", "90 s", "2 h 30 min".
std::string time_words(uint64_t ns);

}  // namespace gatehouse::runtime
