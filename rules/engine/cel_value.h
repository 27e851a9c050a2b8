// SPDX-License-Identifier: Apache-2.0
// What CEL computes with. A Value is 24 bytes, copied freely, and never owns anything: text, lists, maps and records
// are borrowed from the compiled program, from what the host lends an evaluation, or from the evaluation's Scratch.
//
// Errors are values as well (Kind::kError): CEL's && and || absorb them. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "rules/engine/time_text.h"

namespace gatehouse::rules::cel {

struct RecordType;
using Timestamp = Instant;

enum class Kind : uint8_t {
  kNull,
  kBool,
  kInt,
  kUint,
  kDouble,
  kString,  // UTF-8; each byte that is none counts as one character
  kBytes,
  kTimestamp,
  kDuration,
  kList,
  kMap,
  kRecord,
  kType,
  kError,
};

// "int", "list", "google.protobuf.Timestamp": what `type()` calls it.
std::string_view kind_name(Kind kind);

enum class ErrorCode : uint8_t {
  kNone,
  kNoOverload,  // an operand of a type that the operation does not know
  kNoField,     // a record or a map without that key
  kIndexOutOfRange,
  kOverflow,
  kDivideByZero,
  kConversion,  // text or a number that the target type cannot hold
  kDuplicateKey,
  kBadKey,  // a map's key must be bool, int, uint or string
  kTimeRange,
  kBadTimeZone,
  kInvalidArgument,
  // The evaluation was too dear. Nothing absorbs these.
  kTooManySteps,
  kTooLarge,
};

std::string_view message_of(ErrorCode code);
constexpr bool is_final(ErrorCode code) {
  return code >= ErrorCode::kTooManySteps;
}

class Value;
struct Entry;

// How the elements of a host's list are read: in place, nothing is copied beforehand.
struct ListAccess {
  Value (*at)(const void* list, size_t index);
};
struct MapAccess {
  Entry (*at)(const void* map, size_t index);
};

class Value {
 public:
  constexpr Value() : payload_{.integer = 0}, extra_{.size = 0} {}  // null
  static constexpr Value boolean(bool value) { return Value(Kind::kBool, {.integer = value ? 1 : 0}); }
  static constexpr Value integer(int64_t value) { return Value(Kind::kInt, {.integer = value}); }
  static constexpr Value uint(uint64_t value) { return Value(Kind::kUint, {.natural = value}); }
  static constexpr Value real(double value) { return Value(Kind::kDouble, {.real = value}); }
  static constexpr Value string(std::string_view text) { return text_of(Kind::kString, text); }
  static constexpr Value bytes(std::string_view data) { return text_of(Kind::kBytes, data); }
  static constexpr Value timestamp(Timestamp time) {
    return Value(Kind::kTimestamp, {.integer = time.seconds}, {.size = time.ns});
  }
  static constexpr Value duration(int64_t ns) { return Value(Kind::kDuration, {.integer = ns}); }
  static constexpr Value list(const Value* elements, size_t count) {
    return Value(Kind::kList, {.pointer = elements}, {.size = count});
  }
  static Value map(const Entry* entries, size_t count);
  // At most 2^32 - 1 elements.
  static constexpr Value list(const void* host, size_t count, const ListAccess* access) {
    return Value(Kind::kList, {.pointer = host}, {.list_access = access}, static_cast<uint32_t>(count));
  }
  static constexpr Value map(const void* host, size_t count, const MapAccess* access) {
    return Value(Kind::kMap, {.pointer = host}, {.map_access = access}, static_cast<uint32_t>(count));
  }
  static constexpr Value record(const RecordType* type, const void* host) {
    return Value(Kind::kRecord, {.pointer = host}, {.record = type});
  }
  // The value of `type(x)`; `record` for records only.
  static constexpr Value type(Kind of, const RecordType* record = nullptr) {
    return Value(Kind::kType, {.integer = static_cast<int64_t>(of)}, {.record = record});
  }
  static constexpr Value error(ErrorCode code, size_t offset = 0) {
    return Value(Kind::kError, {.integer = static_cast<int64_t>(offset)}, {.size = static_cast<uint64_t>(code)});
  }

