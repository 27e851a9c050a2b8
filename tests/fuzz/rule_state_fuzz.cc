// SPDX-License-Identifier: Apache-2.0
// What judges remember, as bytes from a disk: the input as it is, or, if its first byte is even, a true state of which
// every three further bytes change one. Oracle: whatever is read, the judge judges on; and what it then exports is
// read by another, which exports the same.
#include <cstdlib>
#include <memory>
#include <string>

#include "rules/engine/judge.h"
#include "tests/support/cel_example.h"

namespace {

using namespace gatehouse::rules;

constexpr EventKind kKinds[] = {{"statement", &cel::example::kSchema}};
constexpr uint64_t kStart = 1'795'568'523'000'000'000;
constexpr std::string_view kRules = R"(rules:
  - {id: a, on: statement, mode: active, then: alert, when: "true", window: {sum: result.rows, over: 5m, at_least: 3}}
  - {id: b, on: statement, mode: active, then: alert, when: "true",
     window: {distinct: statement.verb, over: 5m, by: [database.name], at_least: 3}}
  - {id: c, on: statement, mode: active, then: alert, when: "true", first_seen: {key: [database.name], learn: 1s}}
)";

void require(bool holds) {
  if (!holds) std::abort();
}

std::shared_ptr<const Policy> policy() {
  const PolicyFile file{.name = "rules.yaml", .text = std::string(kRules)};
  auto loaded = load_policy({&file, 1}, kKinds);
  require(loaded.has_value());
  return std::make_shared<const Policy>(std::move(*loaded));
}

void judge(Judge& judge, uint64_t after_ns) {
  static const cel::example::Event event;
  judge.judge(0, cel::example::values_of(event), kStart + after_ns);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::shared_ptr<const Policy> rules = policy();
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (size > 0 && data[0] % 2 == 0) {
    Judge first(rules);
    for (int i = 0; i < 4; ++i) judge(first, 1'000'000'000);
    std::string state = first.export_state();
    for (size_t i = 1; i + 2 < size; i += 3) state[(data[i] * 256U + data[i + 1]) % state.size()] = bytes[i + 2];
    bytes = std::move(state);
  }
  Judge second(rules);
  second.import_state(bytes);
  judge(second, 2'000'000'000);
  const std::string exported = second.export_state();
  Judge third(rules);
  require(third.import_state(exported));
  require(third.export_state() == exported);
  return 0;
}
