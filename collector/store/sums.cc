// SPDX-License-Identifier: Apache-2.0
#include "collector/store/sums.h"

#include <algorithm>
#include <array>

#include "collector/store/columns.h"
#include "collector/store/schema.h"

namespace gatehouse::store {
namespace {

// What people group and filter by, of what is in an event's shape, and has few values.
constexpr std::array<std::string_view, 6> kKindColumns{
    "kind", "outcome", "fidelity", "statement_verb", "statement_protocol", "result_sqlstate"};

std::string kind_columns() {
  std::string list;
  for (const std::string_view column : kKindColumns) list += ", " + std::string(column);
  return list;
}

std::string saturated(std::string_view sum) {
  return "least(" + std::string(sum) + ", " + std::to_string(UINT64_MAX) + ")::UBIGINT";
}

bool is_list(std::string_view member) {
  using namespace field_types;
#define GH_FIELD(name, field, type, help) \
  if (member == #field) return type == ColumnType::kList;
#include "proto/fields.def"
#undef GH_FIELD
  return false;
}

}  // namespace

bool is_summed(std::string_view member) {
  if (is_list(member)) return false;
  return home_of(member) == Home::kContext || std::ranges::find(kKindColumns, member) != kKindColumns.end();
}

std::optional<SummedTime> summed_time(uint64_t since_ns, uint64_t until_ns) {
  // The last that is not whole ends beyond what 64 bits can say.
  constexpr uint64_t kEnd = UINT64_MAX / kSumNs * kSumNs;
  const uint64_t whole = since_ns / kSumNs * kSumNs;
  if (whole >= kEnd) return std::nullopt;
  const SummedTime time{.from_ns = whole == since_ns ? whole : whole + kSumNs,
                        .to_ns = until_ns == 0 ? kEnd : until_ns / kSumNs * kSumNs};
  return time.from_ns < time.to_ns ? std::optional(time) : std::nullopt;
}

std::string create_sums_sql() {
  std::string sql = "CREATE TABLE main.sums (context UBIGINT, start_ns UBIGINT";
  for (const std::string_view column : kKindColumns) sql += ", " + std::string(column) + " VARCHAR";
  return sql + ", event_count UBIGINT, result_rows UBIGINT, duration_ns UBIGINT, time_ns UBIGINT)";
}

std::string add_sums_sql(uint64_t segment) {
  const auto of_segment = [&](const std::string& column) {
    return column + " >= " + std::to_string(segment << kNumberBits) + " AND " + column + " < " +
           std::to_string((segment + 1) << kNumberBits);
  };
  // By number first: there are few shapes, and texts are dear to group by.
  const std::string by_number =
      "SELECT context, shape, time_ns - time_ns % " + std::to_string(kSumNs) +
      " AS start_ns, count(*) AS events, sum(result_rows) AS total_rows, sum(duration_ns) AS total_ns, "
      "max(time_ns) AS last_ns FROM main.events WHERE " +
      of_segment("context") + " GROUP BY ALL";
  // In this order they take the least room, and a question reads those of its time only.
  return "INSERT INTO main.sums SELECT e.context, e.start_ns" + kind_columns() + ", sum(events)::UBIGINT, " +
         saturated("sum(total_rows)") + ", " + saturated("sum(total_ns)") + ", max(last_ns) FROM (" + by_number +
         ") e JOIN (SELECT * FROM main.shapes WHERE " + of_segment("shape") +
         ") s ON s.shape = e.shape GROUP BY e.context, e.start_ns" + kind_columns() + " ORDER BY e.start_ns, e.context";
}

std::string sums_sql(const SummedTime& time, uint64_t segment, std::span<const std::string_view> columns) {
  std::string list;
  bool needs_context = false;
  for (const std::string_view column : columns) {
    if (!is_summed(column)) continue;
    const bool is_of_context = home_of(column) == Home::kContext;
    needs_context |= is_of_context;
    list += (is_of_context ? "c." : "t.") + std::string(column) + " AS " + std::string(column) + ", ";
  }
  std::string sql = "SELECT " + list + "t." + std::string(kCountColumn) +
                    ", t.result_rows, t.duration_ns, t.time_ns FROM (SELECT * FROM main.sums WHERE " +
                    up_to_segment(segment) + " AND start_ns >= " + std::to_string(time.from_ns) + " AND start_ns < " +
                    std::to_string(time.to_ns) + ") t";
  if (needs_context) sql += " JOIN main.contexts c ON c.context = t.context";
  return sql;
}

}  // namespace gatehouse::store