  [[nodiscard]] constexpr Kind kind() const { return kind_; }
  [[nodiscard]] constexpr bool is(Kind kind) const { return kind_ == kind; }
  [[nodiscard]] constexpr bool is_error() const { return kind_ == Kind::kError; }
  [[nodiscard]] constexpr bool is_true() const { return kind_ == Kind::kBool && payload_.integer != 0; }
  [[nodiscard]] constexpr bool is_false() const { return kind_ == Kind::kBool && payload_.integer == 0; }

  // Each is for its own kinds only.
  [[nodiscard]] constexpr bool as_bool() const { return payload_.integer != 0; }
  [[nodiscard]] constexpr int64_t as_int() const { return payload_.integer; }  // kInt, kDuration
  [[nodiscard]] constexpr uint64_t as_uint() const { return payload_.natural; }
  [[nodiscard]] constexpr double as_double() const { return payload_.real; }
  [[nodiscard]] constexpr std::string_view as_text() const { return {payload_.text, extra_.size}; }  // kString, kBytes
  [[nodiscard]] constexpr Timestamp as_timestamp() const {
    return {payload_.integer, static_cast<uint32_t>(extra_.size)};
  }
  [[nodiscard]] constexpr const void* pointer() const { return payload_.pointer; }
  [[nodiscard]] constexpr const RecordType* record_type() const { return extra_.record; }  // kRecord, kType
  [[nodiscard]] constexpr Kind type_kind() const { return static_cast<Kind>(payload_.integer); }
  [[nodiscard]] constexpr ErrorCode error_code() const { return static_cast<ErrorCode>(extra_.size); }
  [[nodiscard]] constexpr size_t error_offset() const { return static_cast<size_t>(payload_.integer); }

  // kList and kMap.
  [[nodiscard]] constexpr size_t count() const { return is_host_ ? count_ : static_cast<size_t>(extra_.size); }
  [[nodiscard]] Value element(size_t index) const {
    if (is_host_) return extra_.list_access->at(payload_.pointer, index);
    return static_cast<const Value*>(payload_.pointer)[index];
  }
  [[nodiscard]] Entry entry(size_t index) const;

 private:
  union Payload {
    int64_t integer;
    uint64_t natural;
    double real;
    const char* text;
    const void* pointer;
  };
  union Extra {
    uint64_t size;
    const ListAccess* list_access;
    const MapAccess* map_access;
    const RecordType* record;
  };

  constexpr Value(Kind kind, Payload payload, Extra extra = {.size = 0})
      : payload_(payload), extra_(extra), kind_(kind) {}
  constexpr Value(Kind kind, Payload payload, Extra extra, uint32_t count)
      : payload_(payload), extra_(extra), count_(count), kind_(kind), is_host_(true) {}
  static constexpr Value text_of(Kind kind, std::string_view text) {
    Value value(kind, {.pointer = nullptr}, {.size = text.size()});
    value.payload_.text = text.data();
    return value;
  }

  Payload payload_;
  Extra extra_;
  uint32_t count_ = 0;
  Kind kind_ = Kind::kNull;
  bool is_host_ = false;
};
static_assert(sizeof(Value) == 24 && std::is_trivially_copyable_v<Value>);

struct Entry {
  Value key;
  Value value;
};

inline Value Value::map(const Entry* entries, size_t count) {
  return Value(Kind::kMap, {.pointer = entries}, {.size = count});
}

inline Entry Value::entry(size_t index) const {
  if (is_host_) return extra_.map_access->at(payload_.pointer, index);
  return static_cast<const Entry*>(payload_.pointer)[index];
}

// For hosts: a vector as a list, read in place by `Convert`; a map's vector holds pairs of text.
template <auto Convert, typename T>
Value list_of(const std::vector<T>& items) {
  static constexpr ListAccess kAccess{
      [](const void* list, size_t index) { return Convert((*static_cast<const std::vector<T>*>(list))[index]); }};
  return Value::list(&items, items.size(), &kAccess);
}
template <typename Text>
Value strings_of(const std::vector<Text>& items) {
  return list_of<[](const Text& text) { return Value::string(text); }>(items);
}
template <typename Text>
Value labels_of(const std::vector<std::pair<Text, Text>>& items) {
  static constexpr MapAccess kAccess{[](const void* map, size_t index) {
    const auto& [key, value] = (*static_cast<const std::vector<std::pair<Text, Text>>*>(map))[index];
    return Entry{Value::string(key), Value::string(value)};
  }};
  return Value::map(static_cast<const void*>(&items), items.size(), &kAccess);
}

}  // namespace gatehouse::rules::cel
