// SPDX-License-Identifier: Apache-2.0
// Store: the queryable index of the segment log, in DuckDB. It holds nothing that the log does not: delete its files
// and it builds itself again.
//
// Two threads keep it current. The indexer reads the log's durable records and appends their rows to an in-memory table
// per segment, at most kFreshDelayMsMax after they became durable. The loader moves a sealed segment's rows into the
// file in one transaction. A query sees each event exactly once at any moment, because it asks for "segments up to N of
// the file and the fresh tables after N", and a fresh table lives until the last such query has ended.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "collector/ledger/segment_log.h"
#include "common/result.h"
#include "gatehouse/v1/query.pb.h"

namespace gatehouse::store {

using Value = std::variant<std::string, uint64_t, bool>;

// A question in the engine's SQL. The events are in two tables, each event in one: `part` is asked of each of them,
// which `{table}` stands for; `whole` of both answers, which `{parts}` stands for. So that each table can limit and
// group by itself. Values are only ever in `parameters`, for `$1`, `$2`, … in all of them.
//
// What wants whole rows of few events asks twice. `keys` and `keys_whole` are `part` and `whole` of a question before:
// `keys` selects what they need, `keys_whole` selects kPartColumn, kRowColumn, time_ns, kContextColumn and kShapeColumn
// (schema.h). Of `{table}` in `part` are then only these rows, and no parameters may be used there.
//
// What only counts and adds up may say so with `sums`, which is then asked instead of `part` where it may be: `{table}`
// has one row for many events that have the same of `columns`, which must all be is_summed(), and kCountColumn,
// result_rows, duration_ns and time_ns of them (their number, sums and the latest). It answers as `part` does. `part`
// remains to be asked of the others of the events from `since_ns` to `until_ns`, which it must not go beyond.
struct SqlQuery {
  std::string part;
  std::string whole;
  std::vector<Value> parameters;
  std::vector<std::string_view> columns{};  // of proto/fields.def that are asked of `{table}`; empty: all
  std::string keys{};
  std::string keys_whole{};
  // Told how many there are; false: their rows are not wanted.
  std::function<bool(size_t found)> on_keys{};
  std::string sums{};
  uint64_t since_ns = 0;  // with `sums`
  uint64_t until_ns = 0;  // 0: no bound
};

class Store {
 public:
  struct Options {
    std::string folder;
    uint64_t memory_bytes_max = 1ULL << 30;  // DuckDB's memory_limit, fresh rows included
    uint32_t threads = 2;                    // DuckDB's worker threads for one query
    // DuckDB's write-ahead log, above which it goes into the file. DuckDB's own 16 MB rewrites the partial row group
    // too often. Bulk loads pass the log by, but for the last row group of each, so its size adds to what an event
    // takes.
    uint64_t wal_bytes_max = 48ULL << 20;
    // For tests: called between the steps of loading and of forgetting, each of which a crash may be the last of.
    std::function<void(std::string_view step)> at_step{};
  };

  struct Counters {
    uint64_t rows_fresh = 0;   // in memory
    uint64_t rows_loaded = 0;  // in the file
    uint64_t segments_loaded = 0;
    uint64_t segments_forgotten = 0;  // since open: the log's retention removed them
    uint64_t batches_unreadable = 0;  // records whose payload is not a Batch: shown as one row of kind "gap"
    bool rebuilt = false;             // the files were missing or unusable at open
  };

  // How far the index has come with what the log held at open.
  struct Progress {
    uint32_t percent = 0;       // of the bytes
    uint64_t seconds_left = 0;  // at the speed so far; 0: not known yet
  };

  // Opens or rebuilds. `log` must outlive the store. Returns at once; indexed_to() tells how far it is.
  static Result<std::unique_ptr<Store>> open(Options options, ledger::SegmentLog& log);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Called for each row; false ends the query without error.
  using OnRow = std::function<bool(v1::Row&&)>;
  // Asked between steps of a long query; true ends it with an Error "cancelled".
  using IsCancelled = std::function<bool()>;

  // `query` must select row_columns() (schema.h). Any thread; each call has a connection of its own.
  Status rows(const SqlQuery& query, const OnRow& on_row, const IsCancelled& is_cancelled = {});
  // `query` must select text only.
  using OnValues = std::function<bool(std::vector<std::string>&&)>;
  Status values(const SqlQuery& query, const OnValues& on_values, const IsCancelled& is_cancelled = {});

  // Everything before this position is visible to a query that starts now.
  [[nodiscard]] ledger::Position indexed_to() const;
  // Blocks until indexed_to() >= position; false after `timeout`.
  bool wait_indexed(const ledger::Position& position, std::chrono::milliseconds timeout);
  [[nodiscard]] Counters counters() const;
  // None once everything that the log held at open is visible: until then answers are partial.
  [[nodiscard]] std::optional<Progress> progress() const;

  // Stops the threads, interrupts queries. Idempotent.
  void close();

  class State;

 private:
  explicit Store(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::store
