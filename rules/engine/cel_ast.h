// SPDX-License-Identifier: Apache-2.0
// The tree of an expression. Macros are nodes of their own (kLoop, kHas), not their expansion, so that an explanation
// can speak of what was written. The checker fills in what names and types it found. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rules/engine/cel_schema.h"
#include "rules/engine/cel_value.h"

namespace gatehouse::rules::cel {

struct Function;
using NodeId = uint32_t;
inline constexpr NodeId kNoNode = UINT32_MAX;

enum class NodeKind : uint8_t {
  kConstant,  // `constant`
  kName,      // `text`
  kSelect,    // args[0] . `text`
  kHas,       // has(args[0] . `text`)
  kCall,      // `text`(args…), or args[0].`text`(args…) if is_method; operators are calls of "_+_" and the like
  kAnd,       // two operands or more
  kOr,        // likewise
  kChoice,    // args[0] ? args[1] : args[2]
  kList,
  kMap,   // key, value, key, value …
  kLoop,  // args: range, then the macro's expressions
};

enum class Macro : uint8_t { kAll, kExists, kExistsOne, kMap, kFilter, kTransformList, kTransformMap };

// What the checker found a name or a selection to be.
enum class Meaning : uint8_t {
  kNone,
  kLoopVariable,  // `index` counts loops outwards: 0 is the innermost; `is_second` of a loop with two variables
  kVariable,      // `variable`
  kConstant,      // `constant`: a constant of the schema, or a type's name
  kField,         // of a record: `field`
  kKey,           // of a map, or of what is only known when it is evaluated
};

struct Node {
  NodeKind kind = NodeKind::kConstant;
  Macro macro = Macro::kAll;
  bool is_method = false;
  bool is_rooted = false;  // written with a dot before it: never a loop's variable
  bool is_second = false;
  Meaning meaning = Meaning::kNone;
  uint32_t depth = 1;   // of the tree below
  uint32_t offset = 0;  // where it is pointed at: an operator's sign, a method's or field's name
  uint32_t begin = 0;   // its text is [begin, end)
  uint32_t end = 0;
  uint32_t index = 0;
  // 0: its text stands in the expression; n: in definition number n - 1, where `begin` and `end` are meant. `offset`
  // is always of the expression.
  uint32_t definition = 0;
  std::string text{};
  std::string second{};  // kLoop: the variables are `text` and, if there are two, `second`
  std::vector<NodeId> args{};
  Value constant{};  // its text is borrowed from the tree's `literals`, or from the schema
  const Variable* variable = nullptr;
  const Field* field = nullptr;
  const Function* function = nullptr;
  const Type* type = nullptr;
};

// Move-only: nodes borrow from `literals`.
struct Ast {
  Ast() = default;
  Ast(Ast&&) = default;
  Ast& operator=(Ast&&) = default;

  std::vector<Node> nodes{};
  std::vector<std::unique_ptr<std::string>> literals{};
  NodeId root = kNoNode;
};

// A mistake in an expression: where, and what was expected.
struct CompileError {
  size_t offset;  // byte of the text; its size if something is missing at the end
  std::string message;
};

// An expression with a name of its own, which others use as if it stood there in parentheses. Already expanded itself.
struct Definition {
  std::string_view name;  // "macros.production"
  const Ast* tree;
};

// Longer expressions are refused; rules are written by hand, lists of any length are constants of the schema.
inline constexpr size_t kExpressionBytesMax = 64U << 10;
// Parentheses, calls, lists and operators within each other: bounds the recursion of parser, checker and compiler.
// CEL asks for at least 32. Chains of && and || are one node, however long.
inline constexpr size_t kExpressionDepthMax = 200;
// Nodes of a tree with those of the definitions that it uses; without them its length bounds it.
inline constexpr size_t kExpressionNodesMax = 64U << 10;

}  // namespace gatehouse::rules::cel
