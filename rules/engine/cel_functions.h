// SPDX-License-Identifier: Apache-2.0
// The functions and operators of CEL: what they take, as the checker needs it, and what they do. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "rules/engine/cel_schema.h"
#include "rules/engine/cel_scratch.h"
#include "rules/engine/cel_value.h"

namespace gatehouse::rules::cel {

// Types of one way to call a function; kParam types stand for any type, the same number for the same one.
struct Signature {
  std::span<const Type* const> parameters;
  const Type* result;
};

// None of the arguments is an error. An error that it returns has no offset yet.
using Implementation = Value (*)(std::span<const Value> args, Scratch& scratch);

struct Function {
  std::string_view name;
  bool is_method;  // its first argument stands before the dot
  std::span<const Signature> signatures;
  Implementation call;
};

// Operators are called "_+_", "!_", "-_", "_[_]", "@in".
std::span<const Function> functions();
const Function* find_function(std::string_view name, bool is_method);
// "==" for "_==_": as it is written.
std::string_view written_name(const Function& function);

// Implementations, by what they work on.
Value add(std::span<const Value> args, Scratch& scratch);
Value subtract(std::span<const Value> args, Scratch& scratch);
Value multiply(std::span<const Value> args, Scratch& scratch);
Value divide(std::span<const Value> args, Scratch& scratch);
Value modulo(std::span<const Value> args, Scratch& scratch);
Value negate(std::span<const Value> args, Scratch& scratch);
Value logical_not(std::span<const Value> args, Scratch& scratch);

Value equal(std::span<const Value> args, Scratch& scratch);
Value not_equal(std::span<const Value> args, Scratch& scratch);
Value less(std::span<const Value> args, Scratch& scratch);
Value less_equal(std::span<const Value> args, Scratch& scratch);
Value greater(std::span<const Value> args, Scratch& scratch);
Value greater_equal(std::span<const Value> args, Scratch& scratch);
Value in(std::span<const Value> args, Scratch& scratch);
Value index(std::span<const Value> args, Scratch& scratch);
Value size(std::span<const Value> args, Scratch& scratch);
// The map's value of that key, or kNoField. Numbers of different types are the same key if they are equal.
Value find_key(const Value& map, const Value& key, Scratch& scratch);
// An error, or null if all of them may be keys and no two are equal.
Value check_keys(std::span<const Entry> entries, Scratch& scratch);

Value to_int(std::span<const Value> args, Scratch& scratch);
Value to_uint(std::span<const Value> args, Scratch& scratch);
Value to_double(std::span<const Value> args, Scratch& scratch);
Value to_string(std::span<const Value> args, Scratch& scratch);
Value to_bytes(std::span<const Value> args, Scratch& scratch);
Value to_bool(std::span<const Value> args, Scratch& scratch);
Value to_timestamp(std::span<const Value> args, Scratch& scratch);
Value to_duration(std::span<const Value> args, Scratch& scratch);
Value to_dyn(std::span<const Value> args, Scratch& scratch);
Value type_of(std::span<const Value> args, Scratch& scratch);

Value contains(std::span<const Value> args, Scratch& scratch);
Value starts_with(std::span<const Value> args, Scratch& scratch);
Value ends_with(std::span<const Value> args, Scratch& scratch);
// The compiler replaces it: patterns are compiled once, with the expression.
Value matches(std::span<const Value> args, Scratch& scratch);
Value char_at(std::span<const Value> args, Scratch& scratch);
Value index_of(std::span<const Value> args, Scratch& scratch);
Value last_index_of(std::span<const Value> args, Scratch& scratch);
Value lower_ascii(std::span<const Value> args, Scratch& scratch);
Value upper_ascii(std::span<const Value> args, Scratch& scratch);
Value replace(std::span<const Value> args, Scratch& scratch);
Value split(std::span<const Value> args, Scratch& scratch);
Value join(std::span<const Value> args, Scratch& scratch);
Value substring(std::span<const Value> args, Scratch& scratch);
Value trim(std::span<const Value> args, Scratch& scratch);
Value reverse(std::span<const Value> args, Scratch& scratch);
// Characters of a text.
size_t character_count(std::string_view text);
// A text of two; kTooLarge if there is no room.
Value concatenate(Kind kind, std::string_view left, std::string_view right, Scratch& scratch);

Value get_full_year(std::span<const Value> args, Scratch& scratch);
Value get_month(std::span<const Value> args, Scratch& scratch);
Value get_date(std::span<const Value> args, Scratch& scratch);
Value get_day_of_month(std::span<const Value> args, Scratch& scratch);
Value get_day_of_week(std::span<const Value> args, Scratch& scratch);
Value get_day_of_year(std::span<const Value> args, Scratch& scratch);
Value get_hours(std::span<const Value> args, Scratch& scratch);
Value get_minutes(std::span<const Value> args, Scratch& scratch);
Value get_seconds(std::span<const Value> args, Scratch& scratch);
Value get_milliseconds(std::span<const Value> args, Scratch& scratch);

}  // namespace gatehouse::rules::cel
