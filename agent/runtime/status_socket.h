// SPDX-License-Identifier: Apache-2.0
// StatusSocket: a Unix socket on which a running agent tells whoever connects how it stands, as of that moment.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "common/result.h"

namespace gatehouse::runtime {

// Listens in the agent's folder, which only its user may enter. A thread of its own waits for askers, so that a slow
// one holds up nothing; the owner makes the answer.
class StatusSocket {
 public:
  static Result<std::unique_ptr<StatusSocket>> open(const std::string& folder);
  ~StatusSocket();
  StatusSocket(const StatusSocket&) = delete;
  StatusSocket& operator=(const StatusSocket&) = delete;

  // Somebody waits for an answer. Costs a load.
  [[nodiscard]] bool is_asked() const;
  void answer(std::string bytes);

 private:
  struct State;
  explicit StatusSocket(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The answer of the agent that runs in `folder`. An error if none does, or it does not answer in time.
Result<std::string> ask_status(const std::string& folder, std::chrono::milliseconds wait_max);

}  // namespace gatehouse::runtime
