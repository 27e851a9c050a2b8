// SPDX-License-Identifier: Apache-2.0
// ApprovalDesk: requests for approvals, from agents to reviewers and back. What it acknowledges, to an agent or to a
// reviewer, is in its log and synced. Thread-safe; threads of its own look at the clock and write to the ledger.
//
//   pending ──▶ approved ──▶ executed        a quorum of reviewers, or one who breaks the glass
//      │   └──▶ denied                       one reviewer
//      └──────▶ expired | cancelled | unreachable
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "collector/approvals/approval_log.h"
#include "collector/approvals/reviewers.h"
#include "common/result.h"
#include "gatehouse/v1/approvals.pb.h"
#include "gatehouse/v1/event.pb.h"

namespace gatehouse::approvals {

// What a reviewer's call comes to.
struct Outcome {
  enum class Kind : uint8_t {
    kDone,
    kNotFound,
    kNotAllowed,  // this reviewer may not
    kTooLate,     // the request is not in a state for that
    kMalformed,
    kFault,  // it cannot be written down, and so has not happened
  };
  Kind kind = Kind::kDone;
  std::string message{};
  v1::ApprovalView view{};
};

class ApprovalDesk {
 public:
  struct Options {
    std::string folder;
    Reviewers reviewers;
    // Appends events of the log's entries to the ledger, in order, exactly once by (log, sequence); an error: later.
    // Null: none.
    std::function<Status(const std::string& log_id, uint64_t first_sequence, std::span<const v1::Event> events)> record;
    // For webhooks: "asked", "decided" or "expired". With the desk's lock held: it queues.
    std::function<void(std::string_view event, const v1::ApprovalView& view)> tell;
    std::function<uint64_t()> now_ns;  // Unix time
  };
  static Result<std::unique_ptr<ApprovalDesk>> open(Options options);
  ~ApprovalDesk();
  ApprovalDesk(const ApprovalDesk&) = delete;
  ApprovalDesk& operator=(const ApprovalDesk&) = delete;

  // An agent's stream. `say` queues, and is called until disconnect(); a later stream of the agent takes its place.
  using Say = std::function<void(const v1::CollectorNote&)>;
  uint64_t connect(const std::string& agent_id, Say say);
  void disconnect(const std::string& agent_id, uint64_t connection);
  void on_note(const std::string& agent_id, const v1::AgentNote& note);

  // Operators; `name` is their certificate's.
  std::vector<v1::ApprovalView> list(const std::string& name, const v1::ListApprovalsRequest& request);
  Outcome show(const std::string& name, const std::string& id);
  Outcome decide(const std::string& name, const v1::DecideRequest& request);

  // What the clock has ended by now. Its thread calls it too.
  void expire();

 private:
  explicit ApprovalDesk(Options options) : options_(std::move(options)) {}
  using Views = std::map<std::string, v1::ApprovalView>;
  struct Connection {
    uint64_t number = 0;
    Say say;
  };
  Status restore();
  void apply(const v1::ApprovalRecord& record);
  Status commit(std::vector<v1::ApprovalRecord> records);
  void on_request(const std::string& agent_id, const v1::HoldRequest& request);
  void on_end(const std::string& agent_id, const v1::HoldEnd& end);
  void on_hello(const std::string& agent_id, const v1::AgentHello& hello);
  void say(const std::string& agent_id, const v1::CollectorNote& note);
  void say_kept(const v1::ApprovalView& view);
  void say_decision(const v1::ApprovalView& view);
  void say_grant(const v1::ApprovalView& view);
  Views::iterator find(const std::string& id, std::string& problem);
  Outcome vote(const std::string& name, const v1::DecideRequest& request, v1::ApprovalView& view);
  Outcome review(const std::string& name, const v1::DecideRequest& request, v1::ApprovalView& view);
  [[nodiscard]] std::string grant_problem(const v1::DecideRequest& request, const v1::ApprovalView& view) const;
  void expire_locked(uint64_t now_ns);
  [[nodiscard]] v1::Event event_of(const v1::ApprovalRecord& record) const;
  void record_pending();
  void watch_clock();
  void write_ledger();

  Options options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<ApprovalLog> log_;
  Views views_;
  // A stream may end within what is said to it: who says holds mutex_ and not this one, who disconnects the other way.
  std::mutex connections_mutex_;
  std::map<std::string, Connection> connections_;
  uint64_t connections_made_ = 0;
  struct Pending {
    uint64_t sequence = 0;
    v1::Event event;
  };
  std::vector<Pending> to_record_;  // not yet in the ledger
  bool is_stopping_ = false;
  std::thread clock_, recorder_;
};

// Of one agent: beyond, a request is not kept, and the agent does as where nobody can be reached.
inline constexpr size_t kPendingPerAgentMax = 1000;
inline constexpr size_t kReasonBytesMax = 4096;
inline constexpr uint64_t kGrantNsMax = 24ULL * 3600 * 1'000'000'000;

}  // namespace gatehouse::approvals
