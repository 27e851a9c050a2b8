// SPDX-License-Identifier: Apache-2.0
// Clients of a server on another host, which is a network namespace here: who is led to the shim, whom each end sees,
// and what happens when the shim dies. The oracle is what the ends say.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>

#include "tests/bpf/forwarder.h"
#include "tests/bpf/recorder.h"
#include "tests/bpf/visits.h"

namespace gatehouse::capture::test {
namespace {

using shim::OnFailure;
using shim::Redirect;

constexpr uint16_t kPort = 15435;
constexpr const char* kServer4 = "10.213.9.2";
constexpr const char* kServer6 = "fd00:213:9::2";
constexpr const char* kSeen4 = "10.213.9.1";  // this host, as the server sees it
constexpr const char* kSeen6 = "fd00:213:9::1";

std::string at_port(const std::string& address, uint16_t port = kPort) {
  return address + " " + std::to_string(port);
}

// This host, a server's, and a container on this one whose traffic this host routes.
class Far : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(capture.ok());
    std::string name = "/tmp/gatehouse-redirect-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    ASSERT_EQ(chmod(name.c_str(), 0755), 0);
    folder = name;
    ASSERT_EQ(run("ip netns del gh-server 2>/dev/null; ip netns del gh-inner 2>/dev/null; ip link del gh-f0 "
                  "2>/dev/null; ip link del gh-i0 2>/dev/null; true")
                  .status,
              0);
    const Output network =
        run("ip netns add gh-server && ip link add gh-f0 type veth peer name gh-f1 netns gh-server && "
            "ip addr add 10.213.9.1/24 dev gh-f0 && ip addr add fd00:213:9::1/64 dev gh-f0 nodad && "
            "ip link set gh-f0 up && ip -n gh-server addr add 10.213.9.2/24 dev gh-f1 && "
            "ip -n gh-server addr add fd00:213:9::2/64 dev gh-f1 nodad && ip -n gh-server link set gh-f1 up && "
            "ip -n gh-server link set lo up && "
            "ip netns add gh-inner && ip link add gh-i0 type veth peer name gh-i1 netns gh-inner && "
            "ip addr add 10.213.10.1/24 dev gh-i0 && ip link set gh-i0 up && "
            "ip -n gh-inner addr add 10.213.10.2/24 dev gh-i1 && ip -n gh-inner link set gh-i1 up && "
            "ip -n gh-inner link set lo up && ip -n gh-inner route add default via 10.213.10.1 && "
            "ip -n gh-server route add 10.213.10.0/24 via 10.213.9.1 && sysctl -qw net.ipv4.ip_forward=1");
    ASSERT_EQ(network.status, 0) << network.text;
    server_netns = UniqueFd(::open("/run/netns/gh-server", O_RDONLY | O_CLOEXEC));
    inner_netns = UniqueFd(::open("/run/netns/gh-inner", O_RDONLY | O_CLOEXEC));
    server.listen_at("0.0.0.0", kPort, server_netns.get());
    server.listen_at(kServer6, kPort, server_netns.get());
    server.listen_at("0.0.0.0", kPort + 1, server_netns.get());
  }
  void TearDown() override {
    forwarder.reset();
    redirect.reset();
    EXPECT_EQ(run("ip netns del gh-server; ip netns del gh-inner; rm -rf " + folder).status, 0);
  }
  void gate(const std::vector<shim::Place>& places) {
    auto opened = Redirect::open({.places = places, .pin_folder = folder, .maps = capture.source().begin_gate()});
    ASSERT_TRUE(opened) << opened.error().message();
    redirect = std::move(*opened);
    forwarder = std::make_unique<Forwarder>(*redirect, places, folder);
  }
  Forwarded last() {
    const auto sessions = forwarder->sessions();
    return sessions.empty() ? Forwarded{} : sessions.back();
  }
  // The client sees the server it asked for, and the server this host.
  void expect_led(const Visit& visit, const std::string& asked_for, const std::string& seen_as) {
    EXPECT_EQ(visit.error, 0);
    EXPECT_EQ(visit.peer, asked_for);
    EXPECT_TRUE(visit.seen_as.starts_with(seen_as + " ")) << visit.seen_as;
    EXPECT_NE(visit.seen_as, visit.local + "\n" + visit.local);
    clients.insert(static_cast<uint32_t>(visit.pid));
    const Forwarded session = last();
    EXPECT_EQ(session.client, visit.local);
    EXPECT_EQ(session.opener.process.pid, static_cast<uint32_t>(visit.pid));
    ++led;
    EXPECT_EQ(forwarder->sessions().size(), led);
  }
  void expect_direct(const Visit& visit) {
    EXPECT_EQ(visit.error, 0);
    EXPECT_EQ(visit.seen_as, visit.local + "\n" + visit.local);
    EXPECT_EQ(forwarder->sessions().size(), led);
  }
  // The ends of what was led are on this host, the server's end, too: nobody else watches any of them.
  void expect_unwatched() {
    capture.drain();
    for (const auto& [id, seen] : capture.seen.sockets)
      EXPECT_FALSE(seen.opened.server.port == kPort || clients.contains(seen.opened.client_opener.pid))
          << seen.opened.server.port;
  }

