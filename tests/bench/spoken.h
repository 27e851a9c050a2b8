// SPDX-License-Identifier: Apache-2.0
// For benchmarks of what watching costs: a client and a server in one thread, which say a short query and its answer
// over loopback TCP, and the CPU time of that thread.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/file.h"
#include "tests/support/postgres_wire.h"

namespace gatehouse::bench {

// Both ends of a session that has begun.
struct Pair {
  UniqueFd client, server;
};

// As PostgreSQL and its clients do, the reader looks once in vain before it waits.
inline void say(const UniqueFd& from, const UniqueFd& to, std::string_view bytes) {
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
inline const std::string kQuery = test::query("SELECT abalance FROM pgbench_accounts WHERE aid = 54321;");
inline const std::string kAnswer = test::frame('T', test::be16(1) + test::cstr("abalance") + std::string(18, '\1')) +
                                   test::frame('D', test::be16(1) + test::be32(6) + "-12345") +
                                   test::frame('C', test::cstr("SELECT 1")) + test::frame('Z', "I");

// Time that others run is not in it.
inline uint64_t thread_cpu_ns() {
  timespec now{};
  GH_CHECK(::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

inline void run_on_cpu(int cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  GH_CHECK(::sched_setaffinity(0, sizeof(one), &one) == 0);
}

// What a busy machine disturbs least.
inline double least(const std::vector<double>& values) {
  return *std::ranges::min_element(values);
}

inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace gatehouse::bench
