// SPDX-License-Identifier: Apache-2.0
// What a name in an expression stands for: a column of what FROM names, here or in a query around; a whole row; an
// argument of the function.
#include <algorithm>
#include <utility>

#include "agent/sql/lineage_walk.h"

namespace gatehouse::sql {
namespace {

constexpr std::string_view kSystemColumns[] = {"ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"};

bool is_system_column(std::string_view name) {
  return std::ranges::find(kSystemColumns, name) != std::end(kSystemColumns);
}

}  // namespace

std::vector<std::string> LineageWalk::names_of(const TreeNode& node, Key list) const {
  std::vector<std::string> out;
  for (const TreeNode& item : tree_.items(node, list)) out.push_back(tree_.text(item, Key::k_sval));
  return out;
}

Flow LineageWalk::whole(const FromItem& item) {
  return item.is_scalar ? item.row->first() : flow_of_row(item.row);
}

Flow LineageWalk::open_column(const FromItem& item, const std::string& name) {
  Flow out = item.row->rest;
  if (item.is_nameless) out.sources.add(context_.sources.of_name(item.relation_schema, item.relation, name));
  return out;
}

// Nothing: it has no such column.
std::optional<Flow> LineageWalk::find_in(const FromItem& item, const std::string& name) {
  if (const Flow* found = item.row->find(name)) {
    context_.touch(*found);
    return *found;
  }
  if (item.is_relation && is_system_column(name)) return Flow{};
  if (!item.row->is_open) return std::nullopt;
  Flow out = open_column(item, name);
  context_.touch(out);
  return out;
}

// The server refuses what is in sight twice; where it is not known whether a table has such a column, both may be
// meant.
Flow LineageWalk::column(const std::string& name) {
  Flow out;
  bool is_perhaps = false;
  for (const Level* level = level_; level != nullptr; level = level->outer) {
    bool is_found = false;
    for (const FromItem& item : level->items) {
      if (!item.has_columns) continue;
      const bool is_certain =
          item.row->find(name) != nullptr || (item.is_relation && is_system_column(name) && !item.is_nameless);
      const std::optional<Flow> found = find_in(item, name);
      if (!found) continue;
      out.add(*found);
      (is_certain ? is_found : is_perhaps) = true;
    }
    if (is_found) return out;
  }
  for (const Level* level = level_; level != nullptr; level = level->outer)
    for (const FromItem& item : level->items) {
      if (!item.is_named || item.name != name) continue;
      const Flow row = whole(item);
      context_.touch(row);
      if (!is_perhaps) return row;
      out.add(row);
      return out;
    }
  return is_perhaps ? out : not_found(name);
}

Flow LineageWalk::not_found(const std::string& name) {
  context_.note_unknown("column " + name + " is not found");
  Flow out = unknown_flow();
  for (const Level* level = level_; level != nullptr; level = level->outer)
    for (const FromItem& item : level->items) out.take(item.row->all());
  context_.touch(out);
  return out;
}

Flow LineageWalk::column_of(const std::string& schema, const std::string& relation, const std::string& name) {
  for (const Level* level = level_; level != nullptr; level = level->outer)
    for (const FromItem& item : level->items) {
      if (!item.is_named || item.name != relation) continue;
      if (!schema.empty() && !item.schema.empty() && item.schema != schema) continue;
      if (std::optional<Flow> found = find_in(item, name)) return *std::move(found);
      // t.f is f(t).
      bool is_scalar = false;
      Call call{.name = name};
      call.arguments.push_back({.name = {}, .flow = whole(item)});
      context_.touch(call.arguments.front().flow);
      return this->call(call, is_scalar).first();
    }
  // argument.field, in a function's body.
  for (const FromItem& item : arguments_.items)
    if (const Flow* argument = item.row->find(relation)) return field(*argument, name);
  return not_found(relation + "." + name);
}

// [database.][schema.][table.]column; a star is not for here.
Flow LineageWalk::column(const TreeNode& reference) {
  std::string schema, relation, name;
  bool is_star = false;
  for (const TreeNode& part : tree_.items(reference, Key::k_fields)) {
    schema = std::exchange(relation, std::exchange(name, tree_.text(part, Key::k_sval)));
    is_star = part.type == Key::k_A_Star;
  }
  if (is_star) {
    // As an argument, t.* is t's row.
    if (!relation.empty()) {
      for (const Level* level = level_; level != nullptr; level = level->outer)
        for (const FromItem& item : level->items)
          if (item.is_named && item.name == relation) {
            Flow row = flow_of_row(item.row);
            context_.touch(row);
            return row;
          }
    }
    return not_found(relation + ".*");
  }
  return relation.empty() ? column(name) : column_of(schema, relation, name);
}

}  // namespace gatehouse::sql
