// SPDX-License-Identifier: Apache-2.0
// Questions: one connection each, on a snapshot of which tables hold what, streamed chunk by chunk.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "collector/store/schema.h"
#include "collector/store/store_state.h"
#include "collector/store/sums.h"

namespace gatehouse::store {
namespace {

constexpr std::string_view kPartsPlace = "{parts}";
constexpr std::string_view kTablePlace = "{table}";

std::string replaced(std::string text, std::string_view place, std::string_view with) {
  for (size_t at = text.find(place); at != std::string::npos; at = text.find(place, at + with.size()))
    text.replace(at, place.size(), with);
  return text;
}

Status bind_values(const duck::Prepared& prepared, const std::vector<Value>& parameters) {
  const idx_t count = std::min<idx_t>(parameters.size(), duckdb_nparams(prepared.get()));
  for (idx_t i = 0; i < count; ++i) {
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
  GH_TRY(duck::finish(pending, is_cancelled));
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

// Rows that are asked for, of one table.
struct Keys {
  std::vector<uint64_t> rows, times, contexts, shapes;
};

void add_keys(duckdb_data_chunk chunk, std::array<Keys, 2>& keys) {
  const auto column = [&]<typename T>(idx_t index, T /*type*/) {
    return static_cast<const T*>(duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, index)));
  };
  const auto* const part = column(0, int32_t{});
  const auto* const row = column(1, int64_t{});
  for (idx_t i = 0; i < duckdb_data_chunk_get_size(chunk); ++i) {
    Keys& of_part = keys.at(static_cast<size_t>(part[i]));
    of_part.rows.push_back(static_cast<uint64_t>(row[i]));
    of_part.times.push_back(column(2, uint64_t{})[i]);
    of_part.contexts.push_back(column(3, uint64_t{})[i]);
    of_part.shapes.push_back(column(4, uint64_t{})[i]);
  }
}

std::string between(const std::string& column, const std::vector<uint64_t>& values) {
  const auto [least, most] = std::ranges::minmax(values);
  return column + " >= " + std::to_string(least) + " AND " + column + " <= " + std::to_string(most);
}

// The bounds are what the engine leaves most of a table unread by; the values alone do not.
std::string among(const std::string& column, std::vector<uint64_t> values) {
  std::ranges::sort(values);
  values.erase(std::ranges::unique(values).begin(), values.end());
  std::string list;
  for (const uint64_t value : values) list += (list.empty() ? "" : ", ") + std::to_string(value);
  return between(column, values) + " AND " + column + " IN (SELECT unnest([" + list + "]))";
}

// The SQL of a question that asks once: of the file's events, or of their sums and of those that sums do not cover, and
// of the fresh rows. `shown`: a condition on the file's events.
std::string sql_of(const SqlQuery& query, const TableNames& fresh, const std::string& shown, uint64_t loaded_to) {
  std::string parts;
  const auto add = [&](const std::string& part, const std::string& from) {
    parts += (parts.empty() ? "" : " UNION ALL ") + replaced(part, kTablePlace, "(" + from + ")");
  };
  const auto add_events = [&](const TableNames& tables, const std::string& which) {
    add(query.part, joined_sql(tables, {.events = which, .contexts = {}, .shapes = {}}, query.columns));
  };
  const auto summed = query.sums.empty() ? std::nullopt : summed_time(query.since_ns, query.until_ns);
  if (summed) {
    if (query.since_ns < summed->from_ns)
      add_events(file_tables(), shown + " AND time_ns < " + std::to_string(summed->from_ns));
    if (query.until_ns != summed->to_ns)
      add_events(file_tables(), shown + " AND time_ns >= " + std::to_string(summed->to_ns));
    add(query.sums, sums_sql(*summed, loaded_to, query.columns));
  } else {
    add_events(file_tables(), shown);
  }
  add_events(fresh, "");
  return replaced(query.whole, kPartsPlace, "(" + parts + ")");
}

}  // namespace

// Asks of the file and of the fresh rows.
Status Store::State::ask_both(const duck::Connection& connection, const SqlQuery& query, const Snapshot& tables,
                              const std::function<bool(duckdb_data_chunk)>& on_chunk,
                              const std::function<bool()>& is_over) {
  const FreshTables::Shown fresh(fresh_tables_, tables.fresh);
  // The file may have got a segment since: it is in `tables` as a fresh one, so it must not count twice.
  const std::string shown = up_to_segment(tables.loaded_to);
  if (query.keys.empty())
    return ask(connection, sql_of(query, fresh.names(), shown, tables.loaded_to), query.parameters, on_chunk, is_over);
  const std::array<TableNames, 2> names{file_tables(), fresh.names()};
  std::array<RowsOf, 2> rows{{{.events = shown}, {}}};
  const auto sql_of_step = [&](const std::string& part, const std::string& whole,
                               std::span<const std::string_view> columns, const std::array<bool, 2>& is_asked) {
    std::string parts;
    for (size_t i = 0; i < names.size(); ++i) {
      if (!is_asked[i]) continue;
      if (!parts.empty()) parts += " UNION ALL ";
      const std::string one = replaced(part, kTablePlace, "(" + joined_sql(names[i], rows[i], columns) + ")");
      parts += "SELECT " + std::to_string(i) + " AS " + std::string(kPartColumn) + ", * FROM (" + one + ")";
    }
    return replaced(whole, kPartsPlace, "(" + parts + ")");
  };
  // One transaction, so that rows keep their numbers.
  GH_TRY(duck::execute(connection, "BEGIN TRANSACTION"));
  std::array<Keys, 2> keys;
  GH_TRY(ask(
      connection, sql_of_step(query.keys, query.keys_whole, query.columns, {true, true}), query.parameters,
      [&](duckdb_data_chunk chunk) { return add_keys(chunk, keys), true; }, is_over));
  const size_t found = keys[0].rows.size() + keys[1].rows.size();
  if ((query.on_keys && !query.on_keys(found)) || found == 0) return {};
  for (size_t i = 0; i < keys.size(); ++i) {
    if (keys[i].rows.empty()) continue;
    rows[i] = {.events = between("time_ns", keys[i].times) + " AND " + among("rowid", keys[i].rows),
               .contexts = among("context", keys[i].contexts),
               .shapes = among("shape", keys[i].shapes)};
  }
  return ask(connection, sql_of_step(query.part, query.whole, {}, {!keys[0].rows.empty(), !keys[1].rows.empty()}), {},
             on_chunk, is_over);
}

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
  const auto is_over = [&] {
    if (is_cancelled && is_cancelled()) return true;
    const std::lock_guard lock(mutex_);
    return is_closing_;
  };
  Status status = ask_both(connection, query, tables, on_chunk, is_over);
  tables = {};
  const std::lock_guard lock(mutex_);
  asking_.erase(connection.get());
  connection.reset();
  changed_.notify_all();
  return status;
}

}  // namespace gatehouse::store
