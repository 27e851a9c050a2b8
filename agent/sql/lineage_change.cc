// SPDX-License-Identifier: Apache-2.0
// INSERT, UPDATE, DELETE, MERGE: what RETURNING shows, and what is copied from one table into another.
#include <algorithm>
#include <set>
#include <utility>

#include "agent/sql/lineage_walk.h"

namespace gatehouse::sql {

const CatalogRelation* LineageWalk::target_relation(const TreeNode& relation) const {
  if (context_.catalog() == nullptr) return nullptr;
  const auto found =
      context_.path_at(path_).relations(text_of(relation, Key::k_schemaname), text_of(relation, Key::k_relname));
  return found.size() == 1 ? found.front() : nullptr;
}

// What triggers that say what becomes of a row may put into it: those of the target, of its parts, and of what stands
// behind a view.
Flow LineageWalk::added_by_triggers(const CatalogRelation& target, Effects effects) {
  Flow out;
  std::set<Oid> seen{target.oid};
  std::vector<const CatalogRelation*> todo{&target};
  const auto push = [&](const CatalogRelation* relation) {
    if (relation != nullptr && seen.insert(relation->oid).second && context_.spend(1)) todo.push_back(relation);
  };
  while (!todo.empty()) {
    const CatalogRelation& relation = *todo.back();
    todo.pop_back();
    for (const CatalogTrigger& trigger : relation.triggers) {
      if (!trigger.changes_row || !trigger.events.has_any(effects)) continue;
      const CatalogFunction* function = context_.catalog()->function(trigger.function);
      if (function != nullptr && function->is_builtin) continue;
      if (function == nullptr)
        out.is_unknown = true;
      else
        out.take(context_.reads_of(*function).flow);
    }
    for (const Oid child : relation.children) push(context_.catalog()->relation(child));
    if (relation.kind != ObjectKind::kView || relation.definition == nullptr) continue;
    for (const Object& object : relation.definition->objects)
      for (const CatalogRelation* behind :
           context_.path_at(LineageContext::kNoPath).relations(object.schema, object.name))
        push(behind);
  }
  return out;
}

// A target is a table even if a WITH has the name.
LineageWalk::FromItem LineageWalk::target_item(const TreeNode& relation, Effects effects) {
  FromItem item{.name = text_of(relation, Key::k_relname), .schema = text_of(relation, Key::k_schemaname)};
  const std::string schema = item.schema;
  item.row = relation_row(schema, item.name, !tree_.has(relation, Key::k_inh), item);
  const CatalogRelation* target = target_relation(relation);
  if (target != nullptr && !target->is_system) {
    const Flow more = added_by_triggers(*target, effects);
    if (more.tells_something()) {
      Row changed = *item.row;
      for (NamedFlow& column : changed.columns) column.flow.take(more);
      if (changed.is_open) changed.rest.take(more);
      item.row = std::make_shared<const Row>(std::move(changed));
    }
  }
  item.target = target;
  if (const TreeNode* alias = tree_.child(relation, Key::k_alias)) {
    item.name = text_of(*alias, Key::k_aliasname);
    item.schema.clear();
  }
  return item;
}

// `changed`: the target's row as it is after.
void LineageWalk::note_copy(const FromItem& target, const std::string& column, const Flow& flow, Row& changed) {
  if (!flow.tells_something()) return;
  ColumnSource to{.schema = target.relation_schema, .relation = target.relation, .column = column};
  if (target.target != nullptr) {
    to.relation_oid = target.target->oid;
    to.schema = context_.catalog()->schema_name(target.target->schema);
    to.relation = target.target->name;
    const auto found = std::ranges::find(target.target->columns, column, &CatalogColumn::name);
    if (found != target.target->columns.end()) to.attribute = found->attribute;
    // What is generated may be generated from it.
    for (const CatalogColumn& other : target.target->columns) {
      if (!other.is_generated) continue;
      for (NamedFlow& made : changed.columns)
        if (made.name == other.name) {
          made.flow.take(flow);
          made.flow.is_derived = true;
        }
    }
  }
  context_.copy(ColumnCopy::Place::kRelation, std::move(to), flow);
  for (NamedFlow& made : changed.columns)
    if (made.name == column || column == "*") made.flow.take(flow);
  if (changed.is_open) changed.rest.take(flow);
}

// SET a = x, (b, c) = (SELECT …).
void LineageWalk::assign(const FromItem& target, const TreeNode& node, Key list, Row& changed, bool is_insert) {
  for (const TreeNode& assignment : tree_.items(node, list)) {
    const TreeNode* value = tree_.child(assignment, Key::k_val);
    if (value == nullptr || is_insert) continue;
    Flow flow = expression(*value);
    if (tree_.has(assignment, Key::k_indirection)) flow.is_derived = true;
    note_copy(target, text_of(assignment, Key::k_name), flow, changed);
  }
}

// `target` in sight with what it holds after; old.x and new.x (18) are of it as well.
Row LineageWalk::returning(const TreeNode& node, FromItem target, Row changed) {
  if (!tree_.has(node, Key::k_returningList)) return {};
  target.row = std::make_shared<const Row>(std::move(changed));
  for (const char* name : {"old", "new"}) {
    const bool is_taken = std::ranges::any_of(level_->items, [&](const FromItem& item) { return item.name == name; });
    if (is_taken) continue;
    FromItem version = target;
    version.name = name;
    version.has_columns = false;
    level_->items.push_back(std::move(version));
  }
  level_->items.front() = std::move(target);
  return targets(node, Key::k_returningList);
}

Row LineageWalk::insert(const TreeNode& node) {
  const WithScope with(*this, node);
  const TreeNode* relation = tree_.child(node, Key::k_relation);
  Row given;
  const TreeNode* source = tree_.child(node, Key::k_selectStmt);
  if (source != nullptr) given = query(*source);
  if (relation == nullptr) return open_row(unknown_flow());
  FromItem target = target_item(*relation, {Effect::kInsert, Effect::kUpdate});
  Row changed = *target.row;
  std::vector<std::string> names;
  for (const TreeNode& column : tree_.items(node, Key::k_cols)) names.push_back(text_of(column, Key::k_name));
  if (names.empty() && !target.row->is_open)
    for (const NamedFlow& column : target.row->columns) names.push_back(column.name);
  if (source != nullptr && given.is_open) {
    for (const std::string& name : names) note_copy(target, name, given.all(), changed);
    if (names.empty()) note_copy(target, "*", given.all(), changed);
  } else {
    for (size_t i = 0; i < given.columns.size(); ++i)
      note_copy(target, i < names.size() ? names[i] : "*", given.columns[i].flow, changed);
  }
  Level level{.outer = level_};
  const LevelScope scope(*this, &level);
  level.items.push_back(target);
  if (const TreeNode* conflict = tree_.child(node, Key::k_onConflictClause)) {
    FromItem excluded = target;
    excluded.name = "excluded";
    excluded.schema.clear();
    excluded.has_columns = false;
    excluded.row = std::make_shared<const Row>(changed);
    level.items.push_back(std::move(excluded));
    assign(target, *conflict, Key::k_targetList, changed, false);
    note_condition(*conflict, Key::k_whereClause);
    level.items.pop_back();
  }
  return returning(node, std::move(target), std::move(changed));
}

Row LineageWalk::update(const TreeNode& node) {
  const WithScope with(*this, node);
  const TreeNode* relation = tree_.child(node, Key::k_relation);
  if (relation == nullptr) return open_row(unknown_flow());
  FromItem target = target_item(*relation, {Effect::kUpdate});
  Row changed = *target.row;
  Level level{.outer = level_};
  const LevelScope scope(*this, &level);
  level.items.push_back(target);
  from(node, Key::k_fromClause);
  assign(target, node, Key::k_targetList, changed, false);
  note_condition(node, Key::k_whereClause);
  return returning(node, std::move(target), std::move(changed));
}

Row LineageWalk::erase(const TreeNode& node) {
  const WithScope with(*this, node);
  const TreeNode* relation = tree_.child(node, Key::k_relation);
  if (relation == nullptr) return open_row(unknown_flow());
  FromItem target = target_item(*relation, {Effect::kDelete});
  Row changed = *target.row;
  Level level{.outer = level_};
  const LevelScope scope(*this, &level);
  level.items.push_back(target);
  from(node, Key::k_usingClause);
  note_condition(node, Key::k_whereClause);
  return returning(node, std::move(target), std::move(changed));
}

Row LineageWalk::merge(const TreeNode& node) {
  const WithScope with(*this, node);
  const TreeNode* relation = tree_.child(node, Key::k_relation);
  if (relation == nullptr) return open_row(unknown_flow());
  FromItem target = target_item(*relation, {Effect::kInsert, Effect::kUpdate, Effect::kDelete});
  Row changed = *target.row;
  Level level{.outer = level_};
  const LevelScope scope(*this, &level);
  level.items.push_back(target);
  if (const TreeNode* source = tree_.child(node, Key::k_sourceRelation)) from_item(*source);
  note_condition(node, Key::k_joinCondition);
  for (const TreeNode& when : tree_.items(node, Key::k_mergeWhenClauses)) {
    note_condition(when, Key::k_condition);
    const bool is_insert = tree_.raw_text(when, Key::k_commandType) == "CMD_INSERT";
    assign(target, when, Key::k_targetList, changed, is_insert);
    if (!is_insert) continue;
    std::vector<std::string> names;
    for (const TreeNode& column : tree_.items(when, Key::k_targetList)) names.push_back(text_of(column, Key::k_name));
    if (names.empty())
      for (const NamedFlow& column : target.row->columns) names.push_back(column.name);
    size_t place = 0;
    for (const TreeNode& value : tree_.items(when, Key::k_values)) {
      note_copy(target, place < names.size() ? names[place] : "*", expression(value), changed);
      ++place;
    }
  }
  return returning(node, std::move(target), std::move(changed));
}

}  // namespace gatehouse::sql
