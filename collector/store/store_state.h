// SPDX-License-Identifier: Apache-2.0
// Store::State: what store.cc (opening, questions), indexer.cc and loader.cc share. Nobody else includes it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "collector/ledger/log_reader.h"
#include "collector/store/columns.h"
#include "collector/store/duck.h"
#include "collector/store/fresh_rows.h"
#include "collector/store/row_feed.h"
#include "collector/store/store.h"

namespace gatehouse::store {

// The thread that calls, and threads that it makes, run behind everything that somebody waits for: an acknowledgement
// is not held up by indexing.
void run_behind();

class Store::State {
 public:
  State(Options options, ledger::SegmentLog& log) : options_(std::move(options)), log_(log) {}
  ~State() { close(); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  Status open();
  void close();

  // What together holds each event once.
  struct Snapshot {
    uint64_t loaded_to = 0;  // segments up to this one are read from the file
    std::shared_ptr<const FreshView> fresh;
  };
  [[nodiscard]] Snapshot snapshot() const;            // mutex_ held
  [[nodiscard]] ledger::Position visible_to() const;  // mutex_ held
  [[nodiscard]] uint64_t bytes_behind() const;        // of the backlog; mutex_ held
  [[nodiscard]] std::optional<Progress> progress();   // mutex_ held
  Status run(const SqlQuery& query, const std::function<bool(duckdb_data_chunk)>& on_chunk,
             const IsCancelled& is_cancelled);

  Status ask_both(const duck::Connection& connection, const SqlQuery& query, const Snapshot& tables,
                  const std::function<bool(duckdb_data_chunk)>& on_chunk, const std::function<bool()>& is_over);

  // store.cc
  Status open_index();
  Status reopen(std::unique_lock<std::mutex>& lock);
  Status open_files();
  Result<bool> is_usable();
  Status create_schema();
  void remove_files();
  [[nodiscard]] std::string file_path() const { return options_.folder + "/events.duckdb"; }

  // indexer.cc
  void index();
  Status index_until_end(ledger::LogReader& reader);
  void start_segment(uint64_t segment);
  void flush(const ledger::LogReader& reader);
  bool wait_for_room();
  Result<bool> leave_if_large(ledger::LogReader& reader);
  uint64_t restart_segment();

  // loader.cc
  void load();
  [[nodiscard]] std::optional<ledger::SegmentInfo> next_to_load() const;  // mutex_ held
  Status load_segment(const ledger::SegmentInfo& segment);
  Status load_from_log(const ledger::SegmentInfo& segment, uint64_t& rows, uint64_t& unreadable);
  Status load_from_fresh(const std::shared_ptr<FreshRows>& fresh);
  [[nodiscard]] bool is_to_forget() const;  // mutex_ held
  Status forget_removed();
  [[nodiscard]] Status require_room(uint64_t bytes) const;
  Status checkpoint(uint64_t wal_bytes_max);
  bool load_next(std::unique_lock<std::mutex>& lock);
  void note_load(const Status& status, std::string_view failure, uint64_t segment);
  void tell_progress();  // mutex_ held
  void at_step(std::string_view step) const {
    if (options_.at_step) options_.at_step(step);
  }

  const Options options_;
  ledger::SegmentLog& log_;

  FreshTables fresh_tables_;  // used by the database's functions
  duck::Database database_;
  duck::Connection load_connection_;

  std::mutex mutex_;
  std::condition_variable changed_;  // any of what follows
  bool is_closing_ = false;
  uint64_t loaded_to_ = 0;
  uint64_t first_loaded_ = 0;  // of the segments in the file; above loaded_to_ if there is none
  struct Fresh {
    std::shared_ptr<FreshRows> rows;
    uint64_t count = 0;
    uint64_t bytes = 0;
  };
  std::map<uint64_t, Fresh> fresh_;  // of segments after loaded_to_
  ledger::Position indexed_to_{};    // by the indexer; it may be ahead of segments to load
  Counters counters_;
  // What the log held at open.
  ledger::Position backlog_end_{};
  uint64_t backlog_bytes_ = 0;  // not loaded then
  bool has_caught_up_ = false;
  std::chrono::steady_clock::time_point opened_ = std::chrono::steady_clock::now();
  std::set<duckdb_connection> asking_;  // connections of running questions

  // The indexer's.
  std::optional<RowFeed> index_feed_;
  std::shared_ptr<FreshRows> index_rows_;  // of index_segment_
  uint64_t index_segment_ = 0;
  uint64_t failed_segment_ = 0;
  uint64_t flushed_rows_ = 0;  // of the feed's
  uint64_t flushed_unreadable_ = 0;

  std::chrono::steady_clock::time_point progress_told_{};  // the loader's
  bool is_progress_told_ = false;
  std::string failed_load_;  // the loader's: why it does not get on; empty: it does

  std::thread indexer_;
  std::thread loader_;
};

}  // namespace gatehouse::store
