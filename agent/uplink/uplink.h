// SPDX-License-Identifier: Apache-2.0
// Uplink: from the spool to the collector. Threads of its own; whoever captures never waits for it. It enrols if the
// agent has no certificate, renews that in time, keeps one Publish stream open and comes back after every failure.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/spool/spool.h"
#include "agent/uplink/approvals_call.h"
#include "common/result.h"

namespace gatehouse::uplink {

struct UplinkStatus {
  bool is_enrolled = false;
  bool is_connected = false;  // the collector has let this agent in
  std::string last_error;     // why it is not, or was not last time
  uint64_t connections = 0;   // ever made
  uint64_t batches_sent = 0;  // redelivery included
  uint64_t bytes_sent = 0;
  uint64_t acknowledgements = 0;
  uint64_t batches_given_up = 0;  // refused by the collector again and again
  uint64_t in_flight_bytes = 0;   // sent, not acknowledged
};

class Uplink {
 public:
  struct Options {
    std::string collector;        // "host:port"
    std::string identity_folder;  // <state_dir>/identity
    std::string agent_name;
    // Asked only to enrol. Empty: there is none.
    std::function<Result<std::string>()> token;
    // Sent and not yet acknowledged, at most.
    size_t window_bytes = 8U << 20;
    size_t window_batches = 256;
    std::chrono::milliseconds backoff_min{200};
    std::chrono::milliseconds backoff_max{15'000};
    std::chrono::milliseconds connect_timeout{5'000};
    // Who holds statements, and asks on a stream beside; null: nobody. Outlives the uplink.
    ApprovalsPort* approvals = nullptr;
  };

  // Makes the agent's key and id if need be, and tries to enrol if it is not enrolled. A collector that cannot be
  // reached is no error: it is tried again in the background. Errors of kind configuration: no token, or one that the
  // collector refuses. `spool` must outlive the uplink.
  static Result<std::unique_ptr<Uplink>> start(Options options, spool::Spool& spool);
  ~Uplink();  // stop() without a deadline to drain
  Uplink(const Uplink&) = delete;
  Uplink& operator=(const Uplink&) = delete;

  // What every batch must carry.
  [[nodiscard]] const std::string& agent_id() const;
  [[nodiscard]] UplinkStatus status() const;
  // Set once the collector has refused the token in the background: the agent cannot deliver, ever. main() exits with
  // it.
  [[nodiscard]] std::optional<Error> failure() const;

  // Sends what is in the spool and waits for its acknowledgement, at most for `drain`; not at all if there is no
  // connection. What is left stays in the spool. Idempotent.
  void stop(std::chrono::milliseconds drain);

 private:
  struct State;
  explicit Uplink(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::uplink
