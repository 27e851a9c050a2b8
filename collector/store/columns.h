// SPDX-License-Identifier: Apache-2.0
// The store's three tables (row_view.h says what is where) and how they read as one. Rows to DuckDB's vectors and back.
// Private to collector/store.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "collector/store/duck.h"
#include "collector/store/row_view.h"
#include "gatehouse/v1/query.pb.h"

namespace gatehouse::store {

struct Column {
  std::string_view name;
  ColumnType type;
};

enum class Table : uint8_t { kEvents, kContexts, kShapes };
inline constexpr size_t kTableCount = 3;
inline constexpr std::array<std::string_view, kTableCount> kTableNames{"events", "contexts", "shapes"};
// What SQL calls each, in one place.
using TableNames = std::array<std::string, kTableCount>;

// A context's or shape's number: its segment's number above, its place in the segment below.
inline constexpr unsigned kNumberBits = 32;

// What of a statement's texts is in its shape: the tag without the count it ends with, and the whole text if it
// repeats.
struct ShapeTexts {
  std::string_view tag;
  bool tag_ends_with_rows = false;
  std::string_view text;
};

// Columns of each table, in the order in which put_… writes them.
std::span<const Column> columns_of(Table table);
duck::Type duck_type(ColumnType type);

// The store's file's.
TableNames file_tables();
std::vector<std::string> create_tables_sql();

// Conditions on each table's own columns; empty: all of it.
struct RowsOf {
  std::string events;
  std::string contexts;
  std::string shapes;
};
// A SELECT with all fields as columns, and those of schema.h. `columns`: which of them will be asked for; empty: all.
std::string joined_sql(const TableNames& tables, const RowsOf& rows, std::span<const std::string_view> columns);
// Events of segments up to this one.
std::string up_to_segment(uint64_t segment);

// Collects rows of one table, a vector's length at a time. Not thread-safe.
class ChunkWriter {
 public:
  explicit ChunkWriter(Table table);
  [[nodiscard]] bool is_full() const { return row_count_ == rows_max_; }
  [[nodiscard]] size_t row_count() const { return row_count_; }
  // Being filled: rows that are written do not change any more, lists may move.
  [[nodiscard]] const std::shared_ptr<duck::Chunk>& chunk() const { return chunk_; }
  // Starts anew; the chunk is the caller's.
  std::shared_ptr<duck::Chunk> take();
  // What `rows` of a chunk take, about.
  static uint64_t bytes_of(const duck::Chunk& chunk, size_t rows);

  // The columns of one row, in order.
  void put(std::string_view text);
  void put(uint32_t number) { data<uint32_t>()[row_count_] = number; }
  void put(uint64_t number) { data<uint64_t>()[row_count_] = number; }
  void put(bool flag) { data<bool>()[row_count_] = flag; }
  void put(TextViews list);
  void end_row();

 private:
  void start();
  template <typename T>
  T* data() {
    return static_cast<T*>(data_[column_++]);
  }
  std::vector<duck::Type> types_;
  std::vector<duckdb_vector> vectors_;
  std::vector<void*> data_;
  std::shared_ptr<duck::Chunk> chunk_;
  size_t rows_max_ = 0;
  size_t row_count_ = 0;
  size_t column_ = 0;
};

// Each puts the columns of one row; end_row() is the caller's.
//
// Where an event stands in the log, and what it shares with others.
struct EventPlace {
  uint32_t record = 0;
  uint64_t sequence = 0;  // the event's, of its agent and boot
  uint64_t context = 0;
  uint64_t shape = 0;
};
void put_event(ChunkWriter& writer, const EventPlace& place, const RowView& row);
// `id_prefix`: of row.id, before the sequence.
void put_context(ChunkWriter& writer, uint64_t number, std::string_view id_prefix, const RowView& row);
void put_shape(ChunkWriter& writer, uint64_t number, const ShapeTexts& texts, const RowView& row);

// Appends what makes two contexts or shapes the same.
void append_context_key(std::string& key, std::string_view id_prefix, const RowView& row);
void append_shape_key(std::string& key, const ShapeTexts& texts, const RowView& row);

// Row `index` of a chunk whose columns are the fields, in order.
v1::Row read_row(duckdb_data_chunk chunk, idx_t index);
// A VARCHAR of a chunk.
std::string_view read_text(duckdb_data_chunk chunk, idx_t column, idx_t index);

}  // namespace gatehouse::store
