// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/publisher.h"

#include <chrono>
#include <utility>

namespace gatehouse::runtime {

Publisher::Publisher(spool::Spool& spool, std::string boot_id)
    : spool_(spool), boot_id_(std::move(boot_id)), thread_([this] { run(); }) {}

Publisher::~Publisher() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Publisher::push(EncodedBatch batch) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return queue_.size() < kQueueBatchesMax; });
  queue_.push_back(std::move(batch));
  changed_.notify_all();
}

void Publisher::drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return queue_.empty() && !busy_; });
}

std::optional<spool::Dropped> Publisher::take_dropped() {
  const std::lock_guard lock(mutex_);
  return std::exchange(dropped_, std::nullopt);
}

void Publisher::look_for_dropped(std::unique_lock<std::mutex>& lock) {
  if (dropped_) return;
  lock.unlock();
  const auto dropped = spool_.take_dropped();
  lock.lock();
  if (dropped) dropped_ = dropped;
}

void Publisher::run() {
  constexpr auto kReportCheck = std::chrono::seconds(1);  // room may come while nothing is pushed
  spool::Sealer sealer(boot_id_);
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait_for(lock, kReportCheck, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) {
      look_for_dropped(lock);
      if (stopping_) return;
      continue;
    }
    const EncodedBatch batch = std::move(queue_.front());
    queue_.pop_front();
    busy_ = true;
    lock.unlock();
    changed_.notify_all();
    // What a full spool or a failing disk refuses, the spool counts, and take_dropped() tells.
    const spool::SealedBatch sealed = sealer.seal(batch.bytes, batch.first_sequence, batch.event_count);
    const spool::Dropped* carried = batch.carries ? &*batch.carries : nullptr;
    if (spool_.append(sealed, carried) == spool::AppendOutcome::kStored) sealer.chain(sealed);
    lock.lock();
    look_for_dropped(lock);
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace gatehouse::runtime
