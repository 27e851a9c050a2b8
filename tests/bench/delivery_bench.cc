// SPDX-License-Identifier: Apache-2.0
// What a process that exits costs while sessions are open, none of which it has to do with: a host that compiles has
// hundreds of exits a second. And what a turn's question costs, up to when everything is told, while one session ends.
// Budget: 200 ns each, with 10,000 sessions as with ten.
#include <benchmark/benchmark.h>

#include <cstring>
#include <string_view>

#include "agent/capture/delivery.h"

namespace gatehouse::capture {
namespace {

class NoSink final : public RecordSink {
 public:
  void on_socket_opened(const SocketOpened&) override {}
  void on_chunk(const Chunk&) override {}
  void on_socket_opaque(const SocketOpaque&) override {}
  void on_socket_closed(const SocketClosed&) override {}
  void on_process_exec(const ProcessExec&) override {}
  void on_process_fork(const ProcessFork&) override {}
  void on_process_exit(const ProcessExit&) override {}
};

template <typename T>
std::span<const std::byte> bytes_of(const T& record) {
  return std::as_bytes(std::span{&record, 1});
}

// Each Unix session has a client and a server of its own; half of the sessions are TCP.
void open_sessions(Delivery& delivery, uint64_t count, NoSink& sink) {
  constexpr std::string_view kPath = "/run/postgresql/.s.PGSQL.5432";
  for (uint64_t i = 0; i < count; ++i) {
    const bool is_unix = i % 2 == 0;
    abi::gh_opened r{};
    const uint64_t id = i + 1 + (is_unix ? 1ULL << 63 : 0);
    r.head = {.time_ns = i + 1, .socket = id, .kind = abi::GH_RECORD_OPENED, .flags = 0, .record_bytes = sizeof(r)};
    r.transport = is_unix ? abi::GH_UNIX : abi::GH_TCP4;
    r.client_opener = {.start_ns = i, .pid = static_cast<uint32_t>(100'000 + i), .tid = 0};
    if (is_unix) {
      r.path_bytes = kPath.size();
      std::memcpy(r.path, kPath.data(), kPath.size());
    }
    delivery.deliver(bytes_of(r), sink);
    abi::gh_peer peer{};
    peer.head = {.time_ns = i + 1, .socket = id, .kind = abi::GH_RECORD_PEER, .flags = 0, .record_bytes = sizeof(peer)};
    peer.server = {.start_ns = i, .pid = static_cast<uint32_t>(200'000 + i), .tid = 0};
    delivery.deliver(bytes_of(peer), sink);
  }
}

abi::gh_exit exit_of(uint32_t pid, uint64_t start_ns, uint64_t time_ns) {
  abi::gh_exit r{};
  r.head = {.time_ns = time_ns, .socket = 0, .kind = abi::GH_RECORD_EXIT, .flags = 0, .record_bytes = sizeof(r)};
  r.process = {.start_ns = start_ns, .pid = pid, .tid = pid};
  return r;
}

void BM_ExitOfAnother(benchmark::State& state) {
  Delivery delivery;
  NoSink sink;
  open_sessions(delivery, static_cast<uint64_t>(state.range(0)), sink);
  uint64_t number = 0;
  for (auto _ : state) {
    ++number;
    delivery.deliver(bytes_of(exit_of(static_cast<uint32_t>(number % 4'000'000), 1'000'000 + number, number)), sink);
  }
}
BENCHMARK(BM_ExitOfAnother)->Arg(10)->Arg(10'000);

void BM_UnsettledWhileOneEnds(benchmark::State& state) {
  Delivery delivery;
  NoSink sink;
  open_sessions(delivery, static_cast<uint64_t>(state.range(0)), sink);
  constexpr uint64_t kExitNs = 1'000'000;
  delivery.deliver(bytes_of(exit_of(100'000, 0, kExitNs)), sink);
  for (auto _ : state) benchmark::DoNotOptimize(delivery.unsettled_ns(kExitNs + 1));
}
BENCHMARK(BM_UnsettledWhileOneEnds)->Arg(10)->Arg(10'000);

}  // namespace
}  // namespace gatehouse::capture
