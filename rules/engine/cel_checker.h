// SPDX-License-Identifier: Apache-2.0
// Names and types: finds out what every name of a tree is and whether every operation knows the types that it gets.
// Pure.
#pragma once

#include <optional>

#include "rules/engine/cel_ast.h"
#include "rules/engine/cel_types.h"

namespace gatehouse::rules::cel {

// Fills in the meanings, functions and types of `ast`; the types are owned by `types`. The first mistake, if there is
// one, and then the tree is good for nothing.
std::optional<CompileError> check(Ast& ast, const Schema& schema, TypeTable& types);

}  // namespace gatehouse::rules::cel
