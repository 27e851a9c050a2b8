// SPDX-License-Identifier: Apache-2.0
// What an expression looks at, and what must hold for it to be true.
#include <algorithm>
#include <iterator>

#include "rules/engine/cel_code.h"
#include "rules/engine/cel_functions.h"

namespace gatehouse::rules::cel {
namespace {

class Finder {
 public:
  Finder(const Ast& ast, const Schema& schema, ProgramCode& code) : ast_(ast), schema_(schema), code_(code) {}

  void run() {
    list_attributes(ast_.root);
    code_.guards = guards(ast_.root);
  }

 private:
  using Guards = std::vector<Guard>;

  [[nodiscard]] const Node& node(NodeId id) const { return ast_.nodes[id]; }

  // What `id` names, be it that value or whether it is there: a variable or a field of one.
  [[nodiscard]] std::optional<Attribute> named(NodeId id) const {
    const Node& here = node(id);
    if (here.meaning == Meaning::kVariable)
      return Attribute{.name = std::string(here.variable->name),
                       .variable = static_cast<size_t>(here.variable - schema_.variables.data())};
    if (here.meaning != Meaning::kField) return std::nullopt;
    auto of = named(here.args[0]);
    if (!of) return std::nullopt;
    of->name += "." + std::string(here.field->name);
    of->fields.push_back(here.field);
    return of;
  }

  void list_attributes(NodeId id) {
    if (auto found = named(id)) {
      if (std::ranges::find(code_.attributes, *found) == code_.attributes.end())
        code_.attributes.push_back(std::move(*found));
      return;
    }
    if (node(id).meaning == Meaning::kConstant) return;
    for (const NodeId arg : node(id).args) list_attributes(arg);
  }

  // What `id` is, if an event says it without computing: a field, the value of a map's key, or that of the elements of
  // a list that is looped over.
  [[nodiscard]] std::optional<Attribute> attribute(NodeId id) const {
    const Node& here = node(id);
    if (here.kind == NodeKind::kHas) return std::nullopt;
    if (here.meaning == Meaning::kLoopVariable) return element(here);
    if (here.meaning == Meaning::kKey) return key(here.args[0], here.text);
    if (here.kind == NodeKind::kCall && here.function->call == index) {
      const Value* written = constant(here.args[1]);
      if (written != nullptr && written->is(Kind::kString)) return key(here.args[0], written->as_text());
    }
    if (here.meaning != Meaning::kField) return named(id);
    auto of = attribute(here.args[0]);
    if (!of || of->key) return std::nullopt;
    of->name += "." + std::string(here.field->name);
    (of->is_element ? of->element_fields : of->fields).push_back(here.field);
    return of;
  }
  [[nodiscard]] std::optional<Attribute> key(NodeId map, std::string_view key) const {
    auto of = named(map);
    if (!of || node(map).type->kind != TypeKind::kMap) return std::nullopt;
    of->name += "." + std::string(key);
    of->key = key;
    return of;
  }
  [[nodiscard]] std::optional<Attribute> element(const Node& variable) const {
    if (variable.is_second || variable.index >= lists_.size()) return std::nullopt;
    return lists_[lists_.size() - 1 - variable.index];
  }
  [[nodiscard]] std::optional<Attribute> element_of(NodeId list) const {
    auto of = named(list);
    if (!of || node(list).kind == NodeKind::kHas || node(list).type->kind != TypeKind::kList) return std::nullopt;
    of->name += "[]";
    of->is_element = true;
    return of;
  }

  [[nodiscard]] const Value* constant(NodeId id) const {
    const Node& here = node(id);
    return here.kind == NodeKind::kConstant || here.meaning == Meaning::kConstant ? &here.constant : nullptr;
  }

  // The values of a list of constants, if it is one.
  std::optional<std::vector<Value>> constants(NodeId id) {
    std::vector<Value> values;
    if (const Value* list = constant(id)) {
      if (!list->is(Kind::kList) || list->count() > kGuardValuesMax) return std::nullopt;
      for (size_t i = 0; i < list->count(); ++i) values.push_back(code_.keep(list->element(i)));
      return values;
    }
    if (node(id).kind != NodeKind::kList || node(id).args.size() > kGuardValuesMax) return std::nullopt;
    for (const NodeId arg : node(id).args) {
      const Value* value = constant(arg);
      if (value == nullptr) return std::nullopt;
      values.push_back(code_.keep(*value));
    }
    return values;
  }

  static Guards one(std::optional<Attribute> of, std::vector<Value> values) {
    Guards guards;
    if (of) guards.push_back({.any_of = {{std::move(*of), std::move(values)}}});
    return guards;
  }

  Guards equality(NodeId left, NodeId right) {
    const Value* value = constant(right);
    if (value == nullptr) return {};
    return one(attribute(left), {code_.keep(*value)});
  }

