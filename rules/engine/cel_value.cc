// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/cel_value.h"

namespace gatehouse::rules::cel {

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kNull:
      return "null_type";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kUint:
      return "uint";
    case Kind::kDouble:
      return "double";
    case Kind::kString:
      return "string";
    case Kind::kBytes:
      return "bytes";
    case Kind::kTimestamp:
      return "google.protobuf.Timestamp";
    case Kind::kDuration:
      return "google.protobuf.Duration";
    case Kind::kList:
      return "list";
    case Kind::kMap:
      return "map";
    case Kind::kRecord:
      return "record";
    case Kind::kType:
      return "type";
    case Kind::kError:
      return "error";
  }
  return "";
}

std::string_view message_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNone:
      return "no error";
    case ErrorCode::kNoOverload:
      return "no such overload: a value has a type that this operation does not know";
    case ErrorCode::kNoField:
      return "no such key";
    case ErrorCode::kIndexOutOfRange:
      return "index out of range";
    case ErrorCode::kOverflow:
      return "integer overflow";
    case ErrorCode::kDivideByZero:
      return "division by zero";
    case ErrorCode::kConversion:
      return "the value cannot be converted to this type";
    case ErrorCode::kDuplicateKey:
      return "two equal keys in a map";
    case ErrorCode::kBadKey:
      return "a map's key must be bool, int, uint or string";
    case ErrorCode::kTimeRange:
      return "a time outside of the years 1 to 9999, or a duration beyond 64 bits of ns";
    case ErrorCode::kBadTimeZone:
      return "a time zone is \"UTC\" or an offset such as \"+02:00\"";
    case ErrorCode::kInvalidArgument:
      return "an argument out of range";
    case ErrorCode::kTooManySteps:
      return "the evaluation needs more steps than are allowed";
    case ErrorCode::kTooLarge:
      return "the evaluation needs more memory than is allowed";
  }
  return "";
}

}  // namespace gatehouse::rules::cel
