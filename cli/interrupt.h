// SPDX-License-Identifier: Apache-2.0
// Turns Ctrl-C, SIGTERM and a reader that left standard output into one stop token, for commands that run until then.
#pragma once

#include <stop_token>
#include <thread>

#include "common/file.h"

namespace gatehouse::cli {

// Make one before any other thread: it blocks the signals, and threads inherit that.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  [[nodiscard]] std::stop_token token() const { return source_.get_token(); }

 private:
  void watch();

  std::stop_source source_{};
  UniqueFd signals_{};
  UniqueFd quit_{};
  std::thread watcher_{};
};

}  // namespace gatehouse::cli
