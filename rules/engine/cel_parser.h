// SPDX-License-Identifier: Apache-2.0
// Text to tree, as cel-spec's grammar has it. Pure.
#pragma once

#include <string_view>

#include <tl/expected.hpp>

#include "rules/engine/cel_ast.h"

namespace gatehouse::rules::cel {

tl::expected<Ast, CompileError> parse(std::string_view text);

}  // namespace gatehouse::rules::cel
