// SPDX-License-Identifier: Apache-2.0
// The table of events: a column for each field of proto/fields.def, and where the event stands in the log. Rows to
// DuckDB's vectors and back. Private to collector/store.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "collector/store/duck.h"
#include "gatehouse/v1/query.pb.h"

namespace gatehouse::store {

// After the fields: order of arrival, for stable sorting and for taking a part of the log.
struct RowOrigin {
  uint64_t segment = 0;
  uint32_t record = 0;
  uint64_t sequence = 0;  // the event's, of its agent and boot
};

// `CREATE TABLE <name> (…)`; `is_on_disk` adds how columns are compressed.
std::string create_table_sql(std::string_view name, bool is_on_disk);

// Collects rows for an appender, a vector's length at a time. Not thread-safe.
class ChunkWriter {
 public:
  ChunkWriter();
  [[nodiscard]] bool is_full() const;
  [[nodiscard]] size_t row_count() const { return row_count_; }
  void add(const v1::Row& row, const RowOrigin& origin);
  // Gives the rows to `appender` and starts anew.
  Status append_to(const duck::Appender& appender);

 private:
  void start();
  std::vector<duck::Type> types_;
  duck::Chunk chunk_;
  size_t row_count_ = 0;
};

// Row `index` of a chunk whose columns are the fields, in order.
v1::Row read_row(duckdb_data_chunk chunk, idx_t index);
// A VARCHAR of a chunk.
std::string_view read_text(duckdb_data_chunk chunk, idx_t column, idx_t index);

}  // namespace gatehouse::store
