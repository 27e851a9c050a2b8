// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/match_row.h"

#include <algorithm>
#include <iterator>

#include "common/check.h"
#include "gatehouse/v1/query.pb.h"

namespace gatehouse::rules {
namespace {

using v1::Row;

RowValue value_of(const std::string& text) {
  return std::string_view(text);
}
RowValue value_of(uint32_t number) {
  return uint64_t{number};
}
RowValue value_of(uint64_t number) {
  return number;
}
RowValue value_of(bool flag) {
  return flag;
}
RowValue value_of(const TextList& list) {
  return &list;
}

using Getter = RowValue (*)(const Row&);
// In the order of proto/fields.def, so of fields().
constexpr Getter kGetters[] = {
#define GH_FIELD(name, member, type, help) [](const Row& row) { return value_of(row.member()); },
#include "proto/fields.def"
#undef GH_FIELD
};

template <typename T>
bool ordered(const T& left, CompareOp op, const T& right) {
  switch (op) {
    case CompareOp::kEqual:
      return left == right;
    case CompareOp::kNotEqual:
      return left != right;
    case CompareOp::kLess:
      return left < right;
    case CompareOp::kLessEqual:
      return left <= right;
    case CompareOp::kGreater:
      return left > right;
    case CompareOp::kGreaterEqual:
      return left >= right;
    case CompareOp::kContains:
    case CompareOp::kStartsWith:
    case CompareOp::kEndsWith:
      break;
  }
  return false;
}

bool holds_text(std::string_view left, CompareOp op, std::string_view right) {
  switch (op) {
    case CompareOp::kContains:
      return left.find(right) != std::string_view::npos;
    case CompareOp::kStartsWith:
      return left.starts_with(right);
    case CompareOp::kEndsWith:
      return left.ends_with(right);
    default:
      return ordered(left, op, right);
  }
}

bool holds(const Comparison& comparison, const Row& row) {
  const RowValue value = row_value(*comparison.field, row);
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    const auto* want = std::get_if<std::string>(&comparison.value);
    return want != nullptr && holds_text(*text, comparison.op, *want);
  }
  if (const auto* number = std::get_if<uint64_t>(&value)) {
    const auto* want = std::get_if<uint64_t>(&comparison.value);
    return want != nullptr && ordered(*number, comparison.op, *want);
  }
  if (const auto* flag = std::get_if<bool>(&value)) {
    const auto* want = std::get_if<bool>(&comparison.value);
    return want != nullptr && ordered(*flag, comparison.op, *want);
  }
  const auto* list = std::get_if<const TextList*>(&value);
  const auto* want = std::get_if<std::string>(&comparison.value);
  return want != nullptr && comparison.op == CompareOp::kEqual &&
         std::find((*list)->begin(), (*list)->end(), *want) != (*list)->end();
}

}  // namespace

RowValue row_value(const FieldSpec& field, const Row& row) {
  const auto index = static_cast<size_t>(&field - fields().data());
  GH_CHECK(index < std::size(kGetters));
  return kGetters[index](row);
}

bool matches(const Filter& filter, const Row& row) {
  return std::all_of(filter.all_of.begin(), filter.all_of.end(),
                     [&](const Comparison& comparison) { return holds(comparison, row); });
}

}  // namespace gatehouse::rules
