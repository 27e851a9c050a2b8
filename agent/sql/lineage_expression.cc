// SPDX-License-Identifier: Apache-2.0
// Expressions: what may flow into their values.
#include <algorithm>
#include <utility>

#include "agent/sql/lineage_walk.h"

namespace gatehouse::sql {
namespace {

struct NamedOid {
  std::string_view name;
  Oid oid;
};
// Whose values stay what they are when they are cast to one of them.
constexpr NamedOid kTexts[] = {
    {"text", kTextType}, {"varchar", kVarcharType}, {"bpchar", kBpcharType}, {"name", kNameType}};
// pg_type.dat: others that are no rows, for telling how many columns they are in FROM. Any of them will do.
constexpr Oid kSomeType = 23;
constexpr std::string_view kBuiltinSchema = "pg_catalog";

}  // namespace

Flow LineageWalk::expression(const TreeNode& node) {
  const DepthScope depth(context_);
  if (!depth.is_allowed()) return unknown_flow();
  switch (node.type) {
    case Key::k_ColumnRef:
      return column(node);
    case Key::k_A_Const:
    case Key::k_SQLValueFunction:
    case Key::k_GroupingFunc:
    case Key::k_CurrentOfExpr:
    case Key::k_SetToDefault:
      return {.type = kSomeType};
    case Key::k_ParamRef: {
      const auto number = static_cast<size_t>(tree_.number(node, Key::k_number));
      if (!is_body_) return {};  // the client's own
      if (number == 0 || number > numbered_.size()) return unknown_flow();
      return numbered_[number - 1].flow;
    }
    case Key::k_FuncCall:
      return call_value(node);
    case Key::k_A_Expr:
      return operation(node);
    case Key::k_A_Indirection:
      return indirection(node);
    case Key::k_TypeCast:
      return cast(node);
    case Key::k_CollateClause:
    case Key::k_NamedArgExpr: {
      const TreeNode* arg = tree_.child(node, Key::k_arg);
      return arg == nullptr ? Flow{} : expression(*arg);
    }
    case Key::k_CaseExpr:
      return case_of(node);
    case Key::k_CoalesceExpr:
      return alternatives(node, Key::k_args);
    case Key::k_SubLink:
      return sub_query(node);
    case Key::k_RowExpr:
      return row_of(node, Key::k_args);
    case Key::k_A_ArrayExpr: {
      Flow out = alternatives(node, Key::k_elements);
      out.is_derived = true;
      out.type = kAnyArrayType;
      return out;
    }
    case Key::k_NullTest: {
      const TreeNode* arg = tree_.child(node, Key::k_arg);
      return arg == nullptr ? Flow{} : is_null(expression(*arg));
    }
    case Key::k_MultiAssignRef: {
      const TreeNode* source = tree_.child(node, Key::k_source);
      if (source == nullptr) return unknown_flow();
      const auto place = static_cast<size_t>(tree_.number(node, Key::k_colno));
      const TreeNode* query_node = tree_.child(*source, Key::k_subselect);
      const Row row = query_node != nullptr ? query(*query_node) : *row_of(*source, Key::k_args).row;
      if (row.is_open || place == 0 || place > row.columns.size()) return row.all();
      return row.columns[place - 1].flow;
    }
    case Key::k_SelectStmt:
    case Key::k_InsertStmt:
    case Key::k_UpdateStmt:
    case Key::k_DeleteStmt:
    case Key::k_MergeStmt:
      return query(node).all();
    default:
      return children(node);
  }
}

// Whatever it is, it is made of what stands in it.
Flow LineageWalk::children(const TreeNode& node) {
  Flow out;
  for (const TreeNode& child : tree_.children(node)) {
    if (child.kind != TreeNode::Kind::kObject && child.kind != TreeNode::Kind::kList) continue;
    if (child.type == Key::k_TypeName || child.key == Key::k_typeName) continue;
    const DepthScope depth(context_);
    if (!depth.is_allowed()) return unknown_flow();
    const bool is_query = child.key == Key::k_subselect || tree_.has(child, Key::k_targetList);
    if (child.type != Key::kNone)
      out.take(expression(child));
    else if (is_query && child.kind == TreeNode::Kind::kObject)
      out.take(query(child).all());
    else
      out.take(children(child));
  }
  out.is_derived = true;
  return out;
}

Flow LineageWalk::list(const TreeNode& node, Key key) {
  const TreeNode* found = tree_.child(node, key);
  return found == nullptr ? Flow{} : children(*found);
}

// One of several, as it is.
Flow LineageWalk::alternatives(const TreeNode& node, Key list) {
  Flow out;
  for (const TreeNode& item : tree_.items(node, list)) out.add(expression(item));
  return out;
}

// Nothing is told by it but whether there is a value. Of what is computed, that may be told by the computing.
Flow LineageWalk::is_null(Flow flow) {
  Flow out{.is_derived = true, .type = kSomeType};
  out.conditions = std::move(flow.conditions);
  if (flow.is_derived && flow.row == nullptr) out.conditions.add(flow.sources);
  return out;
}

Flow LineageWalk::decided(const TreeNode& node) {
  Flow flow = expression(node);
  context_.predicate(flow);
  return flow;
}

Flow LineageWalk::case_of(const TreeNode& node) {
  Flow out;
  Flow decides;
  if (const TreeNode* arg = tree_.child(node, Key::k_arg)) decides.take(decided(*arg));
  for (const TreeNode& when : tree_.items(node, Key::k_args)) {
    if (const TreeNode* condition = tree_.child(when, Key::k_expr)) decides.take(decided(*condition));
    if (const TreeNode* result = tree_.child(when, Key::k_result)) out.add(expression(*result));
  }
  if (const TreeNode* other = tree_.child(node, Key::k_defresult)) out.add(expression(*other));
  out.decide_by(decides);
  return out;
}

Flow LineageWalk::operation(const TreeNode& node) {
  const TreeNode* left = tree_.child(node, Key::k_lexpr);
  const TreeNode* right = tree_.child(node, Key::k_rexpr);
  Flow out = left == nullptr ? Flow{} : expression(*left);
  Flow other;
  if (right != nullptr) other = right->type == Key::k_List ? list(*right, Key::k_items) : expression(*right);
  if (tree_.raw_text(node, Key::k_kind) == "AEXPR_NULLIF") {
    Flow decides = out;
    decides.take(other);
    context_.predicate(decides);
    out.decide_by(decides);
    return out;
  }
  out.take(other);
  out.row = nullptr;
  out.is_derived = true;
  out.type = kNoOid;
  add_operator(node, Key::k_name, out);
  return out;
}

// Users' operators of that name. Those of extensions are believed to be harmless, as everywhere.
void LineageWalk::add_operator(const TreeNode& node, Key list, Flow& out) {
  if (context_.catalog() == nullptr) return;
  for (const CatalogHidden& hidden : context_.catalog()->operators(last_name(node, list))) {
    const CatalogFunction* function = context_.catalog()->function(hidden.function);
    if (function != nullptr && (function->is_builtin || (function->is_of_extension && function->language == "c")))
      continue;
    if (function == nullptr)
      out.is_unknown = true;
    else
      out.take(context_.reads_of(*function).flow);
  }
}

Flow LineageWalk::sub_query(const TreeNode& node) {
  const std::string_view kind = tree_.raw_text(node, Key::k_subLinkType);
  Flow test;
  if (const TreeNode* tested = tree_.child(node, Key::k_testexpr)) test = expression(*tested);
  const TreeNode* query_node = tree_.child(node, Key::k_subselect);
  if (query_node == nullptr) return unknown_flow();
  const SourceSet before = std::exchange(context_.predicates, {});
  const Row row = query(*query_node);
  const SourceSet decides = context_.predicates;
  context_.predicates.add(before);
  Flow out;
  if (kind == "EXISTS_SUBLINK") {
    out = {.is_derived = true, .type = kSomeType};
  } else if (kind == "EXPR_SUBLINK") {
    out = row.first();
  } else if (kind == "ARRAY_SUBLINK") {
    out = row.first();
    out.is_derived = true;
    out.type = kAnyArrayType;
  } else {
    out = row.all();
    out.take(test);
    out.is_derived = true;
    add_operator(node, Key::k_operName, out);
  }
  out.conditions.add(decides);
  return out;
}

Flow LineageWalk::row_of(const TreeNode& node, Key list) {
  Row row;
  for (const TreeNode& item : tree_.items(node, list)) {
    // ROW(t.*) has t's columns.
    bool is_star = false;
    if (item.type == Key::k_ColumnRef)
      for (const TreeNode& part : tree_.items(item, Key::k_fields)) is_star = part.type == Key::k_A_Star;
    if (is_star) {
      add_star(item, row);
      continue;
    }
    row.columns.push_back({.name = {}, .flow = expression(item)});
  }
  for (size_t i = 0; i < row.columns.size(); ++i) row.columns[i].name = "f" + std::to_string(i + 1);
  if (row.is_open) row.rest = row.all();
  return flow_of_row(std::make_shared<const Row>(std::move(row)));
}

Flow LineageWalk::field(const Flow& value, const std::string& name) {
  if (value.row != nullptr) {
    if (const Flow* found = value.row->find(name)) {
      Flow out = *found;
      out.conditions.add(value.conditions);
      return out;
    }
    if (value.row->is_open) {
      Flow out = value.row->rest;
      out.conditions.add(value.conditions);
      return out;
    }
    // (t).f is f(t).
    bool is_scalar = false;
    Call call{.name = name};
    call.arguments.push_back({.name = {}, .flow = value});
    return this->call(call, is_scalar).first();
  }
  Flow out = value;
  out.is_derived = true;
  out.type = kNoOid;
  return out;
}

// (x).field, x[i], (x).*; a number that chooses tells as much as what is chosen.
Flow LineageWalk::indirection(const TreeNode& node) {
  const TreeNode* arg = tree_.child(node, Key::k_arg);
  Flow out = arg == nullptr ? unknown_flow() : expression(*arg);
  for (const TreeNode& part : tree_.items(node, Key::k_indirection)) {
    if (part.type == Key::k_A_Star) continue;
    if (part.type == Key::k_String) {
      out = field(out, tree_.text(part, Key::k_sval));
      continue;
    }
    out.take(children(part));
    out.is_derived = true;
  }
  return out;
}

// kNoOid: it is not a type that is known here. `is_own`: it may be one that the database defines.
Oid LineageWalk::named_type(const TreeNode& type, bool& is_own) const {
  std::string schema, name;
  for (const TreeNode& part : tree_.items(type, Key::k_names))
    schema = std::exchange(name, tree_.text(part, Key::k_sval));
  const bool is_array = tree_.has(type, Key::k_arrayBounds);
  is_own = schema != kBuiltinSchema;
  if (context_.catalog() != nullptr && is_own) {
    const auto found = context_.path_at(path_).types(schema, name);
    if (!found.empty()) return is_array ? kNoOid : found.front()->oid;
  }
  if (is_array) return kAnyArrayType;
  const auto text = std::ranges::find(kTexts, name, &NamedOid::name);
  if (text != std::end(kTexts)) return text->oid;
  if (name == "record") return kRecordType;
  // Rows of a table have its name as their type.
  const bool is_row = context_.catalog() == nullptr || (is_own && !context_.catalog()->relations(name).empty());
  return is_row ? kNoOid : kSomeType;
}

Flow LineageWalk::cast(const TreeNode& node) {
  const TreeNode* arg = tree_.child(node, Key::k_arg);
  const TreeNode* type = tree_.child(node, Key::k_typeName);
  if (arg == nullptr || type == nullptr) return children(node);
  Flow out = expression(*arg);
  bool is_own = false;
  const Oid target = named_type(*type, is_own);
  const bool is_same = is_text(target) && is_text(out.type) && !tree_.has(*type, Key::k_typmods);
  if (!is_same) out.is_derived = true;
  if (target == kSomeType || is_text(target)) out.row = nullptr;
  out.type = target;
  if (context_.catalog() == nullptr) return out;
  for (const CatalogHidden& hidden : context_.catalog()->casts()) {
    const bool is_meant = is_own && target != kNoOid ? hidden.right == target : true;
    const CatalogFunction* function = context_.catalog()->function(hidden.function);
    if (!is_meant || function == nullptr || function->is_builtin ||
        (function->is_of_extension && function->language == "c"))
      continue;
    out.take(context_.reads_of(*function).flow);
  }
  return out;
}

}  // namespace gatehouse::sql
