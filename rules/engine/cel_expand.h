// SPDX-License-Identifier: Apache-2.0
// Puts the trees of definitions where an expression names them. Pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rules/engine/cel_ast.h"

namespace gatehouse::rules::cel {

// Names in a definition mean what they mean where it was written: no loop around its use captures them. `ast` borrows
// texts from the definitions' trees afterwards. The first mistake, if there is one, and then the tree is good for
// nothing.
std::optional<CompileError> expand(Ast& ast, std::span<const Definition> definitions);

// The names "prefix.x" that an expression may mean a definition by, each once, in order; and where the first stands.
struct Use {
  std::string name;
  size_t offset;
};
std::vector<Use> uses_of(const Ast& ast, std::string_view prefix);

}  // namespace gatehouse::rules::cel