  // All that must hold for `id` to be true.
  Guards guards(NodeId id) {
    const Node& here = node(id);
    switch (here.kind) {
      case NodeKind::kAnd: {
        Guards all;
        for (const NodeId arg : here.args) std::ranges::move(guards(arg), std::back_inserter(all));
        return all;
      }
      case NodeKind::kOr:
        return any(here);
      case NodeKind::kLoop:
        return loop(here);
      case NodeKind::kCall:
        if (auto found = call(here); !found.empty()) return found;
        break;
      default:
        break;
    }
    return one(attribute(id), {Value::boolean(true)});
  }

  Guards call(const Node& here) {
    if (here.function->call == logical_not) return one(attribute(here.args[0]), {Value::boolean(false)});
    if (here.function->call == equal) {
      auto found = equality(here.args[0], here.args[1]);
      return found.empty() ? equality(here.args[1], here.args[0]) : found;
    }
    if (here.function->call != in) return {};
    if (const Value* value = constant(here.args[0])) return one(element_of(here.args[1]), {code_.keep(*value)});
    auto values = constants(here.args[1]);
    return values ? one(attribute(here.args[0]), std::move(*values)) : Guards{};
  }

  Guards any(const Node& here) {
    std::vector<Guards> operands;
    for (const NodeId arg : here.args) {
      operands.push_back(guards(arg));
      if (operands.back().empty()) return {};
    }
    Guards all = of_same(operands);
    if (all.empty()) all = of_several(operands);
    return all;
  }

  // What all operands ask of the same attribute.
  static Guards of_same(const std::vector<Guards>& operands) {
    Guards all;
    for (const Guard& guard : operands[0])
      if (guard.any_of.size() == 1) all.push_back(guard);
    for (size_t i = 1; i < operands.size(); ++i) {
      std::erase_if(all, [&](Guard& guard) {
        Equality& of = guard.any_of[0];
        const auto same = std::ranges::find_if(operands[i], [&](const Guard& other) {
          return other.any_of.size() == 1 && other.any_of[0].attribute == of.attribute;
        });
        if (same == operands[i].end()) return true;
        const std::vector<Value>& values = same->any_of[0].values;
        of.values.insert(of.values.end(), values.begin(), values.end());
        return false;
      });
    }
    return all;
  }

  // One guard of each operand, the one that asks for the fewest values: one of them holds.
  static Guards of_several(const std::vector<Guards>& operands) {
    Guard guard;
    size_t count = 0;
    for (const Guards& of : operands) {
      const Guard& least = *std::ranges::min_element(of, {}, weight_of);
      for (const Equality& equality : least.any_of) {
        count += equality.values.size();
        const auto same = std::ranges::find(guard.any_of, equality.attribute, &Equality::attribute);
        if (same == guard.any_of.end())
          guard.any_of.push_back(equality);
        else
          same->values.insert(same->values.end(), equality.values.begin(), equality.values.end());
      }
    }
    if (guard.any_of.size() > kGuardAttributesMax || count > kGuardValuesMax) return {};
    return {std::move(guard)};
  }

  // Truth values are met far oftener than one of many texts.
  static size_t weight_of(const Guard& guard) {
    constexpr size_t kOfTruth = kGuardValuesMax;
    size_t weight = 0;
    for (const Equality& equality : guard.any_of)
      for (const Value& value : equality.values) weight += value.is(Kind::kBool) ? kOfTruth : 1;
    return weight;
  }

  // For a list to hold an element that fits, what is asked of that element must hold of one.
  Guards loop(const Node& here) {
    if (here.macro != Macro::kExists && here.macro != Macro::kExistsOne) return {};
    lists_.push_back(here.second.empty() ? element_of(here.args[0]) : std::nullopt);
    Guards found = guards(here.args[1]);
    lists_.pop_back();
    return found;
  }

  const Ast& ast_;
  const Schema& schema_;
  ProgramCode& code_;
  std::vector<std::optional<Attribute>> lists_{};  // of the loops around, if they are attributes
};

}  // namespace

Value value_of(const Value& from, std::span<const Field* const> fields) {
  Value value = from;
  for (const Field* field : fields) {
    if (!value.is(Kind::kRecord)) return Value::error(ErrorCode::kNoField);
    value = field->get(value.pointer());
  }
  return value;
}

Value value_of(const Attribute& attribute, std::span<const Value> variables) {
  const Value value = value_of(variables[attribute.variable], attribute.fields);
  if (!attribute.key) return value;
  if (!value.is(Kind::kMap)) return Value::error(ErrorCode::kNoField);
  for (size_t i = 0; i < value.count(); ++i) {
    const Entry entry = value.entry(i);
    if (entry.key.is(Kind::kString) && entry.key.as_text() == *attribute.key) return entry.value;
  }
  return Value::error(ErrorCode::kNoField);
}

void find_guards(const Ast& ast, const Schema& schema, ProgramCode& code) {
  Finder(ast, schema, code).run();
}

}  // namespace gatehouse::rules::cel
