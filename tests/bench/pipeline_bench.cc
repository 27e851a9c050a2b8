// SPDX-License-Identifier: Apache-2.0
// What a statement costs the agent between the ring and the spool: decode, attribute, encode.
// Budget: 1.0 µs per simple statement, and no heap allocation once warm but for handing over a full batch
// (counter "allocations", per statement). The input is recorded: transactions of pgbench -S with a real server, from
// tests/corpus/postgres, said again and again further along the same streams.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/replay/ghcap.h"
#include "agent/runtime/batch_builder.h"
#include "agent/runtime/shard.h"
#include "agent/runtime/table_directory.h"
#include "common/check.h"
#include "tests/bench/allocations.h"

namespace gatehouse {
namespace {

struct OwnedChunk {
  Chunk chunk;
  std::string bytes;
};

// A recorded session: how it began, and its transactions from the second on.
struct Script {
  SocketOpened opened;
  std::vector<OwnedChunk> chunks;
  size_t first = 0, end = 0;  // of the chunks that are repeated
  uint64_t statements = 0;    // in them
};

// Keeps the sessions of a capture file whose chunks are whole.
class Reader final : public RecordSink {
 public:
  void on_socket_opened(const SocketOpened& record) override { scripts[record.socket].opened = record; }
  void on_chunk(const Chunk& record) override {
    GH_CHECK(record.pieces.size() == 1 && record.pieces[0].kind == Piece::Kind::kData);
    const auto data = record.pieces[0].data;
    scripts[record.socket].chunks.push_back(
        {.chunk = record, .bytes = std::string(reinterpret_cast<const char*>(data.data()), data.size())});
  }
  void on_socket_opaque(const SocketOpaque&) override {}
  void on_socket_closed(const SocketClosed&) override {}
  void on_process_exec(const ProcessExec&) override {}
  void on_process_fork(const ProcessFork&) override {}
  void on_process_exit(const ProcessExit&) override {}

  std::map<SocketId, Script> scripts;
};

// The session of the corpus whose repeated requests begin with `tag` and that only selects.
Script find_script(char tag) {
  const auto source = replay::FileSource::open(GH_SOURCE_DIR "/tests/corpus/postgres/pgbench.ghcap");
  GH_CHECK(source.has_value());
  Reader reader;
  while ((*source)->poll(reader, 1024) > 0) {
  }
  for (auto& [socket, script] : reader.scripts) {
    const auto says = [&script](std::string_view what) {
      return std::ranges::any_of(script.chunks,
                                 [&](const OwnedChunk& c) { return c.bytes.find(what) != std::string::npos; });
    };
    if (!says("SELECT abalance") || says("UPDATE")) continue;
    std::vector<size_t> begins;
    for (size_t i = 0; i < script.chunks.size(); ++i) {
      const OwnedChunk& c = script.chunks[i];
      if (c.chunk.direction == Direction::kRequest && c.bytes[0] == tag) begins.push_back(i);
    }
    if (begins.size() < 3) continue;
    script.first = begins[1];
    script.end = begins.back();
    script.statements = begins.size() - 2;
    return script;
  }
  GH_CHECK(false);
  return {};
}

// Says a script's transactions further and further along its streams.
class Speaker {
 public:
  explicit Speaker(Script script) : script_(std::move(script)) {
    for (OwnedChunk& c : script_.chunks) {
      const auto bytes = std::as_bytes(std::span{c.bytes});
      pieces_.push_back({.kind = Piece::Kind::kData, .bytes = static_cast<uint32_t>(bytes.size()), .data = bytes});
    }
  }
  void begin(RecordSink& sink) {
    sink.on_socket_opened(script_.opened);
    for (size_t i = 0; i < script_.first; ++i) say(i, sink);
  }
  void repeat(RecordSink& sink) {
    for (size_t i = script_.first; i < script_.end; ++i) say(i, sink);
  }
  [[nodiscard]] uint64_t statements() const { return script_.statements; }
  [[nodiscard]] uint64_t now_ns() const { return now_ns_; }

 private:
  void say(size_t index, RecordSink& sink) {
    Chunk chunk = script_.chunks[index].chunk;
    uint64_t& offset = offsets_[static_cast<size_t>(chunk.direction)];
    chunk.offset = offset;
    chunk.time_ns = now_ns_ += 10'000;
    chunk.pieces = {&pieces_[index], 1};
    offset += pieces_[index].bytes;
    sink.on_chunk(chunk);
  }

  Script script_;
  std::vector<Piece> pieces_;
  std::array<uint64_t, kDirections> offsets_{};
  uint64_t now_ns_ = 1'000'000'000;
};

void run(benchmark::State& state, char tag) {
  identity::ProcessTable processes({.proc_root = "", .passwd_path = ""});
  runtime::TableDirectory directory(processes);
  runtime::BatchBuilder builder({.agent_id = "bench", .boot_id = "bench", .host = "bench", .agent_version = "0"},
                                directory);
  uint64_t events = 0, bytes = 0;
  runtime::Shard shard(processes, builder, {}, [&](const runtime::EncodedBatch& batch) {
    events += batch.event_count;
    bytes += batch.bytes.size();
  });
  Speaker speaker(find_script(tag));
  speaker.begin(shard);
  for (int i = 0; i < 2000; ++i) speaker.repeat(shard);
  const uint64_t before = allocations.load();
  const uint64_t statements_before = shard.counters().statements;
  for (auto _ : state) speaker.repeat(shard);
  const uint64_t statements = shard.counters().statements - statements_before;
  GH_CHECK(statements == state.iterations() * speaker.statements());
  state.counters["allocations"] = static_cast<double>(allocations.load() - before) / static_cast<double>(statements);
  state.counters["bytes"] = static_cast<double>(bytes) / static_cast<double>(events);
  state.SetItemsProcessed(static_cast<int64_t>(statements));
  shard.close_all(speaker.now_ns());
}

void BM_SimpleStatement(benchmark::State& state) {
  run(state, 'Q');
}
BENCHMARK(BM_SimpleStatement);

void BM_PreparedStatement(benchmark::State& state) {
  run(state, 'B');
}
BENCHMARK(BM_PreparedStatement);

void BM_ExtendedStatement(benchmark::State& state) {
  run(state, 'P');
}
BENCHMARK(BM_ExtendedStatement);

}  // namespace
}  // namespace gatehouse
