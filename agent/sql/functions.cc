// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/functions.h"

#include <algorithm>
#include <iterator>

namespace gatehouse::sql {
namespace {

struct Entry {
  std::string_view name;
  KnownFunction known;
};
constexpr Entry kKnown[] = {
#define GH_KNOWN_FUNCTION(name, function_class, reason) {#name, {FunctionClass::function_class, reason}},
#include "agent/sql/known_functions.def"
#undef GH_KNOWN_FUNCTION
};
static_assert(std::ranges::is_sorted(kKnown, {}, &Entry::name));

constexpr std::string_view kHarmless[] = {
#include "agent/sql/harmless_functions.def"
};
static_assert(std::ranges::is_sorted(kHarmless));

}  // namespace

KnownFunction known_function(std::string_view name) {
  const auto* found = std::ranges::lower_bound(kKnown, name, {}, &Entry::name);
  if (found != std::end(kKnown) && found->name == name) return found->known;
  if (std::ranges::binary_search(kHarmless, name)) return {.function_class = FunctionClass::kHarmless};
  return {};
}

Effects effects_of(FunctionClass function_class) {
  switch (function_class) {
    case FunctionClass::kUnknown:
      return {Effect::kUnknown};
    case FunctionClass::kHarmless:
      return {};
    case FunctionClass::kSequence:
      return {Effect::kUpdate};
    case FunctionClass::kSession:
      return {Effect::kSession};
    case FunctionClass::kLock:
      return {Effect::kLock};
    case FunctionClass::kNotify:
      return {Effect::kNotify};
    case FunctionClass::kFileRead:
      return {Effect::kFileRead};
    case FunctionClass::kFileWrite:
      return {Effect::kFileWrite};
    case FunctionClass::kProgram:
      return {Effect::kProgram};
    case FunctionClass::kNetwork:
      return {Effect::kNetwork, Effect::kUnknown};
    case FunctionClass::kLargeObject:
      return {Effect::kLargeObject};
    case FunctionClass::kServerControl:
      return {Effect::kServerControl};
    case FunctionClass::kInspect:
      return {Effect::kInspect, Effect::kRead};
    case FunctionClass::kDelay:
      return {Effect::kDelay};
    case FunctionClass::kRunText:
      return {Effect::kRunText, Effect::kUnknown};
  }
  return {Effect::kUnknown};
}

}  // namespace gatehouse::sql
