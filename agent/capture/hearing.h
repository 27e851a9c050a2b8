// SPDX-License-Identifier: Apache-2.0
// Hearing: has the kernel side told of each receiving call (on_received) while there are Unix sessions, and only then:
// every such call of the host pays for it. bpf/unix_plane.h says what is done without.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

namespace gatehouse::capture {

class Hearing {
 public:
  // How long there was no session when the first step is taken, and how long that lasts until the second: a call that
  // was at a session's bytes when it was told to do without has ended by then. Long, so that a host where somebody now
  // and then uses a Unix socket (a health check) is always heard.
  static constexpr uint64_t kRestNs = 30'000'000'000;

  // `attach`: false if it could not be done, which is tried again. `hears`: the kernel side's gh_hears.
  Hearing(volatile uint32_t* hears, std::function<bool()> attach, std::function<void()> detach)
      : hears_(hears), attach_(std::move(attach)), detach_(std::move(detach)) {}

  // `sessions`: Unix sessions that are open, by all records so far.
  void turn(size_t sessions, uint64_t now_ns);

 private:
  volatile uint32_t* hears_;
  std::function<bool()> attach_;
  std::function<void()> detach_;
  bool is_attached_ = false;
  uint64_t since_ns_ = 0;  // of the present step; of the last session while it hears
};

}  // namespace gatehouse::capture
