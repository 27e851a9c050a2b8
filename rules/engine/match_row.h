// SPDX-License-Identifier: Apache-2.0
// Filters against the flat rows of the query service. What a row does not know is "", 0 or false.
#pragma once

#include "rules/engine/filter.h"

namespace gatehouse::v1 {
class Row;
}

namespace gatehouse::rules {

[[nodiscard]] bool matches(const Filter& filter, const gatehouse::v1::Row& row);

}  // namespace gatehouse::rules
