// SPDX-License-Identifier: Apache-2.0
// From a durable batch to a queryable row. Target of the collector: 120 000 events per second and core acknowledged and
// indexed. Flatten: decompress, parse and join. Index: that, into memory, and then into the file with its segment.
#include <benchmark/benchmark.h>

#include <chrono>
#include <memory>
#include <thread>

#include "collector/ledger/testing.h"
#include "collector/store/batch_reader.h"
#include "collector/store/pipeline.h"
#include "collector/store/testing.h"

namespace gatehouse::store {
namespace {

constexpr uint32_t kEvents = 500;

void BM_Flatten(benchmark::State& state) {
  const v1::PublishRequest request = sealed(statement_batch(1, kEvents));
  ledger::Record record;
  record.header.agent_id = "db1";
  record.header.boot_id = "b0";
  record.header.first_sequence = 1;
  record.header.event_count = kEvents;
  record.payload = as_bytes(request.payload_zstd());
  BatchReader reader;
  v1::Row row;
  for (auto _ : state) {
    reader.read(record);
    const Flattener flattener(reader.batch(), BatchReader::origin_of(record));
    for (size_t i = 0; i < flattener.row_count(); ++i) {
      flattener.flatten(i, row);
      benchmark::DoNotOptimize(row);
    }
  }
  state.SetItemsProcessed(state.iterations() * kEvents);
}
BENCHMARK(BM_Flatten);

void BM_AppendIndexAndLoad(benchmark::State& state) {
  constexpr uint64_t kBatches = 400;
  std::vector<v1::PublishRequest> requests;
  for (uint64_t i = 0; i < kBatches; ++i) requests.push_back(sealed(statement_batch(1 + i * kEvents, kEvents)));
  for (auto _ : state) {
    const ledger::TemporaryFolder folder;
    const auto pipeline = *Pipeline::open({.folder = folder.path(), .log = {}, .store = {}});
    for (const v1::PublishRequest& request : requests)
      benchmark::DoNotOptimize(pipeline->append("db1", std::span{&request, 1}));
    if (!pipeline->log().seal()) std::abort();
    while (pipeline->store().counters().rows_loaded < kBatches * kEvents)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    state.counters["segments"] = static_cast<double>(pipeline->store().counters().segments_loaded);
    pipeline->close();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBatches * kEvents));
}
BENCHMARK(BM_AppendIndexAndLoad)->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gatehouse::store
