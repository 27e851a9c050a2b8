// SPDX-License-Identifier: Apache-2.0
// Filters: conditions over the fields of proto/fields.def, as people write them on the command line and in the API.
// The language is a subset of CEL (cel-spec) and stays one: every filter means the same in the full rule language.
//
//   filter     = [ all_of ]                                  empty: everything
//   all_of     = condition { "&&" condition }
//   condition  = operand compare operand                     one side a field, the other a literal
//              | field "." ("contains" | "startsWith" | "endsWith") "(" string ")"
//              | string "in" list-field | bool-field | "(" all_of ")"
//   compare    = "==" | "!=" | "<" | "<=" | ">" | ">="
//   operand    = field | string | integer | "true" | "false" | "(" operand ")"
//              | "duration" "(" string ")" | "timestamp" "(" string ")"
//
// docs/filters.md teaches it. Pure: no I/O, no clock, no exceptions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <tl/expected.hpp>

namespace gatehouse::rules {

enum class FieldType : uint8_t { kString, kUint32, kUint64, kBool, kTime, kList };

// A queryable field. `member` is the accessor's name in gatehouse.v1.Row and the column's name in the store.
struct FieldSpec {
  std::string_view name;
  std::string_view member;
  FieldType type;
  std::string_view help;
};

// All fields in the order of proto/fields.def; static storage.
std::span<const FieldSpec> fields();
// Null when there is none of that name.
const FieldSpec* find_field(std::string_view name);
// The field whose name a person most likely meant, by spelling; never null.
const FieldSpec* nearest_field(std::string_view name);
// The number is a length of time in ns: literals are written duration("5ms").
bool holds_duration(const FieldSpec& field);
// "string", "number", "bool", "timestamp", "duration", "list of strings".
std::string_view type_name(const FieldSpec& field);

enum class CompareOp : uint8_t {
  kEqual,  // of a list: it contains the element
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kContains,  // these three: strings only, case counts
  kStartsWith,
  kEndsWith,
};

// The value's alternative follows the field's type: string for kString and kList, uint64_t for numbers, durations
// and times (Unix ns), bool for kBool. Lists know kEqual only; bools kEqual and kNotEqual. Strings are UTF-8 and
// ordered by code point, which is the order of their bytes.
struct Comparison {
  const FieldSpec* field;
  CompareOp op;
  std::variant<std::string, uint64_t, bool> value;

  friend bool operator==(const Comparison&, const Comparison&) = default;
};

struct Filter {
  std::vector<Comparison> all_of;  // empty: everything matches

  friend bool operator==(const Filter&, const Filter&) = default;
};

struct FilterError {
  size_t offset;  // byte of the text at which the mistake starts; its size if something is missing at the end
  std::string message;
};

// Longer texts and more comparisons are refused: a filter is judged for every event that passes.
inline constexpr size_t kFilterBytesMax = 64U << 10;
inline constexpr size_t kFilterComparisonsMax = 256;
// Parentheses within parentheses; bounds the parser's stack. CEL asks for at least 12.
inline constexpr size_t kFilterDepthMax = 32;

tl::expected<Filter, FilterError> parse_filter(std::string_view text);
// Text that parses to the same filter.
std::string to_string(const Filter& filter);

}  // namespace gatehouse::rules
