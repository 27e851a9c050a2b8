// SPDX-License-Identifier: Apache-2.0
// The indexer thread: durable records into fresh tables in memory, so that questions see them within kFreshDelayMsMax.
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

// Rows of `segment` go to a table of their own from here on.
Status Store::State::start_segment(uint64_t segment) {
  appenders_.close();
  auto table = std::make_unique<FreshTable>();
  table->after = "_" + std::to_string(++fresh_tables_made_);
  for (const std::string& sql : create_tables_sql(kFreshTables, table->after, false))
    GH_TRY(duck::execute(index_connection_, sql));
  GH_TRY(appenders_.open(index_connection_, "fresh", table->after));
  index_feed_->start_segment(segment);
  flushed_rows_ = flushed_unreadable_ = 0;
  appender_segment_ = segment;
  const std::lock_guard lock(mutex_);
  fresh_[segment] = std::shared_ptr<FreshTable>(table.release(), [this](FreshTable* done) {
    // The last user may hold mutex_ or not; a table is dropped by the loader, whoever that was.
    const std::unique_ptr<FreshTable> owned(done);
    const std::lock_guard garbage_lock(garbage_mutex_);
    garbage_.push_back(owned->after);
  });
  return {};
}

// Makes what was appended visible.
Status Store::State::flush(const ledger::LogReader& reader) {
  if (appenders_) {
    GH_TRY(index_feed_->finish(appenders_));
    GH_TRY(appenders_.flush());
  }
  const std::lock_guard lock(mutex_);
  const uint64_t rows = index_feed_->rows() - flushed_rows_;
  if (const auto table = fresh_.find(appender_segment_); table != fresh_.end()) {
    table->second->rows += rows;
    counters_.rows_fresh += rows;
  }
  counters_.batches_unreadable += index_feed_->unreadable() - flushed_unreadable_;
  flushed_rows_ = index_feed_->rows();
  flushed_unreadable_ = index_feed_->unreadable();
  indexed_to_ = reader.position();
  changed_.notify_all();
  return {};
}

// Too many rows in memory: the loader is behind. False when closing.
bool Store::State::wait_for_room() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return is_closing_ || counters_.rows_fresh < kFreshRowsMax; });
  return !is_closing_;
}

// Reads and appends to the end of the log, flushing at least every kFreshDelayMsMax.
Status Store::State::index_until_end(ledger::LogReader& reader) {
  auto flush_due = steady_clock::now() + milliseconds(kFreshDelayMsMax);
  ledger::Record record;
  for (;;) {
    GH_ASSIGN(const bool has_more, reader.settle());
    if (!has_more) break;
    if (reader.position().segment != appender_segment_) {
      GH_TRY(flush(reader));
      if (!wait_for_room()) return {};
      const auto segment = log_.segment_at(reader.position().segment);
      if (segment && segment->is_sealed) {
        // We are behind: the loader reads this one from the log, which costs half of going through memory.
        reader = ledger::LogReader(log_, {segment->number + 1, 0, 0});
        continue;
      }
      GH_TRY(start_segment(reader.position().segment));
    }
    const ledger::Position at = reader.position();
    GH_ASSIGN(const auto outcome, reader.next(record));
    if (outcome == ledger::LogReader::Outcome::kRecord) GH_TRY(index_feed_->add(record, appenders_));
    if (outcome == ledger::LogReader::Outcome::kDamaged)
      GH_TRY(index_feed_->add_damage(at, reader.damage(), appenders_));
    if (steady_clock::now() >= flush_due) {
      GH_TRY(flush(reader));
      flush_due = steady_clock::now() + milliseconds(kFreshDelayMsMax);
    }
  }
  return flush(reader);
}

// After a failure some rows of the segment are in its table and some are not, so it starts anew in another one. If that
// fails too (its rows do not fit into memory), it is left to the loader, which reads it from the log when it is sealed.
// mutex_ held.
uint64_t Store::State::restart_segment() {
  const uint64_t segment = std::max(appender_segment_, loaded_to_ + 1);
  if (const auto table = fresh_.find(segment); table != fresh_.end()) {
    counters_.rows_fresh -= table->second->rows;
    fresh_.erase(table);
  }
  appenders_.close();
  index_feed_.emplace();
  appender_segment_ = 0;
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
