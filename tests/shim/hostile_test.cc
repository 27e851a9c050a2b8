// SPDX-License-Identifier: Apache-2.0
// A worker between clients and servers that keep no promise. The oracle: every client that was accepted is gone at the
// end, the record of each is whole and in order, and nothing is held.
#include <gtest/gtest.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <random>
#include <thread>

#include "common/check.h"
#include "common/file.h"
#include "common/pki.h"
#include "tests/shim/stand.h"
#include "tests/support/postgres_wire.h"

namespace gatehouse {
namespace {

using namespace test;

UniqueFd connect_to(uint16_t port) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  GH_CHECK(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  return fd;
}

void say(int fd, std::string_view bytes) {
  // A peer that has gone is part of the game.
  [[maybe_unused]] const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

// What there is within a moment.
std::string hear(int fd, int wait_ms) {
  pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
  std::string heard(16384, '\0');
  if (poll(&one, 1, wait_ms) <= 0) return {};
  const ssize_t got = recv(fd, heard.data(), heard.size(), MSG_DONTWAIT);
  heard.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return heard;
}

void reset(UniqueFd& fd) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  fd.reset();
}

class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}
  size_t below(size_t bound) { return engine_() % bound; }
  std::string garbage(size_t bytes_max) {
    std::string bytes(below(bytes_max) + 1, '\0');
    for (char& c : bytes) c = static_cast<char>(engine_());
    return bytes;
  }
  // Some of it, whole, twice, or with a byte that is another.
  std::string spoil(std::string bytes) {
    switch (below(4)) {
      case 0:
        return bytes.substr(0, below(bytes.size() + 1));
      case 1:
        return bytes + bytes;
      case 2:
        bytes[below(bytes.size())] = static_cast<char>(engine_());
        return bytes;
      default:
        return bytes;
    }
  }

 private:
  std::mt19937_64 engine_;
};

