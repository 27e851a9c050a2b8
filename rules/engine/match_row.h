// SPDX-License-Identifier: Apache-2.0
// Filters against the flat rows of the query service. What a row does not know is "", 0 or false.
#pragma once

#include <google/protobuf/repeated_field.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "rules/engine/filter.h"

namespace gatehouse::v1 {
class Row;
}

namespace gatehouse::rules {

using TextList = google::protobuf::RepeatedPtrField<std::string>;
// What a row holds for a field; borrows from the row. Numbers, durations and times (ns) are uint64_t.
using RowValue = std::variant<std::string_view, uint64_t, bool, const TextList*>;

// `field` is one of fields().
[[nodiscard]] RowValue row_value(const FieldSpec& field, const gatehouse::v1::Row& row);

[[nodiscard]] bool matches(const Filter& filter, const gatehouse::v1::Row& row);

}  // namespace gatehouse::rules
