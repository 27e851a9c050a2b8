// SPDX-License-Identifier: Apache-2.0
// The loader thread: sealed segments into the file, each in one transaction with its row in `segments`.
#include <array>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <utility>

#include "collector/store/store_state.h"
#include "collector/store/sums.h"
#include "common/log.h"

namespace gatehouse::store {
namespace {

// Rows that go to the file in parts, so that a segment of any size takes little memory.
class PartSink final : public ChunkSink {
 public:
  using Load = std::function<Status(const std::shared_ptr<FreshRows>& part)>;
  explicit PartSink(Load load) : load_(std::move(load)) {}
  Status take(Table table, std::shared_ptr<duck::Chunk> chunk, size_t rows) override {
    GH_TRY(part_->take(table, std::move(chunk), rows));
    return part_->bytes() < kPartBytes ? Status{} : flush();
  }
  Status flush() {
    part_->publish_full();
    return load_(std::exchange(part_, std::make_shared<FreshRows>()));
  }

 private:
  static constexpr uint64_t kPartBytes = 16ULL << 20;
  Load load_;
  std::shared_ptr<FreshRows> part_ = std::make_shared<FreshRows>();
};

constexpr std::chrono::milliseconds kRetryDelay{5000};
// Where a disk is full the engine may lose its footing, so nothing is begun that might not fit, with a margin for those
// who fill it meanwhile. A loaded segment writes up to four times its size, most of it to the write-ahead log.
constexpr uint64_t kLoadedFactor = 8;
constexpr uint64_t kWalBytes = 4ULL << 20;
// A checkpoint writes a third of the write-ahead log's size, each table's last row group anew, and where all are.
constexpr uint64_t kCheckpointBytes = 32ULL << 20;
constexpr std::chrono::seconds kProgressPeriod{5};
constexpr std::chrono::milliseconds kPollDelay{200};  // sealing is the log's news, which does not reach changed_

}  // namespace

// The segment after the last in the file, if it will not grow and its fresh rows, if it has some, are complete.
std::optional<ledger::SegmentInfo> Store::State::next_to_load() const {
  const auto segment = log_.segment_at(loaded_to_ + 1);
  if (!segment || !segment->is_sealed || indexed_to_.segment <= segment->number) return std::nullopt;
  return segment;
}

Status Store::State::load_from_log(const ledger::SegmentInfo& segment, uint64_t& rows, uint64_t& unreadable) {
  PartSink file([this](const std::shared_ptr<FreshRows>& part) { return load_from_fresh(part); });
  RowFeed feed;
  feed.start_segment(segment.number);
  ledger::LogReader reader(log_, {segment.number, 0, 0});
  ledger::Record record;
  for (;;) {
    GH_ASSIGN(const bool has_more, reader.settle());
    if (!has_more || reader.position().segment != segment.number) break;
    const ledger::Position at = reader.position();
    GH_ASSIGN(const auto outcome, reader.next(record));
    if (outcome == ledger::LogReader::Outcome::kRecord) GH_TRY(feed.add(record, file));
    if (outcome == ledger::LogReader::Outcome::kDamaged) GH_TRY(feed.add_damage(at, reader.damage(), file));
  }
  GH_TRY(feed.finish(file));
  GH_TRY(file.flush());
  rows = feed.rows();
  unreadable = feed.unreadable();
  return {};
}

Status Store::State::load_from_fresh(const std::shared_ptr<FreshRows>& fresh) {
  const FreshTables::Shown shown(fresh_tables_, std::make_shared<FreshView>(std::span(&fresh, 1)));
  const TableNames from = shown.names();
  const TableNames to = file_tables();
  for (size_t i = 0; i < kTableCount; ++i)
    GH_TRY(duck::execute(load_connection_, "INSERT INTO " + to[i] + " SELECT * EXCLUDE (rowid) FROM " + from[i]));
  return {};
}

Status Store::State::load_segment(const ledger::SegmentInfo& segment) {
  Fresh fresh;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = fresh_.find(segment.number); found != fresh_.end()) fresh = found->second;
  }
  const auto started = std::chrono::steady_clock::now();
  uint64_t rows = fresh.count;
  uint64_t unreadable = 0;
  GH_TRY(duck::execute(load_connection_, "BEGIN TRANSACTION"));
  at_step("loading");
  Status status = fresh.rows ? load_from_fresh(fresh.rows) : load_from_log(segment, rows, unreadable);
  at_step("rows-loaded");
  if (status) status = duck::execute(load_connection_, add_sums_sql(segment.number));
  at_step("sums-added");
  if (status)
    status =
        duck::execute(load_connection_, "INSERT INTO main.segments VALUES (" + std::to_string(segment.number) + ", '" +
                                            to_hex(segment.chain_head) + "', " + std::to_string(rows) + ")");
  at_step("segment-noted");
  if (status) status = duck::execute(load_connection_, "COMMIT");
  at_step("committed");
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
  if (fresh.rows) counters_.rows_fresh -= rows;
  fresh_.erase(fresh_.begin(), fresh_.upper_bound(segment.number));
  changed_.notify_all();
  return {};
}

// Retention has removed segments whose rows are here. mutex_ held.
bool Store::State::is_to_forget() const {
  const uint64_t first = log_.first_segment();
  return (first_loaded_ < first && first_loaded_ <= loaded_to_) || (!fresh_.empty() && fresh_.begin()->first < first) ||
         loaded_to_ + 1 < first;
}

