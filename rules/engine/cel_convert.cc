// SPDX-License-Identifier: Apache-2.0
// Conversions between types.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "common/utf8.h"
#include "rules/engine/cel_functions.h"

namespace gatehouse::rules::cel {
namespace {

constexpr double kTwoTo63 = 9223372036854775808.0;
constexpr double kTwoTo64 = 18446744073709551616.0;
constexpr int64_t kNsPerSecond = 1'000'000'000;

Value no_overload() {
  return Value::error(ErrorCode::kNoOverload);
}
Value cannot_convert() {
  return Value::error(ErrorCode::kConversion);
}

// All of `text` as a number; a plus sign may stand before it.
template <typename Number>
std::optional<Number> number_of(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Value kept(std::string_view text, Scratch& scratch) {
  char* copy = scratch.arena().take_array<char>(text.size());
  if (copy == nullptr) return Value::error(ErrorCode::kTooLarge);
  std::copy(text.begin(), text.end(), copy);
  return Value::string({copy, text.size()});
}

// Large enough for any number, instant or duration.
using Buffer = std::array<char, 64>;

template <typename Number>
Value printed(Number number, Scratch& scratch) {
  Buffer buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number);
  return error == std::errc{} ? kept({buffer.data(), end}, scratch) : cannot_convert();
}

// Seconds with as many decimals as needed: "-1.5s".
Value printed_duration(int64_t ns, Scratch& scratch) {
  Buffer buffer;
  char* out = buffer.data();
  const uint64_t size = ns < 0 ? 0 - static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns);
  if (ns < 0) *out++ = '-';
  out = std::to_chars(out, buffer.data() + buffer.size(), size / kNsPerSecond).ptr;
  if (uint64_t rest = size % kNsPerSecond; rest != 0) {
    *out++ = '.';
    for (uint64_t unit = kNsPerSecond / 10; rest != 0; rest %= unit, unit /= 10)
      *out++ = static_cast<char>('0' + rest / unit);
  }
  *out++ = 's';
  return kept({buffer.data(), out}, scratch);
}

}  // namespace

Value to_int(std::span<const Value> args, Scratch& /*scratch*/) {
  const Value& from = args[0];
  switch (from.kind()) {
    case Kind::kInt:
      return from;
    case Kind::kUint:
      if (static_cast<int64_t>(from.as_uint()) < 0) return Value::error(ErrorCode::kOverflow);
      return Value::integer(static_cast<int64_t>(from.as_uint()));
    case Kind::kDouble:
      // Both ends are left out, as the specification does: a double next to them may have been rounded.
      if (!(from.as_double() > -kTwoTo63 && from.as_double() < kTwoTo63)) return Value::error(ErrorCode::kOverflow);
      return Value::integer(static_cast<int64_t>(from.as_double()));
    case Kind::kString: {
      const auto number = number_of<int64_t>(from.as_text());
      return number ? Value::integer(*number) : cannot_convert();
    }
    case Kind::kTimestamp:
      return Value::integer(from.as_timestamp().seconds);
    default:
      return no_overload();
  }
}

Value to_uint(std::span<const Value> args, Scratch& /*scratch*/) {
  const Value& from = args[0];
  switch (from.kind()) {
    case Kind::kUint:
      return from;
    case Kind::kInt:
      if (from.as_int() < 0) return Value::error(ErrorCode::kOverflow);
      return Value::uint(static_cast<uint64_t>(from.as_int()));
    case Kind::kDouble:
      if (!(from.as_double() >= 0 && from.as_double() < kTwoTo64)) return Value::error(ErrorCode::kOverflow);
      return Value::uint(static_cast<uint64_t>(from.as_double()));
    case Kind::kString: {
      const auto number = number_of<uint64_t>(from.as_text());
      return number ? Value::uint(*number) : cannot_convert();
    }
    default:
      return no_overload();
  }
}

Value to_double(std::span<const Value> args, Scratch& /*scratch*/) {
  const Value& from = args[0];
  switch (from.kind()) {
    case Kind::kDouble:
      return from;
    case Kind::kInt:
      return Value::real(static_cast<double>(from.as_int()));
    case Kind::kUint:
      return Value::real(static_cast<double>(from.as_uint()));
    case Kind::kString: {
      const auto number = number_of<double>(from.as_text());
      return number ? Value::real(*number) : cannot_convert();
    }
    default:
      return no_overload();
  }
}

Value to_string(std::span<const Value> args, Scratch& scratch) {
  const Value& from = args[0];
  switch (from.kind()) {
    case Kind::kString:
      return from;
    case Kind::kBool:
      return Value::string(from.as_bool() ? "true" : "false");
    case Kind::kInt:
      return printed(from.as_int(), scratch);
    case Kind::kUint:
      return printed(from.as_uint(), scratch);
    case Kind::kDouble:
      return printed(from.as_double(), scratch);
    case Kind::kBytes:
      if (!scratch.spend_bytes(from.as_text().size())) return Value::error(ErrorCode::kTooManySteps);
      return is_valid_utf8(from.as_text()) ? Value::string(from.as_text()) : cannot_convert();
    case Kind::kTimestamp: {
      std::array<char, kInstantBytesMax> buffer;
      return kept({buffer.data(), write_instant(buffer, from.as_timestamp())}, scratch);
    }
    case Kind::kDuration:
      return printed_duration(from.as_int(), scratch);
    default:
      return no_overload();
  }
}

Value to_bytes(std::span<const Value> args, Scratch& /*scratch*/) {
  if (args[0].is(Kind::kBytes)) return args[0];
  return args[0].is(Kind::kString) ? Value::bytes(args[0].as_text()) : no_overload();
}

Value to_bool(std::span<const Value> args, Scratch& /*scratch*/) {
  if (args[0].is(Kind::kBool)) return args[0];
  if (!args[0].is(Kind::kString)) return no_overload();
  for (const std::string_view yes : {"1", "t", "true", "TRUE", "True"}) {
    if (args[0].as_text() == yes) return Value::boolean(true);
  }
  for (const std::string_view no : {"0", "f", "false", "FALSE", "False"}) {
    if (args[0].as_text() == no) return Value::boolean(false);
  }
  return cannot_convert();
}

Value to_timestamp(std::span<const Value> args, Scratch& /*scratch*/) {
  const Value& from = args[0];
  switch (from.kind()) {
    case Kind::kTimestamp:
      return from;
    case Kind::kInt: {
      const Instant time{.seconds = from.as_int()};
      return in_range(time) ? Value::timestamp(time) : Value::error(ErrorCode::kTimeRange);
    }
    case Kind::kString: {
      const auto time = parse_instant(from.as_text());
      return time ? Value::timestamp(*time) : cannot_convert();
    }
    default:
      return no_overload();
  }
}

Value to_duration(std::span<const Value> args, Scratch& /*scratch*/) {
  if (args[0].is(Kind::kDuration)) return args[0];
  if (!args[0].is(Kind::kString)) return no_overload();
  const auto ns = parse_signed_duration(args[0].as_text());
  return ns ? Value::duration(*ns) : cannot_convert();
}

Value to_dyn(std::span<const Value> args, Scratch& /*scratch*/) {
  return args[0];
}

Value type_of(std::span<const Value> args, Scratch& /*scratch*/) {
  return Value::type(args[0].kind(), args[0].is(Kind::kRecord) ? args[0].record_type() : nullptr);
}

}  // namespace gatehouse::rules::cel
