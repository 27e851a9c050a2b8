// SPDX-License-Identifier: Apache-2.0
// What the kernel side costs the two processes of a session, without the agent: a client and a server in one thread
// say a short query and its answer over loopback TCP, by turns watched and not watched. Nothing is decoded, and the
// rings are emptied between the measured rounds, so that no other thread, wake-up or cache miss of the agent is in it.
// The least of many rounds is what a busy machine disturbs least.
//
// usage: kernel_bench [PLANE [ATTACHMENTS]]   as root
//
// Budget: 1.5 µs a statement on the socket plane.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "agent/capture/kernel_source.h"
#include "common/check.h"
#include "common/file.h"
#include "tests/support/postgres_wire.h"

namespace gatehouse {
namespace {

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

// Both ends of a session that has begun.
struct Pair {
  UniqueFd client, server;
};

// As PostgreSQL and its clients do, the reader looks once in vain before it waits.
void say(const UniqueFd& from, const UniqueFd& to, std::string_view bytes) {
  char taken[4096];
  GH_CHECK(::recv(to.get(), taken, sizeof(taken), MSG_DONTWAIT) < 0);
  GH_CHECK(::send(from.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  GH_CHECK(::recv(to.get(), taken, sizeof(taken), 0) == static_cast<ssize_t>(bytes.size()));
}

class Listener {
 public:
  Listener() : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof(address_);
    GH_CHECK(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address_), bytes) == 0);
    GH_CHECK(::listen(fd_.get(), 16) == 0);
    GH_CHECK(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address_), &bytes) == 0);
  }
  [[nodiscard]] uint16_t port() const { return ntohs(address_.sin_port); }

  [[nodiscard]] Pair begin() const {
    Pair pair;
    pair.client = UniqueFd(::socket(AF_INET, SOCK_STREAM, 0));
    GH_CHECK(::connect(pair.client.get(), reinterpret_cast<const sockaddr*>(&address_), sizeof(address_)) == 0);
    pair.server = UniqueFd(::accept(fd_.get(), nullptr, nullptr));
    for (const UniqueFd* end : {&pair.client, &pair.server}) {
      const int on = 1;
      GH_CHECK(::setsockopt(end->get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
    }
    say(pair.client, pair.server, test::startup({"user", "bench", "database", "bench"}));
    say(pair.server, pair.client, test::frame('R', test::be32(0)) + test::frame('Z', "I"));
    return pair;
  }

 private:
  UniqueFd fd_;
  sockaddr_in address_{};
};

// What pgbench -S says and is answered: 57 and 86 bytes.
const std::string kQuery = test::query("SELECT abalance FROM pgbench_accounts WHERE aid = 54321;");
const std::string kAnswer = test::frame('T', test::be16(1) + test::cstr("abalance") + std::string(18, '\1')) +
                            test::frame('D', test::be16(1) + test::be32(6) + "-12345") +
                            test::frame('C', test::cstr("SELECT 1")) + test::frame('Z', "I");

// Time that others run is not in it.
uint64_t thread_cpu_ns() {
  timespec now{};
  GH_CHECK(::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

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

double least(const std::vector<double>& values) {
  return *std::ranges::min_element(values);
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

int run(int argc, char** argv) {
  const auto plane = argc > 1 ? capture::parse_plane(argv[1]) : std::nullopt;  // none: the best there is
  const int attachments = argc > 2 ? std::max(1, std::atoi(argv[2])) : 6;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  GH_CHECK(::sched_setaffinity(0, sizeof(one), &one) == 0);
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
