// SPDX-License-Identifier: Apache-2.0
// Budget: 200 ns and no allocation for a typical condition; an evaluation that uses up its steps ends within 60 ms.
#include <benchmark/benchmark.h>

#include <string>

#include "tests/bench/allocations.h"
#include "tests/support/cel_example.h"

namespace {

using namespace gatehouse::rules::cel;

void judge(benchmark::State& state, std::string_view text, const example::Event& event) {
  const auto program = compile(text, example::kSchema, kDyn);
  if (!program) return state.SkipWithError(program.error().message.c_str());
  Scratch scratch;
  const auto variables = example::values_of(event);
  benchmark::DoNotOptimize(evaluate(*program, variables, scratch));  // RE2 builds its automaton with the first text
  const uint64_t before = allocations;
  for (auto _ : state) {
    const Value result = evaluate(*program, variables, scratch);
    benchmark::DoNotOptimize(result);
  }
  state.counters["allocations"] = benchmark::Counter(static_cast<double>(allocations - before));
  state.counters["steps"] = benchmark::Counter(static_cast<double>(scratch.steps()));
}

void BM_Typical(benchmark::State& state) {
  judge(state, R"(statement.verb in ["DELETE", "UPDATE"] && !statement.filters_rows && database.name == "shop")", {});
}
void BM_FirstOperandIsFalse(benchmark::State& state) {
  judge(state, R"(statement.verb == "DROP" && !statement.filters_rows && database.name == "shop")", {});
}
void BM_Label(benchmark::State& state) {
  judge(state, R"(database.labels.env == "production" && result.rows > 50000)", {});
}
void BM_Objects(benchmark::State& state) {
  judge(state, R"(statement.objects.exists(o, o.schema == "public" && o.name.startsWith("staff")))", {});
}
void BM_NamedListOf1000(benchmark::State& state) {
  std::string text = "statement.text in [";
  for (int i = 0; i < 1000; ++i) text += "'name" + std::to_string(i) + "',";
  judge(state, text + "]", {});
}
void BM_Pattern(benchmark::State& state) {
  judge(state, R"(statement.text.matches("(?i)delete\\s+from\\s+payroll\\."))", {});
}
BENCHMARK(BM_Typical);
BENCHMARK(BM_FirstOperandIsFalse);
BENCHMARK(BM_Label);
BENCHMARK(BM_Objects);
BENCHMARK(BM_NamedListOf1000);
BENCHMARK(BM_Pattern);

// What the limit of steps means in time, for the dearest steps there are.
void BM_AllStepsInLoops(benchmark::State& state) {
  example::Event event;
  event.statement.parameters.assign(1000, "a parameter");
  judge(state, "statement.parameters.all(a, statement.parameters.all(b, a + b != b + a || a == b))", event);
}
void BM_AllStepsInText(benchmark::State& state) {
  example::Event event;
  event.statement.text.assign(1U << 20, 'x');
  judge(state, "[1, 2, 3, 4, 5, 6].all(n, statement.parameters.all(p, !statement.text.contains('xxxxxxxxxxxxy')))",
        event);
}
void BM_AllStepsInPatterns(benchmark::State& state) {
  example::Event event;
  event.statement.text.assign(1U << 20, 'x');
  judge(state, R"([1, 2, 3, 4, 5, 6, 7, 8, 9].all(n, !statement.text.matches("(x|y)*z[a-w]{0,20}q")))", event);
}
BENCHMARK(BM_AllStepsInLoops)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_AllStepsInText)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_AllStepsInPatterns)->Unit(benchmark::kMillisecond);

void BM_Compile(benchmark::State& state) {
  for (auto _ : state) {
    auto program =
        compile(R"(statement.verb in ["DELETE", "UPDATE"] && !statement.filters_rows && database.name == "shop")",
                example::kSchema, kBool);
    benchmark::DoNotOptimize(program);
  }
}
BENCHMARK(BM_Compile)->Unit(benchmark::kMicrosecond);

}  // namespace
