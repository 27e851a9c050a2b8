// SPDX-License-Identifier: Apache-2.0
// Questions: one connection each, on a snapshot of which tables hold what, streamed chunk by chunk.
#include "collector/store/schema.h"
#include "collector/store/store_state.h"

namespace gatehouse::store {
namespace {

constexpr std::string_view kPartsPlace = "{parts}";
constexpr std::string_view kTablePlace = "{table}";
constexpr std::string_view kRowsPlace = "{rows}";

std::string replaced(std::string text, std::string_view place, std::string_view with) {
  for (size_t at = text.find(place); at != std::string::npos; at = text.find(place, at + with.size()))
    text.replace(at, place.size(), with);
  return text;
}

Status bind_values(const duck::Prepared& prepared, const std::vector<Value>& parameters) {
  for (idx_t i = 0; i < parameters.size(); ++i) {
    const idx_t place = i + 1;
    duckdb_state state = DuckDBError;
    if (const auto* text = std::get_if<std::string>(&parameters[i]))
      state = duckdb_bind_varchar_length(prepared.get(), place, text->data(), text->size());
    else if (const auto* number = std::get_if<uint64_t>(&parameters[i]))
      state = duckdb_bind_uint64(prepared.get(), place, *number);
    else if (const auto* flag = std::get_if<bool>(&parameters[i]))
      state = duckdb_bind_boolean(prepared.get(), place, *flag);
    if (state != DuckDBSuccess) return Error("DuckDB: value " + std::to_string(place) + " cannot be bound");
  }
  return {};
}

struct StreamedResult {
  duckdb_result raw{};
  StreamedResult() = default;
  StreamedResult(const StreamedResult&) = delete;
  StreamedResult& operator=(const StreamedResult&) = delete;
  ~StreamedResult() { duckdb_destroy_result(&raw); }
};

Status ask(const duck::Connection& connection, const std::string& sql, const std::vector<Value>& parameters,
           const std::function<bool(duckdb_data_chunk)>& on_chunk, const std::function<bool()>& is_cancelled) {
  duck::Prepared prepared;
  if (duckdb_prepare(connection.get(), sql.c_str(), prepared.out()) != DuckDBSuccess)
    return Error(std::string("DuckDB: ") + duckdb_prepare_error(prepared.get()));
  GH_TRY(bind_values(prepared, parameters));
  duck::Pending pending;
  if (duckdb_pending_prepared_streaming(prepared.get(), pending.out()) != DuckDBSuccess)
    return Error(std::string("DuckDB: ") + duckdb_pending_error(pending.get()));
  for (;;) {
    if (is_cancelled()) return Error("cancelled");
    const duckdb_pending_state state = duckdb_pending_execute_task(pending.get());
    if (state == DUCKDB_PENDING_ERROR) return Error(std::string("DuckDB: ") + duckdb_pending_error(pending.get()));
    if (duckdb_pending_execution_is_finished(state)) break;
  }
  StreamedResult result;
  if (duckdb_execute_pending(pending.get(), &result.raw) != DuckDBSuccess)
    return Error(std::string("DuckDB: ") + duckdb_result_error(&result.raw));
  for (;;) {
    if (is_cancelled()) return Error("cancelled");
    duck::Chunk chunk;
    *chunk.out() = duckdb_fetch_chunk(result.raw);
    if (!chunk) break;
    if (!on_chunk(chunk.get())) return {};
  }
  const char* const message = duckdb_result_error(&result.raw);
  if (message != nullptr && *message != '\0') return Error(std::string("DuckDB: ") + message);
  return {};
}

}  // namespace

Status Store::State::run(const SqlQuery& query, const std::function<bool(duckdb_data_chunk)>& on_chunk,
                         const IsCancelled& is_cancelled) {
  Snapshot tables;
  duck::Connection connection;
  {
    const std::lock_guard lock(mutex_);
    if (is_closing_) return Error("the store is closing");
    GH_ASSIGN(connection, duck::connect(database_));
    asking_.insert(connection.get());
    tables = snapshot();
  }
  // The file may have got a segment since: it is in `tables` as a fresh one, so it must not count twice.
  const auto part_of = [&](const TableNames& names, uint64_t segment_max) {
    const std::string table = "(" + joined_sql(names, segment_max, query.columns) + ")";
    return replaced(replaced(query.part, kTablePlace, table), kRowsPlace,
                    "(" + joined_sql(names, segment_max, {}) + ")");
  };
  const FreshTables::Shown fresh(fresh_tables_, tables.fresh);
  const std::string parts =
      part_of(file_tables(), tables.loaded_to) + " UNION ALL " + part_of(fresh.names(), UINT64_MAX);
  const std::string sql = replaced(query.whole, kPartsPlace, "(" + parts + ")");
  const auto is_over = [&] {
    if (is_cancelled && is_cancelled()) return true;
    const std::lock_guard lock(mutex_);
    return is_closing_;
  };
  Status status = ask(connection, sql, query.parameters, on_chunk, is_over);
  tables = {};
  const std::lock_guard lock(mutex_);
  asking_.erase(connection.get());
  connection.reset();
  changed_.notify_all();
  return status;
}

}  // namespace gatehouse::store
