// SPDX-License-Identifier: Apache-2.0
#include "collector/store/fresh_rows.h"

#include <atomic>
#include <utility>

#include "collector/store/schema.h"
#include "common/check.h"

namespace gatehouse::store {
namespace {

// A question's scan of one function.
struct Scan {
  std::shared_ptr<const FreshView> view;
  std::vector<idx_t> columns;  // that are asked for
  std::atomic<size_t> next = 0;
};

using Selection = duck::Handle<duckdb_selection_vector,
                               [](duckdb_selection_vector* vector) { duckdb_destroy_selection_vector(*vector); }>;

template <typename T>
void destroy(void* object) {
  delete static_cast<T*>(object);
}

void copy_vector(duckdb_vector from, duckdb_vector to, size_t rows) {
  Selection all;
  *all.out() = duckdb_create_selection_vector(rows);
  sel_t* const places = duckdb_selection_vector_get_data_ptr(all.get());
  for (size_t i = 0; i < rows; ++i) places[i] = static_cast<sel_t>(i);
  duckdb_vector_copy_sel(from, to, all.get(), rows, 0, 0);
}

}  // namespace

Status FreshRows::take(Table table, std::shared_ptr<duck::Chunk> chunk, size_t rows) {
  bytes_ += ChunkWriter::bytes_of(*chunk, rows);
  full_[static_cast<size_t>(table)].push_back({std::move(chunk), rows});
  return {};
}

void FreshRows::show_full() {
  for (size_t i = 0; i < kTableCount; ++i) {
    std::vector<Part>& shown = published_[i];
    shown.insert(shown.end(), full_[i].begin() + static_cast<ptrdiff_t>(shown.size()), full_[i].end());
  }
}

void FreshRows::publish_full() {
  const std::lock_guard lock(published_mutex_);
  show_full();
}

void FreshRows::publish(const RowFeed& feed) {
  const std::lock_guard lock(published_mutex_);
  show_full();
  for (size_t i = 0; i < kTableCount; ++i) {
    const ChunkWriter& writer = feed.writer(static_cast<Table>(i));
    open_[i] = {writer.chunk(), writer.row_count()};
  }
}

FreshView::FreshView(std::span<const std::shared_ptr<FreshRows>> segments)
    : segments_(segments.begin(), segments.end()) {
  for (const auto& segment : segments_) {
    const std::lock_guard lock(segment->published_mutex_);
    for (size_t i = 0; i < kTableCount; ++i) {
      uint64_t row = parts_[i].empty() ? 0 : parts_[i].back().first_row + parts_[i].back().rows;
      for (const FreshRows::Part& full : segment->published_[i]) {
        parts_[i].push_back({full.chunk, full.rows, row, nullptr});
        row += full.rows;
      }
      if (const FreshRows::Part& open = segment->open_[i]; open.rows > 0)
        parts_[i].push_back({open.chunk, open.rows, row, &segment->filling_});
    }
  }
}

uint64_t FreshView::rows(Table table) const {
  const std::vector<Part>& all = parts(table);
  return all.empty() ? 0 : all.back().first_row + all.back().rows;
}

struct FreshTables::Function {
  FreshTables* tables;
  Table table;

  static void bind(duckdb_bind_info info) {
    const auto& self = *static_cast<const Function*>(duckdb_bind_get_extra_info(info));
    duckdb_value number = duckdb_bind_get_parameter(info, 0);
    auto view = self.tables->find(static_cast<uint64_t>(duckdb_get_int64(number)));
    duckdb_destroy_value(&number);
    if (!view) return duckdb_bind_set_error(info, "no such view of fresh rows");
    for (const Column& column : columns_of(self.table)) {
      const duck::Type type = duck_type(column.type);
      duckdb_bind_add_result_column(info, std::string(column.name).c_str(), type.get());
    }
    // What a table of the engine's own has as its rowid.
    duck::Type row_type;
    *row_type.out() = duckdb_create_logical_type(DUCKDB_TYPE_BIGINT);
    duckdb_bind_add_result_column(info, "rowid", row_type.get());
    duckdb_bind_set_cardinality(info, view->rows(self.table), true);
    duckdb_bind_set_bind_data(info, new std::shared_ptr<const FreshView>(std::move(view)),
                              destroy<std::shared_ptr<const FreshView>>);
  }