// Takes the rows of removed segments out. Contexts and shapes belong to one segment each, so they go with it.
Status Store::State::forget_removed() {
  const uint64_t first = log_.first_segment();
  const std::string below = " < " + std::to_string(first << kNumberBits);
  const std::array<std::string, 5> deletions{"main.events WHERE context" + below, "main.contexts WHERE context" + below,
                                             "main.shapes WHERE shape" + below, "main.sums WHERE context" + below,
                                             "main.segments WHERE number < " + std::to_string(first)};
  GH_ASSIGN(const auto gone, duck::table_of(load_connection_,
                                            "SELECT coalesce(sum(rows), 0), count(*) FROM "
                                            "main.segments WHERE number < " +
                                                std::to_string(first)));
  GH_TRY(duck::execute(load_connection_, "BEGIN TRANSACTION"));
  at_step("forgetting");
  Status status;
  for (const std::string& rows : deletions)
    if (status) status = duck::execute(load_connection_, "DELETE FROM " + rows);
  at_step("rows-deleted");
  if (status) status = duck::execute(load_connection_, "COMMIT");
  at_step("forgotten");
  if (!status) {
    [[maybe_unused]] const Status undone = duck::execute(load_connection_, "ROLLBACK");
    return status;
  }
  {
    const std::lock_guard lock(mutex_);
    counters_.rows_loaded -= std::stoull(gone[0][0]);
    counters_.segments_forgotten += std::stoull(gone[0][1]);
    first_loaded_ = first;
    loaded_to_ = std::max(loaded_to_, first - 1);
    while (!fresh_.empty() && fresh_.begin()->first < first) {
      counters_.rows_fresh -= fresh_.begin()->second.count;
      fresh_.erase(fresh_.begin());
    }
    changed_.notify_all();
  }
  return {};
}

Status Store::State::require_room(uint64_t bytes) const {
  std::error_code failure;
  const auto disk = std::filesystem::space(options_.folder, failure);
  if (failure || disk.available >= bytes) return {};
  constexpr uint64_t kMega = 1'000'000;
  return Error(options_.folder + ": fewer than " + std::to_string(bytes / kMega) + " MB of its disk are free");
}

// What is committed goes from the write-ahead log into the file, and the room of deleted rows to later ones. Where the
// disk has no room for that, or the engine refuses, a later call does it: the log holds it as well.
Status Store::State::checkpoint(uint64_t wal_bytes_max) {
  std::error_code failure;
  const uint64_t wal_bytes = std::filesystem::file_size(file_path() + ".wal", failure);
  if (failure || wal_bytes <= wal_bytes_max || !require_room(wal_bytes / 2 + kCheckpointBytes)) return {};
  Status status = duck::execute(load_connection_, "CHECKPOINT");
  return status || duck::execute(load_connection_, "SELECT 1") ? Status{} : status;
}

// Told once, however often it is tried: queries go on, and memory holds what the file does not. mutex_ held.
void Store::State::note_load(const Status& status, std::string_view failure, uint64_t segment) {
  if (status) {
    if (!failed_load_.empty()) log::info("store", "segments are loaded again");
    failed_load_.clear();
  } else if (failed_load_ != status.error().message()) {
    failed_load_ = status.error().message();
    log::error("store", failure, {{"segment", segment}, {"error", failed_load_}});
  }
}

// Brings the file on by one step. False if there was nothing to do. Entered and left with the mutex.
bool Store::State::load_next(std::unique_lock<std::mutex>& lock) {
  const bool is_forgetting = is_to_forget();
  const auto segment = is_forgetting ? std::nullopt : next_to_load();
  if (!is_forgetting && !segment) return false;
  const uint64_t number = segment ? segment->number : first_loaded_;
  std::string_view failure =
      is_forgetting ? "rows of removed segments not deleted; tried again" : "segment not loaded; tried again";
  lock.unlock();
  Status status = require_room(kWalBytes + (segment ? kLoadedFactor * segment->durable_bytes : 0));
  const bool is_tried = status.has_value();
  if (status) status = is_forgetting ? forget_removed() : load_segment(*segment);
  if (status) {
    status = checkpoint(is_forgetting ? 0 : options_.wal_bytes_max);
    failure = "the index's write-ahead log stays; tried again";
    if (is_forgetting) at_step("compacted");
  }
  lock.lock();
  note_load(status, failure, number);
  if (status) return true;
  if (is_tried)
    if (const Status opened = reopen(lock); !opened)
      note_load(opened, "the index cannot be opened; tried again", number);
  changed_.wait_for(lock, kRetryDelay, [&] { return is_closing_; });
  return true;
}

// While the backlog is long; its end, if its beginning was told.
void Store::State::tell_progress() {
  const auto now = std::chrono::steady_clock::now();
  const auto behind = progress();
  if (!behind) {
    if (std::exchange(is_progress_told_, false))
      log::info("store", "the index is complete",
                {{"seconds", std::chrono::duration_cast<std::chrono::seconds>(now - opened_).count()}});
    return;
  }
  if (now - std::max(progress_told_, opened_) < kProgressPeriod) return;
  progress_told_ = now;
  is_progress_told_ = true;
  log::info("store", "building the index from the log: answers are partial",
            {{"percent", behind->percent},
             {"seconds_left", behind->seconds_left},
             {"segment", loaded_to_},
             {"of", backlog_end_.segment}});
}

void Store::State::load() {
  std::unique_lock lock(mutex_);
  while (!is_closing_) {
    if (!load_next(lock)) changed_.wait_for(lock, kPollDelay);
    tell_progress();
  }
}

}  // namespace gatehouse::store
