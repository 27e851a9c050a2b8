// SPDX-License-Identifier: Apache-2.0
// Equality, order, and what is looked up by equality. Numbers compare by what they mean, whatever their type; values
// of other types are unequal and have no order.
#include <cmath>
#include <compare>
#include <optional>

#include "rules/engine/cel_ast.h"
#include "rules/engine/cel_functions.h"

namespace gatehouse::rules::cel {
namespace {

constexpr double kTwoTo63 = 9223372036854775808.0;
constexpr double kTwoTo64 = 18446744073709551616.0;

bool is_number(const Value& value) {
  return value.is(Kind::kInt) || value.is(Kind::kUint) || value.is(Kind::kDouble);
}

std::partial_ordering compare(int64_t left, uint64_t right) {
  if (left < 0) return std::partial_ordering::less;
  return static_cast<uint64_t>(left) <=> right;
}

// As the specification's tests have it: within an integer's range its nearest double is compared.
std::partial_ordering compare(double left, int64_t right) {
  if (left > kTwoTo63) return std::partial_ordering::greater;
  if (left < -kTwoTo63) return std::partial_ordering::less;
  return left <=> static_cast<double>(right);
}
std::partial_ordering compare(double left, uint64_t right) {
  if (left > kTwoTo64) return std::partial_ordering::greater;
  if (left < 0) return std::partial_ordering::less;
  return left <=> static_cast<double>(right);
}

std::partial_ordering reversed(std::partial_ordering order) {
  return 0 <=> order;
}

std::partial_ordering compare_numbers(const Value& left, const Value& right) {
  switch (left.kind()) {
    case Kind::kInt:
      if (right.is(Kind::kInt)) return left.as_int() <=> right.as_int();
      if (right.is(Kind::kUint)) return compare(left.as_int(), right.as_uint());
      return reversed(compare(right.as_double(), left.as_int()));
    case Kind::kUint:
      if (right.is(Kind::kUint)) return left.as_uint() <=> right.as_uint();
      if (right.is(Kind::kInt)) return reversed(compare(right.as_int(), left.as_uint()));
      return reversed(compare(right.as_double(), left.as_uint()));
    default:
      if (right.is(Kind::kDouble)) return left.as_double() <=> right.as_double();
      if (right.is(Kind::kInt)) return compare(left.as_double(), right.as_int());
      return compare(left.as_double(), right.as_uint());
  }
}

// Lists within lists; what a schema or an expression can make is far below.
constexpr size_t kEqualDepthMax = kExpressionDepthMax;

enum class Same : uint8_t { kNo, kYes, kTooDear };

Same same(const Value& left, const Value& right, Scratch& scratch, size_t depth);

Same same_texts(std::string_view left, std::string_view right, Scratch& scratch) {
  if (left.size() != right.size()) return Same::kNo;
  if (left.size() >= kBytesPerStep && !scratch.spend_bytes(left.size())) return Same::kTooDear;
  return left == right ? Same::kYes : Same::kNo;
}

Same same_lists(const Value& left, const Value& right, Scratch& scratch, size_t depth) {
  if (left.count() != right.count()) return Same::kNo;
  for (size_t i = 0; i < left.count(); ++i) {
    if (!scratch.spend(1)) return Same::kTooDear;
    const Same element = same(left.element(i), right.element(i), scratch, depth + 1);
    if (element != Same::kYes) return element;
  }
  return Same::kYes;
}

Same same_maps(const Value& left, const Value& right, Scratch& scratch, size_t depth) {
  if (left.count() != right.count()) return Same::kNo;
  for (size_t i = 0; i < left.count(); ++i) {
    const Entry entry = left.entry(i);
    const Value found = find_key(right, entry.key, scratch);
    if (found.is_error()) return is_final(found.error_code()) ? Same::kTooDear : Same::kNo;
    const Same value = same(entry.value, found, scratch, depth + 1);
    if (value != Same::kYes) return value;
  }
  return Same::kYes;
}

Same same(const Value& left, const Value& right, Scratch& scratch, size_t depth) {
  if (depth > kEqualDepthMax) return Same::kTooDear;
  const auto answer = [](bool yes) { return yes ? Same::kYes : Same::kNo; };
  if (left.kind() != right.kind()) {
    return answer(is_number(left) && is_number(right) && compare_numbers(left, right) == 0);
  }
  switch (left.kind()) {
    case Kind::kString:
    case Kind::kBytes:
      return same_texts(left.as_text(), right.as_text(), scratch);
    case Kind::kNull:
      return Same::kYes;
    case Kind::kBool:
      return answer(left.as_bool() == right.as_bool());
    case Kind::kInt:
    case Kind::kDuration:
      return answer(left.as_int() == right.as_int());
    case Kind::kUint:
      return answer(left.as_uint() == right.as_uint());
    case Kind::kDouble:
      return answer(left.as_double() == right.as_double());
    case Kind::kTimestamp:
      return answer(left.as_timestamp() == right.as_timestamp());
    case Kind::kList:
      return same_lists(left, right, scratch, depth);
    case Kind::kMap:
      return same_maps(left, right, scratch, depth);
    case Kind::kRecord:
      return answer(left.pointer() == right.pointer() && left.record_type() == right.record_type());
    case Kind::kType:
      return answer(left.type_kind() == right.type_kind() && left.record_type() == right.record_type());
    case Kind::kError:
      break;
  }
  return Same::kNo;
}

Value no_steps() {
  return Value::error(ErrorCode::kTooManySteps);
}

// None when the two have no order.
std::optional<std::partial_ordering> order_of(std::span<const Value> args) {
  const Value& left = args[0];
  const Value& right = args[1];
  if (is_number(left) && is_number(right)) return compare_numbers(left, right);
  if (left.kind() != right.kind()) return std::nullopt;
  switch (left.kind()) {
    case Kind::kBool:
      return left.as_bool() <=> right.as_bool();
    case Kind::kString:
    case Kind::kBytes:
      return left.as_text() <=> right.as_text();
    case Kind::kTimestamp:
      return left.as_timestamp() <=> right.as_timestamp();
    case Kind::kDuration:
      return left.as_int() <=> right.as_int();
    default:
      return std::nullopt;
  }
}

template <typename Holds>
Value ordered(std::span<const Value> args, Scratch& scratch, Holds holds) {
  if (args[0].is(Kind::kString) && !scratch.spend_bytes(args[0].as_text().size())) return no_steps();
  const auto order = order_of(args);
  return order ? Value::boolean(holds(*order)) : Value::error(ErrorCode::kNoOverload);
}

bool can_be_key(const Value& value) {
  return value.is(Kind::kBool) || value.is(Kind::kInt) || value.is(Kind::kUint) || value.is(Kind::kString);
}

// The index that a number names, if it is one.
std::optional<int64_t> index_of_number(const Value& value) {
  if (value.is(Kind::kInt)) return value.as_int();
  if (!is_number(value)) return std::nullopt;
  const double real = value.is(Kind::kDouble) ? value.as_double() : static_cast<double>(value.as_uint());
  if (!(real >= 0 && real < kTwoTo63) || std::floor(real) != real) return std::nullopt;
  return static_cast<int64_t>(real);
}

}  // namespace

Value equal(std::span<const Value> args, Scratch& scratch) {
  const Same result = same(args[0], args[1], scratch, 0);
  return result == Same::kTooDear ? no_steps() : Value::boolean(result == Same::kYes);
}
Value not_equal(std::span<const Value> args, Scratch& scratch) {
  const Same result = same(args[0], args[1], scratch, 0);
  return result == Same::kTooDear ? no_steps() : Value::boolean(result == Same::kNo);
}
Value less(std::span<const Value> args, Scratch& scratch) {
  return ordered(args, scratch, [](std::partial_ordering order) { return order < 0; });
}
Value less_equal(std::span<const Value> args, Scratch& scratch) {
  return ordered(args, scratch, [](std::partial_ordering order) { return order <= 0; });
}
Value greater(std::span<const Value> args, Scratch& scratch) {
  return ordered(args, scratch, [](std::partial_ordering order) { return order > 0; });
}
Value greater_equal(std::span<const Value> args, Scratch& scratch) {
  return ordered(args, scratch, [](std::partial_ordering order) { return order >= 0; });
}

Value in(std::span<const Value> args, Scratch& scratch) {
  if (args[1].is(Kind::kMap)) {
    const Value found = find_key(args[1], args[0], scratch);
    return found.is_error() && is_final(found.error_code()) ? found : Value::boolean(!found.is_error());
  }
  if (!args[1].is(Kind::kList)) return Value::error(ErrorCode::kNoOverload);
  const size_t count = args[1].count();
  if (!scratch.spend(count)) return no_steps();
  for (size_t i = 0; i < count; ++i) {
    const Same result = same(args[0], args[1].element(i), scratch, 0);
    if (result == Same::kTooDear) return no_steps();
    if (result == Same::kYes) return Value::boolean(true);
  }
  return Value::boolean(false);
}

Value find_key(const Value& map, const Value& key, Scratch& scratch) {
  if (!can_be_key(key) && !key.is(Kind::kDouble)) return Value::error(ErrorCode::kNoField);
  const size_t count = map.count();
  if (!scratch.spend(count)) return no_steps();
  for (size_t i = 0; i < count; ++i) {
    const Entry entry = map.entry(i);
    const Same result = same(key, entry.key, scratch, 0);
    if (result == Same::kTooDear) return no_steps();
    if (result == Same::kYes) return entry.value;
  }
  return Value::error(ErrorCode::kNoField);
}

Value check_keys(std::span<const Entry> entries, Scratch& scratch) {
  if (!scratch.spend(entries.size() * entries.size() / 2)) return no_steps();
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!can_be_key(entries[i].key)) return Value::error(ErrorCode::kBadKey);
    for (size_t j = 0; j < i; ++j) {
      const Same result = same(entries[i].key, entries[j].key, scratch, 0);
      if (result == Same::kTooDear) return no_steps();
      if (result == Same::kYes) return Value::error(ErrorCode::kDuplicateKey);
    }
  }
  return {};
}

Value index(std::span<const Value> args, Scratch& scratch) {
  if (args[0].is(Kind::kMap)) return find_key(args[0], args[1], scratch);
  if (!args[0].is(Kind::kList)) return Value::error(ErrorCode::kNoOverload);
  const auto place = index_of_number(args[1]);
  if (!place) return Value::error(is_number(args[1]) ? ErrorCode::kInvalidArgument : ErrorCode::kNoOverload);
  if (*place < 0 || static_cast<uint64_t>(*place) >= args[0].count()) return Value::error(ErrorCode::kIndexOutOfRange);
  return args[0].element(static_cast<size_t>(*place));
}

Value size(std::span<const Value> args, Scratch& scratch) {
  switch (args[0].kind()) {
    case Kind::kString:
      if (!scratch.spend_bytes(args[0].as_text().size())) return no_steps();
      return Value::integer(static_cast<int64_t>(character_count(args[0].as_text())));
    case Kind::kBytes:
      return Value::integer(static_cast<int64_t>(args[0].as_text().size()));
    case Kind::kList:
    case Kind::kMap:
      return Value::integer(static_cast<int64_t>(args[0].count()));
    default:
      return Value::error(ErrorCode::kNoOverload);
  }
}

}  // namespace gatehouse::rules::cel
