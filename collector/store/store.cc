// SPDX-License-Identifier: Apache-2.0
#include "collector/store/store.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "collector/store/schema.h"
#include "collector/store/store_state.h"
#include "collector/store/sums.h"
#include "common/check.h"
#include "common/file.h"
#include "common/log.h"

namespace gatehouse::store {
namespace {

// Changes when rows made by this program differ from those made before, though the columns do not.
constexpr int kRowsVersion = 2;
constexpr std::chrono::milliseconds kInterruptPeriod{10};

std::vector<std::string> create_all_sql() {
  std::vector<std::string> all = create_tables_sql();
  all.push_back(create_sums_sql());
  return all;
}

std::string schema_text() {
  std::string text = std::to_string(kRowsVersion);
  for (const std::string& sql : create_all_sql()) text += " " + sql;
  // What sums are of.
  return text + " " + add_sums_sql(0);
}

std::string quoted_literal(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += '\'';
    out += c;
  }
  return out + "'";
}

}  // namespace

void run_behind() {
  constexpr int kNice = 10;
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), kNice);
}

Status Store::State::open_files() {
  load_connection_.reset();
  database_.reset();
  const std::vector<std::pair<std::string, std::string>> settings{
      {"memory_limit", std::to_string(options_.memory_bytes_max) + "B"},
      {"threads", std::to_string(options_.threads)},
      {"temp_directory", options_.folder + "/spill"},
      // Nothing is fetched from anywhere, and no SQL of ours has business with files.
      {"autoinstall_known_extensions", "false"},
      {"autoload_known_extensions", "false"},
      {"enable_external_access", "false"},
      {"storage_compatibility_version", "latest"},
      // Checkpoints are the loader's: one that fails within a commit makes the commit an error, although it has taken
      // effect.
      {"checkpoint_threshold", "1TB"},
      // Latest-first questions with all columns read those only of the rows that are answered.
      {"late_materialization_max_rows", "2000"},
  };
  // The engine's own threads are made here and inherit the priority.
  Result<duck::Database> opened = Error("not opened");
  std::thread([&] {
    run_behind();
    opened = duck::open(file_path(), settings);
  }).join();
  if (!opened) return std::move(opened).error();
  database_ = *std::move(opened);
  GH_ASSIGN(load_connection_, duck::connect(database_));
  return {};
}

// Whether the files are of this program's schema and of this log.
Result<bool> Store::State::is_usable() {
  GH_ASSIGN(const auto tables,
            duck::table_of(
                load_connection_,
                "SELECT table_name FROM duckdb_tables() WHERE table_name IN "
                "('events', 'contexts', 'shapes', 'sums', 'segments', 'schema_version') AND schema_name = 'main'"));
  if (tables.empty()) return create_schema() ? Result<bool>(true) : Result<bool>(false);
  if (tables.size() != 6) return false;
  GH_ASSIGN(const auto version, duck::table_of(load_connection_, "SELECT version FROM schema_version"));
  if (version.size() != 1 || version[0][0] != schema_text()) return false;
  GH_ASSIGN(const auto loaded,
            duck::table_of(load_connection_, "SELECT number, chain_head, rows FROM segments ORDER BY number"));
  GH_ASSIGN(const auto count,
            duck::table_of(load_connection_, "SELECT (SELECT count(*) FROM events), (SELECT coalesce(sum(" +
                                                 std::string(kCountColumn) + "), 0) FROM sums)"));
  const auto of_log = log_.segments();
  const uint64_t first = of_log.front().number;
  uint64_t rows = 0;
  uint64_t next = 0;  // the number that the next loaded segment has
  for (const auto& row : loaded) {
    const uint64_t number = std::stoull(row[0]);
    if (next != 0 && number != next) return false;
    next = number + 1;
    rows += std::stoull(row[2]);
    if (number < first) continue;  // retention has removed it since: its rows go when the loader starts
    if (number - first >= of_log.size()) return false;
    const ledger::SegmentInfo& segment = of_log[number - first];
    if (!segment.is_sealed || segment.number != number || row[1] != to_hex(segment.chain_head)) return false;
  }
  if (count[0][0] != std::to_string(rows) || count[0][1] != std::to_string(rows)) return false;
  if (next == 0) next = first;
  // What lies between was removed before it was loaded.
  loaded_to_ = std::max(next, first) - 1;
  first_loaded_ = next - loaded.size();
  counters_.rows_loaded = rows;
  counters_.segments_loaded = loaded.size();
  return true;
}

