// SPDX-License-Identifier: Apache-2.0
// RowView: a v1::Row whose texts are borrowed, with the members of proto/fields.def under the same names; and which of
// the store's tables holds which member. Private to collector/store.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "gatehouse/v1/query.pb.h"

namespace gatehouse::store {

enum class ColumnType : uint8_t { kText, kUint32, kUint64, kBool, kList };
using TextViews = std::span<const std::string_view>;

namespace field_types {
[[maybe_unused]] inline constexpr ColumnType STRING = ColumnType::kText;
[[maybe_unused]] inline constexpr ColumnType UINT32 = ColumnType::kUint32;
[[maybe_unused]] inline constexpr ColumnType UINT64 = ColumnType::kUint64;
[[maybe_unused]] inline constexpr ColumnType BOOL = ColumnType::kBool;
[[maybe_unused]] inline constexpr ColumnType TIME = ColumnType::kUint64;
[[maybe_unused]] inline constexpr ColumnType LIST = ColumnType::kList;
}  // namespace field_types

template <ColumnType kType>
using ViewOf = std::conditional_t<
    kType == ColumnType::kText, std::string_view,
    std::conditional_t<kType == ColumnType::kUint32, uint32_t,
                       std::conditional_t<kType == ColumnType::kUint64, uint64_t,
                                          std::conditional_t<kType == ColumnType::kBool, bool, TextViews>>>>;

struct RowView {
#define GH_FIELD(name, member, type, help) ViewOf<field_types::type> member{};
#include "proto/fields.def"
#undef GH_FIELD
};

// Borrows `row`; `texts` holds what its lists are made of.
RowView view_of(const v1::Row& row, std::vector<std::string_view>& texts);

// A row is split over three tables, so that what repeats is written once a segment:
//
//   home       | one row per
//   -----------|------------------------------------------------------------------
//   kContext   | session as of a batch, and process: who, from where, to where
//   kShape     | kind of event: verb, outcome, …; and texts of statements that repeat
//   kEvent     | event: times, sizes, texts that do not repeat
//   kMade      | nothing: made of the others when it is asked for
enum class Home : uint8_t { kContext, kShape, kEvent, kMade };

// A field that is not named here is the event's own: never wrong, only dearer.
constexpr Home home_of(std::string_view member) {
  if (member == "id") return Home::kMade;
  for (const std::string_view of_context : {"agent_", "database_", "session", "actor_"})
    if (member.starts_with(of_context)) return Home::kContext;
  if (member == "host" || member == "policy") return Home::kContext;
  // All but disconnects, gaps and approvals have none: columns that are in no event's row.
  if (member.starts_with("coverage_") || member.starts_with("approval_")) return Home::kShape;
  for (const std::string_view of_shape : {"kind",
                                          "outcome",
                                          "fidelity",
                                          "statement_verb",
                                          "statement_tag",
                                          "statement_protocol",
                                          "statement_name",
                                          "statement_portal",
                                          "statement_transaction",
                                          "statement_index",
                                          "statement_effects",
                                          "statement_reads",
                                          "statement_writes",
                                          "statement_functions",
                                          "statement_fingerprint",
                                          "statement_normalized",
                                          "statement_refusal",
                                          "result_sqlstate",
                                          "verdict",
                                          "severity",
                                          "findings",
                                          "finding_messages"})
    if (member == of_shape) return Home::kShape;
  return Home::kEvent;
}

}  // namespace gatehouse::store
