// SPDX-License-Identifier: Apache-2.0
// What stands inside statements: columns, calls, types, queries.
#include <algorithm>
#include <utility>

#include "agent/sql/functions.h"
#include "agent/sql/walk.h"

namespace gatehouse::sql {
namespace {

constexpr std::string_view kBuiltinSchema = "pg_catalog";

}  // namespace

void Walk::visit_children(const TreeNode& node) {
  for (const TreeNode& child : tree_.children(node)) visit(child);
}

void Walk::visit_list(const TreeNode& node, Key list) {
  for (const TreeNode& item : tree_.items(node, list)) visit(item);
}

void Walk::visit_child(const TreeNode& node, Key key) {
  if (const TreeNode* child = tree_.child(node, key)) visit(*child);
}

void Walk::visit(const TreeNode& node) {
  switch (node.type) {
    case Key::k_SelectStmt:
    case Key::k_InsertStmt:
    case Key::k_UpdateStmt:
    case Key::k_DeleteStmt:
    case Key::k_MergeStmt: {
      const bool outer_filter = std::exchange(is_filtered_, false);
      visit_query(node);
      is_filtered_ = outer_filter;
      return;
    }
    case Key::k_ColumnRef:
      visit_column(node);
      return;
    case Key::k_FuncCall:
      visit_call(node);
      return;
    case Key::k_A_Expr:
      note_operator(node, Key::k_name);
      break;
    case Key::k_SubLink:
      note_operator(node, Key::k_operName);
      break;
    case Key::k_A_Indirection:
      for (const TreeNode& part : tree_.items(node, Key::k_indirection))
        if (part.type == Key::k_String) note_field(name_at(part, Key::k_sval));
      break;
    case Key::k_SortBy:
      note_operator(node, Key::k_useOp);
      break;
    case Key::k_RangeVar:
      add_relation(node, default_uses_, ObjectKind::kRelation, true);
      return;
    case Key::k_TypeName:
      visit_type(node);
      return;
    case Key::k_ObjectWithArgs:
      add_function(node, false);
      visit_list(node, Key::k_objargs);
      return;
    case Key::kNone:
      if (is_relation(node)) {
        add_relation(node, default_uses_, ObjectKind::kRelation, true);
        return;
      }
      if (tree_.has(node, Key::k_names) && tree_.has(node, Key::k_typemod)) {
        visit_type(node);
        return;
      }
      if (tree_.has(node, Key::k_funcname)) {
        visit_call(node);
        return;
      }
      if (tree_.has(node, Key::k_objname)) {
        add_function(node, false);
        visit_list(node, Key::k_objargs);
        return;
      }
      break;
    default:
      break;
  }
  visit_children(node);
}

// Types of pg_catalog do nothing by themselves.
void Walk::visit_type(const TreeNode& node) {
  Object type{.kind = ObjectKind::kType};
  for (const TreeNode& part : tree_.items(node, Key::k_names)) {
    type.schema = std::exchange(type.name, {});
    type.name = name_at(part, Key::k_sval);
  }
  if (type.schema != kBuiltinSchema && !type.name.empty()) {
    QualifiedName name{.schema = type.schema, .name = type.name};
    if (std::ranges::find(out_.types, name) == out_.types.end()) out_.types.push_back(std::move(name));
  }
  if (!type.schema.empty() && type.schema != kBuiltinSchema) add_object(std::move(type), {Effect::kReference});
  visit_list(node, Key::k_typmods);
}

void Walk::add_column(size_t object, std::string name, Effects uses) {
  if (object != Column::kNotTold && uses.has(Effect::kRead)) {
    Object& read = out_.objects[object];
    (is_deferred_ ? read.deferred : read.uses).add(Effect::kRead);
    note(Effect::kRead);
  }
  const auto found = std::ranges::find_if(
      out_.columns, [&](const Column& column) { return column.object == object && column.name == name; });
  if (found != out_.columns.end())
    found->uses.add(uses);
  else
    out_.columns.push_back({.object = object, .name = std::move(name), .uses = uses});
}

// False: none of them is a table.
bool Walk::mark_sources_read() {
  bool has_table = false;
  for (const Source& source : sources_) {
    if (source.object == Source::kNoObject) continue;
    Object& object = out_.objects[source.object];
    (is_deferred_ ? object.deferred : object.uses).add(Effect::kRead);
    note(Effect::kRead);
    has_table = true;
  }
  return has_table;
}

// A column without a table's name is one of any table in sight.
void Walk::add_column_of_any(const std::string& name) {
  if (name == "*") {
    for (const Source& source : sources_)
      if (source.object != Source::kNoObject) add_column(source.object, name, {Effect::kRead});
    return;
  }
  const bool has_table = mark_sources_read();
  if (!has_table && !sources_.empty()) return;
  add_column(has_table && sources_.size() == 1 ? sources_[0].object : Column::kNotTold, name, {Effect::kRead});
}

void Walk::visit_column(const TreeNode& node) {
  // [database.][schema.][table.]column, each part a String or, last, a star.
  std::string table, column;
  size_t parts = 0;
  for (const TreeNode& part : tree_.items(node, Key::k_fields)) {
    table = std::exchange(column, part.type == Key::k_A_Star ? "*" : exact(tree_.text(part, Key::k_sval)));
    ++parts;
  }
  if (parts == 0) return;
  if (parts == 1) {
    add_column_of_any(column);
    // A table's name alone is its whole row.
    const auto row = std::ranges::find(sources_.rbegin(), sources_.rend(), column, &Source::name);
    if (row != sources_.rend() && row->object != Source::kNoObject) add_column(row->object, "*", {Effect::kRead});
    return;
  }
  if (column != "*") note_field(column);
  const auto found = std::ranges::find(sources_.rbegin(), sources_.rend(), table, &Source::name);
  if (found == sources_.rend()) {
    mark_sources_read();
    add_column(Column::kNotTold, std::move(column), {Effect::kRead});
  } else if (found->object != Source::kNoObject) {
    add_column(found->object, std::move(column), {Effect::kRead});
  }
}

uint16_t Walk::argument_count(const TreeNode& call) const {
  // percentile_cont(0.5) WITHIN GROUP (ORDER BY x) has two.
  if (tree_.has(call, Key::k_agg_within_group) || tree_.has(call, Key::k_func_variadic)) return Function::kNotTold;
  uint16_t count = 0;
  for ([[maybe_unused]] const TreeNode& argument : tree_.items(call, Key::k_args)) ++count;
  return count;
}

void Walk::add_function(const TreeNode& node, bool is_called, uint16_t argument_count) {
  Function function{.argument_count = argument_count};
  for (const Key list : {Key::k_funcname, Key::k_method, Key::k_objname})
    for (const TreeNode& part : tree_.items(node, list)) {
      function.schema = std::exchange(function.name, {});
      function.name = name_at(part, Key::k_sval);
    }
  if (!function.name.empty()) add_function(std::move(function), is_called);
}

void Walk::add_function(Function function, bool is_called) {
  const KnownFunction known = known_function(function.name);
  const bool is_builtin_schema = function.schema == kBuiltinSchema;
  // A harmless name in another schema is another function; a dangerous one may be an extension's, whose schema is free.
  const bool is_known =
      function.schema.empty() || is_builtin_schema || known.function_class != FunctionClass::kHarmless;
  if (is_known) {
    function.function_class = known.function_class;
    function.reason = known.reason;
    function.is_presumed_builtin = !is_builtin_schema && known.function_class != FunctionClass::kUnknown;
  }
  function.is_deferred = !is_called;
  const Effects effects = effects_of(function.function_class);
  if (is_called) {
    // EXPLAIN and PREPARE may run a function to plan.
    out_.effects.add(effects);
    if (effects.has(Effect::kUnknown)) out_.unknown.add(UnknownReason::kFunction);
  }
  if (!is_called || is_deferred_) {
    out_.deferred.add(effects);
    if (effects.has(Effect::kUnknown)) out_.deferred_unknown.add(UnknownReason::kFunction);
  }
  const bool is_listed = std::ranges::any_of(out_.functions, [&](const Function& other) {
    return other.name == function.name && other.schema == function.schema &&
           other.is_deferred == function.is_deferred && other.argument_count == function.argument_count;
  });
  if (!is_listed) out_.functions.push_back(std::move(function));
}

void Walk::visit_call(const TreeNode& node) {
  add_function(node, !is_body_, argument_count(node));
  std::string name;
  for (const TreeNode& part : tree_.items(node, Key::k_funcname)) name = tree_.text(part, Key::k_sval);
  if (name == "set_config") note_set_config(node);
  if (name == "nextval" || name == "setval" || name == "currval") note_sequence(node, name);
  for (const TreeNode& child : tree_.children(node))
    if (child.key != Key::k_funcname) visit(child);
}

bool Walk::literal_text(const TreeNode& node, std::string& out) {
  if (node.type == Key::k_TypeCast) {
    const TreeNode* arg = tree_.child(node, Key::k_arg);
    return arg != nullptr && literal_text(*arg, out);
  }
  if (node.type != Key::k_A_Const) return false;
  const TreeNode* text = tree_.child(node, Key::k_sval);
  if (text == nullptr) return false;
  consulted_.value_at(static_cast<size_t>(tree_.number(node, Key::k_location)));
  out = exact(tree_.text(*text, Key::k_sval));
  return true;
}

// set_config(name, value, is_local). A computed is_local may be false, which says more.
void Walk::note_set_config(const TreeNode& call) {
  SessionChange change;
  size_t index = 0;
  for (const TreeNode& arg : tree_.items(call, Key::k_args)) {
    if (index == 0 && !literal_text(arg, change.name)) change.name.clear();
    if (index == 1) change.is_value_known = literal_text(arg, change.value);
    if (index == 2 && arg.type == Key::k_A_Const) {
      const TreeNode* flag = tree_.child(arg, Key::k_boolval);
      if (flag != nullptr && tree_.has(*flag, Key::k_boolval)) change.kind = SessionChange::Kind::kSetLocal;
    }
    ++index;
  }
  std::ranges::transform(change.name, change.name.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
  out_.session_changes.push_back(std::move(change));
}

void Walk::note_sequence(const TreeNode& call, const std::string& function) {
  const auto args = tree_.items(call, Key::k_args);
  std::string text;
  if (args.empty() || !literal_text(*args.begin(), text)) return;
  // The text is read as an identifier is; what has quotes in it is left as it is.
  Object sequence{.kind = ObjectKind::kSequence};
  const size_t point = text.find('"') == text.npos ? text.find('.') : text.npos;
  sequence.schema = point == text.npos ? std::string{} : text.substr(0, point);
  sequence.name = point == text.npos ? text : text.substr(point + 1);
  add_object(std::move(sequence), {function == "currval" ? Effect::kRead : Effect::kUpdate});
}

size_t Walk::add_relation(const TreeNode& relation, Effects uses, ObjectKind kind, bool filters) {
  Object object{
      .schema = name_at(relation, Key::k_schemaname), .name = name_at(relation, Key::k_relname), .kind = kind};
  if (uses.has(Effect::kCreate) && tree_.raw_text(relation, Key::k_relpersistence) == "t")
    out_.details.emplace_back("temporary");
  if (const TreeNode* alias = tree_.child(relation, Key::k_alias)) object.alias = name_at(*alias, Key::k_aliasname);
  object.is_filtered = filters;
  return add_object(std::move(object), uses);
}

size_t Walk::add_object(Object object, Effects uses) {
  note(uses);
  auto found = std::ranges::find_if(out_.objects, [&](const Object& other) {
    return other.name == object.name && other.schema == object.schema && other.alias == object.alias &&
           other.kind == object.kind;
  });
  if (found == out_.objects.end()) {
    out_.objects.push_back(std::move(object));
    found = out_.objects.end() - 1;
  } else if (uses.has_any({Effect::kRead, Effect::kUpdate, Effect::kDelete})) {
    const bool was_looked_at = found->uses.has_any({Effect::kRead, Effect::kUpdate, Effect::kDelete}) ||
                               found->deferred.has_any({Effect::kRead, Effect::kUpdate, Effect::kDelete});
    found->is_filtered = object.is_filtered && (found->is_filtered || !was_looked_at);
  }
  (is_deferred_ ? found->deferred : found->uses).add(uses);
  return static_cast<size_t>(found - out_.objects.begin());
}

void Walk::note(Effects effects) {
  (is_deferred_ ? out_.deferred : out_.effects).add(effects);
}

void Walk::note_unknown(UnknownReason reason) {
  note(Effect::kUnknown);
  (is_deferred_ ? out_.deferred_unknown : out_.unknown).add(reason);
}

// Those that sorting, joining and comparing use are looked at anyway.
void Walk::note_operator(const TreeNode& node, Key list) {
  static constexpr std::string_view kUsual[] = {"=", "<>", "<", ">", "<=", ">="};
  QualifiedName name;
  for (const TreeNode& part : tree_.items(node, list)) {
    name.schema = std::exchange(name.name, {});
    name.name = name_at(part, Key::k_sval);
  }
  if (name.name.empty() || name.schema == kBuiltinSchema) return;
  if (name.schema.empty() && std::ranges::find(kUsual, name.name) != std::end(kUsual)) return;
  if (std::ranges::find(out_.operators, name) == out_.operators.end()) out_.operators.push_back(std::move(name));
}

// (x).f and, where x is a whole row or a function's value, x.f may be f(x).
void Walk::note_field(std::string name) {
  const KnownFunction known = known_function(name);
  if (known.function_class != FunctionClass::kUnknown && known.function_class != FunctionClass::kHarmless)
    add_function({.name = name, .argument_count = 1}, !is_body_);
  if (std::ranges::find(out_.fields, name) == out_.fields.end()) out_.fields.push_back(std::move(name));
}

void Walk::note_verb(std::string_view verb) {
  if (std::ranges::find(out_.verbs, verb) == out_.verbs.end()) out_.verbs.push_back(verb);
}

// Of a name in an encoding that is not converted here, the characters that are not known are '?', and what it means is
// not known.
std::string Walk::exact(std::string name) {
  if (has_exact_names_) return name;
  for (char& c : name)
    if (static_cast<unsigned char>(c) >= 0x80) {
      c = '?';
      out_.effects.add(Effect::kUnknown);
      out_.unknown.add(UnknownReason::kName);
    }
  return name;
}

}  // namespace gatehouse::sql