  static void init(duckdb_init_info info) {
    const auto& self = *static_cast<const Function*>(duckdb_init_get_extra_info(info));
    auto scan = std::make_unique<Scan>();
    scan->view = *static_cast<std::shared_ptr<const FreshView>*>(duckdb_init_get_bind_data(info));
    for (idx_t i = 0; i < duckdb_init_get_column_count(info); ++i)
      scan->columns.push_back(duckdb_init_get_column_index(info, i));
    const size_t parts = scan->view->parts(self.table).size();
    duckdb_init_set_max_threads(info, parts / kPartsPerThread + 1);
    duckdb_init_set_init_data(info, scan.release(), destroy<Scan>);
  }

  static void run(duckdb_function_info info, duckdb_data_chunk output) {
    const auto& self = *static_cast<const Function*>(duckdb_function_get_extra_info(info));
    auto& scan = *static_cast<Scan*>(duckdb_function_get_init_data(info));
    const auto& parts = scan.view->parts(self.table);
    const size_t at = scan.next.fetch_add(1);
    if (at >= parts.size()) return duckdb_data_chunk_set_size(output, 0);
    const FreshView::Part& part = parts[at];
    std::unique_lock<std::mutex> lock;
    if (part.filling != nullptr) lock = std::unique_lock(*part.filling);
    const idx_t own_columns = columns_of(self.table).size();
    for (idx_t i = 0; i < scan.columns.size(); ++i) {
      const duckdb_vector to = duckdb_data_chunk_get_vector(output, i);
      if (scan.columns[i] == own_columns) {
        auto* const rows = static_cast<int64_t*>(duckdb_vector_get_data(to));
        for (size_t row = 0; row < part.rows; ++row) rows[row] = static_cast<int64_t>(part.first_row + row);
      } else if (scan.columns[i] < own_columns) {
        const duckdb_vector from = duckdb_data_chunk_get_vector(part.chunk->get(), scan.columns[i]);
        if (part.filling == nullptr) {
          duckdb_vector_reference_vector(to, from);
        } else {
          copy_vector(from, to, part.rows);
        }
      }
    }
    duckdb_data_chunk_set_size(output, part.rows);
  }

 private:
  // Below so many chunks a second thread costs more than it brings.
  static constexpr size_t kPartsPerThread = 16;
};

FreshTables::FreshTables() = default;
FreshTables::~FreshTables() = default;

Status FreshTables::open(const duck::Connection& connection) {
  for (size_t i = 0; i < kTableCount; ++i) {
    functions_[i] = std::make_unique<Function>(Function{this, static_cast<Table>(i)});
    duckdb_table_function function = duckdb_create_table_function();
    duck::Type number;
    *number.out() = duckdb_create_logical_type(DUCKDB_TYPE_BIGINT);
    duckdb_table_function_set_name(function, ("fresh_" + std::string(kTableNames[i])).c_str());
    duckdb_table_function_add_parameter(function, number.get());
    duckdb_table_function_set_extra_info(function, functions_[i].get(), nullptr);
    duckdb_table_function_set_bind(function, Function::bind);
    duckdb_table_function_set_init(function, Function::init);
    duckdb_table_function_set_function(function, Function::run);
    duckdb_table_function_supports_projection_pushdown(function, true);
    const duckdb_state state = duckdb_register_table_function(connection.get(), function);
    duckdb_destroy_table_function(&function);
    if (state != DuckDBSuccess) return Error("DuckDB refuses the function of fresh rows");
  }
  return {};
}

std::shared_ptr<const FreshView> FreshTables::find(uint64_t number) {
  const std::lock_guard lock(mutex_);
  const auto found = shown_.find(number);
  return found == shown_.end() ? nullptr : found->second;
}

FreshTables::Shown::Shown(FreshTables& tables, std::shared_ptr<const FreshView> view) : tables_(tables) {
  const std::lock_guard lock(tables_.mutex_);
  number_ = ++tables_.shown_ever_;
  tables_.shown_.emplace(number_, std::move(view));
}

FreshTables::Shown::~Shown() {
  const std::lock_guard lock(tables_.mutex_);
  tables_.shown_.erase(number_);
}

TableNames FreshTables::Shown::names() const {
  TableNames names;
  for (size_t i = 0; i < kTableCount; ++i)
    names[i] = "fresh_" + std::string(kTableNames[i]) + "(" + std::to_string(number_) + ")";
  return names;
}

}  // namespace gatehouse::store
