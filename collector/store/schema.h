// SPDX-License-Identifier: Apache-2.0
// Names that queries on the store are written with.
#pragma once

#include <string>
#include <string_view>

namespace gatehouse::store {

// Where an event stands in the log; beside the columns of proto/fields.def.
inline constexpr std::string_view kSegmentColumn = "log_segment";
inline constexpr std::string_view kRecordColumn = "log_record";
inline constexpr std::string_view kSequenceColumn = "log_sequence";
// Of the event within its table, for asking for its other columns later.
inline constexpr std::string_view kRowColumn = "row_number";

// Where the parts of an event's row are that it shares with others.
inline constexpr std::string_view kContextColumn = "context";
inline constexpr std::string_view kShapeColumn = "shape";

// Of how many events a row of sums is (SqlQuery::sums).
inline constexpr std::string_view kCountColumn = "event_count";
// Whether sums have the field, to select and to group by.
bool is_summed(std::string_view member);

// Which of the two tables a key is of.
inline constexpr std::string_view kPartColumn = "part";

// The select list of a query for whole rows: every field's column, in the order of proto/fields.def.
const std::string& row_columns();

}  // namespace gatehouse::store
