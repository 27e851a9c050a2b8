// SPDX-License-Identifier: Apache-2.0
// The specification's tests as JSON (protobuf's mapping of cel.expr.conformance.test.SimpleTest): types and values.
// For the conformance test only.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "rules/engine/cel_program.h"

namespace gatehouse::rules::cel {

using Json = nlohmann::json;

// What a test's types and values borrow from.
struct TestStore {
  std::deque<std::string> texts{};
  std::deque<std::vector<Value>> lists{};
  std::deque<std::vector<Entry>> maps{};
  std::deque<Type> types{};
};

// cel.expr.Type; null if it speaks of what Gatehouse does not have (messages, abstract types).
const Type* type_of_json(const Json& json, TestStore& store);
// cel.expr.Value; throws std::runtime_error if it is of a kind that Gatehouse does not have.
Value value_of_json(const Json& json, TestStore& store);

// The same kind and content, lists in order, maps in any; NaN is NaN.
bool is_same(const Value& left, const Value& right);
std::string print(const Value& value);

}  // namespace gatehouse::rules::cel
