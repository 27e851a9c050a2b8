// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <numeric>

#include "rules/engine/filter.h"

namespace gatehouse::rules {
namespace {

constexpr FieldType STRING = FieldType::kString;
constexpr FieldType UINT32 = FieldType::kUint32;
constexpr FieldType UINT64 = FieldType::kUint64;
constexpr FieldType BOOL = FieldType::kBool;
constexpr FieldType TIME = FieldType::kTime;
constexpr FieldType LIST = FieldType::kList;

constexpr FieldSpec kFields[] = {
#define GH_FIELD(name, member, type, help) {name, #member, type, help},
#include "proto/fields.def"
#undef GH_FIELD
};

constexpr size_t kNameBytesMax = 64;

// Edits from one to the other: insert, delete, replace.
size_t edit_distance(std::string_view from, std::string_view to) {
  from = from.substr(0, kNameBytesMax);
  to = to.substr(0, kNameBytesMax);
  std::array<size_t, kNameBytesMax + 1> row{};
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= from.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= to.size(); ++j) {
      const size_t replaced = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row[to.size()];
}

// "user" means "session.user" more than it means "outcome": a name without its folder costs one edit.
size_t meant_distance(std::string_view written, std::string_view name) {
  const size_t whole = edit_distance(written, name);
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return whole;
  const std::string_view last_written = written.substr(written.rfind('.') + 1);
  return std::min(whole, edit_distance(last_written, name.substr(dot + 1)) + 1);
}

}  // namespace

std::span<const FieldSpec> fields() {
  return kFields;
}

const FieldSpec* find_field(std::string_view name) {
  const auto found = std::ranges::find(kFields, name, &FieldSpec::name);
  return found == std::end(kFields) ? nullptr : found;
}

const FieldSpec* nearest_field(std::string_view name) {
  return std::ranges::min_element(kFields, {},
                                  [&](const FieldSpec& field) { return meant_distance(name, field.name); });
}

bool holds_duration(const FieldSpec& field) {
  return field.name == "duration";
}

std::string_view type_name(const FieldSpec& field) {
  switch (field.type) {
    case FieldType::kString:
      return "string";
    case FieldType::kUint32:
      return "number";
    case FieldType::kUint64:
      return holds_duration(field) ? "duration" : "number";
    case FieldType::kBool:
      return "bool";
    case FieldType::kTime:
      return "timestamp";
    case FieldType::kList:
      return "list of strings";
  }
  return "";
}

}  // namespace gatehouse::rules
