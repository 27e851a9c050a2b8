// SPDX-License-Identifier: Apache-2.0
// Files of cases. Oracle: a mistake is told with a line and a column that the file has; what is read has a name, a kind
// of event that there is, and repeats itself no more than it may.
#include <algorithm>
#include <cstdlib>
#include <string>

#include "rules/engine/cases.h"
#include "tests/support/cel_example.h"

namespace {

using namespace gatehouse::rules;

constexpr EventKind kKinds[] = {{"statement", &cel::example::kSchema}, {"connect", &cel::example::kSchema}};

void require(bool holds) {
  if (!holds) std::abort();
}

void check_event(const CaseEvent& event) {
  require(event.kind < std::size(kKinds) && event.repeat >= 1 && event.repeat <= kCaseRepeatMax &&
          !event.shown.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const PolicyFile file{.name = "cases.yaml", .text = std::string(reinterpret_cast<const char*>(data), size)};
  const auto lines = static_cast<size_t>(std::ranges::count(file.text, '\n')) + 1;
  const CheckedCases checked = check_cases(file, kKinds, nullptr);
  for (const Problem& problem : checked.errors)
    require(problem.line >= 1 && problem.line <= lines && problem.column >= 1 && !problem.what.empty());
  for (const Case& of : checked.cases) {
    require(!of.name.empty() && of.line >= 1 && of.line <= lines);
    check_event(of.event);
    for (const CaseEvent& event : of.before) check_event(event);
  }
  return 0;
}
