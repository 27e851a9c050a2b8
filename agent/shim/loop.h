// SPDX-License-Identifier: Apache-2.0
// Loop: what the sessions of one worker share. One thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "agent/shim/tls.h"
#include "agent/shim/worker.h"

namespace gatehouse::shim {

class Session;

// A gated server and what was made of its files.
struct Door {
  const Gated* gated = nullptr;
  size_t index = 0;
  std::unique_ptr<TlsContexts> tls;
};

// What the gate sends within one call, so that it leaves in one write: the very bytes that were read, or, where it
// changes them, a copy.
struct Cork {
  std::span<const std::byte> same{};
  std::vector<std::byte> made;
};

struct Loop {
  Loop(const Worker::Options& given, Redirect* way, WorkerHost& owner, WorkerCounters& counted)
      : options(given), redirect(way), host(owner), counters(counted) {}

  const Worker::Options& options;
  Redirect* redirect;
  WorkerHost& host;
  WorkerCounters& counters;
  int epoll = -1;
  uint32_t netns = 0;
  std::vector<std::byte> scratch;  // what is read, until it is passed on or kept
  std::vector<std::byte> staging;  // Leg's
  std::array<Cork, kDirections> corks;
  std::vector<Session*> again;  // to be run in the next turn: they had more to do than one turn may take
  std::vector<Session*> later;  // to be run in a little while: a backlog is full, or the record's reader is behind

  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<uint64_t> deadlines;              // of the session with the same index; UINT64_MAX: none
  std::vector<std::unique_ptr<Session>> ended;  // until the turn's end: its events may still name them

  // A line of the log may be written: one a second, whatever clients do. What is not written is counted all the same.
  bool may_tell(uint64_t now_ns) {
    if (now_ns < next_told_ns_) return false;
    next_told_ns_ = now_ns + 1'000'000'000;
    return true;
  }

  void add(std::unique_ptr<Session> session);
  void remove(Session& session);

 private:
  uint64_t next_told_ns_ = 0;
};

// One writer, any reader: no locked instruction.
inline void bump(std::atomic<uint64_t>& counter, uint64_t by = 1) {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

}  // namespace gatehouse::shim
