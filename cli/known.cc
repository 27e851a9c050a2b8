// SPDX-License-Identifier: Apache-2.0
#include "cli/known.h"

#include "gatehouse/v1/query.pb.h"

namespace gatehouse::cli {
namespace {

bool is_statement(const v1::Row& row) {
  return row.kind() == "statement";
}
bool has_actor(const v1::Row& row) {
  return row.actor_pid() != 0;
}
bool has_coverage(const v1::Row& row) {
  return !row.coverage_verdict().empty();
}
bool has_session(const v1::Row& row) {
  return !row.session().empty();
}

// Fields whose 0 or false means something, and when.
struct ZeroIsKnown {
  std::string_view name;
  bool (*when)(const v1::Row&);
};
constexpr ZeroIsKnown kZeroIsKnown[] = {
    {"session.encrypted", has_session},
    {"actor.uid", has_actor},
    {"statement.index", is_statement},
    {"coverage.lost_bytes", has_coverage},
    {"coverage.unseen_bytes", has_coverage},
    {"coverage.decoded_bytes", has_coverage},
    {"coverage.left_out_bytes", has_coverage},
    {"coverage.cut_bytes", has_coverage},
    {"coverage.opaque_bytes", has_coverage},
    {"result.rows", is_statement},
    {"result.bytes", is_statement},
    {"request.bytes", is_statement},
};

}  // namespace

bool is_known(const rules::FieldSpec& field, const v1::Row& row) {
  // Nobody has this number; of a process that was gone too soon, its own is all that is known.
  if (field.name == "actor.uid" && row.actor_uid() == UINT32_MAX) return false;
  const rules::RowValue value = rules::row_value(field, row);
  if (const auto* text = std::get_if<std::string_view>(&value)) return !text->empty();
  if (const auto* const* list = std::get_if<const rules::TextList*>(&value)) return !(*list)->empty();
  const auto* number = std::get_if<uint64_t>(&value);
  const auto* flag = std::get_if<bool>(&value);
  if ((number != nullptr && *number != 0) || (flag != nullptr && *flag)) return true;
  for (const ZeroIsKnown& zero : kZeroIsKnown) {
    if (zero.name == field.name) return zero.when(row);
  }
  return false;
}

}  // namespace gatehouse::cli
