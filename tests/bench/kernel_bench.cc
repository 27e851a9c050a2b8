// SPDX-License-Identifier: Apache-2.0
// What the kernel side costs the two processes of a session, without the agent: a client and a server in one thread
// say a short query and its answer over loopback TCP, by turns watched and not watched. Nothing is decoded, and the
// rings are emptied between the measured rounds, so that no other thread, wake-up or cache miss of the agent is in it.
// The least of many rounds is what a busy machine disturbs least.
//
// usage: kernel_bench [PLANE [ATTACHMENTS]]   as root
//
// Budget: 1.5 µs a statement on the socket plane.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "agent/capture/kernel_source.h"
#include "common/check.h"
#include "tests/bench/spoken.h"

namespace gatehouse {
namespace {

using bench::kAnswer;
using bench::kQuery;
using bench::least;
using bench::Listener;
using bench::median;
using bench::Pair;
using bench::say;
using bench::thread_cpu_ns;

constexpr int kStatementsPerRound =
    500;  // short, so that some rounds are undisturbed; the buffers hold several times as many
constexpr int kRoundsPerAttachment = 300;
constexpr size_t kPollRecords = 4096;

class NoSink final : public RecordSink {
 public:
  void on_socket_opened(const SocketOpened&) override {}
  void on_chunk(const Chunk& chunk) override { bytes += chunk.pieces.empty() ? 0 : chunk.pieces[0].bytes; }
  void on_socket_opaque(const SocketOpaque&) override {}
  void on_socket_closed(const SocketClosed&) override {}
  void on_process_exec(const ProcessExec&) override {}
  void on_process_fork(const ProcessFork&) override {}
  void on_process_exit(const ProcessExit&) override {}
  uint64_t bytes = 0;
};

double ns_per_statement(const Pair& pair) {
  const uint64_t begin = thread_cpu_ns();
  for (int i = 0; i < kStatementsPerRound; ++i) {
    say(pair.client, pair.server, kQuery);
    say(pair.server, pair.client, kAnswer);
  }
  return static_cast<double>(thread_cpu_ns() - begin) / kStatementsPerRound;
}

struct Measured {
  std::vector<double> plain, watched;
};

// Rounds of one attachment: attaching takes far longer than a round.
void measure(const Listener& listener, std::optional<capture::Plane> plane, int rounds, Measured& measured) {
  for (int i = 0; i < rounds; ++i) measured.plain.push_back(ns_per_statement(listener.begin()));
  const auto source = capture::KernelSource::open({.plane = plane, .ports = {listener.port()}});
  if (!source) {
    std::fprintf(stderr, "kernel_bench: %s\n", source.error().message().c_str());
    std::exit(1);
  }
  NoSink sink;
  const Pair pair = listener.begin();
  for (int i = 0; i < rounds; ++i) {
    measured.watched.push_back(ns_per_statement(pair));
    while ((*source)->poll(sink, kPollRecords) > 0) {
    }
  }
  GH_CHECK(sink.bytes >= static_cast<uint64_t>(rounds) * kStatementsPerRound * (kQuery.size() + kAnswer.size()));
  GH_CHECK((*source)->counters().request_ring_full + (*source)->counters().response_ring_full == 0);
}

int run(int argc, char** argv) {
  const auto plane = argc > 1 ? capture::parse_plane(argv[1]) : std::nullopt;  // none: the best there is
  const int attachments = argc > 2 ? std::max(1, std::atoi(argv[2])) : 6;
  bench::run_on_cpu(0);
  const Listener listener;
  Measured measured;
  for (int i = 0; i < attachments; ++i) measure(listener, plane, kRoundsPerAttachment, measured);
  std::printf("ns per statement, %zu rounds of %d: plain %.0f least, %.0f median; watched %.0f least, %.0f median\n",
              measured.plain.size(), kStatementsPerRound, least(measured.plain), median(measured.plain),
              least(measured.watched), median(measured.watched));
  std::printf("kernel side: %.0f ns per statement (least), %.0f (median)\n",
              least(measured.watched) - least(measured.plain), median(measured.watched) - median(measured.plain));
  return 0;
}

}  // namespace
}  // namespace gatehouse

int main(int argc, char** argv) {
  return gatehouse::run(argc, argv);
}
