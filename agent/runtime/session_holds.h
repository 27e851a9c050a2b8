// SPDX-License-Identifier: Apache-2.0
// SessionHolds: what one gated session holds: at most one statement, which waits for each rule that holds it, one after
// the other. The worker's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/judge/examiner.h"
#include "agent/runtime/held_statement.h"
#include "agent/runtime/hold_book.h"
#include "agent/runtime/hold_request.h"
#include "agent/shim/gate.h"
#include "agent/stream/records.h"
#include "rules/engine/policy.h"

namespace gatehouse::runtime {

class SessionHolds {
 public:
  struct Options {
    HoldBook* book = nullptr;  // null: nobody can be asked
    RecordSink* records = nullptr;
    SocketId socket = 0;
    HoldTeller tell;  // any thread; comes back as on_answer() on the worker's
  };
  explicit SessionHolds(Options options) : options_(std::move(options)) {}
  ~SessionHolds();  // what it holds is cancelled
  SessionHolds(const SessionHolds&) = delete;
  SessionHolds& operator=(const SessionHolds&) = delete;

  // A request that `found` hold: those of its findings that are carried out and say so, the first one first.
  struct Asked {
    const HoldContext& context;
    const Activity& request;
    std::shared_ptr<const rules::Policy> policy;
    std::span<const judge::Found> findings;
    const judge::FactsSummary& facts;
    bool changes_state = false;
  };
  // kWait, or what a grant or a fault comes to. The ruling's texts are good until the next call.
  shim::Ruling hold(const Asked& asked, uint64_t now_ns, uint64_t now_unix_ns);
  // The gate asks again for the request that is held. Nothing: for another one, or it is another question by now; then
  // it is judged anew.
  std::optional<shim::Ruling> resume(const HoldContext& context, const Activity& request,
                                     const std::shared_ptr<const rules::Policy>& policy, uint64_t now_ns,
                                     uint64_t now_unix_ns);

  [[nodiscard]] bool is_holding() const { return held_.has_value(); }
  void on_cancel_key(std::string key) { cancel_key_ = std::move(key); }
  // True: the gate is to resume.
  [[nodiscard]] bool on_answer(const HoldAnswer& answer, uint64_t now_ns);
  struct Due {
    bool resumes = false;  // the gate is to
    std::string notice;    // for the client; empty: none
  };
  [[nodiscard]] Due on_time(uint64_t now_ns);

 private:
  // A rule that holds it, with what it says.
  struct Holder {
    const rules::Rule* rule = nullptr;
    std::string message;
  };
  struct Held {
    HeldStatement statement;
    v1::HoldRequest request;
    uint64_t offset = 0;
    bool had_digest = false;
    bool changes_state = false;
    std::shared_ptr<const rules::Policy> policy;
    std::vector<Holder> holders;
    size_t holder = 0;  // that is being asked for
  };
  void ask(Held held);
  [[nodiscard]] HeldStatement question_of(const Holder& holder, const Sha256& binding, uint64_t timeout_ns,
                                          uint64_t now_ns) const;
  void record(std::string_view step, uint64_t now_ns);
  void leave(std::string_view state, std::string_view reason);
  shim::Ruling refuse(std::string rule, std::string message);
  void note_grant(const Holder& holder, const v1::HoldGrant& grant, const Sha256& binding, uint64_t now_ns);

  Options options_;
  std::optional<Held> held_;
  std::string session_id_;
  std::string cancel_key_;
  std::optional<HeldStatement> refused_;  // whose texts the latest ruling borrows
  std::string rule_, message_, detail_, hint_;
};

}  // namespace gatehouse::runtime
