// SPDX-License-Identifier: Apache-2.0
#include "agent/mask/columns.h"

#include <utility>

namespace gatehouse::mask {
namespace {

MaskCounts counts_for(const ResultPlan& plan) {
  MaskCounts counts;
  counts.masks.resize(plan.keys.size());
  return counts;
}

}  // namespace

bool ResultPlan::is_empty() const {
  if (!detect.empty() || rest.method || rest.nulls_too) return false;
  for (const ColumnPlan& column : columns)
    if (column.method || column.nulls_too) return false;
  return true;
}

Columns::Columns(ResultPlan plan, std::span<const FieldType> fields, const TypeBook* types)
    : plan_(std::move(plan)),
      fields_(fields.begin(), fields.end()),
      counts_(counts_for(plan_)),
      values_(types, plan_, counts_) {}

void Columns::add(size_t index) {
  const ColumnPlan& plan = index < plan_.columns.size() ? plan_.columns[index] : plan_.rest;
  const FieldType field = index < fields_.size() ? fields_[index] : FieldType{};
  auto column = std::make_unique<Column>();
  column->type = values_.resolve({field.oid, field.typmod});
  column->is_binary = field.is_binary;
  column->nulls_too = plan.nulls_too;
  column->wish = {.whole = plan.whole, .expected = expected_by(field.name)};
  if (plan.method) {
    const bool is_known = plan.mask < plan_.keys.size();
    // Of a value that holds others besides the masked one, equality tells of those, too: nothing of it stays.
    const bool redacts = plan.whole && *plan.method != Method::kNull;
    column->act = Act{.method = redacts ? Method::kRedact : *plan.method,
                      .key = is_known ? plan_.keys[plan.mask].get() : nullptr,
                      .counts = is_known ? &counts_.masks[plan.mask] : nullptr};
    column->wish.act = &*column->act;
    has_acts_ = true;
  } else {
    column->is_scanned = values_.is_scanned(column->type, column->is_binary, column->wish.expected);
    column->shows_as_is = values_.shows_as_is(column->type, column->is_binary);
    has_scanned_ = has_scanned_ || column->is_scanned;
    has_hidden_ = has_hidden_ || (column->is_scanned && (!column->shows_as_is || !column->wish.expected.empty()));
  }
  has_acts_ = has_acts_ || plan.nulls_too;
  columns_.push_back(std::move(column));
  counts_.columns.push_back(0);
}

Columns::Column& Columns::at(size_t index) {
  while (columns_.size() <= index) add(columns_.size());
  return *columns_[index];
}

bool Columns::is_idle(size_t count) {
  if (count > 0) at(count - 1);
  return !has_acts_ && !has_scanned_;
}

bool Columns::is_clean(size_t count, std::string_view row) {
  if (count > 0) at(count - 1);
  return !has_acts_ && !has_hidden_ && !may_have(row, values_.detects());
}

Done Columns::mask_as(Column& column, size_t index, bool is_binary, std::string_view value, std::string& out) {
  const size_t begin = out.size();
  Done done = is_binary ? values_.binary(column.type, column.wish, value, out)
                        : values_.text(column.type, column.wish, value, out);
  if (done == Done::kUnchanged && column.act) return done;  // void
  if (done == Done::kUnchanged) return done;
  if (done == Done::kNull) out.resize(begin);
  ++counts_.columns[index];
  if (column.act && column.act->counts != nullptr) {
    ++column.act->counts->values;
    if (done == Done::kNull && column.act->method != Method::kNull) ++column.act->counts->nulled;
  }
  return done;
}

Done Columns::mask(size_t index, std::string_view value, std::string& out, std::optional<bool> is_binary) {
  Column& column = at(index);
  if (!column.act && !column.is_scanned) return Done::kUnchanged;
  return mask_as(column, index, is_binary.value_or(column.is_binary), value, out);
}

Done Columns::mask_null(size_t index, std::string& out, std::optional<bool> is_binary) {
  Column& column = at(index);
  if (!column.nulls_too || (column.act && column.act->method == Method::kNull)) return Done::kUnchanged;
  const bool binary = is_binary.value_or(column.is_binary);
  const Done done = values_.redacted(column.type, binary, out);
  if (done == Done::kChanged) ++counts_.columns[index];
  return done == Done::kChanged ? done : Done::kUnchanged;
}

}  // namespace gatehouse::mask
