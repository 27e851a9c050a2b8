// SPDX-License-Identifier: Apache-2.0
// FarListeners: clients of a database on another host are led to the shim on the loopback of the network namespace that
// they are in. This keeps a listener in each that has processes, for each place.
//
// A thread of its own, which looks through /proc, and at once for a namespace whose client has found no listener. A
// namespace without processes has none: a listener would keep it alive.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "agent/shim/redirect.h"
#include "agent/shim/worker.h"
#include "agent/stream/records.h"
#include "common/file.h"

namespace gatehouse::runtime {

class FarListeners {
 public:
  static constexpr size_t kNetworksMax = 120;  // GH_FAR_LISTENERS_MAX / GH_PLACES_MAX, and some to spare
  struct Place {
    size_t index = 0;  // of the redirect and of the worker
    Transport transport = Transport::kTcp4;
  };
  // `redirect` and `worker` outlive it. The namespace of this process has its listeners already.
  FarListeners(std::vector<Place> places, shim::Redirect& redirect, shim::Worker& worker);
  ~FarListeners();
  FarListeners(const FarListeners&) = delete;
  FarListeners& operator=(const FarListeners&) = delete;

  // Any thread: a process that may be in a namespace not seen yet.
  void hint(uint32_t pid);
  // Namespaces where clients can be led; any thread.
  [[nodiscard]] size_t networks() const { return count_.load(std::memory_order_relaxed); }

 private:
  struct Network {
    std::vector<UniqueFd> listeners;  // by place; not valid: none yet
  };
  void run();
  void look();
  void serve(uint64_t inode, uint32_t pid);

  std::vector<Place> places_;
  shim::Redirect& redirect_;
  shim::Worker& worker_;
  uint64_t own_ = 0;
  std::map<uint64_t, Network> networks_;  // the thread's
  bool is_full_told_ = false;
  std::atomic<size_t> count_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<uint32_t> hints_;
  bool is_ending_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace gatehouse::runtime
