// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/cel_checker.h"

#include <algorithm>
#include <array>

#include "rules/engine/nearest.h"

namespace gatehouse::rules::cel {
namespace {

// Names that stand for types themselves.
struct TypeName {
  std::string_view name;
  Type of;
  Value value;
};
constexpr Type kDynList{TypeKind::kList, &kDyn};
constexpr Type kDynMap{TypeKind::kMap, &kDyn, &kDyn};
constexpr Type kAnyType{TypeKind::kType};
constexpr TypeName kTypeNames[] = {
    {"bool", kBool, Value::type(Kind::kBool)},
    {"int", kInt, Value::type(Kind::kInt)},
    {"uint", kUint, Value::type(Kind::kUint)},
    {"double", kDouble, Value::type(Kind::kDouble)},
    {"string", kString, Value::type(Kind::kString)},
    {"bytes", kBytes, Value::type(Kind::kBytes)},
    {"list", kDynList, Value::type(Kind::kList)},
    {"map", kDynMap, Value::type(Kind::kMap)},
    {"null_type", kNull, Value::type(Kind::kNull)},
    {"type", kAnyType, Value::type(Kind::kType)},
    {"google.protobuf.Timestamp", kTimestamp, Value::type(Kind::kTimestamp)},
    {"google.protobuf.Duration", kDuration, Value::type(Kind::kDuration)},
};

struct LoopScope {
  const Node* loop;
  const Type* first;
  const Type* second;
};

class Checker {
 public:
  Checker(Ast& ast, const Schema& schema, TypeTable& types) : ast_(ast), schema_(schema), types_(types) {}

  std::optional<CompileError> run() {
    visit(ast_.root);
    if (error_) return std::move(error_);
    for (Node& node : ast_.nodes) {
      if (node.type != nullptr) node.type = types_.finish(node.type);
    }
    return std::nullopt;
  }

 private:
  Node& node(NodeId id) { return ast_.nodes[id]; }
  // What stands for a type after a mistake, so that only the first one is told.
  const Type* fail(size_t offset, std::string message) {
    if (!error_) error_ = CompileError{offset, std::move(message)};
    return &kDyn;
  }
  std::string name_of(const Type* type) { return to_string(*types_.finish(type)); }

  const Type* visit(NodeId id) {
    if (error_) return &kDyn;
    const Type* type = visit_kind(id);
    node(id).type = type;
    return type;
  }

  const Type* visit_kind(NodeId id) {
    Node& here = node(id);
    switch (here.kind) {
      case NodeKind::kConstant:
        return type_of_literal(here.constant);
      case NodeKind::kName:
        return name(here);
      case NodeKind::kSelect:
        return select(id);
      case NodeKind::kHas:
        select(id);
        return &kBool;
      case NodeKind::kCall:
        return call(here);
      case NodeKind::kAnd:
      case NodeKind::kOr:
        return logic(here);
      case NodeKind::kChoice:
        return choice(here);
      case NodeKind::kList:
        return list(here);
      case NodeKind::kMap:
        return map(here);
      case NodeKind::kLoop:
        return loop(id);
    }
    return &kDyn;
  }

  static const Type* type_of_literal(const Value& value) {
    switch (value.kind()) {
      case Kind::kBool:
        return &kBool;
      case Kind::kInt:
        return &kInt;
      case Kind::kUint:
        return &kUint;
      case Kind::kDouble:
        return &kDouble;
      case Kind::kString:
        return &kString;
      case Kind::kBytes:
        return &kBytes;
      default:
        return &kNull;
    }
  }

  // A variable, a constant or a type of that name; null if there is none.
  const Type* global(Node& here, std::string_view name) {
    if (const Variable* variable = schema_.find(name)) {
      here.variable = variable;
      here.meaning = Meaning::kVariable;
      if (variable->constant != nullptr) {
        here.meaning = Meaning::kConstant;
        here.constant = *variable->constant;
      }
      return variable->type;
    }
    const auto found = std::ranges::find(kTypeNames, name, &TypeName::name);
    if (found == std::end(kTypeNames)) return nullptr;
    here.meaning = Meaning::kConstant;
    here.constant = found->value;
    return types_.type(&found->of);
  }

  const Type* name(Node& here) {
    if (!here.is_rooted) {
      for (size_t i = scopes_.size(); i-- > 0;) {
        const Node& loop = *scopes_[i].loop;
        const bool second = here.text == loop.second && !loop.second.empty();
        if (!second && here.text != loop.text) continue;
        here.meaning = Meaning::kLoopVariable;
        here.index = static_cast<uint32_t>(scopes_.size() - 1 - i);
        here.is_second = second;
        return second ? scopes_[i].second : scopes_[i].first;
      }
    }
    if (const Type* type = global(here, here.text)) return type;
    return unknown(here.begin, here.text);
  }

  const Type* unknown(size_t offset, const std::string& name) {
    const std::string nearest = schema_.nearest(name);
    return fail(offset, "there is no `" + name + "`" + (nearest.empty() ? "" : "; did you mean `" + nearest + "`?"));
  }

