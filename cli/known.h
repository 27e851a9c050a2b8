// SPDX-License-Identifier: Apache-2.0
// Which fields a row knows. Rows are flat, and their 0, false and "" may be a value or may be nothing: the kind of the
// event and its neighbours tell.
#pragma once

#include "rules/engine/match_row.h"

namespace gatehouse::cli {

[[nodiscard]] bool is_known(const rules::FieldSpec& field, const v1::Row& row);

}  // namespace gatehouse::cli