Status Store::State::create_schema() {
  GH_TRY(duck::execute(load_connection_, "BEGIN TRANSACTION"));
  for (const std::string& sql : create_all_sql()) GH_TRY(duck::execute(load_connection_, sql));
  GH_TRY(
      duck::execute(load_connection_, "CREATE TABLE main.segments (number UBIGINT, chain_head VARCHAR, rows UBIGINT)"));
  GH_TRY(duck::execute(load_connection_,
                       "CREATE TABLE main.schema_version AS SELECT " + quoted_literal(schema_text()) + " AS version"));
  first_loaded_ = log_.first_segment();
  loaded_to_ = first_loaded_ - 1;
  counters_.rows_loaded = counters_.segments_loaded = 0;
  return duck::execute(load_connection_, "COMMIT");
}

void Store::State::remove_files() {
  load_connection_.reset();
  database_.reset();
  std::error_code ignored;
  std::filesystem::remove(file_path(), ignored);
  std::filesystem::remove(file_path() + ".wal", ignored);
  std::filesystem::remove_all(options_.folder + "/spill", ignored);
}

// The engine on files that are of this log, made anew if need be. mutex_ held once the threads run.
Status Store::State::open_index() {
  GH_TRY(make_directories(options_.folder));
  const bool was_there = std::filesystem::exists(file_path());
  std::string why;
  if (const Status opened = open_files(); !opened) {
    why = opened.error().message();
  } else if (const auto usable = is_usable(); !usable) {
    why = usable.error().message();
  } else if (!*usable) {
    why = "of another version, or of another log";
  }
  if (!why.empty() && was_there) {
    log::warn("store", "the index cannot be used; building it anew from the log", {{"reason", why}});
    remove_files();
    GH_TRY(open_files());
    GH_ASSIGN(const bool is_made, is_usable());
    GH_CHECK(is_made);
  } else if (!why.empty()) {
    return Error("no index can be made: " + why +
                 "; the segment log is not touched, and `gatehouse verify` reads it without a collector");
  }
  counters_.rebuilt = !was_there || !why.empty();
  GH_TRY(fresh_tables_.open(load_connection_));
  GH_TRY(duck::execute(load_connection_, "SET lock_configuration = true"));
  backlog_end_ = log_.end();
  backlog_bytes_ = bytes_behind();
  has_caught_up_ = false;
  opened_ = std::chrono::steady_clock::now();
  return {};
}

// After a failed commit or checkpoint what the engine has in memory may be wrong, or it refuses everything. Its files
// hold what was committed. mutex_ held.
Status Store::State::reopen(std::unique_lock<std::mutex>& lock) {
  while (!is_closing_ && !asking_.empty()) {
    for (const duckdb_connection connection : asking_) duckdb_interrupt(connection);
    changed_.wait_for(lock, kInterruptPeriod);
  }
  if (is_closing_) return {};
  at_step("reopening");
  log::warn("store", "the index is opened anew");
  return open_index();
}

Status Store::State::open() {
  GH_TRY(open_index());
  indexer_ = std::thread([this] {
    run_behind();
    index();
  });
  loader_ = std::thread([this] {
    run_behind();
    load();
  });
  return {};
}

void Store::State::close() {
  {
    std::unique_lock lock(mutex_);
    is_closing_ = true;
    for (const duckdb_connection connection : asking_) duckdb_interrupt(connection);
    changed_.notify_all();
  }
  log_.wake();
  if (indexer_.joinable()) indexer_.join();
  if (loader_.joinable()) loader_.join();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return asking_.empty(); });
  fresh_.clear();
  lock.unlock();
  load_connection_.reset();
  database_.reset();
}

