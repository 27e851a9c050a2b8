// SPDX-License-Identifier: Apache-2.0
// The loader thread: sealed segments into the file, each in one transaction with its row in `segments`.
#include <chrono>

#include "collector/store/store_state.h"
#include "common/log.h"

namespace gatehouse::store {
namespace {

constexpr std::chrono::milliseconds kRetryDelay{5000};
constexpr std::chrono::milliseconds kPollDelay{200};  // sealing is the log's news, which does not reach changed_

}  // namespace

// The segment after the last in the file, if it will not grow and its fresh table, if it has one, is complete.
std::optional<ledger::SegmentInfo> Store::State::next_to_load() const {
  const auto segment = log_.segment_at(loaded_to_ + 1);
  if (!segment || !segment->is_sealed || indexed_to_.segment <= segment->number) return std::nullopt;
  return segment;
}

Status Store::State::load_from_log(const ledger::SegmentInfo& segment, uint64_t& rows, uint64_t& unreadable) {
  Appenders appenders;
  GH_TRY(appenders.open(load_connection_, nullptr, ""));
  RowFeed feed;
  feed.start_segment(segment.number);
  ledger::LogReader reader(log_, {segment.number, 0, 0});
  ledger::Record record;
  for (;;) {
    GH_ASSIGN(const bool has_more, reader.settle());
    if (!has_more || reader.position().segment != segment.number) break;
    const ledger::Position at = reader.position();
    GH_ASSIGN(const auto outcome, reader.next(record));
    if (outcome == ledger::LogReader::Outcome::kRecord) GH_TRY(feed.add(record, appenders));
    if (outcome == ledger::LogReader::Outcome::kDamaged) GH_TRY(feed.add_damage(at, reader.damage(), appenders));
  }
  GH_TRY(feed.finish(appenders));
  GH_TRY(appenders.flush());
  rows = feed.rows();
  unreadable = feed.unreadable();
  return {};
}

Status Store::State::load_from_fresh(const FreshTable& fresh) {
  for (const std::string_view table : kTables)
    GH_TRY(duck::execute(load_connection_, "INSERT INTO main." + std::string(table) + " SELECT * FROM " +
                                               std::string(kFreshTables) + std::string(table) + fresh.after));
  return {};
}

Status Store::State::load_segment(const ledger::SegmentInfo& segment) {
  std::shared_ptr<FreshTable> fresh;
  {
    const std::lock_guard lock(mutex_);
    if (const auto table = fresh_.find(segment.number); table != fresh_.end()) fresh = table->second;
  }
  const auto started = std::chrono::steady_clock::now();
  uint64_t rows = fresh ? fresh->rows : 0;
  uint64_t unreadable = 0;
  GH_TRY(duck::execute(load_connection_, "BEGIN TRANSACTION"));
  Status status = fresh ? load_from_fresh(*fresh) : load_from_log(segment, rows, unreadable);
  if (status)
    status =
        duck::execute(load_connection_, "INSERT INTO main.segments VALUES (" + std::to_string(segment.number) + ", '" +
                                            to_hex(segment.chain_head) + "', " + std::to_string(rows) + ")");
  if (status) status = duck::execute(load_connection_, "COMMIT");
  if (!status) {
    // An error may have ended the transaction by itself.
    [[maybe_unused]] const Status undone = duck::execute(load_connection_, "ROLLBACK");
    return status;
  }
  const auto took = std::chrono::steady_clock::now() - started;
  log::debug("store", "segment loaded",
             {{"segment", segment.number},
              {"rows", rows},
              {"ms", std::chrono::duration_cast<std::chrono::milliseconds>(took).count()}});
  const std::lock_guard lock(mutex_);
  loaded_to_ = segment.number;
  counters_.rows_loaded += rows;
  counters_.segments_loaded += 1;
  counters_.batches_unreadable += unreadable;
  if (fresh) counters_.rows_fresh -= rows;
  fresh_.erase(fresh_.begin(), fresh_.upper_bound(segment.number));
  changed_.notify_all();
  return {};
}

// Tables that nobody reads any more.
void Store::State::drop_garbage() {
  std::vector<std::string> names;
  {
    const std::lock_guard lock(garbage_mutex_);
    names.swap(garbage_);
  }
  for (const std::string& after : names)
    for (const std::string_view table : kTables) {
      const std::string name = std::string(kFreshTables) + std::string(table) + after;
      if (const Status status = duck::execute(load_connection_, "DROP TABLE IF EXISTS " + name); !status)
        log::warn("store", "table not dropped", {{"error", status.error().message()}});
    }
}

void Store::State::load() {
  uint64_t reported = 0;
  const uint64_t backlog_to = log_.end().segment;  // what was there at start: told as it goes, it may take minutes
  for (;;) {
    drop_garbage();
    std::unique_lock lock(mutex_);
    const auto segment = next_to_load();
    if (is_closing_) return;
    if (!segment) {
      changed_.wait_for(lock, kPollDelay);
      continue;
    }
    lock.unlock();
    const Status status = load_segment(*segment);
    lock.lock();
    if (!status) {
      log::error("store", "segment not loaded; tried again",
                 {{"segment", segment->number}, {"error", status.error().message()}});
      changed_.wait_for(lock, kRetryDelay, [&] { return is_closing_; });
    } else if (segment->number < backlog_to && segment->number >= reported + 10) {
      reported = segment->number;
      log::info("store", "building the index from the log", {{"segment", segment->number}, {"of", backlog_to - 1}});
    }
  }
}

}  // namespace gatehouse::store
