// SPDX-License-Identifier: Apache-2.0
// Durable append of sealed batches: hash, chain, write, fdatasync. Target of the collector: 500 000 events per second
// and core with batches passed through, acknowledgement p50 <= 2 ms. Payload: what a batch of statements packs to.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "collector/ledger/testing.h"
#include "collector/store/pipeline.h"
#include "collector/store/testing.h"

namespace gatehouse {
namespace {

void BM_LedgerAppend(benchmark::State& state) {
  const auto events = static_cast<uint32_t>(state.range(0));
  const ledger::TemporaryFolder folder;
  const auto log = *ledger::SegmentLog::open({.folder = folder.path()});
  const v1::PublishRequest request = store::sealed(store::statement_batch(1, events));
  std::vector<double> latencies_ms;
  uint64_t sequence = 1;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    // As ingest does: the sum of what came is compared before it is appended.
    const ledger::Batch batch{.agent_id = "db1",
                              .boot_id = "b0",
                              .first_sequence = sequence,
                              .event_count = events,
                              .payload_zstd = request.payload_zstd(),
                              .payload_sha256 = sha256(as_bytes(request.payload_zstd())),
                              .previous_sha256 = {}};
    benchmark::DoNotOptimize(log->append(std::span{&batch, 1}));
    sequence += events;
    latencies_ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::ranges::sort(latencies_ms);
  state.SetItemsProcessed(static_cast<int64_t>(sequence));
  state.counters["ack_p50_ms"] = latencies_ms[latencies_ms.size() / 2];
  state.counters["ack_p99_ms"] = latencies_ms[latencies_ms.size() * 99 / 100];
  state.counters["bytes_per_event"] = static_cast<double>(request.payload_zstd().size()) / events;
}
BENCHMARK(BM_LedgerAppend)->Arg(100)->Arg(500)->Arg(1000)->MeasureProcessCPUTime();

}  // namespace
}  // namespace gatehouse
