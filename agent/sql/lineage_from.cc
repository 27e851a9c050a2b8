// SPDX-License-Identifier: Apache-2.0
// FROM: tables, queries, functions, joins.
#include <algorithm>
#include <utility>

#include "agent/sql/lineage_walk.h"

namespace gatehouse::sql {
void LineageWalk::from(const TreeNode& node, Key list) {
  for (const TreeNode& item : tree_.items(node, list)) from_item(item);
}

void LineageWalk::from_item(const TreeNode& item) {
  const DepthScope depth(context_);
  if (!depth.is_allowed()) {
    level_->items.push_back({.name = {}, .row = std::make_shared<Row>(open_row(unknown_flow())), .is_named = false});
    return;
  }
  switch (item.type) {
    case Key::k_RangeVar:
      return from_relation(item);
    case Key::k_RangeSubselect:
      return from_query(item);
    case Key::k_RangeFunction:
      return from_functions(item);
    case Key::k_RangeTableFunc:
      return from_xml(item);
    case Key::k_JoinExpr:
      return from_join(item);
    case Key::k_RangeTableSample:
      if (const TreeNode* relation = tree_.child(item, Key::k_relation)) from_item(*relation);
      context_.predicate(list(item, Key::k_args));
      return;
    default: {
      // Newer than what is known here.
      Flow flow = children(item);
      flow.is_unknown = true;
      context_.note_unknown("an item in FROM of an unknown kind");
      add_item({.name = {}, .row = std::make_shared<Row>(open_row(std::move(flow)))}, tree_.child(item, Key::k_alias));
    }
  }
}

// `alias`: AS name (columns), if there is one.
void LineageWalk::add_item(FromItem item, const TreeNode* alias) {
  if (alias != nullptr) {
    item.name = tree_.text(*alias, Key::k_aliasname);
    item.schema.clear();
    const std::vector<std::string> names = names_of(*alias, Key::k_colnames);
    if (!names.empty()) {
      Row renamed = *item.row;
      renamed.rename(names);
      item.row = std::make_shared<const Row>(std::move(renamed));
    }
  }
  item.is_named = !item.name.empty();
  level_->items.push_back(std::move(item));
}

void LineageWalk::from_relation(const TreeNode& relation) {
  add_item(relation_item(relation), tree_.child(relation, Key::k_alias));
}

LineageWalk::FromItem LineageWalk::relation_item(const TreeNode& relation) {
  FromItem item{.name = text_of(relation, Key::k_relname), .schema = text_of(relation, Key::k_schemaname)};
  if (item.schema.empty()) {
    if (const Row* table = common_table(item.name)) {
      item.row = std::make_shared<const Row>(*table);
      return item;
    }
  }
  const std::string schema = item.schema;
  item.row = relation_row(schema, item.name, !tree_.has(relation, Key::k_inh), item);
  return item;
}

std::shared_ptr<const Row> LineageWalk::relation_row(const std::string& schema, const std::string& name, bool only,
                                                     FromItem& item) {
  item.is_relation = true;
  const NameContext& names = context_.names();
  std::vector<const CatalogRelation*> found;
  if (context_.catalog() != nullptr) found = context_.path_at(path_).relations(schema, name);
  const bool is_temporary =
      schema.starts_with("pg_temp") ||
      (schema.empty() && (names.has_other_temporaries ||
                          std::ranges::find(names.temporary_tables, name) != names.temporary_tables.end()));
  if (found.size() == 1 && !is_temporary) {
    item.schema = context_.catalog()->schema_name(found.front()->schema);
    return context_.with_carried(*found.front(), context_.relation_row(*found.front(), only));
  }
  context_.touches_unknown = true;
  if (found.empty()) {
    item.is_nameless = true;
    item.relation_schema = schema;
    item.relation = name;
    context_.note_unknown("relation " + (schema.empty() ? "" : schema + ".") + name + " is not in the catalog");
    return std::make_shared<const Row>(open_row({.is_unknown = true}));
  }
  Row out = *context_.relation_row(*found.front(), only);
  for (size_t i = 1; i < found.size(); ++i) out.add(*context_.relation_row(*found[i], only));
  if (is_temporary) {
    context_.note_unknown("a temporary relation may hide " + name);
    Flow any = unknown_flow();
    any.sources.add(context_.sources.of_name("pg_temp", name, "*"));
    out.open(any);
    for (NamedFlow& column : out.columns) column.flow.is_unknown = true;
  }
  return std::make_shared<const Row>(std::move(out));
}

void LineageWalk::from_query(const TreeNode& item) {
  const TreeNode* subquery = tree_.child(item, Key::k_subquery);
  Row row;
  if (subquery != nullptr) {
    // Only LATERAL sees what stands before it.
    const LevelScope scope(*this, tree_.has(item, Key::k_lateral) ? level_ : level_->outer);
    row = query(*subquery);
  }
  add_item({.name = {}, .row = std::make_shared<const Row>(std::move(row))}, tree_.child(item, Key::k_alias));
}

// AS (a int, b text).
Row LineageWalk::row_of_definitions(const TreeNode& list, const Flow& flow) const {
  Row out;
  for (const TreeNode& definition : tree_.children(list))
    if (definition.type == Key::k_ColumnDef)
      out.columns.push_back({.name = tree_.text(definition, Key::k_colname), .flow = flow});
  return out;
}

// Each of ROWS FROM (f(…) [AS (…)], …): an item is a list of the call and of its column definitions.
void LineageWalk::from_functions(const TreeNode& item) {
  Row row;
  bool is_scalar = true;
  size_t count = 0;
  std::string name;
  const TreeNode* item_definitions = tree_.child(item, Key::k_coldeflist);
  for (const TreeNode& function : tree_.items(item, Key::k_functions)) {
    const TreeNode* expression_node = nullptr;
    const TreeNode* definitions = item_definitions;
    for (const TreeNode& part : tree_.items(function, Key::k_items)) {
      if (expression_node == nullptr)
        expression_node = &part;
      else if (part.type == Key::k_List)
        definitions = tree_.child(part, Key::k_items);
    }
    if (expression_node == nullptr) continue;
    Row given;
    bool is_value = true;
    if (expression_node->type == Key::k_FuncCall) {
      const Call made = call_of(*expression_node);
      given = call(made, is_value);
      name = made.name;
      // How many rows come is told by what it is given.
      context_.predicate(all_of(made));
    } else {
      int strength = 0;
      name = output_name(*expression_node, strength);
      given.columns.push_back({.name = name, .flow = this->expression(*expression_node)});
    }
    if (definitions != nullptr) given = row_of_definitions(*definitions, given.all());
    is_scalar = is_scalar && is_value && definitions == nullptr;
    ++count;
    for (NamedFlow& column : given.columns) row.columns.push_back(std::move(column));
    if (given.is_open) row.open(given.rest);
  }
  const bool has_ordinality = tree_.has(item, Key::k_ordinality);
  if (has_ordinality && !row.is_open) row.columns.push_back({.name = "ordinality", .flow = {}});
  is_scalar = is_scalar && count == 1 && !has_ordinality && row.columns.size() == 1 && !row.is_open;
  const TreeNode* alias = tree_.child(item, Key::k_alias);
  // f() AS x gives a column x.
  if (is_scalar && alias != nullptr) row.columns.front().name = tree_.text(*alias, Key::k_aliasname);
  if (row.is_open && alias != nullptr && count == 1) {
    const Flow any = row.all();
    row.columns.push_back({.name = tree_.text(*alias, Key::k_aliasname), .flow = any});
  }
  add_item({.name = name, .row = std::make_shared<const Row>(std::move(row)), .is_scalar = is_scalar}, alias);
}

// XMLTABLE.
void LineageWalk::from_xml(const TreeNode& item) {
  Flow flow = children(item);
  flow.is_derived = true;
  Row row;
  for (const TreeNode& column : tree_.items(item, Key::k_columns))
    row.columns.push_back({.name = text_of(column, Key::k_colname), .flow = flow});
  context_.predicate(flow);
  add_item({.name = "xmltable", .row = std::make_shared<const Row>(std::move(row))}, tree_.child(item, Key::k_alias));
}

// Columns in common first, each of both sides' (equal where both are there), then those of the left, then of the right.
Row LineageWalk::joined(const Row& left, const Row& right, std::vector<std::string> shared, bool is_natural,
                        Row* merged) {
  const bool is_open = left.is_open || right.is_open;
  if (is_natural)
    for (const NamedFlow& column : left.columns)
      if (right.find(column.name) != nullptr) shared.push_back(column.name);
  Row out;
  const auto side = [](const Row& row, const std::string& name) -> Flow {
    const Flow* found = row.find(name);
    return found != nullptr ? *found : row.is_open ? row.rest : Flow{};
  };
  for (const std::string& name : shared) {
    Flow flow = side(left, name);
    flow.add(side(right, name));
    context_.predicate(flow);
    out.columns.push_back({.name = name, .flow = std::move(flow)});
  }
  if (merged != nullptr) *merged = out;
  for (const Row* row : {&left, &right})
    for (const NamedFlow& column : row->columns)
      if (std::ranges::find(shared, column.name) == shared.end()) out.columns.push_back(column);
  if (is_open) {
    Flow any = left.all();
    any.add(right.all());
    // A column of either may be one in common with what is not known of the other.
    if (is_natural)
      for (NamedFlow& column : out.columns) column.flow.add(left.is_open ? left.rest : right.rest);
    out.open(any);
  }
  return out;
}

void LineageWalk::from_join(const TreeNode& join) {
  const size_t first = level_->items.size();
  Row sides[2];
  size_t second = first;
  for (const Key key : {Key::k_larg, Key::k_rarg}) {
    const bool is_right = key == Key::k_rarg;
    second = level_->items.size();
    if (const TreeNode* item = tree_.child(join, key)) from_item(*item);
    Row& side = sides[is_right ? 1 : 0];
    for (size_t i = second; i < level_->items.size(); ++i) {
      const FromItem& item = level_->items[i];
      if (!item.has_columns) continue;
      context_.spend(item.row->columns.size());
      side.columns.insert(side.columns.end(), item.row->columns.begin(), item.row->columns.end());
      if (item.row->is_open) side.open(open_column(item, "*"));
    }
  }
  Row merged;
  Row row = joined(sides[0], sides[1], names_of(join, Key::k_usingClause), tree_.has(join, Key::k_isNatural), &merged);
  // ON sees both sides.
  if (const TreeNode* condition = tree_.child(join, Key::k_quals)) context_.predicate(expression(*condition));
  const TreeNode* alias = tree_.child(join, Key::k_alias);
  for (size_t i = first; i < level_->items.size(); ++i) {
    level_->items[i].has_columns = false;
    if (alias != nullptr) level_->items[i].is_named = false;
  }
  if (const TreeNode* using_alias = tree_.child(join, Key::k_join_using_alias))
    level_->items.push_back({.name = text_of(*using_alias, Key::k_aliasname),
                             .row = std::make_shared<const Row>(std::move(merged)),
                             .has_columns = false});
  add_item({.name = {}, .row = std::make_shared<const Row>(std::move(row)), .is_relation = false}, alias);
}

}  // namespace gatehouse::sql
