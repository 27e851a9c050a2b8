// SPDX-License-Identifier: Apache-2.0
#include "collector/store/duck.h"

#include <chrono>
#include <thread>

#include "common/check.h"

namespace gatehouse::store::duck {
namespace {

// The result of one query, freed with it.
struct QueryResult {
  duckdb_result raw{};
  QueryResult() = default;
  QueryResult(const QueryResult&) = delete;
  QueryResult& operator=(const QueryResult&) = delete;
  ~QueryResult() { duckdb_destroy_result(&raw); }
};

// The first line: a fatal error's stack trace follows.
Error error_of(const char* message) {
  const std::string_view text = message != nullptr ? message : "no reason given";
  return Error("DuckDB: " + std::string(text.substr(0, text.find('\n'))));
}

}  // namespace

Result<Database> open(const std::string& path, const std::vector<std::pair<std::string, std::string>>& settings) {
  Config config;
  GH_CHECK(duckdb_create_config(config.out()) == DuckDBSuccess);
  for (const auto& [name, value] : settings)
    if (duckdb_set_config(config.get(), name.c_str(), value.c_str()) != DuckDBSuccess)
      return Error("DuckDB refuses " + name + " = " + value);
  Database database;
  char* message = nullptr;
  if (duckdb_open_ext(path.c_str(), database.out(), config.get(), &message) != DuckDBSuccess) {
    Error error(path + ": " + (message != nullptr ? message : "cannot be opened"));
    duckdb_free(message);
    return error;
  }
  return database;
}

Result<Connection> connect(const Database& database) {
  Connection connection;
  if (duckdb_connect(database.get(), connection.out()) != DuckDBSuccess) return Error("DuckDB gives no connection");
  return connection;
}

Status finish(const Pending& pending, const std::function<bool()>& is_over) {
  constexpr std::chrono::microseconds kTaskWait{100};
  for (;;) {
    if (is_over()) return Error("cancelled");
    switch (duckdb_pending_execute_task(pending.get())) {
      case DUCKDB_PENDING_RESULT_READY:
        return {};
      case DUCKDB_PENDING_RESULT_NOT_READY:
        break;
      case DUCKDB_PENDING_NO_TASKS_AVAILABLE:
        std::this_thread::sleep_for(kTaskWait);
        break;
      case DUCKDB_PENDING_ERROR:
        return error_of(duckdb_pending_error(pending.get()));
    }
  }
}

Status execute(const Connection& connection, const std::string& sql) {
  if (!connection) return error_of("not open");
  Prepared prepared;
  if (duckdb_prepare(connection.get(), sql.c_str(), prepared.out()) != DuckDBSuccess)
    return error_of(duckdb_prepare_error(prepared.get()));
  Pending pending;
  if (duckdb_pending_prepared(prepared.get(), pending.out()) != DuckDBSuccess)
    return error_of(duckdb_pending_error(pending.get()));
  GH_TRY(finish(pending, [] { return false; }));
  QueryResult result;
  if (duckdb_execute_pending(pending.get(), &result.raw) != DuckDBSuccess)
    return error_of(duckdb_result_error(&result.raw));
  return {};
}

Result<std::vector<std::vector<std::string>>> table_of(const Connection& connection, const std::string& sql) {
  if (!connection) return error_of("not open");
  QueryResult result;
  if (duckdb_query(connection.get(), sql.c_str(), &result.raw) != DuckDBSuccess)
    return error_of(duckdb_result_error(&result.raw));
  std::vector<std::vector<std::string>> rows(duckdb_row_count(&result.raw));
  for (idx_t row = 0; row < rows.size(); ++row) {
    for (idx_t column = 0; column < duckdb_column_count(&result.raw); ++column) {
      char* text = duckdb_value_varchar(&result.raw, column, row);
      rows[row].emplace_back(text != nullptr ? text : "");
      duckdb_free(text);
    }
  }
  return rows;
}

}  // namespace gatehouse::store::duck
