// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

#include "agent/sql/lexer.h"

namespace gatehouse::sql {

// How deep the grammar's tree of a text can be at most, from its tokens alone. PostgreSQL's parser looks at its stack
// only inside a server, and chained operators nest without brackets, so this is asked before it is given a long text.
size_t nesting_bound(std::string_view text, LexicalMode mode);

}  // namespace gatehouse::sql
