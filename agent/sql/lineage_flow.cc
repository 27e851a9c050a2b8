// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/lineage_flow.h"

#include <algorithm>
#include <iterator>

namespace gatehouse::sql {

SourceId SourceTable::of(const Catalog& catalog, const CatalogRelation& relation, const CatalogColumn& column) {
  const uint64_t key = (static_cast<uint64_t>(relation.oid) << 16) | static_cast<uint16_t>(column.attribute);
  const auto [found, is_new] = by_number_.try_emplace(key, static_cast<SourceId>(sources_.size()));
  if (is_new)
    sources_.push_back({.relation_oid = relation.oid,
                        .attribute = column.attribute,
                        .schema = std::string(catalog.schema_name(relation.schema)),
                        .relation = relation.name,
                        .column = column.name});
  return found->second;
}

SourceId SourceTable::of_name(std::string_view schema, std::string_view relation, std::string_view column) {
  const auto [found, is_new] =
      by_name_.try_emplace({std::string(schema), std::string(relation), std::string(column)}, sources_.size());
  if (is_new)
    sources_.push_back(
        {.schema = std::string(schema), .relation = std::string(relation), .column = std::string(column)});
  return found->second;
}

void SourceTable::clear() {
  sources_.clear();
  by_number_.clear();
  by_name_.clear();
}

void SourceSet::add(SourceId id) {
  const auto at = std::ranges::lower_bound(ids_, id);
  if (at == ids_.end() || *at != id) ids_.insert(at, id);
}

void SourceSet::add(const SourceSet& other) {
  if (other.ids_.empty()) return;
  if (other.ids_.size() == 1) return add(other.ids_[0]);
  std::vector<SourceId> both;
  both.reserve(ids_.size() + other.ids_.size());
  std::ranges::set_union(ids_, other.ids_, std::back_inserter(both));
  ids_ = std::move(both);
}

std::vector<ColumnSource> SourceSet::in(const SourceTable& table) const {
  std::vector<ColumnSource> out;
  out.reserve(ids_.size());
  for (const SourceId id : ids_) out.push_back(table.at(id));
  return out;
}

void Flow::take(const Flow& other) {
  sources.add(other.sources);
  conditions.add(other.conditions);
  is_unknown = is_unknown || other.is_unknown;
  is_derived = is_derived || other.is_derived;
}

void Flow::add(const Flow& other) {
  const bool was_nothing = !tells_something() && row == nullptr;
  const bool is_nothing = !other.tells_something() && other.row == nullptr;
  take(other);
  if (is_nothing) return;
  if (was_nothing) {
    row = other.row;
    type = other.type;
    return;
  }
  if (type != other.type && !(is_text(type) && is_text(other.type))) {
    // The server finds a type for both.
    if (type != kNoOid && other.type != kNoOid) is_derived = true;
    type = kNoOid;
  }
  if (row == nullptr || other.row == nullptr) {
    row = nullptr;
  } else if (row != other.row) {
    Row merged = *row;
    merged.add(*other.row);
    row = std::make_shared<const Row>(std::move(merged));
  }
}

void Flow::decide_by(const Flow& other) {
  conditions.add(other.sources);
  conditions.add(other.conditions);
}

Flow unknown_flow() {
  return {.is_derived = true, .is_unknown = true};
}

Flow derived_from(std::span<const Flow> flows) {
  Flow out;
  for (const Flow& flow : flows) out.take(flow);
  out.is_derived = true;
  return out;
}

const Flow* Row::find(std::string_view name) const {
  const auto found = std::ranges::find(columns, name, &NamedFlow::name);
  return found == columns.end() ? nullptr : &found->flow;
}

Flow Row::all() const {
  Flow out;
  for (const NamedFlow& column : columns) out.take(column.flow);
  if (is_open) out.take(rest);
  out.is_derived = true;
  return out;
}

Flow Row::first() const {
  if (is_open || columns.empty()) return is_open ? all() : Flow{};
  return columns.front().flow;
}

void Row::open(const Flow& more) {
  rest = all();
  rest.take(more);
  is_open = true;
}

void Row::add(const Row& other) {
  if (!is_open && !other.is_open && columns.size() == other.columns.size()) {
    for (size_t i = 0; i < columns.size(); ++i) columns[i].flow.add(other.columns[i].flow);
    return;
  }
  open(other.all());
  // A name that both have may still stand for either's.
  for (NamedFlow& column : columns) column.flow = rest;
}

void Row::rename(const std::vector<std::string>& names) {
  if (names.empty()) return;
  if (is_open) {
    // Which columns these are is not known.
    const Flow any = all();
    for (const std::string& name : names) {
      std::erase_if(columns, [&](const NamedFlow& column) { return column.name == name; });
      columns.push_back({.name = name, .flow = any});
    }
    rest = any;
    return;
  }
  for (size_t i = 0; i < columns.size() && i < names.size(); ++i) columns[i].name = names[i];
}

Row open_row(Flow rest) {
  Row out;
  out.is_open = true;
  out.rest = std::move(rest);
  return out;
}

Flow flow_of_row(std::shared_ptr<const Row> row) {
  Flow out = row->all();
  out.row = std::move(row);
  return out;
}

}  // namespace gatehouse::sql
