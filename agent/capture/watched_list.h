// SPDX-License-Identifier: Apache-2.0
// WatchedLister: which TCP connections are there of those that the kernel watches.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "agent/capture/programs.h"
#include "agent/stream/records.h"
#include "common/file.h"
#include "common/result.h"

struct bpf_link;

namespace gatehouse::capture {

// A network namespace, and a process that is in it.
struct Network {
  uint32_t inode = 0;
  uint32_t pid = 0;
};

struct WatchedList {
  uint64_t listed_ns = 0;
  std::vector<SocketId> alive;     // sorted
  std::vector<uint32_t> networks;  // that were looked at
};

// The kernel lists the connections of one network namespace, that of the thread that asks. One thread.
class WatchedLister {
 public:
  static Result<WatchedLister> open(const Programs& programs);
  WatchedLister(WatchedLister&&) noexcept;
  WatchedLister& operator=(WatchedLister&&) noexcept;
  WatchedLister();
  ~WatchedLister();

  // Of this process's network and of `others`; one that cannot be entered (its process has just ended) is left out.
  Status list(std::span<const Network> others, WatchedList& out);

 private:
  struct LinkDeleter {
    void operator()(bpf_link* link) const;
  };
  Status list_here(std::vector<SocketId>& alive);

  std::unique_ptr<bpf_link, LinkDeleter> link_;
  UniqueFd own_network_;
  uint32_t own_inode_ = 0;
};

}  // namespace gatehouse::capture
