// SPDX-License-Identifier: Apache-2.0
#include "collector/store/columns.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "collector/store/schema.h"
#include "common/check.h"

namespace gatehouse::store {
namespace {

using namespace field_types;

template <size_t kCount>
using Columns = std::array<Column, kCount>;

constexpr size_t count_of(Home home) {
  size_t count = 0;
#define GH_FIELD(name, member, type, help) count += home_of(#member) == home ? 1 : 0;
#include "proto/fields.def"
#undef GH_FIELD
  return count;
}

// `first`, and the fields whose home it is.
template <Home kHome, size_t kFirst>
constexpr auto with_fields(const Columns<kFirst>& first) {
  Columns<kFirst + count_of(kHome)> columns{};
  size_t at = 0;
  for (const Column& column : first) columns[at++] = column;
#define GH_FIELD(name, member, type, help) \
  if (home_of(#member) == kHome) columns[at++] = {#member, type};
#include "proto/fields.def"
#undef GH_FIELD
  return columns;
}

constexpr auto kEventColumns = with_fields<Home::kEvent>(Columns<4>{{{kRecordColumn, ColumnType::kUint32},
                                                                     {kSequenceColumn, ColumnType::kUint64},
                                                                     {"context", ColumnType::kUint64},
                                                                     {"shape", ColumnType::kUint64}}});
constexpr auto kContextColumns =
    with_fields<Home::kContext>(Columns<2>{{{"context", ColumnType::kUint64}, {"id_prefix", ColumnType::kText}}});
constexpr auto kShapeColumns = with_fields<Home::kShape>(Columns<3>{
    {{"shape", ColumnType::kUint64}, {"tag_ends_with_rows", ColumnType::kBool}, {"shape_text", ColumnType::kText}}});

// The select list's expression of a field, where it is not its column.
std::string made_of(std::string_view member) {
  if (member == "id") return "c.id_prefix || e." + std::string(kSequenceColumn);
  if (member == "statement_text") return "CASE WHEN s.shape_text = '' THEN e.statement_text ELSE s.shape_text END";
  if (member == "statement_tag")
    return "CASE WHEN s.tag_ends_with_rows THEN s.statement_tag || e.result_rows ELSE s.statement_tag END";
  return "";
}

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

using TextList = google::protobuf::RepeatedPtrField<std::string>;

template <typename T>
T* data_of(duckdb_vector vector) {
  return static_cast<T*>(duckdb_vector_get_data(vector));
}

// DuckDB keeps so many bytes of a text in its place in the vector.
constexpr size_t kInlinedBytes = 12;

void put_text(duckdb_vector vector, duckdb_string_t* place, idx_t index, std::string_view text) {
  if (text.size() > kInlinedBytes)
    return duckdb_vector_assign_string_element_len(vector, index, text.data(), text.size());
  duckdb_string_t inlined{};
  inlined.value.inlined.length = static_cast<uint32_t>(text.size());
  if (!text.empty()) std::memcpy(inlined.value.inlined.inlined, text.data(), text.size());
  place[index] = inlined;
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

template <typename T>
void append_bytes(std::string& key, const T& value) {
  if constexpr (std::is_same_v<T, std::string_view>) {
    append_bytes(key, static_cast<uint32_t>(value.size()));
    key += value;
  } else if constexpr (std::is_same_v<T, TextViews>) {
    append_bytes(key, static_cast<uint32_t>(value.size()));
    for (const std::string_view text : value) append_bytes(key, text);
  } else {
    key.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
}

}  // namespace

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

std::span<const Column> columns_of(Table table) {
  switch (table) {
    case Table::kEvents:
      return kEventColumns;
    case Table::kContexts:
      return kContextColumns;
    case Table::kShapes:
      return kShapeColumns;
  }
  __builtin_trap();
}

TableNames file_tables() {
  TableNames names;
  for (size_t i = 0; i < kTableCount; ++i) names[i] = "main." + std::string(kTableNames[i]);
  return names;
}

std::vector<std::string> create_tables_sql() {
  std::vector<std::string> all;
  for (size_t i = 0; i < kTableCount; ++i) {
    std::string sql = "CREATE TABLE " + file_tables()[i] + " (";
    for (const Column& column : columns_of(static_cast<Table>(i))) {
      if (!sql.ends_with('(')) sql += ", ";
      sql += column.name;
      sql += ' ';
      sql += sql_type(column.type);
      // Statements repeat with other literals: zstd over many of them saves 40 % of the table.
      if (column.name == "statement_text" || column.name == "statement_resolved") sql += " USING COMPRESSION zstd";
    }
    all.push_back(sql + ")");
  }
  return all;
}

// `(SELECT … WHERE …)`, or the table itself.
std::string those_of(const std::string& table, const std::string& condition, const char* columns) {
  return condition.empty() ? table : "(SELECT " + std::string(columns) + " FROM " + table + " WHERE " + condition + ")";
}

std::string joined_sql(const TableNames& tables, const RowsOf& rows, std::span<const std::string_view> columns) {
  std::string list;
  bool needs_context = false;
  bool needs_shape = false;
  const auto add = [&](std::string_view member) {
    if (!columns.empty() && std::ranges::find(columns, member) == columns.end()) return;
    const Home home = home_of(member);
    std::string from = made_of(member);
    needs_context |= home == Home::kContext || from.find("c.") != std::string::npos;
    needs_shape |= home == Home::kShape || from.find("s.") != std::string::npos;
    if (from.empty()) from = (home == Home::kContext ? "c." : home == Home::kShape ? "s." : "e.") + std::string(member);
    list += from + " AS " + std::string(member) + ", ";
  };
#define GH_FIELD(name, member, type, help) add(#member);
#include "proto/fields.def"
#undef GH_FIELD
  std::string sql = "SELECT " + list + "(e.context >> " + std::to_string(kNumberBits) + ") AS " +
                    std::string(kSegmentColumn) + ", e." + std::string(kRecordColumn) + ", e." +
                    std::string(kSequenceColumn) + ", e.context, e.shape, e.rowid AS " + std::string(kRowColumn) +
                    " FROM " + those_of(tables[0], rows.events, "*, rowid") + " e";
  if (needs_context) sql += " JOIN " + those_of(tables[1], rows.contexts, "*") + " c ON c.context = e.context";
  if (needs_shape) sql += " JOIN " + those_of(tables[2], rows.shapes, "*") + " s ON s.shape = e.shape";
  return sql;
}

std::string up_to_segment(uint64_t segment) {
  return "context < " + std::to_string((segment + 1) << kNumberBits);
}

const std::string& row_columns() {
  static const std::string columns = [] {
    std::string list;
#define GH_FIELD(name, member, type, help) list += (list.empty() ? "" : ", ") + std::string(#member);
#include "proto/fields.def"
#undef GH_FIELD
    return list;
  }();
  return columns;
}

ChunkWriter::ChunkWriter(Table table) : rows_max_(duckdb_vector_size()) {
  for (const Column& column : columns_of(table)) types_.push_back(duck_type(column.type));
  start();
}

// A new chunk each time: a list column's child keeps what it grew to, and resetting one does not reset that.
void ChunkWriter::start() {
  std::vector<duckdb_logical_type> types;
  for (const duck::Type& type : types_) types.push_back(type.get());
  chunk_ = std::make_shared<duck::Chunk>();
  *chunk_->out() = duckdb_create_data_chunk(types.data(), types.size());
  vectors_.clear();
  data_.clear();
  for (idx_t i = 0; i < types_.size(); ++i) {
    vectors_.push_back(duckdb_data_chunk_get_vector(chunk_->get(), i));
    data_.push_back(duckdb_vector_get_data(vectors_.back()));
  }
  row_count_ = 0;
}

std::shared_ptr<duck::Chunk> ChunkWriter::take() {
  duckdb_data_chunk_set_size(chunk_->get(), row_count_);
  auto chunk = std::move(chunk_);
  start();
  return chunk;
}

uint64_t ChunkWriter::bytes_of(const duck::Chunk& chunk, size_t rows) {
  uint64_t bytes = 0;
  const auto add_texts = [&](duckdb_vector vector, idx_t count) {
    auto* const texts = data_of<duckdb_string_t>(vector);
    bytes += count * sizeof(duckdb_string_t);
    for (idx_t i = 0; i < count; ++i)
      if (const uint32_t size = duckdb_string_t_length(texts[i]); size > kInlinedBytes) bytes += size;
  };
  for (idx_t column = 0; column < duckdb_data_chunk_get_column_count(chunk.get()); ++column) {
    const duckdb_vector vector = duckdb_data_chunk_get_vector(chunk.get(), column);
    duck::Type type;
    *type.out() = duckdb_vector_get_column_type(vector);
    if (duckdb_get_type_id(type.get()) == DUCKDB_TYPE_VARCHAR) {
      add_texts(vector, rows);
    } else if (duckdb_get_type_id(type.get()) == DUCKDB_TYPE_LIST) {
      bytes += rows * sizeof(duckdb_list_entry);
      add_texts(duckdb_list_vector_get_child(vector), duckdb_list_vector_get_size(vector));
    } else {
      bytes += rows * sizeof(uint64_t);
    }
  }
  return bytes;
}

void ChunkWriter::put(std::string_view text) {
  put_text(vectors_[column_], static_cast<duckdb_string_t*>(data_[column_]), row_count_, text);
  ++column_;
}

void ChunkWriter::put(TextViews list) {
  const duckdb_vector vector = vectors_[column_];
  const idx_t first = list.empty() ? 0 : duckdb_list_vector_get_size(vector);
  data<duckdb_list_entry>()[row_count_] = {first, list.size()};
  if (list.empty()) return;
  GH_CHECK(duckdb_list_vector_reserve(vector, first + list.size()) == DuckDBSuccess);
  const duckdb_vector child = duckdb_list_vector_get_child(vector);
  auto* const texts = data_of<duckdb_string_t>(child);
  for (idx_t i = 0; i < list.size(); ++i) put_text(child, texts, first + i, list[i]);
  GH_CHECK(duckdb_list_vector_set_size(vector, first + list.size()) == DuckDBSuccess);
}

void ChunkWriter::end_row() {
  GH_CHECK(column_ == types_.size() && !is_full());
  column_ = 0;
  ++row_count_;
}

// The members whose home it is, in order.
#define GH_FIELD(name, member, type, help) \
  if constexpr (home_of(#member) == kHome) use(row.member);
template <Home kHome, typename Use>
void for_members(const RowView& row, const Use& use) {
#include "proto/fields.def"
}
#undef GH_FIELD

void put_event(ChunkWriter& writer, const EventPlace& place, const RowView& row) {
  writer.put(place.record);
  writer.put(place.sequence);
  writer.put(place.context);
  writer.put(place.shape);
  for_members<Home::kEvent>(row, [&](const auto& value) { writer.put(value); });
}

void put_context(ChunkWriter& writer, uint64_t number, std::string_view id_prefix, const RowView& row) {
  writer.put(number);
  writer.put(id_prefix);
  for_members<Home::kContext>(row, [&](const auto& value) { writer.put(value); });
}

void put_shape(ChunkWriter& writer, uint64_t number, const ShapeTexts& texts, const RowView& row) {
  RowView stored = row;
  stored.statement_tag = texts.tag;
  writer.put(number);
  writer.put(texts.tag_ends_with_rows);
  writer.put(texts.text);
  for_members<Home::kShape>(stored, [&](const auto& value) { writer.put(value); });
}

void append_context_key(std::string& key, std::string_view id_prefix, const RowView& row) {
  append_bytes(key, id_prefix);
  for_members<Home::kContext>(row, [&](const auto& value) { append_bytes(key, value); });
}

void append_shape_key(std::string& key, const ShapeTexts& texts, const RowView& row) {
  append_bytes(key, texts.text);
  append_bytes(key, texts.tag_ends_with_rows);
  append_bytes(key, texts.tag);
  for_members<Home::kShape>(row, [&](const auto& value) {
    if (&value != static_cast<const void*>(&row.statement_tag)) append_bytes(key, value);
  });
}

template <typename Value>
Value viewed(const Value& value, std::vector<std::string_view>& /*texts*/) {
  return value;
}
std::string_view viewed(const std::string& value, std::vector<std::string_view>& /*texts*/) {
  return value;
}
TextViews viewed(const TextList& list, std::vector<std::string_view>& texts) {
  const size_t first = texts.size();
  texts.insert(texts.end(), list.begin(), list.end());
  return std::span(texts).subspan(first);
}
// How many texts a field is a list of.
template <typename Value>
size_t list_size(const Value& /*value*/) {
  return 0;
}
size_t list_size(const TextList& list) {
  return static_cast<size_t>(list.size());
}

RowView view_of(const v1::Row& row, std::vector<std::string_view>& texts) {
  RowView view;
  size_t list_texts = 0;
#define GH_FIELD(name, member, type, help) list_texts += list_size(row.member());
#include "proto/fields.def"
#undef GH_FIELD
  texts.clear();
  texts.reserve(list_texts);  // none may move once a list views them
#define GH_FIELD(name, member, type, help) view.member = viewed(row.member(), texts);
#include "proto/fields.def"
#undef GH_FIELD
  return view;
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
