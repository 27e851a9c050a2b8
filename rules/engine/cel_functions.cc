// SPDX-License-Identifier: Apache-2.0
// The table: names and signatures. cel_numbers.cc, cel_compare.cc, cel_convert.cc, cel_text.cc and cel_time.cc do it.
#include "rules/engine/cel_functions.h"

#include <algorithm>

namespace gatehouse::rules::cel {
namespace {

constexpr Type kA{.kind = TypeKind::kParam, .parameter = 0};
constexpr Type kB{.kind = TypeKind::kParam, .parameter = 1};
constexpr Type kListOfA{TypeKind::kList, &kA};
constexpr Type kMapOfAToB{TypeKind::kMap, &kA, &kB};
constexpr Type kTypeOfA{TypeKind::kType, &kA};

// The parameters of a signature, as a table that the signature can point to.
template <const Type&... Types>
constexpr std::array<const Type*, sizeof...(Types)> kTypes{&Types...};
template <const Type& Result, const Type&... Types>
constexpr Signature kTakes{kTypes<Types...>, &Result};

constexpr Signature kAdd[] = {
    kTakes<kInt, kInt, kInt>,
    kTakes<kUint, kUint, kUint>,
    kTakes<kDouble, kDouble, kDouble>,
    kTakes<kString, kString, kString>,
    kTakes<kBytes, kBytes, kBytes>,
    kTakes<kListOfA, kListOfA, kListOfA>,
    kTakes<kTimestamp, kTimestamp, kDuration>,
    kTakes<kTimestamp, kDuration, kTimestamp>,
    kTakes<kDuration, kDuration, kDuration>,
};
constexpr Signature kSubtract[] = {
    kTakes<kInt, kInt, kInt>,
    kTakes<kUint, kUint, kUint>,
    kTakes<kDouble, kDouble, kDouble>,
    kTakes<kDuration, kTimestamp, kTimestamp>,
    kTakes<kTimestamp, kTimestamp, kDuration>,
    kTakes<kDuration, kDuration, kDuration>,
};
constexpr Signature kMultiply[] = {kTakes<kInt, kInt, kInt>, kTakes<kUint, kUint, kUint>,
                                   kTakes<kDouble, kDouble, kDouble>};
constexpr Signature kModulo[] = {kTakes<kInt, kInt, kInt>, kTakes<kUint, kUint, kUint>};
constexpr Signature kNegate[] = {kTakes<kInt, kInt>, kTakes<kDouble, kDouble>};
constexpr Signature kNot[] = {kTakes<kBool, kBool>};
// Numbers of different types are compared by what they mean, so that 5 may stand where 5u is meant.
constexpr Signature kSame[] = {
    kTakes<kBool, kA, kA>,         kTakes<kBool, kInt, kUint>,   kTakes<kBool, kUint, kInt>,
    kTakes<kBool, kInt, kDouble>,  kTakes<kBool, kDouble, kInt>, kTakes<kBool, kUint, kDouble>,
    kTakes<kBool, kDouble, kUint>,
};
constexpr Signature kOrder[] = {
    kTakes<kBool, kBool, kBool>,           kTakes<kBool, kInt, kInt>,           kTakes<kBool, kInt, kUint>,
    kTakes<kBool, kInt, kDouble>,          kTakes<kBool, kUint, kUint>,         kTakes<kBool, kUint, kInt>,
    kTakes<kBool, kUint, kDouble>,         kTakes<kBool, kDouble, kDouble>,     kTakes<kBool, kDouble, kInt>,
    kTakes<kBool, kDouble, kUint>,         kTakes<kBool, kString, kString>,     kTakes<kBool, kBytes, kBytes>,
    kTakes<kBool, kTimestamp, kTimestamp>, kTakes<kBool, kDuration, kDuration>,
};
constexpr Type kInts{TypeKind::kList, &kInt};
constexpr Type kUints{TypeKind::kList, &kUint};
constexpr Type kDoubles{TypeKind::kList, &kDouble};
constexpr Signature kIn[] = {
    kTakes<kBool, kA, kListOfA>,    kTakes<kBool, kA, kMapOfAToB>,  kTakes<kBool, kInt, kUints>,
    kTakes<kBool, kUint, kInts>,    kTakes<kBool, kInt, kDoubles>,  kTakes<kBool, kDouble, kInts>,
    kTakes<kBool, kUint, kDoubles>, kTakes<kBool, kDouble, kUints>,
};
constexpr Signature kIndex[] = {kTakes<kA, kListOfA, kInt>, kTakes<kB, kMapOfAToB, kA>};
constexpr Signature kSize[] = {kTakes<kInt, kString>, kTakes<kInt, kBytes>, kTakes<kInt, kListOfA>,
                               kTakes<kInt, kMapOfAToB>};

constexpr Signature kToInt[] = {kTakes<kInt, kInt>, kTakes<kInt, kUint>, kTakes<kInt, kDouble>, kTakes<kInt, kString>,
                                kTakes<kInt, kTimestamp>};
constexpr Signature kToUint[] = {kTakes<kUint, kUint>, kTakes<kUint, kInt>, kTakes<kUint, kDouble>,
                                 kTakes<kUint, kString>};
constexpr Signature kToDouble[] = {kTakes<kDouble, kDouble>, kTakes<kDouble, kInt>, kTakes<kDouble, kUint>,
                                   kTakes<kDouble, kString>};
constexpr Signature kToString[] = {kTakes<kString, kString>,    kTakes<kString, kBool>,    kTakes<kString, kInt>,
                                   kTakes<kString, kUint>,      kTakes<kString, kDouble>,  kTakes<kString, kBytes>,
                                   kTakes<kString, kTimestamp>, kTakes<kString, kDuration>};
constexpr Signature kToBytes[] = {kTakes<kBytes, kBytes>, kTakes<kBytes, kString>};
constexpr Signature kToBool[] = {kTakes<kBool, kBool>, kTakes<kBool, kString>};
constexpr Signature kToTimestamp[] = {kTakes<kTimestamp, kTimestamp>, kTakes<kTimestamp, kString>,
                                      kTakes<kTimestamp, kInt>};
constexpr Signature kToDuration[] = {kTakes<kDuration, kDuration>, kTakes<kDuration, kString>};
constexpr Signature kToDyn[] = {kTakes<kDyn, kA>};
constexpr Signature kTypeOf[] = {kTakes<kTypeOfA, kA>};

constexpr Signature kAsk[] = {kTakes<kBool, kString, kString>};
constexpr Signature kCharAt[] = {kTakes<kString, kString, kInt>};
constexpr Signature kIndexOf[] = {kTakes<kInt, kString, kString>, kTakes<kInt, kString, kString, kInt>};
constexpr Signature kChange[] = {kTakes<kString, kString>};
constexpr Signature kReplace[] = {kTakes<kString, kString, kString, kString>,
                                  kTakes<kString, kString, kString, kString, kInt>};
constexpr Signature kSplit[] = {kTakes<kStrings, kString, kString>, kTakes<kStrings, kString, kString, kInt>};
constexpr Signature kJoin[] = {kTakes<kString, kStrings>, kTakes<kString, kStrings, kString>};
constexpr Signature kSubstring[] = {kTakes<kString, kString, kInt>, kTakes<kString, kString, kInt, kInt>};

constexpr Signature kOfDate[] = {kTakes<kInt, kTimestamp>, kTakes<kInt, kTimestamp, kString>};
constexpr Signature kOfTime[] = {kTakes<kInt, kTimestamp>, kTakes<kInt, kTimestamp, kString>, kTakes<kInt, kDuration>};

constexpr Function kFunctions[] = {
    {"_+_", false, kAdd, add},
    {"_-_", false, kSubtract, subtract},
    {"_*_", false, kMultiply, multiply},
    {"_/_", false, kMultiply, divide},
    {"_%_", false, kModulo, modulo},
    {"-_", false, kNegate, negate},
    {"!_", false, kNot, logical_not},
    {"_==_", false, kSame, equal},
    {"_!=_", false, kSame, not_equal},
    {"_<_", false, kOrder, less},
    {"_<=_", false, kOrder, less_equal},
    {"_>_", false, kOrder, greater},
    {"_>=_", false, kOrder, greater_equal},
    {"@in", false, kIn, in},
    {"_[_]", false, kIndex, index},
    {"size", false, kSize, size},
    {"size", true, kSize, size},
    {"int", false, kToInt, to_int},
    {"uint", false, kToUint, to_uint},
    {"double", false, kToDouble, to_double},
    {"string", false, kToString, to_string},
    {"bytes", false, kToBytes, to_bytes},
    {"bool", false, kToBool, to_bool},
    {"timestamp", false, kToTimestamp, to_timestamp},
    {"duration", false, kToDuration, to_duration},
    {"dyn", false, kToDyn, to_dyn},
    {"type", false, kTypeOf, type_of},
    {"contains", true, kAsk, contains},
    {"startsWith", true, kAsk, starts_with},
    {"endsWith", true, kAsk, ends_with},
    {"matches", true, kAsk, matches},
    {"matches", false, kAsk, matches},
    {"charAt", true, kCharAt, char_at},
    {"indexOf", true, kIndexOf, index_of},
    {"lastIndexOf", true, kIndexOf, last_index_of},
    {"lowerAscii", true, kChange, lower_ascii},
    {"upperAscii", true, kChange, upper_ascii},
    {"replace", true, kReplace, replace},
    {"split", true, kSplit, split},
    {"join", true, kJoin, join},
    {"substring", true, kSubstring, substring},
    {"trim", true, kChange, trim},
    {"reverse", true, kChange, reverse},
    {"getFullYear", true, kOfDate, get_full_year},
    {"getMonth", true, kOfDate, get_month},
    {"getDate", true, kOfDate, get_date},
    {"getDayOfMonth", true, kOfDate, get_day_of_month},
    {"getDayOfWeek", true, kOfDate, get_day_of_week},
    {"getDayOfYear", true, kOfDate, get_day_of_year},
    {"getHours", true, kOfTime, get_hours},
    {"getMinutes", true, kOfTime, get_minutes},
    {"getSeconds", true, kOfTime, get_seconds},
    {"getMilliseconds", true, kOfTime, get_milliseconds},
};

}  // namespace

std::span<const Function> functions() {
  return kFunctions;
}

const Function* find_function(std::string_view name, bool is_method) {
  const auto found = std::ranges::find_if(
      kFunctions, [&](const Function& function) { return function.name == name && function.is_method == is_method; });
  return found == std::end(kFunctions) ? nullptr : found;
}

std::string_view written_name(const Function& function) {
  std::string_view name = function.name;
  if (name == "_[_]") return "[ ]";
  if (name.starts_with('_') || name.starts_with('@')) name.remove_prefix(1);
  if (name.ends_with('_')) name.remove_suffix(1);
  return name;
}

}  // namespace gatehouse::rules::cel
