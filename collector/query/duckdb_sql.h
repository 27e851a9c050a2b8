// SPDX-License-Identifier: Apache-2.0
// Questions in DuckDB's SQL. Pure. Names come from proto/fields.def and this program, values only as parameters.
#pragma once

#include "collector/query/question.h"
#include "collector/store/store.h"

namespace gatehouse::query {

// Whole rows, for Store::rows(). Equal times are in the order in which they became durable.
store::SqlQuery to_sql(const Search& search);
store::SqlQuery to_sql(const OneSession& session);

// Values, for Store::values():
store::SqlQuery to_sql(const FindSessions& find);       // session
store::SqlQuery to_sql(const Top& top);                 // value, events, errors, rows, duration_ns, last_time_ns
store::SqlQuery to_sql(const LastStatus& last_status);  // agent_id, host, detail, segment, record

}  // namespace gatehouse::query