  Capture capture{CaptureConfig{.ports = {kPort}}};
  std::string folder;
  UniqueFd server_netns, inner_netns;
  Host server;
  std::unique_ptr<Redirect> redirect;
  std::unique_ptr<Forwarder> forwarder;
  size_t led = 0;
  std::set<uint32_t> clients;  // that were led
};

TEST_F(Far, ClientsSeeTheServerTheyAskedFor) {
  gate({far_place(kServer4, kPort), far_place(kServer6, kPort)});
  for (int i = 0; i < 3; ++i) {
    expect_led(visit(kServer4, kPort, {.uid = 1000}), at_port(kServer4), kSeen4);
    EXPECT_EQ(last().opener.uid, 1000U);
    expect_led(visit(kServer6, kPort), at_port(kServer6), kSeen6);
    expect_led(visit("::ffff:10.213.9.2", kPort), at_port(kServer4), kSeen4);
    expect_led(visit(kServer4, kPort, {.is_prompt = false}), at_port(kServer4), kSeen4);
  }
  expect_unwatched();
  const shim::RedirectCounters counters = redirect->counters();
  EXPECT_EQ(counters.steered, led);
  EXPECT_EQ(counters.passed, led);
  EXPECT_EQ(counters.opened_direct + counters.refused, 0U);
}

TEST_F(Far, OtherPlacesAreLeftAlone) {
  gate({far_place(kServer4, kPort)});
  expect_direct(visit(kServer4, kPort + 1));
  expect_direct(visit(kServer6, kPort));
}

TEST_F(Far, AClientThatIsBound) {
  gate({far_place(kServer4, kPort), far_place(kServer6, kPort)});
  expect_led(visit(kServer4, kPort, {.local = kSeen4}), at_port(kServer4), kSeen4);
  EXPECT_TRUE(last().client.starts_with(kSeen4));
  expect_led(visit(kServer6, kPort, {.local = kSeen6}), at_port(kServer6), kSeen6);
  // A socket that may leave by one interface only does not come to this host's loopback.
  expect_direct(visit(kServer4, kPort, {.device = "gh-f0"}));
  EXPECT_EQ(redirect->counters().opened_direct, 1U);
  EXPECT_TRUE(capture.until([&] { return capture.seen.at(kPort).size() == 1; }));
}

