// SPDX-License-Identifier: Apache-2.0
#include "collector/store/columns.h"

#include <array>
#include <span>

#include "collector/store/schema.h"
#include "common/check.h"

namespace gatehouse::store {
namespace {

enum class ColumnType : uint8_t { kText, kUint32, kUint64, kBool, kList };
[[maybe_unused]] constexpr ColumnType STRING = ColumnType::kText;
[[maybe_unused]] constexpr ColumnType UINT32 = ColumnType::kUint32;
[[maybe_unused]] constexpr ColumnType UINT64 = ColumnType::kUint64;
[[maybe_unused]] constexpr ColumnType BOOL = ColumnType::kBool;
[[maybe_unused]] constexpr ColumnType TIME = ColumnType::kUint64;
[[maybe_unused]] constexpr ColumnType LIST = ColumnType::kList;

struct Column {
  std::string_view name;
  ColumnType type;
};

constexpr Column kColumns[] = {
#define GH_FIELD(name, member, type, help) {#member, type},
#include "proto/fields.def"
#undef GH_FIELD
    {kSegmentColumn, ColumnType::kUint64},
    {kRecordColumn, ColumnType::kUint32},
    {kSequenceColumn, ColumnType::kUint64},
};

constexpr size_t kFieldCount = std::size(kColumns) - 3;

std::string_view sql_type(ColumnType type) {
  switch (type) {
    case ColumnType::kText:
      return "VARCHAR";
    case ColumnType::kUint32:
      return "UINTEGER";
    case ColumnType::kUint64:
      return "UBIGINT";
    case ColumnType::kBool:
      return "BOOLEAN";
    case ColumnType::kList:
      return "VARCHAR[]";
  }
  __builtin_trap();
}

duck::Type duck_type(ColumnType type) {
  duck::Type made;
  switch (type) {
    case ColumnType::kText:
      *made.out() = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
      return made;
    case ColumnType::kUint32:
      *made.out() = duckdb_create_logical_type(DUCKDB_TYPE_UINTEGER);
      return made;
    case ColumnType::kUint64:
      *made.out() = duckdb_create_logical_type(DUCKDB_TYPE_UBIGINT);
      return made;
    case ColumnType::kBool:
      *made.out() = duckdb_create_logical_type(DUCKDB_TYPE_BOOLEAN);
      return made;
    case ColumnType::kList: {
      duck::Type text;
      *text.out() = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
      *made.out() = duckdb_create_list_type(text.get());
      return made;
    }
  }
  __builtin_trap();
}

using TextList = google::protobuf::RepeatedPtrField<std::string>;

template <typename T>
T* data_of(duckdb_vector vector) {
  return static_cast<T*>(duckdb_vector_get_data(vector));
}

void put(duckdb_vector vector, idx_t index, const std::string& text) {
  duckdb_vector_assign_string_element_len(vector, index, text.data(), text.size());
}
void put(duckdb_vector vector, idx_t index, uint32_t number) {
  data_of<uint32_t>(vector)[index] = number;
}
void put(duckdb_vector vector, idx_t index, uint64_t number) {
  data_of<uint64_t>(vector)[index] = number;
}
void put(duckdb_vector vector, idx_t index, bool flag) {
  data_of<bool>(vector)[index] = flag;
}
void put(duckdb_vector vector, idx_t index, const TextList& list) {
  const idx_t first = duckdb_list_vector_get_size(vector);
  const auto count = static_cast<idx_t>(list.size());
  data_of<duckdb_list_entry>(vector)[index] = {first, count};
  if (count == 0) return;
  GH_CHECK(duckdb_list_vector_reserve(vector, first + count) == DuckDBSuccess);
  const duckdb_vector child = duckdb_list_vector_get_child(vector);
  for (idx_t i = 0; i < count; ++i) put(child, first + i, list[static_cast<int>(i)]);
  GH_CHECK(duckdb_list_vector_set_size(vector, first + count) == DuckDBSuccess);
}

std::string_view text_at(duckdb_vector vector, idx_t index) {
  duckdb_string_t* const text = data_of<duckdb_string_t>(vector) + index;
  return {duckdb_string_t_data(text), duckdb_string_t_length(*text)};
}

void get(duckdb_vector vector, idx_t index, std::string* text) {
  text->assign(text_at(vector, index));
}
void get(duckdb_vector vector, idx_t index, TextList* list) {
  const duckdb_list_entry entry = data_of<duckdb_list_entry>(vector)[index];
  const duckdb_vector child = duckdb_list_vector_get_child(vector);
  for (idx_t i = entry.offset; i < entry.offset + entry.length; ++i) list->Add()->assign(text_at(child, i));
}

}  // namespace

std::string create_table_sql(std::string_view name, bool is_on_disk) {
  std::string sql = "CREATE TABLE " + std::string(name) + " (";
  for (const Column& column : kColumns) {
    if (&column != kColumns) sql += ", ";
    sql += column.name;
    sql += ' ';
    sql += sql_type(column.type);
    // Statements repeat with other literals: zstd over many of them saves 40 % of the table.
    if (is_on_disk && (column.name == "statement_text" || column.name == "statement_resolved"))
      sql += " USING COMPRESSION zstd";
  }
  return sql + ")";
}

const std::string& row_columns() {
  static const std::string columns = [] {
    std::string list;
    for (const Column& column : std::span{kColumns}.first(kFieldCount)) {
      if (!list.empty()) list += ", ";
      list += column.name;
    }
    return list;
  }();
  return columns;
}

ChunkWriter::ChunkWriter() {
  for (const Column& column : kColumns) types_.push_back(duck_type(column.type));
  start();
}

bool ChunkWriter::is_full() const {
  return row_count_ == duckdb_vector_size();
}

// A new chunk each time: a list column's child keeps what it grew to, and resetting one does not reset that.
void ChunkWriter::start() {
  std::array<duckdb_logical_type, std::size(kColumns)> types{};
  for (size_t i = 0; i < types.size(); ++i) types[i] = types_[i].get();
  *chunk_.out() = duckdb_create_data_chunk(types.data(), types.size());
  row_count_ = 0;
}

void ChunkWriter::add(const v1::Row& row, const RowOrigin& origin) {
  GH_CHECK(!is_full());
  const idx_t index = row_count_++;
  idx_t column = 0;
#define GH_FIELD(name, member, type, help) \
  put(duckdb_data_chunk_get_vector(chunk_.get(), column++), index, row.member());
#include "proto/fields.def"
#undef GH_FIELD
  put(duckdb_data_chunk_get_vector(chunk_.get(), column++), index, origin.segment);
  put(duckdb_data_chunk_get_vector(chunk_.get(), column++), index, origin.record);
  put(duckdb_data_chunk_get_vector(chunk_.get(), column++), index, origin.sequence);
}

Status ChunkWriter::append_to(const duck::Appender& appender) {
  if (row_count_ == 0) return {};
  duckdb_data_chunk_set_size(chunk_.get(), row_count_);
  const duckdb_state state = duckdb_append_data_chunk(appender.get(), chunk_.get());
  start();
  if (state == DuckDBSuccess) return {};
  const char* const message = duckdb_appender_error(appender.get());
  return Error(std::string("DuckDB: ") + (message != nullptr ? message : "rows refused"));
}

#define GH_READ_STRING(member) get(vector, index, row.mutable_##member())
#define GH_READ_LIST(member) get(vector, index, row.mutable_##member())
#define GH_READ_UINT32(member) row.set_##member(data_of<uint32_t>(vector)[index])
#define GH_READ_UINT64(member) row.set_##member(data_of<uint64_t>(vector)[index])
#define GH_READ_TIME(member) row.set_##member(data_of<uint64_t>(vector)[index])
#define GH_READ_BOOL(member) row.set_##member(data_of<bool>(vector)[index])

v1::Row read_row(duckdb_data_chunk chunk, idx_t index) {
  v1::Row row;
  idx_t column = 0;
  duckdb_vector vector = nullptr;
#define GH_FIELD(name, member, type, help)                \
  vector = duckdb_data_chunk_get_vector(chunk, column++); \
  GH_READ_##type(member);
#include "proto/fields.def"
#undef GH_FIELD
  return row;
}

std::string_view read_text(duckdb_data_chunk chunk, idx_t column, idx_t index) {
  return text_at(duckdb_data_chunk_get_vector(chunk, column), index);
}

}  // namespace gatehouse::store
