// SPDX-License-Identifier: Apache-2.0
// Budget: 1 us and no allocation for a statement at 1,000 rules of which few can match, and at most twice from 100 to
// 10,000 rules what it takes at 100.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "rules/engine/judge.h"
#include "tests/bench/allocations.h"
#include "tests/support/cel_example.h"

namespace {

using namespace gatehouse::rules;
using cel::example::Event;

constexpr EventKind kKinds[] = {{"statement", &cel::example::kSchema}};

// Rule sets as they grow in practice: the same few questions asked of ever more databases, tables, people.
std::string condition(size_t i) {
  const std::string n = std::to_string(i);
  switch (i % 6) {
    case 0:
      return "statement.verb in ['DELETE', 'UPDATE'] && !statement.filters_rows && database.name == 'shop" + n + "'";
    case 1:
      return "statement.objects.exists(o, o.schema == 'payroll' && o.name == 'salaries" + n + "')";
    case 2:
      return "database.labels.env == 'production' && database.labels.team == 'team" + n + "' && result.rows > 5000";
    case 3:
      return "statement.verb == 'DROP' && statement.objects.exists(o, o.name.startsWith('tmp" + n + "'))";
    case 4:
      return "statement.verb == 'SELECT' && database.name in ['crm" + n + "', 'erp" + n + "'] && result.rows > 1000";
    default:
      return "statement.verb == 'GRANT' && statement.text.contains('role" + n + "')";
  }
}

std::shared_ptr<const Policy> policy(size_t rules) {
  std::string text = "rules:\n";
  for (size_t i = 0; i < rules; ++i)
    text += "  - {id: r" + std::to_string(i) + ", on: statement, then: alert, mode: active, when: \"" + condition(i) +
            "\"}\n";
  const PolicyFile file{.name = "bench", .text = text};
  auto loaded = load_policy({&file, 1}, kKinds);
  return loaded ? std::make_shared<const Policy>(std::move(*loaded)) : nullptr;
}

void judge(benchmark::State& state, const Event& event) {
  const auto rules = policy(static_cast<size_t>(state.range(0)));
  if (rules == nullptr) return state.SkipWithError("the rules do not load");
  Judge judge(rules);
  const auto variables = cel::example::values_of(event);
  judge.judge(0, variables, 0);
  const JudgeCounters counters = judge.counters();
  const uint64_t before = allocations;
  for (auto _ : state) benchmark::DoNotOptimize(judge.judge(0, variables, 0));
  state.counters["allocations"] = benchmark::Counter(static_cast<double>(allocations - before));
  state.counters["evaluated"] = benchmark::Counter(static_cast<double>(counters.evaluations));
}

// Nothing matches; what shares a verb with many rules shares nothing else with them.
void BM_NothingMatches(benchmark::State& state) {
  Event event;
  event.statement = {.verb = "SELECT", .text = "SELECT 1", .filters_rows = true};
  judge(state, event);
}
// A statement that one rule is about, with others that come near.
void BM_OneMatches(benchmark::State& state) {
  Event event;
  event.statement.objects = {{"payroll", "salaries1"}, {"public", "staff"}};
  judge(state, event);
}
BENCHMARK(BM_NothingMatches)->Arg(10)->Arg(100)->Arg(1000)->Arg(10'000);
BENCHMARK(BM_OneMatches)->Arg(10)->Arg(100)->Arg(1000)->Arg(10'000);

// Events that differ, each about another of the rules: tables do not stay in the nearest caches.
void BM_EventsDiffer(benchmark::State& state) {
  const auto count = static_cast<size_t>(state.range(0));
  const auto rules = policy(count);
  if (rules == nullptr) return state.SkipWithError("the rules do not load");
  Judge judge(rules);
  std::vector<Event> events(4096);
  for (size_t i = 0; i < events.size(); ++i) {
    const std::string n = std::to_string(i * 7919 % count);
    events[i].statement.verb = i % 2 == 0 ? "SELECT" : "DELETE";
    events[i].statement.objects = {{"payroll", "salaries" + n}, {"public", "staff"}};
    events[i].database.name = (i % 3 == 0 ? "crm" : "shop") + n;
    events[i].database.labels[1].second = "team" + n;
  }
  size_t next = 0;
  uint64_t findings = 0;
  for (auto _ : state) {
    const auto variables = cel::example::values_of(events[next++ % events.size()]);
    findings += judge.judge(0, variables, 0).findings.size();
  }
  benchmark::DoNotOptimize(findings);
  const JudgeCounters& counters = judge.counters();
  state.counters["evaluated"] =
      benchmark::Counter(static_cast<double>(counters.evaluations) / static_cast<double>(counters.events));
}
BENCHMARK(BM_EventsDiffer)->Arg(10)->Arg(100)->Arg(1000)->Arg(10'000);

// A rule that every event is counted by, for as many keys as there are events; further than a window knows exactly.
void BM_Window(benchmark::State& state) {
  const PolicyFile file{.name = "bench",
                        .text =
                            "rules:\n  - {id: w, on: statement, then: alert, mode: active, when: 'true', "
                            "window: {count: true, over: 5m, by: [database.name], at_least: 1000000000}}\n"};
  auto loaded = load_policy({&file, 1}, kKinds);
  if (!loaded) return state.SkipWithError(loaded.error().message().c_str());
  Judge judge(std::make_shared<const Policy>(std::move(*loaded)));
  std::vector<Event> events(static_cast<size_t>(state.range(0)));
  for (size_t i = 0; i < events.size(); ++i) events[i].database.name = "shop" + std::to_string(i);
  uint64_t now = 1'795'568'523'000'000'000;
  size_t next = 0;
  for (auto _ : state) {
    const auto variables = cel::example::values_of(events[next++ % events.size()]);
    benchmark::DoNotOptimize(judge.judge(0, variables, now += 1000));
  }
}
BENCHMARK(BM_Window)->Arg(10)->Arg(1000)->Arg(100'000);

void BM_Load(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(policy(static_cast<size_t>(state.range(0))));
}
BENCHMARK(BM_Load)->Arg(100)->Arg(10'000)->Unit(benchmark::kMillisecond);

}  // namespace
