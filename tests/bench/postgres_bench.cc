// SPDX-License-Identifier: Apache-2.0
// Budget: 0.4 µs per simple statement for framer and session together, 0.6 µs per prepared one (four frames each way
// instead of one and four), and no heap allocation once warm
// (counter "allocations"). What a statement costs beyond that is not the protocol's.
#include <benchmark/benchmark.h>

#include "agent/protocol/postgres/session.h"
#include "tests/bench/allocations.h"
#include "tests/support/postgres_wire.h"

namespace gatehouse::test {
namespace {

class Counter final : public ActivitySink {
 public:
  void on_activity(const Activity& activity) override { text_bytes += activity.text.size(); }
  uint64_t text_bytes = 0;
};

void run(benchmark::State& state, const std::string& prelude, const std::string& prelude_answer,
         const std::string& request, const std::string& answer) {
  Counter counter;
  postgres::Session session(counter, {});
  std::array<uint64_t, kDirections> offsets{};
  const auto feed = [&](Direction direction, const std::string& bytes) {
    session.on_bytes(direction, bytes_of(bytes), {.time_ns = 1, .offset = offsets[static_cast<size_t>(direction)]});
    offsets[static_cast<size_t>(direction)] += bytes.size();
  };
  feed(Direction::kRequest, startup({"user", "ann"}));
  feed(Direction::kResponse, welcome());
  if (!prelude.empty()) {
    feed(Direction::kRequest, prelude);
    feed(Direction::kResponse, prelude_answer);
  }
  for (int i = 0; i < 100; ++i) {
    feed(Direction::kRequest, request);
    feed(Direction::kResponse, answer);
  }
  const uint64_t before = allocations.load();
  for (auto _ : state) {
    feed(Direction::kRequest, request);
    feed(Direction::kResponse, answer);
  }
  state.counters["allocations"] = static_cast<double>(allocations.load() - before);
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
  benchmark::DoNotOptimize(counter.text_bytes);
}

constexpr std::string_view kSelect = "SELECT abalance FROM pgbench_accounts WHERE aid = 61234;";

void BM_Simple(benchmark::State& state) {
  run(state, "", "", query(kSelect), row_description("abalance") + data_row("0") + complete("SELECT 1") + ready());
}
BENCHMARK(BM_Simple);

void BM_Prepared(benchmark::State& state) {
  run(state, parse("P_0", "SELECT abalance FROM pgbench_accounts WHERE aid = $1;") + sync(), parse_complete() + ready(),
      bind("", "P_0", {"61234"}) + describe('P', "") + execute() + sync(),
      bind_complete() + row_description("abalance") + data_row("0") + complete("SELECT 1") + ready());
}
BENCHMARK(BM_Prepared);

void BM_Extended(benchmark::State& state) {
  run(state, "", "",
      parse("", "SELECT abalance FROM pgbench_accounts WHERE aid = $1;") + bind("", "", {"61234"}) + describe('P', "") +
          execute() + sync(),
      parse_complete() + bind_complete() + row_description("abalance") + data_row("0") + complete("SELECT 1") +
          ready());
}
BENCHMARK(BM_Extended);

// A result of many rows whose bodies the kernel did not leave out.
void BM_Rows(benchmark::State& state) {
  std::string answer = row_description();
  for (int i = 0; i < 1000; ++i) answer += data_row("0123456789012345678901234567890123456789");
  run(state, "", "", query(kSelect), answer + complete("SELECT 1000") + ready());
}
BENCHMARK(BM_Rows);

}  // namespace
}  // namespace gatehouse::test
