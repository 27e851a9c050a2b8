// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "rules/engine/filter.h"
#include "rules/engine/nearest.h"

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
