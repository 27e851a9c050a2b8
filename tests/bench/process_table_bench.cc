// SPDX-License-Identifier: Apache-2.0
// Budget: find() of a known key 50 ns and no allocation; a fork and its exit 1 µs. The runtime asks once per chunk.
#include <benchmark/benchmark.h>

#include "agent/identity/process_table.h"
#include "tests/bench/allocations.h"

namespace gatehouse::identity {
namespace {

ProcessKey key_of(uint64_t number) {
  return {static_cast<uint32_t>(1000 + number), 1'000'000'000 + number * 12'345'678};
}

ProcessExec exec_of(uint64_t number) {
  return {.process = key_of(number),
          .parent = key_of(0),
          .time_ns = 1 + number,
          .exe = "/usr/lib/postgresql/15/bin/postgres",
          .arguments = "postgres",
          .cgroup_path = "/system.slice/system-postgresql.slice/postgresql@15-main.service"};
}

void BM_FindKnown(benchmark::State& state) {
  ProcessTable table({.proc_root = "", .passwd_path = ""});
  const auto processes = static_cast<uint64_t>(state.range(0));
  for (uint64_t i = 0; i < processes; ++i) table.on_exec(exec_of(i));
  uint64_t at = 0;
  const uint64_t before = allocations.load();
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.find(key_of(at)).get());
    at = (at + 7919) % processes;
  }
  state.counters["allocations"] = static_cast<double>(allocations.load() - before);
}
BENCHMARK(BM_FindKnown)->Arg(16)->Arg(1024)->Arg(32768);

void BM_ForkAndExit(benchmark::State& state) {
  ProcessTable table({.proc_root = "", .passwd_path = ""});
  table.on_exec(exec_of(0));
  uint64_t number = 1;
  for (auto _ : state) {
    table.on_fork({key_of(0), key_of(number), number});
    table.on_exit({key_of(number), number, 0});
    ++number;
  }
}
BENCHMARK(BM_ForkAndExit);

void BM_Exec(benchmark::State& state) {
  ProcessTable table({.proc_root = "", .passwd_path = ""});
  uint64_t number = 0;
  for (auto _ : state) {
    table.on_exec(exec_of(number));
    table.on_exit({key_of(number), number, 0});
    ++number;
  }
}
BENCHMARK(BM_Exec);

}  // namespace
}  // namespace gatehouse::identity
