// SPDX-License-Identifier: Apache-2.0
// Rule files. Oracle: a mistake is told with a line and a column that the file has; what loads is what it says it is,
// and loads again as the same.
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string>

#include "rules/engine/policy.h"
#include "tests/support/cel_example.h"

namespace {

using namespace gatehouse::rules;

constexpr std::string_view kName = "f";
constexpr EventKind kKinds[] = {{"statement", &cel::example::kSchema}};

void require(bool holds) {
  if (!holds) std::abort();
}

// Cuts "number:" off the front.
size_t take_number(std::string_view& text) {
  size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  require(error == std::errc{} && end != text.data() + text.size() && *end == ':');
  text.remove_prefix(static_cast<size_t>(end - text.data()) + 1);
  return number;
}

void check_place(std::string_view message, std::string_view file) {
  require(message.starts_with(std::string(kName) + ":"));
  message.remove_prefix(kName.size() + 1);
  const size_t line = take_number(message);
  const size_t column = take_number(message);
  const auto lines = static_cast<size_t>(std::ranges::count(file, '\n')) + 1;
  require(line >= 1 && line <= lines && column >= 1 && column <= file.size() + 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const PolicyFile file{.name = std::string(kName), .text = std::string(reinterpret_cast<const char*>(data), size)};
  const auto policy = load_policy({&file, 1}, kKinds);
  if (!policy) {
    check_place(policy.error().message(), file.text);
    return 0;
  }
  static cel::Scratch scratch;
  static const cel::example::Event event;
  for (const Rule& rule : policy->rules) {
    require(!rule.id.empty() && rule.kind == 0 && rule.when.type_name() != "string");
    evaluate(rule.when, cel::example::values_of(event), scratch);
  }
  const auto again = load_policy({&file, 1}, kKinds);
  require(again && again->version == policy->version && again->rules.size() == policy->rules.size());
  return 0;
}
