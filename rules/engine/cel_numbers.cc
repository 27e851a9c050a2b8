// SPDX-License-Identifier: Apache-2.0
// Arithmetic. Integers that do not fit are errors, doubles follow IEEE 754.
#include <limits>

#include "rules/engine/cel_functions.h"
#include "rules/engine/time_text.h"

namespace gatehouse::rules::cel {
namespace {

Value shifted(const Value& time, int64_t ns) {
  const auto moved = shift(time.as_timestamp(), ns);
  return moved ? Value::timestamp(*moved) : Value::error(ErrorCode::kTimeRange);
}

Value appended(const Value& left, const Value& right, Scratch& scratch) {
  const size_t count = left.count() + right.count();
  if (!scratch.spend(count)) return Value::error(ErrorCode::kTooManySteps);
  auto* elements = scratch.arena().take_array<Value>(count);
  if (elements == nullptr) return Value::error(ErrorCode::kTooLarge);
  for (size_t i = 0; i < left.count(); ++i) elements[i] = left.element(i);
  for (size_t i = 0; i < right.count(); ++i) elements[left.count() + i] = right.element(i);
  return Value::list(elements, count);
}

// `overflows` is one of the compiler's tests, for any integer type. Doubles are not asked.
template <typename Overflows>
Value integers(std::span<const Value> args, Overflows overflows) {
  if (args[0].kind() != args[1].kind()) return Value::error(ErrorCode::kNoOverload);
  if (args[0].is(Kind::kInt)) {
    int64_t result = 0;
    if (overflows(args[0].as_int(), args[1].as_int(), &result)) return Value::error(ErrorCode::kOverflow);
    return Value::integer(result);
  }
  if (args[0].is(Kind::kUint)) {
    uint64_t result = 0;
    if (overflows(args[0].as_uint(), args[1].as_uint(), &result)) return Value::error(ErrorCode::kOverflow);
    return Value::uint(result);
  }
  return Value::error(ErrorCode::kNoOverload);
}

template <typename Overflows>
Value durations(std::span<const Value> args, Overflows overflows) {
  int64_t result = 0;
  if (overflows(args[0].as_int(), args[1].as_int(), &result)) return Value::error(ErrorCode::kTimeRange);
  return Value::duration(result);
}

constexpr auto kAddOverflows = [](auto left, auto right, auto* result) {
  return __builtin_add_overflow(left, right, result);
};
constexpr auto kSubtractOverflows = [](auto left, auto right, auto* result) {
  return __builtin_sub_overflow(left, right, result);
};
constexpr auto kMultiplyOverflows = [](auto left, auto right, auto* result) {
  return __builtin_mul_overflow(left, right, result);
};

bool are(std::span<const Value> args, Kind left, Kind right) {
  return args[0].is(left) && args[1].is(right);
}

// -2^63 / -1 does not fit, and its remainder traps on some machines.
bool is_least_by_minus_one(std::span<const Value> args) {
  return args[0].is(Kind::kInt) && args[0].as_int() == std::numeric_limits<int64_t>::min() && args[1].as_int() == -1;
}

// An error if integers cannot be divided, else null.
Value check_division(std::span<const Value> args) {
  if (args[0].kind() != args[1].kind() || !(args[0].is(Kind::kInt) || args[0].is(Kind::kUint)))
    return Value::error(ErrorCode::kNoOverload);
  if (args[1].as_int() == 0) return Value::error(ErrorCode::kDivideByZero);
  if (is_least_by_minus_one(args)) return Value::error(ErrorCode::kOverflow);
  return {};
}

}  // namespace

Value add(std::span<const Value> args, Scratch& scratch) {
  const Value& left = args[0];
  const Value& right = args[1];
  if (are(args, Kind::kTimestamp, Kind::kDuration)) return shifted(left, right.as_int());
  if (are(args, Kind::kDuration, Kind::kTimestamp)) return shifted(right, left.as_int());
  if (left.kind() != right.kind()) return Value::error(ErrorCode::kNoOverload);
  switch (left.kind()) {
    case Kind::kDouble:
      return Value::real(left.as_double() + right.as_double());
    case Kind::kString:
    case Kind::kBytes:
      return concatenate(left.kind(), left.as_text(), right.as_text(), scratch);
    case Kind::kList:
      return appended(left, right, scratch);
    case Kind::kDuration:
      return durations(args, kAddOverflows);
    default:
      return integers(args, kAddOverflows);
  }
}

Value subtract(std::span<const Value> args, Scratch& /*scratch*/) {
  const Value& left = args[0];
  const Value& right = args[1];
  if (are(args, Kind::kTimestamp, Kind::kDuration)) {
    if (right.as_int() == std::numeric_limits<int64_t>::min()) return Value::error(ErrorCode::kTimeRange);
    return shifted(left, -right.as_int());
  }
  if (are(args, Kind::kTimestamp, Kind::kTimestamp)) {
    const auto ns = between(right.as_timestamp(), left.as_timestamp());
    return ns ? Value::duration(*ns) : Value::error(ErrorCode::kTimeRange);
  }
  if (are(args, Kind::kDouble, Kind::kDouble)) return Value::real(left.as_double() - right.as_double());
  if (are(args, Kind::kDuration, Kind::kDuration)) return durations(args, kSubtractOverflows);
  return integers(args, kSubtractOverflows);
}

Value multiply(std::span<const Value> args, Scratch& /*scratch*/) {
  if (are(args, Kind::kDouble, Kind::kDouble)) return Value::real(args[0].as_double() * args[1].as_double());
  return integers(args, kMultiplyOverflows);
}

Value divide(std::span<const Value> args, Scratch& /*scratch*/) {
  if (are(args, Kind::kDouble, Kind::kDouble)) return Value::real(args[0].as_double() / args[1].as_double());
  if (const Value error = check_division(args); error.is_error()) return error;
  if (args[0].is(Kind::kInt)) return Value::integer(args[0].as_int() / args[1].as_int());
  return Value::uint(args[0].as_uint() / args[1].as_uint());
}

Value modulo(std::span<const Value> args, Scratch& /*scratch*/) {
  if (const Value error = check_division(args); error.is_error()) return error;
  if (args[0].is(Kind::kInt)) return Value::integer(args[0].as_int() % args[1].as_int());
  return Value::uint(args[0].as_uint() % args[1].as_uint());
}

Value negate(std::span<const Value> args, Scratch& /*scratch*/) {
  if (args[0].is(Kind::kDouble)) return Value::real(-args[0].as_double());
  if (!args[0].is(Kind::kInt)) return Value::error(ErrorCode::kNoOverload);
  if (args[0].as_int() == std::numeric_limits<int64_t>::min()) return Value::error(ErrorCode::kOverflow);
  return Value::integer(-args[0].as_int());
}

Value logical_not(std::span<const Value> args, Scratch& /*scratch*/) {
  if (!args[0].is(Kind::kBool)) return Value::error(ErrorCode::kNoOverload);
  return Value::boolean(!args[0].as_bool());
}

}  // namespace gatehouse::rules::cel