  // The nodes of "a.b.c" from `a` outwards if `id` is only that and `a` is no loop's variable; else none.
  std::vector<NodeId> path(NodeId id) {
    std::vector<NodeId> nodes;
    for (; node(id).kind == NodeKind::kSelect || node(id).kind == NodeKind::kHas; id = node(id).args[0])
      nodes.push_back(id);
    const Node& root = node(id);
    const auto shadows = [&](const LoopScope& scope) {
      return scope.loop->text == root.text || scope.loop->second == root.text;
    };
    if (root.kind != NodeKind::kName || (!root.is_rooted && std::ranges::any_of(scopes_, shadows))) return {};
    nodes.push_back(id);
    std::ranges::reverse(nodes);
    return nodes;
  }

  // The longest part of the path that has a meaning of its own is meant; what follows it are fields.
  const Type* select(NodeId id) {
    const std::vector<NodeId> nodes = path(id);
    if (nodes.empty()) {
      const Type* of = visit(node(id).args[0]);
      return error_ ? &kDyn : member(node(id), of);
    }
    std::string name;
    std::vector<size_t> ends;
    for (const NodeId part : nodes) {
      name += (name.empty() ? "" : ".") + node(part).text;
      ends.push_back(name.size());
    }
    for (size_t count = nodes.size(); count > 0; --count) {
      Node& found = node(nodes[count - 1]);
      found.type = global(found, std::string_view(name).substr(0, ends[count - 1]));
      if (found.type == nullptr) continue;
      const Type* type = found.type;
      for (size_t i = count; i < nodes.size() && !error_; ++i)
        type = node(nodes[i]).type = member(node(nodes[i]), type);
      return type;
    }
    return unknown(node(id).begin, name);
  }

  // `of`.text
  const Type* member(Node& here, const Type* of) {
    of = types_.resolve(of);
    if (of->kind == TypeKind::kParam || of->kind == TypeKind::kDyn || of->kind == TypeKind::kMap) {
      here.meaning = Meaning::kKey;
      if (of->kind != TypeKind::kMap) return &kDyn;
      if (!types_.assign(of->first, &kString))
        return fail(here.offset, "the keys of " + name_of(of) + " are no strings: write [key]");
      return of->second;
    }
    if (of->kind != TypeKind::kRecord)
      return fail(here.offset,
                  "there is no field `" + here.text + "` in " + name_of(of) + ": records and maps have fields");
    here.meaning = Meaning::kField;
    here.field = of->record->find(here.text);
    if (here.field != nullptr) return here.field->type;
    const auto fields = of->record->fields;
    const auto nearest =
        std::ranges::min_element(fields, {}, [&](const Field& field) { return edit_distance(here.text, field.name); });
    return fail(here.offset,
                "there is no field `" + here.text + "` in `" + std::string(of->record->name) + "`" +
                    (nearest == fields.end() ? "" : "; did you mean `" + std::string(nearest->name) + "`?"));
  }

  const Type* call(Node& here) {
    here.function = find_function(here.text, here.is_method);
    if (here.function == nullptr) return no_function(here);
    std::vector<const Type*> args;
    args.reserve(here.args.size());
    for (const NodeId arg : here.args) args.push_back(visit(arg));
    if (error_) return &kDyn;
    // With a dyn among them the arguments may fit several signatures; the result is known if all agree on it.
    const Type* result = nullptr;
    for (const Signature& signature : here.function->signatures) {
      const Type* fits = types_.apply(signature, args);
      if (fits == nullptr) continue;
      if (result != nullptr && name_of(result) != name_of(fits)) return &kDyn;
      if (result == nullptr) result = fits;
    }
    return result == nullptr ? no_overload(here, args) : result;
  }

  const Type* no_function(const Node& here) {
    if (find_function(here.text, !here.is_method) != nullptr) {
      return fail(here.offset, "`" + here.text + "` is written " +
                                   (here.is_method ? here.text + "(…)" : "value." + here.text + "(…)"));
    }
    std::string_view nearest;
    size_t distance = SIZE_MAX;
    for (const Function& candidate : functions()) {
      const size_t distance_here = edit_distance(here.text, candidate.name);
      if (candidate.is_method != here.is_method || distance_here >= distance ||
          written_name(candidate) != candidate.name)
        continue;
      distance = distance_here;
      nearest = candidate.name;
    }
    return fail(here.offset, std::string("there is no ") + (here.is_method ? "method" : "function") + " `" + here.text +
                                 "`; did you mean `" + std::string(nearest) + "`?");
  }

