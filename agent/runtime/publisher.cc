// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/publisher.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace gatehouse::runtime {

Publisher::Publisher(spool::Spool& spool, std::string boot_id, WatchMark mark)
    : spool_(spool), boot_id_(std::move(boot_id)), mark_(std::move(mark)), thread_([this] { run(); }) {}

Publisher::~Publisher() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool Publisher::has_room(size_t bytes) const {
  return queue_.empty() || (queue_.size() < kQueueBatchesMax && queued_bytes_ + bytes <= kQueueBytesMax);
}

void Publisher::push(EncodedBatch batch) {
  const size_t bytes = batch.bytes.size();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return has_room(bytes); });
  queued_bytes_ += bytes;
  queued_bytes_peak_ = std::max(queued_bytes_peak_, queued_bytes_);
  queue_.push_back(std::move(batch));
  changed_.notify_all();
}

void Publisher::seen(uint64_t unix_ns) {
  const std::lock_guard lock(mutex_);
  if (queue_.empty() && !busy_) idle_ = {.until_unix_ns = unix_ns};
}

void Publisher::end(uint64_t unix_ns) {
  const std::lock_guard lock(mutex_);
  if (queue_.empty() && !busy_) idle_ = {.until_unix_ns = unix_ns, .is_ended = true};
}

void Publisher::drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return queue_.empty() && !busy_; });
}

std::optional<spool::Dropped> Publisher::take_dropped() {
  const std::lock_guard lock(mutex_);
  return std::exchange(dropped_, std::nullopt);
}

size_t Publisher::queued_bytes_peak() {
  const std::lock_guard lock(mutex_);
  return queued_bytes_peak_;
}

void Publisher::tend_spool(std::unique_lock<std::mutex>& lock) {
  const bool may_take = !dropped_;
  lock.unlock();
  spool_.sync_if_due();
  const auto dropped = may_take ? spool_.take_dropped() : std::nullopt;
  lock.lock();
  if (dropped) dropped_ = dropped;
}

// What a full spool or a failing disk refuses, the spool counts, and take_dropped() tells.
void Publisher::store(const EncodedBatch& batch, spool::Sealer& sealer) {
  const spool::SealedBatch sealed = sealer.seal(batch.bytes, batch.first_sequence, batch.event_count);
  const spool::Dropped* carried = batch.carries ? &*batch.carries : nullptr;
  if (spool_.append(sealed, carried) != spool::AppendOutcome::kStored) {
    untold_events_ += batch.event_count;
    return;
  }
  sealer.chain(sealed);
  if (carried != nullptr) untold_events_ -= carried->events;
  if (untold_events_ == 0) mark_.write({.until_unix_ns = batch.seen_to_unix_ns});
}

void Publisher::mark_idle(std::unique_lock<std::mutex>& lock) {
  const Watched idle = idle_;
  lock.unlock();
  if (untold_events_ == 0) mark_.write(idle);
  lock.lock();
}

void Publisher::run() {
  spool::Sealer sealer(boot_id_);
  std::unique_lock lock(mutex_);
  for (;;) {
    // Room may come, and what was stored may wait for its sync, while nothing is pushed.
    changed_.wait_for(lock, spool::Spool::kSyncEvery, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) {
      mark_idle(lock);
      tend_spool(lock);
      if (!stopping_) continue;
      if (queue_.empty()) return;
    }
    const EncodedBatch batch = std::move(queue_.front());
    queue_.pop_front();
    queued_bytes_ -= batch.bytes.size();
    busy_ = true;
    lock.unlock();
    changed_.notify_all();
    store(batch, sealer);
    lock.lock();
    tend_spool(lock);
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace gatehouse::runtime
