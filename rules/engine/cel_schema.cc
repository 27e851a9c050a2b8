// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/cel_schema.h"

#include <algorithm>

#include "rules/engine/nearest.h"

namespace gatehouse::rules::cel {
namespace {

// Records hold records; no name that people write is deeper.
constexpr size_t kNameDepthMax = 4;

// The best of all qualified names so far.
struct Nearest {
  std::string_view written;
  std::string name{};
  size_t distance = SIZE_MAX;

  void consider(const std::string& candidate) {
    const size_t distance_here = meant_distance(written, candidate);
    if (distance_here >= distance) return;
    distance = distance_here;
    name = candidate;
  }
  void walk(const std::string& name_here, const Type& type, size_t depth) {
    consider(name_here);
    if (type.kind != TypeKind::kRecord || depth == kNameDepthMax) return;
    for (const Field& field : type.record->fields)
      walk(name_here + "." + std::string(field.name), *field.type, depth + 1);
  }
};

}  // namespace

const Field* RecordType::find(std::string_view field) const {
  const auto found = std::ranges::find(fields, field, &Field::name);
  return found == fields.end() ? nullptr : &*found;
}

const Variable* Schema::find(std::string_view name) const {
  for (const auto& of : {variables, constants}) {
    const auto found = std::ranges::find(of, name, &Variable::name);
    if (found != of.end()) return &*found;
  }
  return nullptr;
}

std::string Schema::nearest(std::string_view name) const {
  Nearest nearest{.written = name};
  for (const auto& of : {variables, constants})
    for (const Variable& variable : of) nearest.walk(std::string(variable.name), *variable.type, 1);
  return std::move(nearest.name);
}

std::string to_string(const Type& type) {
  switch (type.kind) {
    case TypeKind::kDyn:
      return "dyn";
    case TypeKind::kNull:
      return "null";
    case TypeKind::kBool:
      return "bool";
    case TypeKind::kInt:
      return "int";
    case TypeKind::kUint:
      return "uint";
    case TypeKind::kDouble:
      return "double";
    case TypeKind::kString:
      return "string";
    case TypeKind::kBytes:
      return "bytes";
    case TypeKind::kTimestamp:
      return "timestamp";
    case TypeKind::kDuration:
      return "duration";
    case TypeKind::kList:
      return "list(" + to_string(*type.first) + ")";
    case TypeKind::kMap:
      return "map(" + to_string(*type.first) + ", " + to_string(*type.second) + ")";
    case TypeKind::kRecord:
      return std::string(type.record->name);
    case TypeKind::kType:
      return type.first == nullptr ? "type" : "type(" + to_string(*type.first) + ")";
    case TypeKind::kParam:
      return std::string(1, static_cast<char>('A' + type.parameter % 26));
  }
  return "";
}

}  // namespace gatehouse::rules::cel
