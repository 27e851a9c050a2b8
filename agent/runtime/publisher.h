// SPDX-License-Identifier: Apache-2.0
// Publisher: seals batches (compression, digest) and appends them to the spool on a thread of its own, so that the
// thread that reads the kernel's rings never waits for a disk.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "agent/runtime/batch_builder.h"
#include "agent/runtime/watch_mark.h"
#include "agent/spool/spool.h"
#include "common/limits.h"

namespace gatehouse::runtime {

class Publisher {
 public:
  // Batches waiting for the disk; beyond either push() blocks, and what is lost then is lost and counted in the rings.
  static constexpr size_t kQueueBatchesMax = 64;
  // A quarter of the memory that an agent may take. A batch has half a MiB on a busy host, and up to kBatchBytesMax
  // where statements are large: then the number alone would be no bound.
  static constexpr size_t kQueueBytesMax = 16U << 20;
  static_assert(kQueueBytesMax >= 2 * kBatchBytesMax);

  // `spool` outlives the publisher. `mark` follows what is in the spool.
  Publisher(spool::Spool& spool, std::string boot_id, WatchMark mark);
  // Seals and appends what is queued, then ends the thread.
  ~Publisher();
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  // Any thread. A batch larger than the bound is taken when nothing else is queued.
  void push(EncodedBatch batch);
  // Everything that was seen up to here has been pushed. Any thread.
  void seen(uint64_t unix_ns);
  // The last that is seen is in the spool: this run ends of its own accord. After drain().
  void end(uint64_t unix_ns);
  // Waits until everything pushed so far is in the spool or was refused by it.
  void drain();
  // Events that the spool refused and that can be reported now. Any thread.
  std::optional<spool::Dropped> take_dropped();
  // The most that were queued at one time. Any thread.
  [[nodiscard]] size_t queued_bytes_peak();

 private:
  [[nodiscard]] bool has_room(size_t bytes) const;  // mutex_ held
  void run();
  void store(const EncodedBatch& batch, spool::Sealer& sealer);
  void mark_idle(std::unique_lock<std::mutex>& lock);
  void tend_spool(std::unique_lock<std::mutex>& lock);

  spool::Spool& spool_;
  const std::string boot_id_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<EncodedBatch> queue_;
  size_t queued_bytes_ = 0;
  size_t queued_bytes_peak_ = 0;
  std::optional<spool::Dropped> dropped_;
  bool busy_ = false;
  bool stopping_ = false;
  Watched idle_;  // while nothing is queued

  // The thread's.
  WatchMark mark_;
  uint64_t untold_events_ = 0;  // refused by the spool, and no batch in it says so

  std::thread thread_;
};

}  // namespace gatehouse::runtime
