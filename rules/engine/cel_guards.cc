// SPDX-License-Identifier: Apache-2.0
// What an expression looks at, and what must hold for it to be true.
#include <algorithm>

#include "rules/engine/cel_code.h"
#include "rules/engine/cel_functions.h"

namespace gatehouse::rules::cel {
namespace {

class Finder {
 public:
  Finder(const Ast& ast, ProgramCode& code) : ast_(ast), code_(code) {}

  void run() {
    list_attributes(ast_.root);
    const Node& root = node(ast_.root);
    if (root.kind == NodeKind::kAnd) {
      for (const NodeId arg : root.args) add(guard(arg));
    } else {
      add(guard(ast_.root));
    }
  }

 private:
  [[nodiscard]] const Node& node(NodeId id) const { return ast_.nodes[id]; }
  void add(std::optional<Guard> guard) {
    if (guard) code_.guards.push_back(std::move(*guard));
  }

  // What `id` is, if it is a variable or a field of one.
  [[nodiscard]] std::optional<Attribute> attribute(NodeId id) const {
    return node(id).kind == NodeKind::kHas ? std::nullopt : named(id);
  }
  // What `id` names, be it that value or whether it is there.
  [[nodiscard]] std::optional<Attribute> named(NodeId id) const {
    const Node& here = node(id);
    if (here.meaning == Meaning::kVariable)
      return Attribute{.name = std::string(here.variable->name), .variable = here.variable, .fields = {}};
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

  [[nodiscard]] const Value* constant(NodeId id) const {
    const Node& here = node(id);
    return here.kind == NodeKind::kConstant || here.meaning == Meaning::kConstant ? &here.constant : nullptr;
  }

  // The values of a list of constants, if it is one.
  std::optional<std::vector<Value>> constants(NodeId id) {
    std::vector<Value> values;
    if (const Value* list = constant(id)) {
      if (!list->is(Kind::kList)) return std::nullopt;
      for (size_t i = 0; i < list->count(); ++i) values.push_back(code_.keep(list->element(i)));
      return values;
    }
    if (node(id).kind != NodeKind::kList) return std::nullopt;
    for (const NodeId arg : node(id).args) {
      const Value* value = constant(arg);
      if (value == nullptr) return std::nullopt;
      values.push_back(code_.keep(*value));
    }
    return values;
  }

  std::optional<Guard> equality(NodeId left, NodeId right) {
    const Value* value = constant(right);
    auto of = attribute(left);
    if (value == nullptr || !of) return std::nullopt;
    return Guard{std::move(*of), {code_.keep(*value)}};
  }

  std::optional<Guard> guard(NodeId id) {
    const Node& here = node(id);
    if (auto of = attribute(id)) return Guard{std::move(*of), {Value::boolean(true)}};
    if (here.kind == NodeKind::kOr) return any(here);
    if (here.kind != NodeKind::kCall) return std::nullopt;
    if (here.function->call == logical_not) {
      if (auto of = attribute(here.args[0])) return Guard{std::move(*of), {Value::boolean(false)}};
      return std::nullopt;
    }
    if (here.function->call == equal) {
      auto found = equality(here.args[0], here.args[1]);
      return found ? std::move(found) : equality(here.args[1], here.args[0]);
    }
    if (here.function->call != in) return std::nullopt;
    auto of = attribute(here.args[0]);
    auto values = constants(here.args[1]);
    if (!of || !values) return std::nullopt;
    return Guard{std::move(*of), std::move(*values)};
  }

  // All operands ask for the same attribute.
  std::optional<Guard> any(const Node& here) {
    auto all = guard(here.args[0]);
    for (size_t i = 1; i < here.args.size() && all; ++i) {
      const auto next = guard(here.args[i]);
      if (!next || next->attribute != all->attribute) return std::nullopt;
      all->values.insert(all->values.end(), next->values.begin(), next->values.end());
    }
    return all;
  }

  const Ast& ast_;
  ProgramCode& code_;
};

}  // namespace

void find_guards(const Ast& ast, ProgramCode& code) {
  Finder(ast, code).run();
}

}  // namespace gatehouse::rules::cel
