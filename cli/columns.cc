// SPDX-License-Identifier: Apache-2.0
#include "cli/columns.h"

#include <iterator>

#include "cli/human.h"
#include "cli/known.h"
#include "cli/safe_text.h"
#include "gatehouse/v1/query.pb.h"

namespace gatehouse::cli {
namespace {

using rules::FieldSpec;
using rules::FieldType;
using v1::Row;

constexpr size_t kWideTerminal = 120;

std::string_view base_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

// "psql(4242) alice"; just what is known of it.
Cell actor_cell(const Row& row) {
  if (row.actor_pid() == 0) return {row.session_client().empty() ? "" : safe(row.session_client()), Tone::kFaint};
  std::string out = row.actor_exe().empty() ? "?" : safe(base_name(row.actor_exe()));
  out += '(' + std::to_string(row.actor_pid()) + ')';
  if (!row.actor_user().empty()) out += ' ' + safe(row.actor_user());
  return {std::move(out)};
}

// "app@shop"
Cell database_cell(const Row& row) {
  std::string out = safe(row.session_user());
  if (!row.database_name().empty()) out += '@' + safe(row.database_name());
  return {std::move(out)};
}

// The number alone: short enough for a column; the whole id is session.id.
Cell session_cell(const Row& row) {
  return {safe(base_name(row.session()))};
}

Cell outcome_cell(const Row& row) {
  std::string out = safe(row.outcome());
  if (row.outcome() == "unknown") return {"", Tone::kFaint};
  if (!row.result_sqlstate().empty()) out += ' ' + safe(row.result_sqlstate());
  if (row.outcome() == "ok") return {std::move(out), Tone::kGood};
  if (row.outcome() == "error") return {std::move(out), Tone::kBad};
  return {std::move(out), Tone::kOdd};
}

Cell rows_cell(const Row& row) {
  return {row.kind() == "statement" ? human_count(row.result_rows()) : ""};
}

// The statement's text, or what else happened. What it means (an error, a bad fidelity) goes before the text, because
// the end of a long text is cut.
Cell what_cell(const Row& row) {
  std::string out;
  if (row.kind() != "statement") out = "[" + safe(row.kind()) + "]";
  if (!row.result_error().empty()) out += (out.empty() ? "" : " ") + ("[" + safe(row.result_error()) + "]");
  const bool whole = row.fidelity().empty() || row.fidelity() == "complete";
  if (!whole && row.fidelity() != row.kind()) out += (out.empty() ? "" : " ") + ("[" + safe(row.fidelity()) + "]");
  const std::string& text = row.kind() == "statement" ? row.statement_text() : row.detail();
  if (!text.empty()) {
    if (!out.empty()) out += ' ';
    append_safe(out, text);
  }
  if (!row.statement_resolved().empty()) {
    out += " → ";
    append_safe(out, row.statement_resolved());
  }
  return {std::move(out), row.kind() == "statement" ? Tone::kPlain : Tone::kFaint};
}

struct Summary {
  TableColumn layout;
  Cell (*make)(const Row&);
};

const std::vector<Summary>& summaries() {
  static const std::vector<Summary> all = {
      {{.title = "actor", .min_width = 12, .usual_width = 24, .max_width = 32}, actor_cell},
      {{.title = "database", .min_width = 8, .usual_width = 16, .max_width = 28}, database_cell},
      {{.title = "session", .min_width = 4, .usual_width = 7, .max_width = 20, .right = true}, session_cell},
      {{.title = "outcome", .min_width = 5, .usual_width = 11, .max_width = 15}, outcome_cell},
      {{.title = "rows", .min_width = 4, .usual_width = 6, .max_width = 15, .right = true}, rows_cell},
      {{.title = "what", .min_width = 8, .usual_width = 60, .max_width = 4096, .takes_rest = true}, what_cell},
  };
  return all;
}

Cell field_cell(const FieldSpec& field, const Row& row) {
  if (!is_known(field, row)) return {};
  const rules::RowValue value = rules::row_value(field, row);
  if (const auto* text = std::get_if<std::string_view>(&value)) return {safe(*text)};
  if (const auto* flag = std::get_if<bool>(&value)) return {*flag ? "yes" : "no"};
  if (const auto* number = std::get_if<uint64_t>(&value)) {
    if (field.type == FieldType::kTime) return {local_timestamp(*number)};
    if (rules::holds_duration(field)) return {human_duration(*number)};
    return {std::to_string(*number)};
  }
  std::string out;
  for (const std::string& element : **std::get_if<const rules::TextList*>(&value)) {
    if (!out.empty()) out += ", ";
    append_safe(out, element);
  }
  return {std::move(out)};
}

TableColumn field_layout(const FieldSpec& field) {
  TableColumn layout{.title = std::string(field.name)};
  switch (field.type) {
    case FieldType::kTime:
      layout.min_width = layout.usual_width = 23;
      break;
    case FieldType::kBool:
      layout.usual_width = 5;
      break;
    case FieldType::kUint32:
    case FieldType::kUint64:
      layout.usual_width = 9;
      layout.right = true;
      break;
    case FieldType::kString:
    case FieldType::kList:
      layout.takes_rest = field.name == "statement.text";
      layout.usual_width = 20;
      break;
  }
  if (layout.takes_rest) layout.max_width = 4096;
  if (rules::holds_duration(field)) layout.min_width = 8;
  return layout;
}

std::vector<EventColumn> named(std::initializer_list<std::string_view> names) {
  std::vector<EventColumn> out;
  for (const std::string_view name : names) out.push_back(*find_column(name));
  return out;
}

}  // namespace

// A summary hides a field of the same name ("outcome"): it says the same and more.
std::optional<EventColumn> find_column(std::string_view name) {
  for (const Summary& summary : summaries()) {
    if (summary.layout.title == name) return EventColumn{.layout = summary.layout, .summary = summary.make};
  }
  const FieldSpec* field = rules::find_field(name);
  if (field == nullptr) return std::nullopt;
  return EventColumn{.layout = field_layout(*field), .field = field};
}

std::string summary_columns() {
  std::string out;
  for (const Summary& summary : summaries()) out += (out.empty() ? "" : ", ") + summary.layout.title;
  return out;
}

std::vector<EventColumn> event_columns(size_t terminal_width) {
  if (terminal_width != 0 && terminal_width < kWideTerminal)
    return named({"time", "actor", "outcome", "rows", "duration", "what"});
  return named({"time", "session", "actor", "database", "outcome", "rows", "duration", "what"});
}

std::vector<EventColumn> session_columns() {
  return named({"time", "outcome", "rows", "duration", "what"});
}

std::vector<Cell> cells_of(const std::vector<EventColumn>& columns, const Row& row) {
  std::vector<Cell> out;
  out.reserve(columns.size());
  for (const EventColumn& column : columns)
    out.push_back(column.summary != nullptr ? column.summary(row) : field_cell(*column.field, row));
  return out;
}

std::vector<TableColumn> layouts_of(const std::vector<EventColumn>& columns) {
  std::vector<TableColumn> out;
  for (const EventColumn& column : columns) out.push_back(column.layout);
  return out;
}

}  // namespace gatehouse::cli
