// SPDX-License-Identifier: Apache-2.0
// SELECT, VALUES, set operations, WITH.
#include <algorithm>
#include <utility>

#include "agent/sql/lineage_walk.h"

namespace gatehouse::sql {
namespace {

// Sources only become more; so many rounds are enough for any query that is not made to be slow.
constexpr size_t kRoundsMax = 64;

}  // namespace

void LineageWalk::give_arguments(std::string function, std::vector<NamedFlow> arguments) {
  Row row;
  for (const NamedFlow& argument : arguments)
    if (!argument.name.empty()) row.columns.push_back(argument);
  numbered_ = std::move(arguments);
  is_body_ = true;
  arguments_.items.push_back({.name = std::move(function), .row = std::make_shared<const Row>(std::move(row))});
}

void LineageWalk::give_row(std::string name, std::shared_ptr<const Row> row) {
  arguments_.items.push_back({.name = std::move(name), .row = std::move(row)});
}

Row LineageWalk::query(const TreeNode& node) {
  const DepthScope depth(context_);
  if (!depth.is_allowed()) return open_row(unknown_flow());
  switch (node.type) {
    case Key::k_InsertStmt:
      return insert(node);
    case Key::k_UpdateStmt:
      return update(node);
    case Key::k_DeleteStmt:
      return erase(node);
    case Key::k_MergeStmt:
      return merge(node);
    default:  // SelectStmt, also where the field's type is no other
      return select(node);
  }
}

Row LineageWalk::select(const TreeNode& node) {
  const DepthScope depth(context_);
  if (!depth.is_allowed()) return open_row(unknown_flow());
  const WithScope with(*this, node);
  if (tree_.has(node, Key::k_larg)) return set_operation(node);
  if (tree_.has(node, Key::k_valuesLists)) return values(node);
  return select_body(node);
}

Row LineageWalk::set_operation(const TreeNode& node) {
  const TreeNode* left = tree_.child(node, Key::k_larg);
  const TreeNode* right = tree_.child(node, Key::k_rarg);
  if (left == nullptr || right == nullptr) return open_row(unknown_flow());
  Row out = select(*left);
  const Row other = select(*right);
  if (tree_.raw_text(node, Key::k_op) == "SETOP_EXCEPT") {
    context_.predicate(out.all());
    context_.predicate(other.all());
  } else {
    // Of INTERSECT, what is shown is also the other's.
    out.add(other);
  }
  Level level{.outer = level_};
  const LevelScope scope(*this, &level);
  note_order(node, Key::k_sortClause, out);
  note_condition(node, Key::k_limitCount);
  note_condition(node, Key::k_limitOffset);
  return out;
}

Row LineageWalk::values(const TreeNode& node) {
  Row out;
  bool is_first = true;
  for (const TreeNode& list : tree_.items(node, Key::k_valuesLists)) {
    Row row;
    for (const TreeNode& value : tree_.items(list, Key::k_items))
      row.columns.push_back({.name = "column" + std::to_string(row.columns.size() + 1), .flow = expression(value)});
    if (std::exchange(is_first, false))
      out = std::move(row);
    else
      out.add(row);
  }
  note_order(node, Key::k_sortClause, out);
  note_condition(node, Key::k_limitCount);
  note_condition(node, Key::k_limitOffset);
  return out;
}

Row LineageWalk::select_body(const TreeNode& node) {
  Level level{.outer = level_};
  const LevelScope scope(*this, &level);
  from(node, Key::k_fromClause);
  if (const TreeNode* windows = tree_.child(node, Key::k_windowClause)) {
    level.windows = children(*windows);
    context_.predicate(*level.windows);
  }
  note_condition(node, Key::k_whereClause);
  Row out = targets(node, Key::k_targetList);
  note_condition(node, Key::k_havingClause);
  note_order(node, Key::k_groupClause, out);
  note_order(node, Key::k_sortClause, out);
  if (const TreeNode* distinct = tree_.child(node, Key::k_distinctClause)) {
    // DISTINCT alone is a list of nothing.
    bool is_on = false;
    for (const TreeNode& item : tree_.children(*distinct)) is_on = is_on || item.type != Key::kNone;
    if (is_on)
      note_order(node, Key::k_distinctClause, out);
    else
      context_.predicate(out.all());
  }
  note_condition(node, Key::k_limitCount);
  note_condition(node, Key::k_limitOffset);
  return out;
}

void LineageWalk::note_condition(const TreeNode& node, Key key) {
  if (const TreeNode* condition = tree_.child(node, key)) context_.predicate(expression(*condition));
}

// A number is the place of an output, a name that of one, or a column's.
Flow LineageWalk::named_output(const TreeNode& expression_node, const Row& outputs, bool& is_found) {
  is_found = false;
  if (expression_node.type == Key::k_A_Const) {
    const TreeNode* number = tree_.child(expression_node, Key::k_ival);
    if (number == nullptr) return {};
    context_.depends_on_text = true;
    const auto place = static_cast<size_t>(tree_.number(*number, Key::k_ival));
    is_found = true;
    if (outputs.is_open || place == 0 || place > outputs.columns.size()) return outputs.all();
    return outputs.columns[place - 1].flow;
  }
  if (expression_node.type != Key::k_ColumnRef) return {};
  const std::vector<std::string> names = names_of(expression_node, Key::k_fields);
  if (names.size() != 1) return {};
  Flow out;
  for (const NamedFlow& output : outputs.columns)
    if (output.name == names.front()) {
      out.take(output.flow);
      is_found = true;
    }
  return out;
}

// ORDER BY, GROUP BY, DISTINCT ON.
void LineageWalk::note_order(const TreeNode& node, Key list, const Row& outputs) {
  for (const TreeNode& item : tree_.items(node, list)) {
    const TreeNode* what = item.type == Key::k_SortBy ? tree_.child(item, Key::k_node) : &item;
    if (what == nullptr) continue;
    if (what->type == Key::k_GroupingSet) {
      note_order(*what, Key::k_content, outputs);
      continue;
    }
    bool is_output = false;
    context_.predicate(named_output(*what, outputs, is_output));
    // A name that is an output's may be a column's as well, which GROUP BY prefers.
    const bool is_place = is_output && what->type == Key::k_A_Const;
    const bool may_be_column = !is_output || (!is_place && list == Key::k_groupClause);
    if (may_be_column) context_.predicate(expression(*what));
  }
}

Row LineageWalk::targets(const TreeNode& node, Key list) {
  Row out;
  for (const TreeNode& target : tree_.items(node, list)) {
    const TreeNode* value = tree_.child(target, Key::k_val);
    if (value == nullptr) continue;
    if (value->type == Key::k_ColumnRef) {
      bool is_star = false;
      for (const TreeNode& part : tree_.items(*value, Key::k_fields)) is_star = part.type == Key::k_A_Star;
      if (is_star) {
        add_star(*value, out);
        continue;
      }
    }
    if (value->type == Key::k_A_Indirection) {
      bool is_star = false;
      for (const TreeNode& part : tree_.items(*value, Key::k_indirection)) is_star = part.type == Key::k_A_Star;
      if (is_star) {
        add_row_star(*value, out);
        continue;
      }
    }
    Flow flow = expression(*value);
    std::string name = text_of(target, Key::k_name);
    if (name.empty()) {
      int strength = 0;
      name = output_name(*value, strength);
      if (name.empty()) name = "?column?";
    }
    out.columns.push_back({.name = std::move(name), .flow = std::move(flow)});
    if (out.is_open) out.rest.take(out.columns.back().flow);
  }
  return out;
}

// *, t.*, s.t.*
void LineageWalk::add_star(const TreeNode& fields, Row& out) {
  std::string schema, relation;
  for (const TreeNode& part : tree_.items(fields, Key::k_fields))
    if (part.type != Key::k_A_Star) schema = std::exchange(relation, tree_.text(part, Key::k_sval));
  const auto add = [&](const FromItem& item) {
    context_.spend(item.row->columns.size());
    for (const NamedFlow& column : item.row->columns) {
      context_.touch(column.flow);
      out.columns.push_back(column);
      if (out.is_open) out.rest.take(column.flow);
    }
    if (!item.row->is_open) return;
    Flow any = open_column(item, "*");
    context_.touch(any);
    out.open(any);
  };
  if (relation.empty()) {
    for (const FromItem& item : level_->items)
      if (item.has_columns) add(item);
    return;
  }
  for (const Level* level = level_; level != nullptr; level = level->outer)
    for (const FromItem& item : level->items)
      if (item.is_named && item.name == relation && (schema.empty() || item.schema.empty() || item.schema == schema)) {
        add(item);
        return;
      }
  out.open(not_found(relation + ".*"));
}

// (row).*
void LineageWalk::add_row_star(const TreeNode& value, Row& out) {
  const Flow flow = indirection(value);
  if (flow.row == nullptr) {
    out.open(flow);
    return;
  }
  for (const NamedFlow& column : flow.row->columns) {
    out.columns.push_back(column);
    if (out.is_open) out.rest.take(column.flow);
  }
  if (flow.row->is_open) out.open(flow.row->rest);
}

std::string LineageWalk::last_name(const TreeNode& node, Key list) const {
  std::string name;
  for (const TreeNode& part : tree_.items(node, list)) {
    std::string text = tree_.text(part, Key::k_sval);
    if (!text.empty()) name = std::move(text);
  }
  return name;
}

// As FigureColname: 2, a name that stays; 1, one that a better one replaces; 0, none.
std::string LineageWalk::output_name(const TreeNode& value, int& strength) const {
  const auto named = [&](std::string name) {
    strength = 2;
    return name;
  };
  const auto weak = [&](std::string name) {
    strength = 1;
    return name;
  };
  strength = 0;
  const TreeNode* arg = tree_.child(value, Key::k_arg);
  switch (value.type) {
    case Key::k_ColumnRef: {
      std::string name = last_name(value, Key::k_fields);
      strength = name.empty() ? 0 : 2;
      return name;
    }
    case Key::k_A_Indirection: {
      std::string name = last_name(value, Key::k_indirection);
      if (!name.empty()) return named(std::move(name));
      return arg == nullptr ? std::string{} : output_name(*arg, strength);
    }
    case Key::k_FuncCall:
      return named(last_name(value, Key::k_funcname));
    case Key::k_A_Expr:
      return tree_.raw_text(value, Key::k_kind) == "AEXPR_NULLIF" ? named("nullif") : std::string{};
    case Key::k_TypeCast: {
      std::string name = arg == nullptr ? std::string{} : output_name(*arg, strength);
      if (strength > 1) return name;
      const TreeNode* type = tree_.child(value, Key::k_typeName);
      return type == nullptr ? name : weak(last_name(*type, Key::k_names));
    }
    case Key::k_CollateClause:
      return arg == nullptr ? std::string{} : output_name(*arg, strength);
    case Key::k_GroupingFunc:
      return named("grouping");
    case Key::k_SubLink: {
      const std::string_view kind = tree_.raw_text(value, Key::k_subLinkType);
      if (kind == "EXISTS_SUBLINK") return named("exists");
      if (kind == "ARRAY_SUBLINK") return named("array");
      const TreeNode* query = tree_.child(value, Key::k_subselect);
      if (kind != "EXPR_SUBLINK" || query == nullptr) return {};
      while (tree_.has(*query, Key::k_larg)) query = tree_.child(*query, Key::k_larg);
      for (const TreeNode& target : tree_.items(*query, Key::k_targetList)) {
        std::string name = text_of(target, Key::k_name);
        if (!name.empty()) return named(std::move(name));
        const TreeNode* first = tree_.child(target, Key::k_val);
        return first == nullptr ? std::string{} : output_name(*first, strength);
      }
      return tree_.has(*query, Key::k_valuesLists) ? named("column1") : std::string{};
    }
    case Key::k_CaseExpr: {
      const TreeNode* other = tree_.child(value, Key::k_defresult);
      std::string name = other == nullptr ? std::string{} : output_name(*other, strength);
      return strength > 1 ? name : weak("case");
    }
    case Key::k_A_ArrayExpr:
      return named("array");
    case Key::k_RowExpr:
      return named("row");
    case Key::k_CoalesceExpr:
      return named("coalesce");
    case Key::k_MinMaxExpr:
      return named(tree_.raw_text(value, Key::k_op) == "IS_LEAST" ? "least" : "greatest");
    case Key::k_SQLValueFunction: {
      std::string name(tree_.raw_text(value, Key::k_op));  // SVFOP_CURRENT_DATE
      name.erase(0, std::min(name.size(), name.find('_') + 1));
      if (name.ends_with("_N")) name.resize(name.size() - 2);
      std::ranges::transform(name, name.begin(), [](char c) { return c == '_' ? c : static_cast<char>(c | 0x20); });
      return named(std::move(name));
    }
    case Key::k_XmlExpr: {
      std::string name(tree_.raw_text(value, Key::k_op));  // IS_XMLFOREST
      name.erase(0, std::min<size_t>(name.size(), 3));
      std::ranges::transform(name, name.begin(), [](char c) { return static_cast<char>(c | 0x20); });
      return name == "document" ? std::string{} : named(std::move(name));
    }
    case Key::k_XmlSerialize:
      return named("xmlserialize");
    default:
      return {};
  }
}

const Row* LineageWalk::common_table(const std::string& name) {
  for (CommonTables* tables = tables_; tables != nullptr; tables = tables->outer)
    for (size_t i = tables->tables.size(); i > 0; --i) {
      CommonTable& table = *tables->tables[i - 1];
      if (table.name != name) continue;
      if (table.stage == CommonTable::Stage::kNew) evaluate(table, *tables);
      if (table.stage == CommonTable::Stage::kOpen) table.is_referred = true;
      return &table.row;
    }
  return nullptr;
}

// Without RECURSIVE each sees those before it; with it, all, itself too.
void LineageWalk::push_tables(const TreeNode& with, CommonTables& tables) {
  const bool is_recursive = tree_.has(with, Key::k_recursive);
  for (const TreeNode& node : tree_.items(with, Key::k_ctes)) {
    auto table = std::make_unique<CommonTable>();
    table->name = text_of(node, Key::k_ctename);
    table->node = &node;
    table->is_recursive = is_recursive;
    if (!is_recursive) evaluate(*table, tables);
    tables.tables.push_back(std::move(table));
  }
  for (const auto& table : tables.tables)
    if (table->stage == CommonTable::Stage::kNew) evaluate(*table, tables);
}

void LineageWalk::evaluate(CommonTable& table, CommonTables& tables) {
  const TreeNode* body = tree_.child(*table.node, Key::k_ctequery);
  // A reference to itself that is not in a UNION is refused by the server.
  table.stage = CommonTable::Stage::kOpen;
  table.row = open_row(unknown_flow());
  CommonTables* const tables_before = std::exchange(tables_, &tables);
  {
    const LevelScope scope(*this, tables.level);
    if (body != nullptr)
      table.row = table.is_recursive && tree_.has(*body, Key::k_larg) ? recursive(table, *body) : query(*body);
  }
  tables_ = tables_before;
  table.row.rename(names_of(*table.node, Key::k_aliascolnames));
  add_search_columns(*table.node, table.row);
  table.stage = CommonTable::Stage::kDone;
}

// The first part, and then rounds of the second until they add nothing.
Row LineageWalk::recursive(CommonTable& table, const TreeNode& body) {
  const TreeNode* left = tree_.child(body, Key::k_larg);
  const TreeNode* right = tree_.child(body, Key::k_rarg);
  if (left == nullptr || right == nullptr) return open_row(unknown_flow());
  if (tree_.raw_text(body, Key::k_op) != "SETOP_UNION") return select(body);
  const WithScope with(*this, body);
  const std::vector<std::string> names = names_of(*table.node, Key::k_aliascolnames);
  Row out = select(*left);
  for (size_t round = 0;; ++round) {
    table.row = out;
    table.row.rename(names);
    add_search_columns(*table.node, table.row);
    Row next = out;
    next.add(select(*right));
    bool is_same = next.is_open == out.is_open && next.columns.size() == out.columns.size() && next.rest == out.rest;
    for (size_t i = 0; is_same && i < next.columns.size(); ++i) is_same = next.columns[i].flow == out.columns[i].flow;
    out = std::move(next);
    if (is_same || !table.is_referred) return out;
    if (round == kRoundsMax || context_.is_spent()) {
      context_.note_unknown("a recursive query that is too long");
      return open_row(unknown_flow());
    }
  }
}

// SEARCH … SET x, CYCLE … SET x USING y.
void LineageWalk::add_search_columns(const TreeNode& node, Row& row) {
  const auto add = [&](const TreeNode& clause, Key key) {
    std::string name = text_of(clause, key);
    if (name.empty() || row.is_open) return;
    Flow flow = row.all();
    row.columns.push_back({.name = std::move(name), .flow = std::move(flow)});
  };
  if (const TreeNode* search = tree_.child(node, Key::k_search_clause)) add(*search, Key::k_search_seq_column);
  if (const TreeNode* cycle = tree_.child(node, Key::k_cycle_clause)) {
    add(*cycle, Key::k_cycle_mark_column);
    add(*cycle, Key::k_cycle_path_column);
  }
}

}  // namespace gatehouse::sql
