// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/functions.h"

#include <gtest/gtest.h>

#include <string_view>

namespace gatehouse::sql {
namespace {

TEST(SqlFunctions, EachIsInOneTable) {
  static constexpr std::string_view kHarmless[] = {
#include "agent/sql/harmless_functions.def"
  };
  for (const std::string_view name : kHarmless)
    EXPECT_EQ(known_function(name).function_class, FunctionClass::kHarmless) << name;
#define GH_KNOWN_FUNCTION(name, wanted, why)                              \
  EXPECT_EQ(known_function(#name).function_class, FunctionClass::wanted); \
  EXPECT_FALSE(known_function(#name).reason.empty()) << #name;
#include "agent/sql/known_functions.def"
#undef GH_KNOWN_FUNCTION
}

TEST(SqlFunctions, UnknownIsUnknown) {
  EXPECT_EQ(known_function("my_function").function_class, FunctionClass::kUnknown);
  EXPECT_EQ(known_function("").function_class, FunctionClass::kUnknown);
  EXPECT_EQ(known_function("PG_SLEEP").function_class, FunctionClass::kUnknown);
  EXPECT_TRUE(effects_of(FunctionClass::kUnknown).has(Effect::kUnknown));
  EXPECT_TRUE(effects_of(FunctionClass::kHarmless).empty());
}

}  // namespace
}  // namespace gatehouse::sql
