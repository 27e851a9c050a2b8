// SPDX-License-Identifier: Apache-2.0
// Calls: PostgreSQL's own by what is known of them, those in SQL by following them, others by all that they reach.
#include <algorithm>
#include <iterator>
#include <utility>

#include "agent/sql/functions.h"
#include "agent/sql/lineage_walk.h"
#include "agent/sql/parsed.h"
#include "agent/sql/routine.h"

namespace gatehouse::sql {
namespace {

enum class Tells : uint8_t { kNothing, kPresence, kSize, kItself };
struct Bounded {
  std::string_view name;
  Tells tells;
  std::string_view reason;
};
constexpr Bounded kBounded[] = {
#define GH_BOUNDED_FUNCTION(name, tells, reason) {#name, Tells::tells, reason},
#include "agent/sql/bounded_functions.def"
#undef GH_BOUNDED_FUNCTION
};
static_assert(std::ranges::is_sorted(kBounded, {}, &Bounded::name));

// Where a function's value comes from beside its arguments: nobody knows from where.
constexpr Effects kFromElsewhere{Effect::kFileRead, Effect::kProgram, Effect::kNetwork, Effect::kLargeObject,
                                 Effect::kInspect,  Effect::kRunText, Effect::kUnknown};

bool takes(const CatalogFunction& function, const std::vector<NamedFlow>& arguments, bool has_fixed_count) {
  if (function.is_builtin || !has_fixed_count) return true;
  return function.arguments_min <= arguments.size() && arguments.size() <= function.arguments_max;
}

}  // namespace

LineageWalk::Call LineageWalk::call_of(const TreeNode& node) {
  Call call;
  for (const TreeNode& part : tree_.items(node, Key::k_funcname))
    call.schema = std::exchange(call.name, tree_.text(part, Key::k_sval));
  call.has_fixed_count = !tree_.has(node, Key::k_func_variadic);
  for (const TreeNode& argument : tree_.items(node, Key::k_args)) {
    NamedFlow& made = call.arguments.emplace_back();
    if (argument.type == Key::k_NamedArgExpr) made.name = text_of(argument, Key::k_name);
    made.flow = expression(argument);
    if (call.arguments.size() == 1 && argument.type == Key::k_A_Const && call.name == "current_setting") {
      // A parameter of the server's has no point in its name; others hold what set_config put there.
      context_.depends_on_text = true;
      const TreeNode* text = tree_.child(argument, Key::k_sval);
      call.has_constant_setting = text != nullptr && tree_.text(*text, Key::k_sval).find('.') == std::string::npos;
    }
  }
  // percentile_disc(0.5) WITHIN GROUP (ORDER BY x) gives an x.
  if (tree_.has(node, Key::k_agg_within_group)) {
    for (const TreeNode& item : tree_.items(node, Key::k_agg_order))
      if (const TreeNode* what = tree_.child(item, Key::k_node))
        call.arguments.push_back({.name = {}, .flow = decided(*what)});
    call.has_fixed_count = false;
  }
  return call;
}

Flow LineageWalk::all_of(const Call& call) const {
  Flow out;
  for (const NamedFlow& argument : call.arguments) out.take(argument.flow);
  out.is_derived = true;
  return out;
}

Flow LineageWalk::window(const TreeNode& over) {
  Flow out = children(over);
  if (tree_.has(over, Key::k_name) || tree_.has(over, Key::k_refname))
    if (level_->windows) out.take(*level_->windows);
  context_.predicate(out);
  return out;
}

Flow LineageWalk::call_value(const TreeNode& node) {
  const Call made = call_of(node);
  bool is_scalar = false;
  Row row = call(made, is_scalar);
  Flow out;
  if (is_scalar) {
    out = row.first();
  } else {
    out = flow_of_row(std::make_shared<const Row>(std::move(row)));
  }
  if (const TreeNode* filter = tree_.child(node, Key::k_agg_filter)) out.decide_by(decided(*filter));
  if (const TreeNode* over = tree_.child(node, Key::k_over)) out.decide_by(window(*over));
  if (!tree_.has(node, Key::k_agg_within_group)) {
    const Flow order = list(node, Key::k_agg_order);
    context_.predicate(order);
    out.decide_by(order);
  }
  return out;
}

Row LineageWalk::call(const Call& call, bool& is_scalar) {
  is_scalar = true;
  const DepthScope depth(context_);
  if (!depth.is_allowed()) return open_row(unknown_flow());
  note_stores(call);
  return call_named(call, is_scalar);
}

Row LineageWalk::call_named(const Call& call, bool& is_scalar) {
  const auto value = [&](Flow flow) {
    Row row;
    row.columns.push_back({.name = call.name, .flow = std::move(flow)});
    return row;
  };
  if (context_.catalog() == nullptr) {
    Flow flow = call_known(call);
    if (flow.row == nullptr && known_function(call.name).function_class == FunctionClass::kUnknown)
      context_.note_unknown("function " + call.name + "() is not known");
    Row row = value(flow);
    row.open(flow);  // it may give a row
    return row;
  }
  std::vector<const CatalogFunction*> builtins, others;
  for (const CatalogFunction* candidate : context_.path_at(path_).functions(call.schema, call.name))
    if (takes(*candidate, call.arguments, call.has_fixed_count))
      (candidate->is_builtin ? builtins : others).push_back(candidate);
  // email(t) is t.email.
  std::optional<Flow> as_field;
  if (call.schema.empty() && call.arguments.size() == 1 && call.arguments.front().flow.row != nullptr) {
    const Row& argument = *call.arguments.front().flow.row;
    if (const Flow* found = argument.find(call.name)) as_field = *found;
  }
  std::optional<Row> out;
  const auto add = [&](Row row, bool is_value) {
    is_scalar = out ? is_scalar && is_value : is_value;
    if (out)
      out->add(row);
    else
      out = std::move(row);
  };
  if (!builtins.empty()) {
    bool is_value = true;
    Row row = call_builtin(call, builtins, is_value);
    add(std::move(row), is_value);
  }
  for (const CatalogFunction* function : others) {
    bool is_value = true;
    Row row = call_user(*function, call, is_value);
    add(std::move(row), is_value);
  }
  if (as_field) add(value(*as_field), true);
  if (out) return *std::move(out);
  // A type's name calls its cast.
  Flow flow = all_of(call);
  if (context_.path_at(path_).types(call.schema, call.name).empty()) {
    flow = call_known(call);
    if (known_function(call.name).function_class == FunctionClass::kUnknown)
      context_.note_unknown("function " + call.name + "() is not in the catalog");
    if (flow.is_unknown) context_.touches_unknown = true;
  }
  return value(std::move(flow));
}

// By what is known of a function of PostgreSQL's, or of an extension that is known.
Flow LineageWalk::call_known(const Call& call) {
  if (std::optional<Flow> bounded = call_bounded(call, context_.catalog() == nullptr)) return *std::move(bounded);
  Flow out = all_of(call);
  const KnownFunction known = known_function(call.name);
  const Effects effects = effects_of(known.function_class);
  if (effects.has_any(kFromElsewhere) || (call.name == "current_setting" && !call.has_constant_setting)) {
    out.is_unknown = true;
    context_.touches_unknown = true;
    context_.note_unknown("function " + call.name + "()" +
                          (known.reason.empty() ? std::string{} : ": " + std::string(known.reason)));
  }
  return out;
}

std::optional<Flow> LineageWalk::call_bounded(const Call& call, bool by_name_only) {
  if (!call.schema.empty() && call.schema != "pg_catalog") return std::nullopt;
  const auto* found = std::ranges::lower_bound(kBounded, call.name, {}, &Bounded::name);
  if (found == std::end(kBounded) || found->name != call.name) return std::nullopt;
  Flow out;
  switch (found->tells) {
    case Tells::kNothing:
      break;
    case Tells::kPresence:
      for (const NamedFlow& argument : call.arguments) out.take(is_null(argument.flow));
      break;
    case Tells::kSize:
      for (const NamedFlow& argument : call.arguments)
        if (argument.flow.is_derived || argument.flow.row != nullptr) return std::nullopt;
      for (const NamedFlow& argument : call.arguments) out.conditions.add(argument.flow.conditions);
      break;
    case Tells::kItself:
      for (size_t i = 0; i < call.arguments.size(); ++i) {
        // lag(x, n, other), nth_value(x, n): n chooses.
        if (i == 1)
          out.decide_by(call.arguments[i].flow);
        else
          out.add(call.arguments[i].flow);
      }
      break;
  }
  if (found->tells != Tells::kItself) out.is_derived = true;
  // Which function a name stands for, only a catalog tells.
  if (by_name_only && call.schema.empty()) out.take(all_of(call));
  return out;
}

// Values that are put where later statements find them.
void LineageWalk::note_stores(const Call& call) {
  using Place = ColumnCopy::Place;
  std::optional<Place> place;
  if (call.name == "set_config")
    place = Place::kSetting;
  else if (call.name == "setval")
    place = Place::kSequence;
  else if (call.name == "pg_notify")
    place = Place::kNotify;
  else if (call.name == "pg_logical_emit_message")
    place = Place::kLog;
  else if (call.name == "lo_export" || call.name == "pg_file_write")
    place = Place::kFile;
  if (!place) {
    const Effects effects = effects_of(known_function(call.name).function_class);
    if (effects.has(Effect::kLargeObject)) place = Place::kLargeObject;
    if (effects.has(Effect::kNetwork)) place = Place::kNetwork;
  }
  if (!place) return;
  const Flow flow = all_of(call);
  if (flow.tells_something()) context_.copy(*place, {}, flow);
}

Row LineageWalk::call_builtin(const Call& call, std::span<const CatalogFunction* const> overloads, bool& is_scalar) {
  Flow flow = call_known(call);
  const CatalogFunction& first = *overloads.front();
  const bool is_same = std::ranges::all_of(overloads, [&](const CatalogFunction* other) {
    return other->result == first.result || (other->outputs == first.outputs && !first.outputs.empty());
  });
  Row row;
  is_scalar = true;
  if (is_same && first.outputs.size() > 1) {
    is_scalar = false;
    for (const std::string& name : first.outputs) row.columns.push_back({.name = name, .flow = flow});
    return row;
  }
  const bool may_be_row = std::ranges::any_of(overloads, [](const CatalogFunction* other) {
    return other->result == kRecordType || is_polymorphic(other->result) || other->result == kNoOid ||
           other->outputs.size() > 1;
  });
  const bool gives_element = std::ranges::any_of(
      overloads, [](const CatalogFunction* other) { return is_polymorphic(other->result) && other->outputs.empty(); });
  // unnest(x), min(x), array_agg(x): rows stay rows.
  std::shared_ptr<const Row> element;
  bool has_known_types = true;
  for (const NamedFlow& argument : call.arguments) {
    if (argument.flow.row != nullptr && element == nullptr) element = argument.flow.row;
    if (argument.flow.type == kNoOid || argument.flow.type >= kFirstUserOid || argument.flow.type == kRecordType ||
        argument.flow.type == kRecordArrayType)
      has_known_types = false;
  }
  const bool keeps_rows = gives_element || call.name == "array_agg";
  if (keeps_rows && element != nullptr && call.arguments.size() == 1) {
    is_scalar = call.name != "unnest";
    if (!is_scalar) return *element;
    flow.row = element;
  }
  row.columns.push_back(
      {.name = first.outputs.size() == 1 && is_same ? first.outputs.front() : call.name, .flow = flow});
  if (row.columns.front().flow.type == kNoOid && is_same && !is_polymorphic(first.result))
    row.columns.front().flow.type = first.result;
  if (call.name == "array_agg" && row.columns.front().flow.row == nullptr)
    row.columns.front().flow.type = has_known_types ? kAnyArrayType : kNoOid;
  // Of elements whose type is one of PostgreSQL's own there is one column.
  const bool is_one_column = !may_be_row || (gives_element && first.outputs.empty() && has_known_types && is_same &&
                                             first.result != kRecordType);
  if (!is_one_column && (first.returns_set || first.result == kRecordType || is_polymorphic(first.result))) {
    is_scalar = is_scalar && first.result != kRecordType && !first.returns_set;
    row.open(flow);
  }
  return row;
}

Row LineageWalk::call_user(const CatalogFunction& function, const Call& call, bool& is_scalar) {
  if (std::optional<Row> followed = follow(function, call)) {
    const Flow all = followed->all();
    if (!all_of(call).tells_something()) context_.foldable.take(all);
    return shaped(function, *std::move(followed), is_scalar);
  }
  const Reads& reads = context_.reads_of(function);
  Flow flow = all_of(call);
  if (!flow.tells_something()) context_.foldable.take(reads.flow);
  flow.take(reads.flow);
  context_.touch(flow);
  for (const Oid written : reads.writes)
    if (const CatalogRelation* relation = context_.catalog()->relation(written); relation != nullptr)
      if (flow.tells_something())
        context_.copy(ColumnCopy::Place::kRelation,
                      {.relation_oid = relation->oid,
                       .schema = std::string(context_.catalog()->schema_name(relation->schema)),
                       .relation = relation->name,
                       .column = "*"},
                      flow);
  Row row;
  row.columns.push_back({.name = function.name, .flow = std::move(flow)});
  return shaped(function, std::move(row), is_scalar);
}

// What a function's body gives, as its declaration says: one value, or columns.
Row LineageWalk::shaped(const CatalogFunction& function, Row given, bool& is_scalar) const {
  std::vector<std::string> names = function.outputs;
  const CatalogType* type = context_.catalog()->type(function.result);
  if (names.empty() && type != nullptr) {
    if (const CatalogRelation* relation = context_.catalog()->relation(type->relation))
      for (const CatalogColumn& column : relation->columns) names.push_back(column.name);
    else
      names = type->columns;
  }
  const bool is_row = names.size() > 1 || (type != nullptr && type->relation != kNoOid);
  is_scalar = false;
  // A body may give the row as one value.
  const bool is_of_one = !given.is_open && given.columns.size() == 1;
  const std::shared_ptr<const Row> inner = is_of_one ? given.columns.front().flow.row : nullptr;
  if (!is_row && function.result != kRecordType) {
    is_scalar = true;
    Row out;
    Flow flow = given.first();
    if (is_polymorphic(function.result) && inner != nullptr) is_scalar = !function.returns_set;
    if (!is_scalar) return *inner;
    if (is_polymorphic(function.result) && flow.row == nullptr && flow.type == kNoOid && function.returns_set)
      out.open(flow);
    out.columns.push_back({.name = names.empty() ? function.name : names.front(), .flow = std::move(flow)});
    return out;
  }
  if (inner != nullptr && (names.empty() || inner->columns.size() == names.size())) given = *inner;
  if (names.empty()) {
    // RETURNS record: the call says what columns there are.
    if (is_of_one && inner == nullptr) given.open({});
    return given;
  }
  if (!given.is_open && given.columns.size() == names.size()) {
    for (size_t i = 0; i < names.size(); ++i) given.columns[i].name = names[i];
    return given;
  }
  Row out;
  const Flow all = given.all();
  for (const std::string& name : names) out.columns.push_back({.name = name, .flow = all});
  return out;
}

// By place, by name, and what is left to defaults.
std::vector<NamedFlow> LineageWalk::bind(const CatalogFunction& function, const Call& call) {
  std::vector<NamedFlow> out;
  const size_t count = function.types.empty() ? 0 : function.types.size() - 1;
  for (size_t i = 0; i < count; ++i)
    out.push_back({.name = i < function.inputs.size() ? function.inputs[i] : std::string{}, .flow = {}});
  std::vector<bool> is_given(count, false);
  for (size_t i = 0; i < call.arguments.size() && count > 0; ++i) {
    const NamedFlow& argument = call.arguments[i];
    size_t place = std::min(i, count - 1);  // VARIADIC takes the rest
    if (!argument.name.empty()) {
      const auto named = std::ranges::find(out, argument.name, &NamedFlow::name);
      if (named != out.end()) place = static_cast<size_t>(named - out.begin());
    }
    if (is_given[place])
      out[place].flow.take(argument.flow);
    else
      out[place].flow = argument.flow;
    is_given[place] = true;
    if (i >= count) out[place].flow.row = nullptr;
  }
  if (function.defaults == nullptr || (function.defaults->functions.empty() && function.defaults->objects.empty()))
    return out;
  for (size_t i = 0; i < count; ++i)
    if (!is_given[i]) out[i].flow = context_.reads_of(function).flow;
  return out;
}

// Into the body of a function in SQL. Nothing: it cannot be followed.
std::optional<Row> LineageWalk::follow(const CatalogFunction& function, const Call& call) {
  if (function.source.empty() || function.is_aggregate || context_.routines >= kLineageRoutinesMax) return std::nullopt;
  // What a backslash means is told by the session at each call.
  if (!function.is_sql_body && function.source.find('\\') != std::string::npos) return std::nullopt;
  auto& open = context_.open_functions;
  if (std::ranges::find(open, function.oid) != open.end()) return std::nullopt;
  const std::string text = function.is_sql_body ? statements_of_sql_body(function.source) : function.source;
  if (!context_.spend(text.size() / 8 + 1)) return std::nullopt;
  ParsedText parsed;
  std::string detail;
  const LexicalState state{};
  if (text.empty() || parsed.read(text, state, text_encoding(text, state.encoding), detail) != Refusal::kNone)
    return std::nullopt;
  const PathId running = context_.running_path_of(function);
  // Names of a body in the standard's way were looked up when it was made.
  const PathId inside = function.is_sql_body ? LineageContext::kNoPath : running;
  LineageWalk walk(context_, parsed.tree(), inside);
  walk.give_arguments(function.name, bind(function, call));
  open.push_back(function.oid);
  ++context_.routines;
  const PathId running_before = context_.run_in(running);
  Row out;
  const Tree& tree = parsed.tree();
  for (const TreeNode& raw : tree.items(tree.root(), Key::k_stmts)) {
    const TreeNode* statement = tree.child(raw, Key::k_stmt);
    if (statement == nullptr) continue;
    switch (statement->type) {
      case Key::k_SelectStmt:
      case Key::k_InsertStmt:
      case Key::k_UpdateStmt:
      case Key::k_DeleteStmt:
      case Key::k_MergeStmt:
        out = walk.query(*statement);
        break;
      default:
        walk.utility(*statement);
        out = {};
    }
  }
  context_.run_in(running_before);
  --context_.routines;
  open.pop_back();
  return out;
}

}  // namespace gatehouse::sql