  const Type* no_overload(const Node& here, const std::vector<const Type*>& args) {
    constexpr size_t kShownMax = 3;
    const auto listed = [&](std::span<const Type* const> list) {
      std::string text;
      for (const Type* type : list) text += (text.empty() ? "" : ", ") + name_of(type);
      return "(" + text + ")";
    };
    if (here.function->call == equal || here.function->call == not_equal) {
      return fail(here.offset, "`" + std::string(written_name(*here.function)) + "` compares values of one type, not " +
                                   name_of(args[0]) + " and " + name_of(args[1]));
    }
    std::string wanted;
    size_t shown = 0;
    for (const Signature& signature : here.function->signatures) {
      if (shown++ == kShownMax) {
        wanted += " and others";
        break;
      }
      std::string text;
      for (const Type* type : signature.parameters) text += (text.empty() ? "" : ", ") + to_string(*type);
      wanted += (wanted.empty() ? "(" : ", (") + text + ")";
    }
    return fail(here.offset,
                "`" + std::string(written_name(*here.function)) + "` takes " + wanted + ", not " + listed(args));
  }

  const Type* logic(Node& here) {
    for (const NodeId arg : here.args) expect_bool(arg, here.kind == NodeKind::kAnd ? "`&&` joins" : "`||` joins");
    return &kBool;
  }
  void expect_bool(NodeId id, const std::string& who) {
    const Type* type = visit(id);
    if (error_ || types_.assign(&kBool, type)) return;
    fail(node(id).begin, who + " conditions (bool), not " + name_of(type));
  }

  const Type* choice(Node& here) {
    expect_bool(here.args[0], "`? :` takes");
    const Type* yes = visit(here.args[1]);
    const Type* no = visit(here.args[2]);
    if (error_) return &kDyn;
    const Type* result = types_.free();
    if (types_.assign(result, yes) && types_.assign(result, no)) return result;
    return fail(here.offset, "both results of `? :` must be of one type, not " + name_of(yes) + " and " + name_of(no));
  }

  const Type* list(Node& here) {
    const Type* element = nullptr;
    for (const NodeId arg : here.args) {
      const Type* type = visit(arg);
      element = element == nullptr ? type : types_.join(element, type);
    }
    return types_.list(element == nullptr ? types_.free() : element);
  }

  const Type* map(Node& here) {
    const Type* key = nullptr;
    const Type* value = nullptr;
    for (size_t i = 0; i + 1 < here.args.size(); i += 2) {
      const Type* key_here = visit(here.args[i]);
      const Type* value_here = visit(here.args[i + 1]);
      if (error_) return &kDyn;
      if (!may_be_key(key_here))
        return fail(node(here.args[i]).begin, "a map's key is bool, int, uint or string, not " + name_of(key_here));
      key = key == nullptr ? key_here : types_.join(key, key_here);
      value = value == nullptr ? value_here : types_.join(value, value_here);
    }
    return types_.map(key == nullptr ? types_.free() : key, value == nullptr ? types_.free() : value);
  }
  bool may_be_key(const Type* type) {
    constexpr std::array kKeys = {TypeKind::kDyn, TypeKind::kParam, TypeKind::kBool,
                                  TypeKind::kInt, TypeKind::kUint,  TypeKind::kString};
    return std::ranges::find(kKeys, types_.resolve(type)->kind) != kKeys.end();
  }

  // The types of a loop's variables over `range`; false after a mistake.
  bool loop_variables(const Node& here, const Type* range, LoopScope& scope) {
    range = types_.resolve(range);
    const bool two = !here.second.empty();
    switch (range->kind) {
      case TypeKind::kList:
        scope.first = two ? &kInt : range->first;
        scope.second = range->first;
        return true;
      case TypeKind::kMap:
        scope.first = range->first;
        scope.second = range->second;
        return true;
      case TypeKind::kDyn:
      case TypeKind::kParam:
        scope.first = scope.second = &kDyn;
        return true;
      default:
        fail(here.offset, "a loop goes over a list or a map, not " + name_of(range));
        return false;
    }
  }

  const Type* loop(NodeId id) {
    const Node& here = node(id);
    const Type* range = visit(here.args[0]);
    LoopScope scope{.loop = &here, .first = &kDyn, .second = &kDyn};
    if (error_ || !loop_variables(here, range, scope)) return &kDyn;
    scopes_.push_back(scope);
    const Type* result = loop_result(here, scope);
    scopes_.pop_back();
    return result;
  }

  const Type* loop_result(const Node& here, const LoopScope& scope) {
    const bool transforms =
        here.macro == Macro::kMap || here.macro == Macro::kTransformList || here.macro == Macro::kTransformMap;
    const size_t last = here.args.size() - 1;
    if (!transforms || last == 2) expect_bool(here.args[1], "this macro takes");
    if (here.macro == Macro::kFilter) return types_.list(scope.first);
    if (!transforms) return &kBool;
    const Type* element = visit(here.args[last]);
    return here.macro == Macro::kTransformMap ? types_.map(scope.first, element) : types_.list(element);
  }

  Ast& ast_;
  const Schema& schema_;
  TypeTable& types_;
  std::vector<LoopScope> scopes_{};
  std::optional<CompileError> error_{};
};

}  // namespace

std::optional<CompileError> check(Ast& ast, const Schema& schema, TypeTable& types) {
  return Checker(ast, schema, types).run();
}

}  // namespace gatehouse::rules::cel