std::string client_words(Dice& dice) {
  switch (dice.below(12)) {
    case 0:
      return ssl_request();
    case 1:
      return gss_request();
    case 2:
      return cancel_request(dice.below(100), 4 + dice.below(260));
    case 3:
    case 4:
    case 5:
      return startup({"user", "u", "database", "d"}, dice.below(4));
    case 6:
      return query("select 1");
    case 7:
      return parse("s", "select $1") + bind("", "s", {"1"}) + execute() + sync();
    case 8:
      return terminate();
    case 9:
      return "\x16\x03\x01" + dice.garbage(600);
    case 10:
      return copy_data(std::string(dice.below(100'000), 'x'));
    default:
      return dice.garbage(200);
  }
}

std::string server_words(Dice& dice) {
  switch (dice.below(8)) {
    case 0:
      return welcome();
    case 1:
      return row_description() + data_row("x") + complete("SELECT 1") + ready();
    case 2:
      return std::string(1, "SNEx"[dice.below(4)]);
    case 3:
      return error("57P01", "gone", "FATAL");
    case 4:
      return frame('D', std::string(dice.below(200'000), 'd'));
    case 5:
      return be32(dice.below(1U << 31));
    case 6:
      return frame('T', be16(65535) + dice.garbage(100));
    default:
      return dice.garbage(500);
  }
}

// Talks for a while, then goes in one of the ways that a peer can go.
template <typename Words>
void play(UniqueFd fd, Dice& dice, Words words) {
  const size_t turns = dice.below(6);
  for (size_t i = 0; i < turns; ++i) {
    say(fd.get(), dice.spoil(words(dice)));
    if (dice.below(3) == 0) hear(fd.get(), static_cast<int>(dice.below(5)));
    if (dice.below(12) == 0) shutdown(fd.get(), SHUT_WR);
  }
  hear(fd.get(), static_cast<int>(dice.below(10)));
  if (dice.below(2) == 0) reset(fd);
}

class Hostile : public testing::Test {
 protected:
  void SetUp() override {
    const auto authority = pki::Authority::create("test");
    const std::vector<std::string> names{"localhost"};
    const auto identity = authority->issue_server(names);
    char name[] = "/tmp/gatehouse-hostile-XXXXXX";
    folder_ = mkdtemp(name);
    ASSERT_TRUE(write_file_atomically(folder_ + "/crt", identity->certificate_pem));
    ASSERT_TRUE(write_file_atomically(folder_ + "/key", identity->key_pem));
    server_ = UniqueFd(listen_tcp(0));
  }
  void TearDown() override {
    unlink((folder_ + "/crt").c_str());
    unlink((folder_ + "/key").c_str());
    rmdir(folder_.c_str());
  }

  void start() {
    shim::Worker::Options options;
    shim::Gated& gated = options.gated.emplace_back();
    gated.label = "hostile";
    gated.server.port = port_of(server_.get());
    gated.listener = listen_tcp(0);
    port_ = port_of(gated.listener);
    gated.certificate = folder_ + "/crt";
    gated.key = folder_ + "/key";
    options.handshake_ns_max = 500'000'000;
    auto worker = shim::Worker::start(std::move(options), nullptr, stand_);
    ASSERT_TRUE(worker) << worker.error().message();
    worker_ = std::move(*worker);
  }
  // All that was accepted is gone, and nothing is wrong with what is told of it.
  void settle() {
    for (int i = 0; i < 1500 && worker_->counters().sessions > 0; ++i) usleep(10'000);
    EXPECT_EQ(worker_->counters().sessions, 0U);
    EXPECT_EQ(worker_->counters().accepted, worker_->counters().closed);
    EXPECT_EQ(worker_->counters().held_bytes, 0U);
    EXPECT_EQ(stand_.record.faults(), "");
    for (const Recorded& session : stand_.record.sessions()) EXPECT_TRUE(session.is_closed);
  }

  std::string folder_;
  UniqueFd server_;
  Stand stand_;
  uint16_t port_ = 0;
  std::unique_ptr<shim::Worker> worker_;
};

TEST_F(Hostile, ClientsAndServersThatKeepNoPromise) {
  const char* text = std::getenv("GATEHOUSE_SEED");
  const uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : 1;
  const char* rounds_text = std::getenv("GATEHOUSE_HOSTILE_ROUNDS");
  const size_t rounds = rounds_text != nullptr ? std::strtoull(rounds_text, nullptr, 10) : 300;
  SCOPED_TRACE(seed);
  start();
  std::atomic<bool> is_over{false};
  std::thread servers([&] {
    Dice dice(seed * 2 + 1);
    while (!is_over) {
      pollfd one{.fd = server_.get(), .events = POLLIN, .revents = 0};
      if (poll(&one, 1, 50) > 0) play(UniqueFd(accept(server_.get(), nullptr, nullptr)), dice, server_words);
    }
  });
  Dice dice(seed * 2);
  for (size_t i = 0; i < rounds; ++i) play(connect_to(port_), dice, client_words);
  // Those whose server has not accepted them yet must not wait for it.
  is_over = true;
  servers.join();
  server_.reset();
  settle();
}

// What a session costs that has nothing to say, in heap: the kernel's sockets come on top.
TEST_F(Hostile, IdleSessionsAreSmall) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const size_t count = std::min<size_t>(2000, (limit.rlim_cur - 100) / 4);
  start();
  stand_.record.keeps_bytes = false;
  std::vector<UniqueFd> clients, servers;
  const auto before = mallinfo2().uordblks;
  for (size_t i = 0; i < count; ++i) {
    clients.push_back(connect_to(port_));
    say(clients.back().get(), startup({"user", "u", "database", "d"}));
    servers.emplace_back(accept(server_.get(), nullptr, nullptr));
    hear(servers.back().get(), 5000);
    say(servers.back().get(), welcome());
    ASSERT_FALSE(hear(clients.back().get(), 5000).empty());
    say(clients.back().get(), query("select 1"));
    hear(servers.back().get(), 5000);
    say(servers.back().get(), row_description() + data_row("1") + complete("SELECT 1") + ready());
    ASSERT_FALSE(hear(clients.back().get(), 5000).empty());
  }
  const size_t each = (mallinfo2().uordblks - before) / count;
  RecordProperty("bytes_per_idle_session", static_cast<int>(each));
  std::printf("%zu bytes of heap per idle session\n", each);
#ifndef __SANITIZE_ADDRESS__
  EXPECT_LE(each, 12U << 10);
#endif
  EXPECT_EQ(worker_->counters().held_bytes, 0U);
  clients.clear();
  servers.clear();
  settle();
}

}  // namespace
}  // namespace gatehouse
