// SPDX-License-Identifier: Apache-2.0
// The indexer thread: durable records into fresh rows in memory, so that questions see them within kFreshDelayMsMax.
#include <algorithm>
#include <chrono>
#include <utility>

#include "collector/store/store_state.h"
#include "common/limits.h"
#include "common/log.h"

namespace gatehouse::store {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Records that come together are committed together: a commit of one row costs about as much as of a thousand.
constexpr milliseconds kGatherDelay{20};
constexpr uint32_t kIdleWaitMs = 1000;
constexpr milliseconds kRetryDelay{1000};

}  // namespace

// Rows of `segment` go to a place of their own from here on.
void Store::State::start_segment(uint64_t segment) {
  index_feed_->start_segment(segment);
  index_rows_ = std::make_shared<FreshRows>();
  index_segment_ = segment;
  flushed_rows_ = flushed_unreadable_ = 0;
  const std::lock_guard lock(mutex_);
  fresh_[segment] = {.rows = index_rows_};
}

// Makes what was added visible.
void Store::State::flush(const ledger::LogReader& reader) {
  if (index_rows_) index_rows_->publish(*index_feed_);
  const std::lock_guard lock(mutex_);
  const uint64_t rows = index_feed_->rows() - flushed_rows_;
  if (const auto fresh = fresh_.find(index_segment_); fresh != fresh_.end()) {
    fresh->second.count += rows;
    fresh->second.bytes = index_rows_->bytes();
    counters_.rows_fresh += rows;
  }
  counters_.batches_unreadable += index_feed_->unreadable() - flushed_unreadable_;
  flushed_rows_ = index_feed_->rows();
  flushed_unreadable_ = index_feed_->unreadable();
  indexed_to_ = reader.position();
  changed_.notify_all();
}

// Too much in memory: the loader is behind. False when closing.
bool Store::State::wait_for_room() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    uint64_t bytes = 0;
    for (const auto& [segment, fresh] : fresh_) bytes += fresh.bytes;
    return is_closing_ || bytes < kFreshBytesMax;
  });
  return !is_closing_;
}

// A segment whose rows take much memory is sealed before its size asks for it, so that it can be loaded. If it still
// grows (it was sealed long ago, and we are behind), it is left to the loader, which reads it from the log. True if so.
Result<bool> Store::State::leave_if_large(ledger::LogReader& reader) {
  const uint64_t bytes = index_rows_->bytes();
  if (bytes < kFreshSegmentBytesMax) return false;
  const ledger::Position end = log_.end();
  if (end.segment == index_segment_ && end.record > 0) {
    GH_TRY(log_.seal());
    return false;
  }
  if (bytes < 2 * kFreshSegmentBytesMax) return false;
  const std::lock_guard lock(mutex_);
  if (const auto fresh = fresh_.find(index_segment_); fresh != fresh_.end()) {
    counters_.rows_fresh -= fresh->second.count;
    fresh_.erase(fresh);
  }
  index_rows_.reset();
  reader = ledger::LogReader(log_, {std::exchange(index_segment_, 0) + 1, 0, 0});
  index_feed_.emplace();
  flushed_rows_ = flushed_unreadable_ = 0;
  indexed_to_ = reader.position();
  changed_.notify_all();
  return true;
}

// Reads and appends to the end of the log, flushing at least every kFreshDelayMsMax.
Status Store::State::index_until_end(ledger::LogReader& reader) {
  auto flush_due = steady_clock::now() + milliseconds(kFreshDelayMsMax);
  ledger::Record record;
  for (;;) {
    GH_ASSIGN(const bool has_more, reader.settle());
    if (!has_more) break;
    if (reader.position().segment != index_segment_) {
      flush(reader);
      if (!wait_for_room()) return {};
      const auto segment = log_.segment_at(reader.position().segment);
      if (segment && segment->is_sealed) {
        // We are behind: the loader reads this one from the log.
        reader = ledger::LogReader(log_, {segment->number + 1, 0, 0});
        continue;
      }
      start_segment(reader.position().segment);
    }
    const ledger::Position at = reader.position();
    GH_ASSIGN(const auto outcome, reader.next(record));
    {
      const std::lock_guard filling(index_rows_->filling());
      if (outcome == ledger::LogReader::Outcome::kRecord) GH_TRY(index_feed_->add(record, *index_rows_));
      if (outcome == ledger::LogReader::Outcome::kDamaged)
        GH_TRY(index_feed_->add_damage(at, reader.damage(), *index_rows_));
    }
    GH_ASSIGN(const bool is_left, leave_if_large(reader));
    if (is_left) continue;
    if (steady_clock::now() >= flush_due) {
      flush(reader);
      flush_due = steady_clock::now() + milliseconds(kFreshDelayMsMax);
    }
  }
  flush(reader);
  return {};
}

// After a failure some rows of the segment are there and some are not, so it starts anew. If that fails too, it is left
// to the loader, which reads it from the log when it is sealed. mutex_ held.
uint64_t Store::State::restart_segment() {
  const uint64_t segment = std::max(index_segment_, loaded_to_ + 1);
  if (const auto fresh = fresh_.find(segment); fresh != fresh_.end()) {
    counters_.rows_fresh -= fresh->second.count;
    fresh_.erase(fresh);
  }
  index_rows_.reset();
  index_feed_.emplace();
  index_segment_ = 0;
  flushed_rows_ = flushed_unreadable_ = 0;
  const bool is_second = std::exchange(failed_segment_, segment) == segment;
  return is_second ? segment + 1 : segment;
}

void Store::State::index() {
  index_feed_.emplace();
  ledger::LogReader reader(log_, {loaded_to_ + 1, 0, 0});
  for (;;) {
    const Status status = index_until_end(reader);
    std::unique_lock lock(mutex_);
    if (is_closing_) return;
    if (!status) {
      log::error("store", "fresh events not shown", {{"error", status.error().message()}});
      changed_.wait_for(lock, kRetryDelay, [&] { return is_closing_; });
      if (is_closing_) return;
      reader = ledger::LogReader(log_, {restart_segment(), 0, 0});
      continue;
    }
    lock.unlock();
    if (log_.wait_beyond(reader.position(), kIdleWaitMs)) std::this_thread::sleep_for(kGatherDelay);
  }
}

}  // namespace gatehouse::store
