// SPDX-License-Identifier: Apache-2.0
// Columns of event tables: every field of proto/fields.def, and a few that sum up several of them. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/table.h"
#include "rules/engine/filter.h"

namespace gatehouse::v1 {
class Row;
}

namespace gatehouse::cli {

struct EventColumn {
  TableColumn layout;
  const rules::FieldSpec* field = nullptr;  // null: a summary, made by `summary`
  Cell (*summary)(const v1::Row&) = nullptr;
};

// "actor", "database", "session", "outcome", "rows", "what", or a field's name. None if there is no such column.
std::optional<EventColumn> find_column(std::string_view name);
// Names of the summaries, for help and messages.
std::string summary_columns();

// What `query`, `tail` and `session` show unless asked otherwise; narrow terminals (columns; 0: no limit) get fewer.
std::vector<EventColumn> event_columns(size_t terminal_width);
std::vector<EventColumn> session_columns();

// The row's cells under `columns`.
std::vector<Cell> cells_of(const std::vector<EventColumn>& columns, const v1::Row& row);
std::vector<TableColumn> layouts_of(const std::vector<EventColumn>& columns);

}  // namespace gatehouse::cli
