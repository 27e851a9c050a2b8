// SPDX-License-Identifier: Apache-2.0
// SELECT, INSERT, UPDATE, DELETE, MERGE.
#include <algorithm>
#include <utility>

#include "agent/sql/predicate.h"
#include "agent/sql/walk.h"

namespace gatehouse::sql {

bool Walk::visit_query(const TreeNode& node) {
  switch (node.type) {
    case Key::k_SelectStmt:
      return visit_select(node);
    case Key::k_InsertStmt:
      return visit_insert(node);
    case Key::k_UpdateStmt:
      visit_update(node);
      return true;
    case Key::k_DeleteStmt:
      visit_delete(node);
      return true;
    case Key::k_MergeStmt:
      visit_merge(node);
      return true;
    default:
      visit(node);
      return true;
  }
}

bool Walk::has_filter(const TreeNode& query, Key key) {
  const TreeNode* condition = tree_.child(query, key);
  return condition != nullptr && truth_of(tree_, *condition, consulted_) != Truth::kTrue;
}

const Walk::CommonTable* Walk::common_table(const TreeNode& relation) const {
  if (tree_.has(relation, Key::k_schemaname)) return nullptr;
  const std::string name = tree_.text(relation, Key::k_relname);
  const auto found = std::ranges::find(common_tables_.rbegin(), common_tables_.rend(), name, &CommonTable::name);
  return found == common_tables_.rend() ? nullptr : &*found;
}

// WITH t AS (SELECT … FROM t) reads the table t, unless it says RECURSIVE.
void Walk::visit_with(const TreeNode& query) {
  const TreeNode* with = tree_.child(query, Key::k_withClause);
  if (with == nullptr) return;
  const bool is_recursive = tree_.has(*with, Key::k_recursive);
  const size_t first = common_tables_.size();
  if (is_recursive)
    for (const TreeNode& table : tree_.items(*with, Key::k_ctes))
      common_tables_.push_back({.name = tree_.text(table, Key::k_ctename)});
  size_t at = first;
  for (const TreeNode& table : tree_.items(*with, Key::k_ctes)) {
    const bool outer_filter = std::exchange(is_filtered_, false);
    const TreeNode* body = tree_.child(table, Key::k_ctequery);
    const bool filters = body == nullptr || visit_query(*body);
    is_filtered_ = outer_filter;
    for (const TreeNode& child : tree_.children(table))
      if (child.key != Key::k_ctequery) visit(child);
    if (!is_recursive) common_tables_.push_back({.name = tree_.text(table, Key::k_ctename)});
    common_tables_[at++].filters = filters;
  }
}

bool Walk::visit_select(const TreeNode& node) {
  const Scope scope(*this);
  const bool is_top = query_depth_ == 1;
  if (is_top || !tree_.has(node, Key::k_valuesLists)) note_verb("SELECT");
  visit_with(node);
  if (is_top) note_limit(node);
  const TreeNode* left = tree_.child(node, Key::k_larg);
  const TreeNode* right = tree_.child(node, Key::k_rarg);
  if (left == nullptr || right == nullptr) return visit_select_body(node);
  const bool left_filters = visit_select(*left);
  const bool right_filters = visit_select(*right);
  note_union(node, *right);
  visit_locking(node, sources_.size());
  for (const TreeNode& child : tree_.children(node))
    if (child.key != Key::k_larg && child.key != Key::k_rarg && child.key != Key::k_withClause &&
        child.key != Key::k_lockingClause && child.key != Key::k_intoClause)
      visit(child);
  return left_filters && right_filters;
}

bool Walk::is_constant(const TreeNode& value) const {
  if (value.type == Key::k_A_Const) return true;
  const TreeNode* cast = value.type == Key::k_TypeCast ? tree_.child(value, Key::k_arg) : nullptr;
  return cast != nullptr && is_constant(*cast);
}

// SELECT or VALUES of literals and NULLs only, without a table.
bool Walk::is_constants(const TreeNode& select) const {
  if (tree_.has(select, Key::k_larg) || tree_.has(select, Key::k_fromClause)) return false;
  size_t count = 0;
  for (const TreeNode& column : tree_.items(select, Key::k_targetList)) {
    const TreeNode* value = tree_.child(column, Key::k_val);
    if (value == nullptr || !is_constant(*value)) return false;
    ++count;
  }
  for (const TreeNode& row : tree_.items(select, Key::k_valuesLists))
    for (const TreeNode& value : tree_.items(row, Key::k_items)) {
      if (!is_constant(value)) return false;
      ++count;
    }
  return count > 0;
}

void Walk::note_union(const TreeNode& select, const TreeNode& added) {
  if (tree_.raw_text(select, Key::k_op) == "SETOP_UNION" && is_constants(added)) add_detail("union of constants");
}

bool Walk::visit_select_body(const TreeNode& node) {
  const size_t first_source = sources_.size();
  const bool filters = has_filter(node, Key::k_whereClause);
  const bool outer_filter = std::exchange(is_filtered_, is_filtered_ || filters);
  bool all_filtered = true;
  for (const TreeNode& item : tree_.items(node, Key::k_fromClause)) all_filtered = visit_from(item) && all_filtered;
  is_filtered_ = false;
  visit_locking(node, first_source);
  visit_into(node);
  for (const TreeNode& child : tree_.children(node))
    if (child.key != Key::k_fromClause && child.key != Key::k_withClause && child.key != Key::k_lockingClause &&
        child.key != Key::k_intoClause)
      visit(child);
  is_filtered_ = outer_filter;
  return filters || all_filtered;
}

void Walk::visit_into(const TreeNode& select) {
  const TreeNode* into = tree_.child(select, Key::k_intoClause);
  if (into == nullptr) return;
  note_verb("CREATE");
  if (const TreeNode* relation = tree_.child(*into, Key::k_rel))
    add_relation(*relation, {Effect::kCreate, Effect::kInsert}, ObjectKind::kTable, true);
}

void Walk::note_limit(const TreeNode& select) {
  const TreeNode* count = tree_.child(select, Key::k_limitCount);
  if (count == nullptr || tree_.has(*count, Key::k_isnull)) return;  // LIMIT ALL
  out_.has_limit = true;
  if (count->type != Key::k_A_Const) return;
  const TreeNode* number = tree_.child(*count, Key::k_ival);
  if (number == nullptr) return;
  consulted_.value_at(static_cast<size_t>(tree_.number(*count, Key::k_location)));
  out_.limit = static_cast<uint64_t>(tree_.number(*number, Key::k_ival));
}

// FOR UPDATE locks rows of each table in FROM, and of each below a query there. Which tables stand below is not kept,
// so then all of the statement's are said to be locked.
void Walk::visit_locking(const TreeNode& select, size_t first_source) {
  const auto lock = [this](Object& object) { (is_deferred_ ? object.deferred : object.uses).add(Effect::kLock); };
  for (const TreeNode& clause : tree_.items(select, Key::k_lockingClause)) {
    note(Effect::kLock);
    const auto names = tree_.items(clause, Key::k_lockedRels);
    bool locks_all = first_source == sources_.size();
    for (size_t i = first_source; i < sources_.size(); ++i) {
      const Source& source = sources_[i];
      const bool is_named = names.empty() || std::ranges::any_of(names, [&](const TreeNode& name) {
                              return tree_.text(name, Key::k_relname) == source.name;
                            });
      if (!is_named) continue;
      if (source.object == Source::kNoObject)
        locks_all = true;
      else
        lock(out_.objects[source.object]);
    }
    if (!locks_all) continue;
    for (Object& object : out_.objects) lock(object);
  }
}

std::string Walk::sampling_method(const TreeNode& sample) const {
  std::string name;
  for (const TreeNode& part : tree_.items(sample, Key::k_method)) name = tree_.text(part, Key::k_sval);
  return name;
}

bool Walk::visit_from(const TreeNode& item) {
  switch (item.type) {
    case Key::k_RangeVar:
      return visit_from_relation(item);
    case Key::k_JoinExpr:
      return visit_join(item);
    case Key::k_RangeTableSample: {
      const std::string method = sampling_method(item);
      if (method != "system" && method != "bernoulli") add_function(item, true);
      bool filters = true;
      for (const TreeNode& child : tree_.children(item)) {
        if (child.key == Key::k_relation)
          filters = visit_from(child);
        else if (child.key != Key::k_method)
          visit(child);
      }
      return filters;
    }
    default:
      break;
  }
  bool filters = true;
  if (item.type == Key::k_RangeSubselect) {
    if (const TreeNode* query = tree_.child(item, Key::k_subquery)) filters = visit_query(*query);
  } else {
    const bool outer_filter = std::exchange(is_filtered_, false);
    visit_children(item);
    is_filtered_ = outer_filter;
  }
  push_source(item, {});
  return filters;
}

void Walk::push_source(const TreeNode& item, std::optional<size_t> object) {
  const TreeNode* alias = tree_.child(item, Key::k_alias);
  sources_.push_back(
      {.name = alias == nullptr ? tree_.text(item, Key::k_relname) : tree_.text(*alias, Key::k_aliasname),
       .object = object.value_or(Source::kNoObject)});
}

bool Walk::visit_from_relation(const TreeNode& relation) {
  if (const CommonTable* table = common_table(relation)) {
    const bool filters = table->filters;
    push_source(relation, {});
    return filters;
  }
  push_source(relation, add_relation(relation, {Effect::kRead}, ObjectKind::kRelation, is_filtered_));
  return false;
}

// An ON does not choose the rows of a table as a WHERE does: with LEFT JOIN all of them come.
bool Walk::visit_join(const TreeNode& join) {
  bool filters = true;
  for (const Key side : {Key::k_larg, Key::k_rarg})
    if (const TreeNode* item = tree_.child(join, side)) filters = visit_from(*item) && filters;
  for (const TreeNode& child : tree_.children(join))
    if (child.key != Key::k_larg && child.key != Key::k_rarg) visit(child);
  if (tree_.has(join, Key::k_alias)) push_source(join, {});
  return filters;
}

// The server looks a target up as a table even if a WITH has the name.
size_t Walk::add_target(const TreeNode& relation, Effects uses, bool filters) {
  const size_t object = add_relation(relation, uses, ObjectKind::kRelation, filters);
  push_source(relation, object);
  if (uses.has_any({Effect::kUpdate, Effect::kDelete})) {
    has_write_ = true;
    has_unfiltered_write_ = has_unfiltered_write_ || !filters;
  }
  return object;
}

void Walk::visit_assignments(const TreeNode& query, Key list, size_t target, Effect effect) {
  for (const TreeNode& assignment : tree_.items(query, list)) {
    add_column(target, name_at(assignment, Key::k_name), {effect});
    visit_children(assignment);
  }
}

bool Walk::visit_insert(const TreeNode& node) {
  note_verb("INSERT");
  const Scope scope(*this);
  visit_with(node);
  const TreeNode* relation = tree_.child(node, Key::k_relation);
  // The source knows nothing of the target's columns.
  const bool outer_filter = std::exchange(is_filtered_, false);
  bool filters = true;
  if (const TreeNode* source = tree_.child(node, Key::k_selectStmt)) filters = visit_query(*source);
  is_filtered_ = outer_filter;
  if (relation == nullptr) return filters;
  const size_t target = add_target(*relation, {Effect::kInsert}, true);
  if (tree_.has(node, Key::k_cols))
    visit_assignments(node, Key::k_cols, target, Effect::kInsert);
  else
    add_column(target, "*", {Effect::kInsert});
  if (const TreeNode* conflict = tree_.child(node, Key::k_onConflictClause)) {
    // It tells whether rows of these values are there.
    add_relation(*relation, {Effect::kRead}, ObjectKind::kRelation, true);
    if (tree_.raw_text(*conflict, Key::k_action) == "ONCONFLICT_UPDATE") {
      note_verb("UPDATE");
      add_relation(*relation, {Effect::kUpdate}, ObjectKind::kRelation, true);
    }
    sources_.push_back({.name = "excluded", .object = target});
    visit_assignments(*conflict, Key::k_targetList, target, Effect::kUpdate);
    for (const TreeNode& child : tree_.children(*conflict))
      if (child.key != Key::k_targetList) visit(child);
    sources_.pop_back();
  }
  visit_list(node, Key::k_returningList);
  return filters;
}

void Walk::visit_update(const TreeNode& node) {
  note_verb("UPDATE");
  const Scope scope(*this);
  visit_with(node);
  const TreeNode* relation = tree_.child(node, Key::k_relation);
  if (relation == nullptr) return;
  const bool filters = has_filter(node, Key::k_whereClause);
  const size_t target = add_target(*relation, {Effect::kUpdate}, filters);
  const bool outer_filter = std::exchange(is_filtered_, filters);
  for (const TreeNode& item : tree_.items(node, Key::k_fromClause)) visit_from(item);
  is_filtered_ = outer_filter;
  visit_assignments(node, Key::k_targetList, target, Effect::kUpdate);
  visit_child(node, Key::k_whereClause);
  visit_list(node, Key::k_returningList);
}

void Walk::visit_delete(const TreeNode& node) {
  note_verb("DELETE");
  const Scope scope(*this);
  visit_with(node);
  const TreeNode* relation = tree_.child(node, Key::k_relation);
  if (relation == nullptr) return;
  const bool filters = has_filter(node, Key::k_whereClause);
  add_target(*relation, {Effect::kDelete}, filters);
  const bool outer_filter = std::exchange(is_filtered_, filters);
  for (const TreeNode& item : tree_.items(node, Key::k_usingClause)) visit_from(item);
  is_filtered_ = outer_filter;
  visit_child(node, Key::k_whereClause);
  visit_list(node, Key::k_returningList);
}

void Walk::visit_merge(const TreeNode& node) {
  note_verb("MERGE");
  const Scope scope(*this);
  visit_with(node);
  const TreeNode* relation = tree_.child(node, Key::k_relation);
  if (relation == nullptr) return;
  // It reads the target to match it and, whatever its actions are, locks it as for writing.
  Effects uses{Effect::kRead, Effect::kLock};
  for (const TreeNode& when : tree_.items(node, Key::k_mergeWhenClauses)) {
    const std::string_view command = tree_.raw_text(when, Key::k_commandType);
    if (command == "CMD_UPDATE") uses.add(Effect::kUpdate);
    if (command == "CMD_DELETE") uses.add(Effect::kDelete);
    if (command == "CMD_INSERT") uses.add(Effect::kInsert);
  }
  if (uses.has(Effect::kInsert)) note_verb("INSERT");
  if (uses.has(Effect::kUpdate)) note_verb("UPDATE");
  if (uses.has(Effect::kDelete)) note_verb("DELETE");
  const bool filters = has_filter(node, Key::k_joinCondition);
  const size_t target = add_target(*relation, uses, filters);
  if (const TreeNode* source = tree_.child(node, Key::k_sourceRelation)) visit_from(*source);
  visit_child(node, Key::k_joinCondition);
  for (const TreeNode& when : tree_.items(node, Key::k_mergeWhenClauses)) {
    const bool is_insert = tree_.raw_text(when, Key::k_commandType) == "CMD_INSERT";
    visit_assignments(when, Key::k_targetList, target, is_insert ? Effect::kInsert : Effect::kUpdate);
    if (is_insert && !tree_.has(when, Key::k_targetList)) add_column(target, "*", {Effect::kInsert});
    for (const TreeNode& child : tree_.children(when))
      if (child.key != Key::k_targetList) visit(child);
  }
  visit_list(node, Key::k_returningList);
}

}  // namespace gatehouse::sql
