// SPDX-License-Identifier: Apache-2.0
// What is known of PostgreSQL's functions by their names.
#pragma once

#include <string_view>

#include "agent/sql/facts.h"

namespace gatehouse::sql {

struct KnownFunction {
  FunctionClass function_class = FunctionClass::kUnknown;
  std::string_view reason{};  // static; of a function that does something
};
// Of a function of that name in pg_catalog, or in the schema of an extension that brings it.
KnownFunction known_function(std::string_view name);

// What calling a function of the class does; kUnknown for those that are not known.
Effects effects_of(FunctionClass function_class);

}  // namespace gatehouse::sql
