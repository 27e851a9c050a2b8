// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/cel_expand.h"

#include <algorithm>
#include <utility>

namespace gatehouse::rules::cel {
namespace {

// The names of the loops around a place.
class Scope {
 public:
  [[nodiscard]] bool holds(const std::string& name) const { return std::ranges::find(names_, name) != names_.end(); }
  // Calls `visit` for each part of a node, within the scope that the part is in.
  template <typename Visit>
  void walk(const Node& node, Visit visit) {
    for (size_t i = 0; i < node.args.size(); ++i) {
      const bool body = node.kind == NodeKind::kLoop && i > 0;
      if (body) names_.insert(names_.end(), {node.text, node.second});
      visit(i);
      if (body) names_.resize(names_.size() - 2);
    }
  }

 private:
  std::vector<std::string> names_{};
};

// "a.b" if a node is that and `a` is no loop's variable; else "".
std::string qualified(const Ast& ast, const Node& node, const Scope& scope) {
  if (node.kind != NodeKind::kSelect) return "";
  const Node& root = ast.nodes[node.args[0]];
  if (root.kind != NodeKind::kName || (!root.is_rooted && scope.holds(root.text))) return "";
  return root.text + "." + node.text;
}

class Expander {
 public:
  Expander(Ast& ast, std::span<const Definition> definitions) : ast_(ast), definitions_(definitions) {}

  std::optional<CompileError> run() {
    visit(ast_.root, 1);
    return std::move(error_);
  }

 private:
  // Visits by number: nodes move when others are added. Sets the depth anew.
  void visit(NodeId id, size_t depth) {
    if (error_) return;
    if (depth > kExpressionDepthMax) return fail(id, "with what its macros say, this is nested too deeply");
    replace(id);
    uint32_t below = 0;
    scope_.walk(Node(ast_.nodes[id]), [&](size_t i) {
      const NodeId arg = ast_.nodes[id].args[i];
      visit(arg, depth + 1);
      below = std::max(below, ast_.nodes[arg].depth);
    });
    ast_.nodes[id].depth = below + 1;
  }
  void fail(NodeId id, std::string message) {
    if (!error_) error_ = CompileError{ast_.nodes[id].offset, std::move(message)};
  }

  void replace(NodeId id) {
    const Node& here = ast_.nodes[id];
    if (here.definition != 0) return;
    const std::string name = qualified(ast_, here, scope_);
    const auto found = std::ranges::find(definitions_, name, &Definition::name);
    if (name.empty() || found == definitions_.end()) return;
    const Ast& tree = *found->tree;
    if (ast_.nodes.size() + tree.nodes.size() > kExpressionNodesMax)
      return fail(id, "with what its macros say, this has more than " + std::to_string(kExpressionNodesMax) + " parts");
    ast_.nodes[id] = copy(tree, tree.root, static_cast<uint32_t>(found - definitions_.begin()) + 1, here.offset);
  }

  // A node of a definition, whose parts are added to the tree.
  Node copy(const Ast& tree, NodeId id, uint32_t definition, uint32_t offset) {
    Node node = tree.nodes[id];
    node.offset = offset;
    if (node.definition == 0) node.definition = definition;
    if (node.kind == NodeKind::kName && !inner_.holds(node.text)) node.is_rooted = true;
    inner_.walk(tree.nodes[id], [&](size_t i) {
      Node part = copy(tree, tree.nodes[id].args[i], definition, offset);
      node.args[i] = static_cast<NodeId>(ast_.nodes.size());
      ast_.nodes.push_back(std::move(part));
    });
    return node;
  }

  Ast& ast_;
  std::span<const Definition> definitions_;
  Scope scope_{};
  Scope inner_{};  // of the definition that is copied
  std::optional<CompileError> error_{};
};

class Uses {
 public:
  Uses(const Ast& ast, std::string_view prefix) : ast_(ast), prefix_(std::string(prefix) + ".") {}
  std::vector<Use> run() {
    visit(ast_.root);
    return std::move(found_);
  }

 private:
  void visit(NodeId id) {
    const Node& here = ast_.nodes[id];
    const std::string name = qualified(ast_, here, scope_);
    if (name.starts_with(prefix_) && std::ranges::find(found_, name, &Use::name) == found_.end())
      found_.push_back({name, here.begin});
    scope_.walk(here, [&](size_t i) { visit(here.args[i]); });
  }

  const Ast& ast_;
  std::string prefix_;
  Scope scope_{};
  std::vector<Use> found_{};
};

}  // namespace

std::optional<CompileError> expand(Ast& ast, std::span<const Definition> definitions) {
  if (definitions.empty()) return std::nullopt;
  return Expander(ast, definitions).run();
}

std::vector<Use> uses_of(const Ast& ast, std::string_view prefix) {
  return Uses(ast, prefix).run();
}

}  // namespace gatehouse::rules::cel
