// SPDX-License-Identifier: Apache-2.0
// What expressions may name: variables and the fields of records, each with type, meaning and example. Tables of
// constants, made by the host; a program that was compiled against a schema keeps pointers into it. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "rules/engine/cel_value.h"

namespace gatehouse::rules::cel {

enum class TypeKind : uint8_t {
  kDyn,  // known when it is evaluated
  kNull,
  kBool,
  kInt,
  kUint,
  kDouble,
  kString,
  kBytes,
  kTimestamp,
  kDuration,
  kList,    // of `first`
  kMap,     // from `first` to `second`
  kRecord,  // `record`
  kType,    // type(first)
  kParam,   // stands for any one type: the `parameter`th of a signature, or of the checker
};

struct Type {
  TypeKind kind = TypeKind::kDyn;
  const Type* first = nullptr;
  const Type* second = nullptr;
  const RecordType* record = nullptr;
  uint32_t parameter = 0;
};

inline constexpr Type kDyn{TypeKind::kDyn};
inline constexpr Type kNull{TypeKind::kNull};
inline constexpr Type kBool{TypeKind::kBool};
inline constexpr Type kInt{TypeKind::kInt};
inline constexpr Type kUint{TypeKind::kUint};
inline constexpr Type kDouble{TypeKind::kDouble};
inline constexpr Type kString{TypeKind::kString};
inline constexpr Type kBytes{TypeKind::kBytes};
inline constexpr Type kTimestamp{TypeKind::kTimestamp};
inline constexpr Type kDuration{TypeKind::kDuration};
inline constexpr Type kStrings{TypeKind::kList, &kString};
inline constexpr Type kLabels{TypeKind::kMap, &kString, &kString};

constexpr Type list_type(const Type& element) {
  return {TypeKind::kList, &element};
}
constexpr Type record_type(const RecordType& record) {
  return {.kind = TypeKind::kRecord, .record = &record};
}

// "list(string)", "map(string, int)", a record's name.
std::string to_string(const Type& type);

struct Field {
  std::string_view name;
  const Type* type;
  // Reads it; `record` is what Value::record() was given. What is not known is "", 0, false, an empty list, or null
  // for a record, and has() says that it is not there.
  Value (*get)(const void* record);
  std::string_view meaning;
  std::string_view example;
};

struct RecordType {
  std::string_view name;
  std::span<const Field> fields;

  // Null when there is none of that name.
  [[nodiscard]] const Field* find(std::string_view field) const;
};

// `name` may be qualified ("session.user"): the longest one that fits is meant.
struct Variable {
  std::string_view name;
  const Type* type;
  std::string_view meaning;
  std::string_view example;
  // Not null: a constant, such as a named list. It is compiled in; the evaluation's value of it is not looked at.
  const Value* constant = nullptr;
};

struct Schema {
  std::span<const Variable> variables;
  // More names, each with a `constant`: what an evaluation is given has no places for them.
  std::span<const Variable> constants{};

  [[nodiscard]] const Variable* find(std::string_view name) const;
  // The qualified name that a person most likely meant: a variable, or a field of one. Empty if there is none.
  [[nodiscard]] std::string nearest(std::string_view name) const;
};

}  // namespace gatehouse::rules::cel
