// SPDX-License-Identifier: Apache-2.0
// HoldBook: the statements that this agent holds, as the collector knows them. Desks ask, the uplink carries, and what
// was decided comes back to who asked. Nothing of it outlives the agent: its sessions do not either.
//
// Thread-safe. Tellers are called with its lock held: they post, and call nothing of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/uplink/approvals_call.h"
#include "common/digest.h"

namespace gatehouse::runtime {

// What the collector says of a request.
struct HoldAnswer {
  enum class Kind : uint8_t { kKept, kDecided, kCancelled };
  Kind kind = Kind::kKept;
  std::string id;
  // kKept: who was asked; or nobody may decide it.
  std::vector<std::string> asked;
  bool is_hopeless = false;
  // kDecided.
  v1::HoldVerdict verdict = v1::HOLD_VERDICT_UNSPECIFIED;
  std::string binding;  // of what was decided
  std::vector<std::string> reviewers;
  std::string reason;
  bool is_break_glass = false;
};
using HoldTeller = std::function<void(const HoldAnswer&)>;

// A statement that may be covered by `approve --for`.
struct GrantQuestion {
  std::string_view rule;
  uint64_t fingerprint = 0;  // 0: none covers it
  Sha256 context{};
  std::string_view database_label;
  uint32_t pid = 0;
  uint64_t process_start_unix_ns = 0;
  std::string_view exe_sha256;
  std::string_view login;
};

struct HoldCounters {
  std::atomic<uint64_t> asked{0}, approved{0}, denied{0}, expired{0}, cancelled{0}, unreachable{0}, granted{0};
};

class HoldBook final : public uplink::ApprovalsPort {
 public:
  explicit HoldBook(std::string boot_id) : boot_id_(std::move(boot_id)) {}

  // Asks the collector, now or when it is there. `request` has its id. `tell` is called until end(). `explains`: with
  // the server's plan, if there is who can get one, which may take a moment.
  void ask(v1::HoldRequest request, uint64_t expires_boottime_ns, HoldTeller tell, bool explains);
  // Gets plans, on a thread of its own, and brings each back by add_plan(). Set before anything is asked.
  using Explain = std::function<void(const v1::HoldRequest& request)>;
  void set_explainer(Explain explain) { explain_ = std::move(explain); }
  void add_plan(const std::string& id, std::string plan, std::optional<uint64_t> rows);
  // It is not held any more.
  void end(const std::string& id, std::string_view state, std::string_view reason);
  // The grant that covers it, if there is one.
  [[nodiscard]] std::optional<v1::HoldGrant> find_grant(const GrantQuestion& question);

  // While a session of that cancel key holds something. Its teller gets kCancelled.
  void watch_cancel(const std::string& key, const std::string& id);
  void forget_cancel(const std::string& key);
  // A CancelRequest of that key came. False: it holds nothing.
  bool cancel(const std::string& key);

  [[nodiscard]] bool is_connected() const { return is_connected_.load(std::memory_order_relaxed); }
  [[nodiscard]] size_t waiting() const;
  HoldCounters& counters() { return counters_; }
  [[nodiscard]] const HoldCounters& counters() const { return counters_; }

  // ApprovalsPort
  std::vector<v1::AgentNote> on_connected() override;
  void on_disconnected() override;
  void on_note(const v1::CollectorNote& note) override;
  std::vector<v1::AgentNote> take_notes() override;
  void set_waker(std::function<void()> waker) override;

 private:
  struct Waiting {
    v1::HoldRequest request;
    uint64_t expires_boottime_ns = 0;
    HoldTeller tell;
    bool is_sent = false;
    bool awaits_plan = false;
  };
  struct Grant {
    v1::HoldGrant grant;
    uint64_t until_boottime_ns = 0;
  };
  v1::AgentNote note_of(Waiting& waiting) const;
  void put(v1::AgentNote note);

  const std::string boot_id_;
  Explain explain_;
  mutable std::mutex mutex_;
  std::map<std::string, Waiting> waiting_;
  std::map<std::string, v1::HoldEnd> ends_;       // of requests that were sent; until the collector has them
  std::map<std::string, std::string> by_cancel_;  // request by cancel key
  std::vector<Grant> grants_;
  std::vector<v1::AgentNote> notes_;
  std::function<void()> waker_;
  std::atomic<bool> is_connected_{false};
  HoldCounters counters_;
};

// A new request's id: 16 hexadecimal digits.
std::string new_hold_id();

}  // namespace gatehouse::runtime