TEST_F(Far, OtherProtocols) {
  ASSERT_EQ(mount("bpf", folder.c_str(), "bpf", 0, nullptr), 0);
  gate({far_place(kServer4, kPort), far_place(kServer4, kPort + 1, OnFailure::kClosed)});
  // The connection of an MPTCP socket is a TCP socket of the kernel's, which connects for the process.
  for (const uint16_t port : {kPort, static_cast<uint16_t>(kPort + 1)}) {
    const Visit one = visit(kServer4, port, {.protocol = IPPROTO_MPTCP});
    EXPECT_EQ(one.error, 0);
    EXPECT_TRUE(one.seen_as.starts_with(std::string(kSeen4) + " ")) << one.seen_as;
    EXPECT_EQ(forwarder->sessions().size(), ++led);
    EXPECT_EQ(last().opener.process.pid, static_cast<uint32_t>(one.pid));
  }
  forwarder->play_dead();
  EXPECT_EQ(visit(kServer4, kPort + 1, {.protocol = IPPROTO_MPTCP}).error, ECONNREFUSED);
  // UDP to the same address and port is nobody's business.
  const UniqueFd udp(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const SocketAddress to = address_of(kServer4, kPort + 1);
  ASSERT_EQ(::connect(udp.get(), to.generic(), to.bytes), 0);
  EXPECT_EQ(peer_of(udp.get()), at_port(kServer4, kPort + 1));
  umount(folder.c_str());
}

// 4: the client sends its data with the SYN without having a cookie, which nobody here takes.
TEST_F(Far, DataWithTheSyn) {
  gate({far_place(kServer4, kPort)});
  const Output before = run("cat /proc/sys/net/ipv4/tcp_fastopen");
  ASSERT_EQ(run("sysctl -qw net.ipv4.tcp_fastopen=5").status, 0);
  for (int i = 0; i < 3; ++i) expect_led(visit(kServer4, kPort, {.is_fast = true}), at_port(kServer4), kSeen4);
  ASSERT_EQ(run("sysctl -qw net.ipv4.tcp_fastopen=" + before.text).status, 0);
  expect_led(visit(kServer4, kPort, {.is_fast = true}), at_port(kServer4), kSeen4);
  expect_unwatched();
}

TEST_F(Far, WhoOpenedItIsNeverWhoHadThePortBefore) {
  gate({far_place(kServer4, kPort)});
  for (int i = 0; i < 300; ++i) {
    const Visit one = visit(kServer4, kPort, {.from_port = static_cast<uint16_t>(20000 + i % 3), .local = kSeen4});
    ASSERT_EQ(one.error, 0) << i;
    ASSERT_EQ(last().client, one.local) << i;
    ASSERT_EQ(last().opener.process.pid, static_cast<uint32_t>(one.pid)) << i;
  }
}

TEST_F(Far, AnotherNetworkNamespace) {
  const std::vector<shim::Place> places{far_place(kServer4, kPort), far_place(kServer4, kPort + 1, OnFailure::kClosed)};
  ASSERT_EQ(mount("bpf", folder.c_str(), "bpf", 0, nullptr), 0);
  gate(places);
  // Where the shim does not listen, its clients are those of a dead one. It is told of them.
  const Visit missed = visit(kServer4, kPort, {.netns = inner_netns.get()});
  expect_direct(missed);
  EXPECT_EQ(redirect->take_missed(), std::vector<uint32_t>{static_cast<uint32_t>(missed.pid)});
  EXPECT_TRUE(redirect->take_missed().empty());
  EXPECT_EQ(visit(kServer4, kPort + 1, {.netns = inner_netns.get()}).error, ECONNREFUSED);
  for (size_t i = 0; i < places.size(); ++i) forwarder->listen_there(places[i], i, inner_netns.get());
  for (const uint16_t port : {kPort, static_cast<uint16_t>(kPort + 1)})
    expect_led(visit(kServer4, port, {.netns = inner_netns.get()}), at_port(kServer4, port), kSeen4);
  expect_led(visit("::ffff:10.213.9.2", kPort, {.netns = inner_netns.get()}), at_port(kServer4), kSeen4);
  expect_led(visit(kServer4, kPort), at_port(kServer4), kSeen4);
  umount(folder.c_str());
}

TEST_F(Far, AStoppedHeart) {
  ASSERT_EQ(mount("bpf", folder.c_str(), "bpf", 0, nullptr), 0);
  gate({far_place(kServer4, kPort), far_place(kServer4, kPort + 1, OnFailure::kClosed)});
  forwarder->play_dead();
  expect_direct(visit(kServer4, kPort));
  EXPECT_TRUE(capture.until([&] { return capture.seen.at(kPort).size() == 1; }));
  EXPECT_EQ(visit(kServer4, kPort + 1).error, ECONNREFUSED);
  EXPECT_EQ(visit(kServer4, kPort + 1, {.is_prompt = false}).error, ECONNREFUSED);
  EXPECT_EQ(visit(kServer4, kPort + 1, {.is_fast = true}).error, ECONNREFUSED);
  EXPECT_EQ(redirect->counters().refused, 3U);
  forwarder->revive();
  expect_led(visit(kServer4, kPort + 1), at_port(kServer4, kPort + 1), kSeen4);
  forwarder->play_dead();
  ASSERT_TRUE(redirect->let_go(1));
  expect_direct(visit(kServer4, kPort + 1));
  umount(folder.c_str());
}

// A shim in a process of its own, which can be stopped and killed.
class MortalFar : public Far {
 protected:
  void SetUp() override {
    Far::SetUp();
    ASSERT_EQ(mount("bpf", folder.c_str(), "bpf", 0, nullptr), 0);
  }
  void TearDown() override {
    end(SIGKILL);
    Redirect::clear_pins(folder);
    umount(folder.c_str());
    Far::TearDown();
  }
  void start(const char* on_failure) {
    std::array<int, 2> ends{};
    ASSERT_EQ(pipe(ends.data()), 0);
    child = fork();
    if (child == 0) {
      dup2(ends[1], STDOUT_FILENO);
      execl(GH_REDIRECT_SHIM, "redirect_shim", folder.c_str(), on_failure, "10.213.9.2:15435", "far", nullptr);
      _exit(127);
    }
    close(ends[1]);
    char byte = 0;
    EXPECT_EQ(read(ends[0], &byte, 1), 1);
    EXPECT_EQ(byte, '.');
    close(ends[0]);
  }
  void end(int signal) {
    if (child <= 0) return;
    kill(child, signal);
    int status = 0;
    waitpid(child, &status, 0);
    child = 0;
  }
  void expect_served(bool is_led) {
    const Visit one = visit(kServer4, kPort);
    EXPECT_EQ(one.error, 0);
    EXPECT_EQ(one.peer, at_port(kServer4));
    EXPECT_EQ(one.seen_as == one.local + "\n" + one.local, !is_led) << one.seen_as;
  }
  int refusal() { return visit(kServer4, kPort).error; }
  pid_t child = 0;
};

TEST_F(MortalFar, OpenGoesDirectWhenItIsStoppedOrKilled) {
  start("open");
  expect_served(true);
  kill(child, SIGSTOP);
  ::usleep(700'000);
  expect_served(false);
  kill(child, SIGCONT);
  ::usleep(200'000);
  expect_served(true);
  end(SIGKILL);
  expect_served(false);
}

TEST_F(MortalFar, ClosedRefusesUntilAnotherRuns) {
  start("closed");
  expect_served(true);
  kill(child, SIGSTOP);
  ::usleep(700'000);
  EXPECT_EQ(refusal(), ECONNREFUSED);
  kill(child, SIGCONT);
  ::usleep(200'000);
  for (int i = 0; i < 2; ++i) {
    expect_served(true);
    end(SIGKILL);
    EXPECT_EQ(refusal(), ECONNREFUSED);
    ::usleep(700'000);
    EXPECT_EQ(refusal(), ECONNREFUSED);
    start("closed");
  }
  end(SIGKILL);
  start("open");
  expect_served(true);
  end(SIGKILL);
  expect_served(false);
}

// Who takes the port of a shim that has just died does not get its clients.
TEST_F(MortalFar, NobodyTakesItsPlace) {
  start("closed");
  expect_served(true);
  const Output ports = run("ss -Hltnp | grep 'pid=" + std::to_string(child) + ",' | grep -o '127.0.0.1:[0-9]*'");
  const auto port = static_cast<uint16_t>(std::atoi(ports.text.c_str() + std::string("127.0.0.1:").size()));
  ASSERT_NE(port, 0) << ports.text;
  end(SIGKILL);
  Host thief;
  thief.listen_at("127.0.0.1", port);
  EXPECT_EQ(refusal(), ECONNREFUSED);
  EXPECT_EQ(thief.accepted, 0U);
}

}  // namespace
}  // namespace gatehouse::capture::test