// mutex_ held.
ledger::Position Store::State::visible_to() const {
  uint64_t segment = loaded_to_ + 1;
  while (segment < indexed_to_.segment && fresh_.contains(segment)) ++segment;
  return segment == indexed_to_.segment ? indexed_to_ : ledger::Position{segment, 0, 0};
}

uint64_t Store::State::bytes_behind() const {
  uint64_t bytes = 0;
  for (const ledger::SegmentInfo& segment : log_.segments())
    if (segment.number > loaded_to_ && segment.number <= backlog_end_.segment) bytes += segment.durable_bytes;
  return bytes;
}

std::optional<Store::Progress> Store::State::progress() {
  has_caught_up_ = has_caught_up_ || visible_to() >= backlog_end_;
  if (has_caught_up_) return std::nullopt;
  const uint64_t left = std::min(bytes_behind(), backlog_bytes_);
  const uint64_t done = backlog_bytes_ - left;
  const auto passed = std::chrono::steady_clock::now() - opened_;
  const double seconds = std::chrono::duration<double>(passed).count();
  Progress progress;
  if (backlog_bytes_ > 0) progress.percent = static_cast<uint32_t>(done * 100 / backlog_bytes_);
  if (done > 0)
    progress.seconds_left = 1 + static_cast<uint64_t>(seconds * static_cast<double>(left) / static_cast<double>(done));
  return progress;
}

// mutex_ held.
Store::State::Snapshot Store::State::snapshot() const {
  std::vector<std::shared_ptr<FreshRows>> rows;
  for (const auto& [segment, fresh] : fresh_) rows.push_back(fresh.rows);
  return {.loaded_to = loaded_to_, .fresh = std::make_shared<FreshView>(rows)};
}

Store::Store(std::unique_ptr<State> state) : state_(std::move(state)) {}
Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(Options options, ledger::SegmentLog& log) {
  auto state = std::make_unique<State>(std::move(options), log);
  GH_TRY(state->open().context("opening the store"));
  return std::unique_ptr<Store>(new Store(std::move(state)));
}

Status Store::rows(const SqlQuery& query, const OnRow& on_row, const IsCancelled& is_cancelled) {
  return state_->run(
      query,
      [&](duckdb_data_chunk chunk) {
        const idx_t count = duckdb_data_chunk_get_size(chunk);
        for (idx_t i = 0; i < count; ++i)
          if (!on_row(read_row(chunk, i))) return false;
        return true;
      },
      is_cancelled);
}

Status Store::values(const SqlQuery& query, const OnValues& on_values, const IsCancelled& is_cancelled) {
  return state_->run(
      query,
      [&](duckdb_data_chunk chunk) {
        const idx_t count = duckdb_data_chunk_get_size(chunk);
        for (idx_t i = 0; i < count; ++i) {
          std::vector<std::string> values(duckdb_data_chunk_get_column_count(chunk));
          for (idx_t column = 0; column < values.size(); ++column) values[column] = read_text(chunk, column, i);
          if (!on_values(std::move(values))) return false;
        }
        return true;
      },
      is_cancelled);
}

ledger::Position Store::indexed_to() const {
  const std::lock_guard lock(state_->mutex_);
  return state_->visible_to();
}

bool Store::wait_indexed(const ledger::Position& position, std::chrono::milliseconds timeout) {
  std::unique_lock lock(state_->mutex_);
  state_->changed_.wait_for(lock, timeout, [&] { return state_->is_closing_ || state_->visible_to() >= position; });
  return state_->visible_to() >= position;
}

Store::Counters Store::counters() const {
  const std::lock_guard lock(state_->mutex_);
  return state_->counters_;
}

std::optional<Store::Progress> Store::progress() const {
  const std::lock_guard lock(state_->mutex_);
  return state_->progress();
}

void Store::close() {
  state_->close();
}

}  // namespace gatehouse::store
