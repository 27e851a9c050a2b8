// SPDX-License-Identifier: Apache-2.0
// DuckDB's C interface with owners and Results. Private to collector/store.
#pragma once

#include <duckdb.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"

namespace gatehouse::store::duck {

// Owns a handle that DuckDB frees through a pointer to it.
template <typename T, void (*kFree)(T*)>
class Handle {
 public:
  Handle() = default;
  Handle(Handle&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    if (this != &other) {
      reset();
      raw_ = std::exchange(other.raw_, nullptr);
    }
    return *this;
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { reset(); }

  [[nodiscard]] T get() const { return raw_; }
  [[nodiscard]] explicit operator bool() const { return raw_ != nullptr; }
  T* out() {
    reset();
    return &raw_;
  }
  void reset() {
    if (raw_ != nullptr) kFree(&raw_);
    raw_ = nullptr;
  }

 private:
  T raw_ = nullptr;
};

using Connection = Handle<duckdb_connection, duckdb_disconnect>;
using Config = Handle<duckdb_config, duckdb_destroy_config>;
using Prepared = Handle<duckdb_prepared_statement, duckdb_destroy_prepare>;
using Pending = Handle<duckdb_pending_result, duckdb_destroy_pending>;
using Chunk = Handle<duckdb_data_chunk, duckdb_destroy_data_chunk>;
using Type = Handle<duckdb_logical_type, duckdb_destroy_logical_type>;
using Database = Handle<duckdb_database, duckdb_close>;

// `settings`: DuckDB's configuration options by name.
Result<Database> open(const std::string& path, const std::vector<std::pair<std::string, std::string>>& settings);
Result<Connection> connect(const Database& database);
// Brings a statement to where its result can be fetched; an Error "cancelled" when `is_over`. Sleeps while all that is
// left is with the engine's own threads, for which the engine would spin.
Status finish(const Pending& pending, const std::function<bool()>& is_over);
// One statement whose result is of no interest.
Status execute(const Connection& connection, const std::string& sql);
// A small result whole: rows of columns, as text.
Result<std::vector<std::vector<std::string>>> table_of(const Connection& connection, const std::string& sql);

}  // namespace gatehouse::store::duck
