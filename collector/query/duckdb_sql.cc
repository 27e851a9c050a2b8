// SPDX-License-Identifier: Apache-2.0
#include "collector/query/duckdb_sql.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "collector/store/schema.h"

namespace gatehouse::query {
namespace {

using rules::CompareOp;
using rules::Comparison;
using rules::FieldType;
using store::kContextColumn;
using store::kPartColumn;
using store::kRecordColumn;
using store::kRowColumn;
using store::kSegmentColumn;
using store::kSequenceColumn;
using store::kShapeColumn;
using store::SqlQuery;
using store::Value;

// Collects parameters while the text is written.
class Writer {
 public:
  // The placeholder of a value.
  std::string bind(Value value) {
    parameters_.push_back(std::move(value));
    return "$" + std::to_string(parameters_.size());
  }
  // A column of `{table}` is used.
  void use(std::string_view column) { columns_.push_back(column); }
  SqlQuery finish(std::string part, std::string whole) {
    return {.part = std::move(part),
            .whole = std::move(whole),
            .parameters = std::move(parameters_),
            .columns = std::move(columns_)};
  }

 private:
  std::vector<Value> parameters_;
  std::vector<std::string_view> columns_;
};

std::string called(std::string_view function, std::string_view column, const std::string& value) {
  return std::string(function) + "(" + std::string(column) + ", " + value + ")";
}

std::string condition(const Comparison& comparison, Writer& writer) {
  const std::string column(comparison.field->member);
  writer.use(comparison.field->member);
  const std::string value = std::visit([&](const auto& held) { return writer.bind(Value(held)); }, comparison.value);
  if (comparison.field->type == FieldType::kList) return called("list_contains", column, value);
  switch (comparison.op) {
    case CompareOp::kEqual:
      return column + " = " + value;
    case CompareOp::kNotEqual:
      return column + " <> " + value;
    case CompareOp::kLess:
      return column + " < " + value;
    case CompareOp::kLessEqual:
      return column + " <= " + value;
    case CompareOp::kGreater:
      return column + " > " + value;
    case CompareOp::kGreaterEqual:
      return column + " >= " + value;
    case CompareOp::kContains:
      return called("contains", column, value);
    case CompareOp::kStartsWith:
      return called("starts_with", column, value);
    case CompareOp::kEndsWith:
      return called("ends_with", column, value);
  }
  __builtin_trap();
}

// An id is made of other columns, so that only comparing it whole would find it. Its last part is a column.
void add_sequence_of_id(const Comparison& comparison, Writer& writer, std::vector<std::string>& all_of) {
  if (comparison.field->member != "id" || comparison.op != CompareOp::kEqual) return;
  const auto* id = std::get_if<std::string>(&comparison.value);
  if (id == nullptr) return;
  uint64_t sequence = 0;
  const char* const end = id->data() + id->size();
  const auto parsed = std::from_chars(id->data() + id->rfind('/') + 1, end, sequence);
  if (parsed.ec == std::errc{} && parsed.ptr == end)
    all_of.push_back(std::string(kSequenceColumn) + " = " + writer.bind(sequence));
}

std::string where(const std::vector<std::string>& all_of) {
  std::string text;
  for (const std::string& one : all_of) text += (text.empty() ? " WHERE " : " AND ") + one;
  return text;
}

// " WHERE …", or nothing.
std::string where(const Selection& selection, Writer& writer) {
  std::vector<std::string> all_of;
  writer.use("time_ns");
  if (selection.since_ns > 0) all_of.push_back("time_ns >= " + writer.bind(selection.since_ns));
  if (selection.until_ns > 0) all_of.push_back("time_ns < " + writer.bind(selection.until_ns));
  if (selection.before) {
    const std::string segment = writer.bind(selection.before->segment);
    all_of.push_back("(" + std::string(kSegmentColumn) + " < " + segment + " OR (" + std::string(kSegmentColumn) +
                     " = " + segment + " AND " + std::string(kRecordColumn) + " < " +
                     writer.bind(uint64_t{selection.before->record}) + "))");
  }
  for (const Comparison& comparison : selection.filter.all_of) {
    add_sequence_of_id(comparison, writer, all_of);
    all_of.push_back(condition(comparison, writer));
  }
  return where(all_of);
}

std::string order_by(bool oldest_first) {
  const std::string direction = oldest_first ? "" : " DESC";
  std::string text = " ORDER BY time_ns" + direction;
  for (const std::string_view column : {kSegmentColumn, kRecordColumn, kSequenceColumn})
    text += ", " + std::string(column) + direction;
  return text;
}

std::string limit_to(uint32_t limit) {
  return limit == 0 ? "" : " LIMIT " + std::to_string(limit);
}

}  // namespace

SqlQuery to_sql(const Search& search) {
  Writer writer;
  const std::string order = order_by(search.oldest_first);
  const std::string limit = limit_to(search.limit);
  const std::string conditions = where(search.selection, writer);
  const std::string& columns = store::row_columns();
  const std::string place =
      std::string(kSegmentColumn) + ", " + std::string(kRecordColumn) + ", " + std::string(kSequenceColumn);
  const std::string all = "SELECT " + columns + ", " + place + " FROM {table}";
  const std::string whole = "SELECT " + columns + " FROM {parts}" + order;
  // Without a limit the parts need no order of their own.
  if (search.limit == 0) {
    SqlQuery query = writer.finish(all + conditions, whole);
    query.columns.clear();
    return query;
  }
  // With one, the order is found with few columns, and the others are read of what is answered only.
  SqlQuery query = writer.finish(all, whole);
  const std::string shared = ", time_ns, " + std::string(kContextColumn) + ", " + std::string(kShapeColumn);
  query.keys =
      "SELECT " + std::string(kRowColumn) + shared + ", " + place + " FROM {table}" + conditions + order + limit;
  query.keys_whole =
      "SELECT " + std::string(kPartColumn) + ", " + std::string(kRowColumn) + shared + " FROM {parts}" + order + limit;
  return query;
}

SqlQuery to_sql(const OneSession& session) {
  Writer writer;
  std::string part = "SELECT * FROM {table} WHERE session = " + writer.bind(session.session);
  return writer.finish(std::move(part),
                       "SELECT " + store::row_columns() + " FROM {parts}" + order_by(true) + limit_to(session.limit));
}

SqlQuery to_sql(const FindSessions& find) {
  Writer writer;
  const std::string text = writer.bind(find.text);
  writer.use("session");
  std::string part = "SELECT DISTINCT session FROM {table} WHERE session <> '' AND (starts_with(session, " + text +
                     ") OR starts_with(split_part(session, '/', 3), " + text + "))";
  // The best fits first: all of the id, all of its last part, a start of either.
  return writer.finish(std::move(part), "SELECT session FROM {parts} GROUP BY session ORDER BY session <> " + text +
                                            ", split_part(session, '/', 3) <> " + text + ", session" +
                                            limit_to(find.limit));
}

SqlQuery to_sql(const Top& top) {
  Writer writer;
  const std::string column(top.by->member);
  for (const std::string_view used : {top.by->member, std::string_view("outcome"), std::string_view("result_rows"),
                                      std::string_view("duration_ns"), std::string_view("time_ns")})
    writer.use(used);
  const std::string value = top.by->type == FieldType::kList ? "unnest(" + column + ")" : column + "::VARCHAR";
  const std::string part =
      "SELECT value, count(*) AS events, count(*) FILTER (outcome = 'error') AS errors, sum(result_rows) AS "
      "total_rows, "
      "sum(duration_ns) AS total_ns, max(time_ns) AS last_ns FROM (SELECT " +
      value + " AS value, outcome, result_rows, duration_ns, time_ns FROM {table}" + where(top.selection, writer) +
      ") GROUP BY value";
  const bool is_from_sums =
      store::is_summed(column) && std::ranges::all_of(top.selection.filter.all_of, [](const Comparison& comparison) {
        return store::is_summed(comparison.field->member);
      });
  std::string sums;
  if (is_from_sums) {
    std::vector<std::string> all_of;
    for (const Comparison& comparison : top.selection.filter.all_of) all_of.push_back(condition(comparison, writer));
    const std::string count(store::kCountColumn);
    sums = "SELECT " + value + " AS value, sum(" + count + ") AS events, coalesce(sum(" + count +
           ") FILTER (outcome = 'error'), 0) AS errors, sum(result_rows) AS total_rows, sum(duration_ns) AS total_ns, "
           "max(time_ns) AS last_ns FROM {table}" +
           where(all_of) + " GROUP BY value";
  }
  SqlQuery query = writer.finish(part,
                                 "SELECT value, sum(events)::VARCHAR, sum(errors)::VARCHAR, sum(total_rows)::VARCHAR, "
                                 "sum(total_ns)::VARCHAR, max(last_ns)::VARCHAR FROM {parts} GROUP BY value "
                                 "ORDER BY sum(events) DESC, value" +
                                     limit_to(top.limit));
  query.sums = std::move(sums);
  query.since_ns = top.selection.since_ns;
  query.until_ns = top.selection.until_ns;
  return query;
}

SqlQuery to_sql(const LastStatus& /*last_status*/) {
  Writer writer;
  for (const std::string_view used : {"agent_id", "host", "detail", "kind"}) writer.use(used);
  const std::string place = "struct_pack(a := " + std::string(kSegmentColumn) + ", b := " + std::string(kRecordColumn) +
                            ", c := " + std::string(kSequenceColumn) + ")";
  std::string part = "SELECT agent_id, arg_max(host, " + place + ") AS host, arg_max(detail, " + place +
                     ") AS detail, max(" + place + ") AS place FROM {table} WHERE kind = 'agent' GROUP BY agent_id";
  return writer.finish(std::move(part),
                       "SELECT agent_id, arg_max(host, place), arg_max(detail, place), max(place).a::VARCHAR, "
                       "max(place).b::VARCHAR FROM {parts} GROUP BY agent_id");
}

}  // namespace gatehouse::query
