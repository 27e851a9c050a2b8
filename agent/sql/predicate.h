// SPDX-License-Identifier: Apache-2.0
// Does a condition choose rows?
#pragma once

#include <cstdint>

#include "agent/sql/consulted.h"
#include "agent/sql/tree.h"

namespace gatehouse::sql {

enum class Truth : uint8_t {
  kTrue,     // for each row; also what does not look at rows and is not known to be false: it takes all or none
  kFalse,    // or null, for each row
  kUnknown,  // looks at rows
};
// Of an expression in a WHERE or ON. Nulls are taken for values: id = id is kTrue.
Truth truth_of(const Tree& tree, const TreeNode& expression, Consulted& consulted);

}  // namespace gatehouse::sql
