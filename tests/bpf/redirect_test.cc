// SPDX-License-Identifier: Apache-2.0
// Who is led where, whom each end sees, and what happens when the shim dies. The oracle is what the ends say.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>

#include "common/clock.h"
#include "tests/bpf/forwarder.h"
#include "tests/bpf/recorder.h"
#include "tests/bpf/visits.h"

namespace gatehouse::capture::test {
namespace {

using shim::OnFailure;
using shim::Redirect;

constexpr uint16_t kPort = 15431;

bool until(const std::function<bool()>& done) {
  const uint64_t give_up_ns = boottime_ns() + 5'000'000'000;
  while (!done())
    if (boottime_ns() > give_up_ns)
      return false;
    else
      ::usleep(5000);
  return true;
}

class Led : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(capture.ok());
    std::string name = "/tmp/gatehouse-redirect-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    ASSERT_EQ(chmod(name.c_str(), 0755), 0);
    folder = name;
  }
  void TearDown() override {
    forwarder.reset();
    redirect.reset();
    ASSERT_EQ(run(("rm -rf " + folder).c_str()).status, 0);
  }
  void gate(const std::vector<shim::Place>& places) {
    auto opened = Redirect::open({.places = places, .pin_folder = folder, .maps = capture.source().begin_gate()});
    ASSERT_TRUE(opened) << opened.error().message();
    redirect = std::move(*opened);
    forwarder = std::make_unique<Forwarder>(*redirect, places, folder);
  }
  // Of the last client that came to the shim.
  Forwarded last() {
    const auto sessions = forwarder->sessions();
    return sessions.empty() ? Forwarded{} : sessions.back();
  }
  void expect_led(const Visit& visit, const std::string& asked_for) {
    EXPECT_EQ(visit.error, 0);
    EXPECT_EQ(visit.peer, asked_for);
    EXPECT_EQ(visit.seen_as, visit.local + "\n" + visit.local);
    const Forwarded session = last();
    EXPECT_EQ(session.client, visit.local);
    EXPECT_EQ(session.asked_for, asked_for);
    EXPECT_EQ(session.opener.process.pid, static_cast<uint32_t>(visit.pid));
  }

  Capture capture{CaptureConfig{.ports = {kPort}}};
  std::string folder;
  Host host;
  std::unique_ptr<Redirect> redirect;
  std::unique_ptr<Forwarder> forwarder;
};

struct Way {
  const char* name;
  const char* place;
  const char* client;
  const char* asked_for;
};

class LedByTcp : public Led, public testing::WithParamInterface<Way> {};

TEST_P(LedByTcp, BothEndsSeeEachOtherAndNobodyElseWatches) {
  host.listen_at(GetParam().place, kPort);
  gate({place_at(GetParam().place, kPort)});
  for (int i = 0; i < 3; ++i) {
    const Visit one = visit(GetParam().client, kPort, {.uid = 1000});
    expect_led(one, GetParam().asked_for);
    EXPECT_EQ(last().opener.uid, 1000U);
  }
  EXPECT_EQ(forwarder->sessions().size(), 3U);
  EXPECT_EQ(host.accepted, 3U);
  capture.drain();
  EXPECT_TRUE(capture.seen.at(kPort).empty());
  const shim::RedirectCounters counters = redirect->counters();
  EXPECT_EQ(counters.steered, 3U);
  EXPECT_EQ(counters.passed, 3U);
  EXPECT_EQ(counters.opened_direct + counters.refused, 0U);
}

INSTANTIATE_TEST_SUITE_P(Everywhere, LedByTcp,
                         testing::Values(Way{"Tcp4", "127.0.0.1", "127.0.0.1", "127.0.0.1 15431"},
                                         Way{"Tcp4Any", "0.0.0.0", "127.0.0.1", "127.0.0.1 15431"},
                                         Way{"Tcp6", "::1", "::1", "::1 15431"},
                                         Way{"Mapped", "127.0.0.1", "::ffff:127.0.0.1", "127.0.0.1 15431"}),
                         [](const testing::TestParamInfo<Way>& i) { return std::string(i.param.name); });

// A server's socket that takes both: its IPv4 clients are a place of their own.
TEST_F(Led, AServerOfBothFamilies) {
  host.listen_at("::", kPort);
  gate({place_at("::", kPort), place_at("0.0.0.0", kPort)});
  expect_led(visit("127.0.0.1", kPort), "127.0.0.1 15431");
  expect_led(visit("::1", kPort), "::1 15431");
  expect_led(visit("::ffff:127.0.0.1", kPort), "127.0.0.1 15431");
}

TEST_F(Led, OtherAddressesAndPortsAreLeftAlone) {
  host.listen_at("127.0.0.1", kPort);
  host.listen_at("127.0.0.2", kPort);
  host.listen_at("127.0.0.1", kPort + 1);
  gate({place_at("127.0.0.1", kPort)});
  const Visit address = visit("127.0.0.2", kPort), port = visit("127.0.0.1", kPort + 1);
  for (const Visit& one : {address, port}) EXPECT_EQ(one.seen_as, one.local + "\n" + one.local);
  EXPECT_TRUE(forwarder->sessions().empty());
  EXPECT_TRUE(capture.until([&] { return capture.seen.at(kPort).size() == 1; }));
}

TEST_F(Led, WhoOpenedItIsNeverWhoHadThePortBefore) {
  host.listen_at("127.0.0.1", kPort);
  gate({place_at("127.0.0.1", kPort)});
  for (int i = 0; i < 1000; ++i) {
    const Visit one = visit("127.0.0.1", kPort, {.from_port = static_cast<uint16_t>(20000 + i % 3)});
    ASSERT_EQ(one.error, 0) << i;
    ASSERT_EQ(one.seen_as, one.local + "\n" + one.local) << i;
    ASSERT_EQ(last().client, one.local) << i;
    ASSERT_EQ(last().opener.process.pid, static_cast<uint32_t>(one.pid)) << i;
  }
  capture.drain();
  EXPECT_TRUE(capture.seen.at(kPort).empty());
}

TEST_F(Led, TheShimsPortIsNobodysWhenItIsForgotten) {
  host.listen_at("127.0.0.1", kPort);
  gate({place_at("127.0.0.1", kPort)});
  expect_led(visit("127.0.0.1", kPort), "127.0.0.1 15431");
  constexpr uint16_t kLeg = 20010;
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress local = address_of("127.0.0.1", kLeg);
  ASSERT_EQ(::bind(socket.get(), local.generic(), local.bytes), 0);
  ASSERT_TRUE(redirect->announce(socket.get(), Transport::kTcp4, {.address = {1, 2, 3, 4}, .port = 5, .path = {}}));
  EXPECT_EQ(visit("127.0.0.1", kPort, {.from_port = kLeg}).error, EADDRINUSE);
  redirect->forget(socket.get());
  socket.reset();
  expect_led(visit("127.0.0.1", kPort, {.from_port = kLeg}), "127.0.0.1 15431");
}

TEST_F(Led, AStoppedHeart) {
  host.listen_at("127.0.0.1", kPort);
  host.listen_at("127.0.0.1", kPort + 1);
  ASSERT_EQ(mount("bpf", folder.c_str(), "bpf", 0, nullptr), 0);
  gate({place_at("127.0.0.1", kPort), place_at("127.0.0.1", kPort + 1, OnFailure::kClosed)});
  forwarder->play_dead();
  // Open: direct, and a client that went past the shim is watched.
  const Visit direct = visit("127.0.0.1", kPort);
  EXPECT_EQ(direct.seen_as, direct.local + "\n" + direct.local);
  EXPECT_TRUE(forwarder->sessions().empty());
  EXPECT_TRUE(capture.until([&] { return capture.seen.at(kPort).size() == 1; }));
  EXPECT_EQ(visit("127.0.0.1", kPort + 1).error, ECONNREFUSED);
  EXPECT_EQ(redirect->counters().opened_direct, 1U);
  EXPECT_GE(redirect->counters().refused, 1U);
  forwarder->revive();
  expect_led(visit("127.0.0.1", kPort), "127.0.0.1 15431");
  expect_led(visit("127.0.0.1", kPort + 1), "127.0.0.1 15432");
  // A place that is let go of is direct, whatever was said of it.
  forwarder->play_dead();
  ASSERT_TRUE(redirect->let_go(1));
  EXPECT_EQ(visit("127.0.0.1", kPort + 1).error, 0);
  umount(folder.c_str());
}

class LedByUnix : public Led {
 protected:
  void expect_led_to(const Visit& visit, const std::string& path) {
    EXPECT_EQ(visit.error, 0);
    EXPECT_EQ(visit.peer, path);
    EXPECT_FALSE(visit.seen_as.empty());
    ++led;
    EXPECT_EQ(forwarder->sessions().size(), led);
  }
  size_t led = 0;
};

TEST_F(LedByUnix, APathByAllItsNames) {
  const std::string path = folder + "/.s.PGSQL.15431";
  ASSERT_EQ(symlink(folder.c_str(), (folder + "/link").c_str()), 0);
  host.listen_at(path);
  gate({place_at(folder + "/link/.s.PGSQL.15431", 0)});
  const std::string shown = folder + "/link/.s.PGSQL.15431";
  expect_led_to(visit(path), shown);
  expect_led_to(visit(shown), shown);
  expect_led_to(visit(folder + "//.///.s.PGSQL.15431", 0, {.uid = 1000}), shown);
  EXPECT_EQ(host.last_uid, 1000U);
  EXPECT_EQ(host.last_pid, getpid());
  capture.drain();
  EXPECT_TRUE(capture.seen.at(path).empty());
  EXPECT_TRUE(capture.seen.at(folder + "/shim0").empty());
}

// By its folder, whatever that is called: here, through a mount, and below another root.
TEST_F(LedByUnix, ARelativePath) {
  const std::string path = folder + "/.s.PGSQL.15431";
  host.listen_at(path);
  gate({place_at(path, 0)});
  expect_led_to(visit(".s.PGSQL.15431", 0, {.folder = folder}), path);
  expect_led_to(visit("./.s.PGSQL.15431", 0, {.folder = folder}), path);
  expect_led_to(visit(".//./.s.PGSQL.15431", 0, {.folder = folder}), path);
  const std::string other = folder + "/other";
  ASSERT_EQ(mkdir(other.c_str(), 0755), 0);
  ASSERT_EQ(mount(folder.c_str(), other.c_str(), nullptr, MS_BIND, nullptr), 0);
  expect_led_to(visit(".s.PGSQL.15431", 0, {.folder = other}), path);
  capture.drain();
  EXPECT_TRUE(capture.seen.at(path).empty());
  // By a way through folders it is not known. (It would be watched, were the server not in the shim's own process.)
  EXPECT_EQ(visit("other/.s.PGSQL.15431", 0, {.folder = folder}).error, 0);
  EXPECT_EQ(visit(other + "/.s.PGSQL.15431").error, 0);
  EXPECT_EQ(visit("../" + folder.substr(5) + "/.s.PGSQL.15431", 0, {.folder = folder}).error, 0);
  EXPECT_EQ(forwarder->sessions().size(), led);
  umount(other.c_str());
  ASSERT_TRUE(redirect->let_go(0));
  EXPECT_EQ(visit(".s.PGSQL.15431", 0, {.folder = folder}).error, 0);
  EXPECT_EQ(forwarder->sessions().size(), led);
}

// In a container the server's folder is mounted somewhere else: by its name there it is led, in the shim's network only
// where the shim's name is abstract; by another path it is watched.
TEST_F(LedByUnix, TheFolderInAnotherMountNamespace) {
  const std::string path = folder + "/.s.PGSQL.15431";
  host.listen_at(path);
  gate({place_at(path, 0)});
  const Output inside = run("unshare -m sh -c 'mkdir -p " + folder + "/there && mount --bind " + folder + " " + folder +
                            "/there && cd " + folder +
                            "/there && exec python3 -c \"import socket; s = socket.socket(socket.AF_UNIX); "
                            "s.connect(\\\".s.PGSQL.15431\\\"); print(s.getpeername())\"'");
  EXPECT_EQ(inside.status, 0) << inside.text;
  EXPECT_EQ(inside.text, path + "\n");
  EXPECT_EQ(forwarder->sessions().size(), 1U);
}

TEST_F(LedByUnix, AnAbstractName) {
  host.listen_at("@gatehouse-redirect-test");
  gate({place_at("@gatehouse-redirect-test", 0)});
  expect_led_to(visit("@gatehouse-redirect-test"), "@gatehouse-redirect-test");
}

TEST_F(LedByUnix, AStoppedHeart) {
  ASSERT_EQ(mount("bpf", folder.c_str(), "bpf", 0, nullptr), 0);
  const std::string open = "@gatehouse-redirect-open", closed = "@gatehouse-redirect-closed";
  host.listen_at(open);
  host.listen_at(closed);
  std::string paths = "/tmp/gatehouse-redirect-XXXXXX";
  ASSERT_NE(mkdtemp(paths.data()), nullptr);
  const std::vector<shim::Place> places{place_at(open, 0), place_at(closed, 0, OnFailure::kClosed)};
  auto opened = Redirect::open({.places = places, .pin_folder = folder, .maps = capture.source().begin_gate()});
  ASSERT_TRUE(opened) << opened.error().message();
  redirect = std::move(*opened);
  forwarder = std::make_unique<Forwarder>(*redirect, places, paths);
  expect_led_to(visit(open), open);
  expect_led_to(visit(closed), closed);
  forwarder->play_dead();
  EXPECT_EQ(visit(open).error, 0);
  EXPECT_EQ(visit(closed).error, ECONNREFUSED);
  EXPECT_EQ(forwarder->sessions().size(), 2U);
  // Nobody is told apart by what the shim does itself.
  forwarder->revive();
  expect_led_to(visit(closed), closed);
  ASSERT_TRUE(redirect->let_go(1));
  forwarder->play_dead();
  EXPECT_EQ(visit(closed).error, 0);
  umount(folder.c_str());
  ASSERT_EQ(run(("rm -rf " + paths).c_str()).status, 0);
}

// Another root, another file: a container's own server at the same path is not ours.
TEST_F(LedByUnix, ThePathBelowAnotherRoot) {
  const std::string path = folder + "/.s.PGSQL.15431";
  host.listen_at(path);
  gate({place_at(path, 0)});
  ASSERT_EQ(run(("mkdir -p " + folder + "/root" + folder).c_str()).status, 0);
  Host inner;
  inner.listen_at(folder + "/root" + path);
  const pid_t child = fork();
  if (child == 0) {
    if (chroot((folder + "/root").c_str()) != 0 || chdir("/") != 0) _exit(2);
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
    const SocketAddress to = address_of(path);
    _exit(::connect(fd.get(), to.generic(), to.bytes) != 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(until([&] { return inner.accepted == 1U; }));
  EXPECT_TRUE(forwarder->sessions().empty());
}

// A namespace of its own, joined to this one by a pair of virtual interfaces.
class OtherNetwork : public Led {
 protected:
  void SetUp() override {
    Led::SetUp();
    ASSERT_EQ(run("ip netns del gh-redirect 2>/dev/null; ip link del gh-r0 2>/dev/null; true").status, 0);
    const Output network =
        run("ip netns add gh-redirect && ip link add gh-r0 type veth peer name gh-r1 netns gh-redirect && "
            "ip addr add 10.213.7.1/24 dev gh-r0 && ip addr add fd00:213:7::1/64 dev gh-r0 nodad && "
            "ip link set gh-r0 up && ip -n gh-redirect addr add 10.213.7.2/24 dev gh-r1 && "
            "ip -n gh-redirect addr add fd00:213:7::2/64 dev gh-r1 nodad && "
            "ip -n gh-redirect link set gh-r1 up && ip -n gh-redirect link set lo up");
    ASSERT_EQ(network.status, 0) << network.text;
    netns = UniqueFd(::open("/run/netns/gh-redirect", O_RDONLY | O_CLOEXEC));
  }
  void TearDown() override {
    EXPECT_EQ(run("ip netns del gh-redirect").status, 0);
    Led::TearDown();
  }
  UniqueFd netns;
};

TEST_F(OtherNetwork, ItsClientsAreLedByTheHostsAddress) {
  host.listen_at("0.0.0.0", kPort);
  host.listen_at("fd00:213:7::1", kPort);
  gate({place_at("0.0.0.0", kPort), place_at("fd00:213:7::1", kPort)});
  expect_led(visit("10.213.7.1", kPort, {.netns = netns.get()}), "10.213.7.1 15431");
  expect_led(visit("fd00:213:7::1", kPort, {.netns = netns.get()}), "fd00:213:7::1 15431");
  expect_led(visit("::ffff:10.213.7.1", kPort, {.netns = netns.get()}), "10.213.7.1 15431");
  capture.drain();
  EXPECT_TRUE(capture.seen.at(kPort).empty());
  // The server's own loopback is another's there.
  EXPECT_EQ(visit("127.0.0.1", kPort, {.netns = netns.get()}).error, ECONNREFUSED);
}

TEST_F(OtherNetwork, WhoAnswersACookieIsKnown) {
  host.listen_at("0.0.0.0", kPort);
  gate({place_at("0.0.0.0", kPort)});
  ASSERT_EQ(run("sysctl -qw net.ipv4.tcp_syncookies=2").status, 0);
  for (int i = 0; i < 20; ++i) expect_led(visit("10.213.7.1", kPort, {.netns = netns.get()}), "10.213.7.1 15431");
  ASSERT_EQ(run("sysctl -qw net.ipv4.tcp_syncookies=1").status, 0);
}

// A shim in a process of its own, which can be stopped and killed.
class Mortal : public Led {
 protected:
  void SetUp() override {
    Led::SetUp();
    ASSERT_EQ(mount("bpf", folder.c_str(), "bpf", 0, nullptr), 0);
    host.listen_at("127.0.0.1", kPort);
    host.listen_at("@gatehouse-redirect-test");
  }
  void TearDown() override {
    end(SIGKILL);
    Redirect::clear_pins(folder);
    umount(folder.c_str());
    Led::TearDown();
  }
  void start(const char* on_failure) {
    std::array<int, 2> ends{};
    ASSERT_EQ(pipe(ends.data()), 0);
    child = fork();
    if (child == 0) {
      dup2(ends[1], STDOUT_FILENO);
      execl(GH_REDIRECT_SHIM, "redirect_shim", folder.c_str(), on_failure, "127.0.0.1:15431",
            "@gatehouse-redirect-test", nullptr);
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
  static int tcp() { return visit("127.0.0.1", kPort).error; }
  static int by_path() { return visit("@gatehouse-redirect-test").error; }
  // Clients get to the server; `led`: by way of the shim.
  void expect_served(bool led) {
    const Visit by_tcp = visit("127.0.0.1", kPort), by_name = visit("@gatehouse-redirect-test");
    EXPECT_EQ(by_tcp.seen_as, by_tcp.local + "\n" + by_tcp.local);
    EXPECT_EQ(by_name.error, 0);
    EXPECT_EQ(host.last_pid, led ? child : by_name.pid);
    EXPECT_EQ(host.accepted - before, 2U);
    before = host.accepted;
  }
  pid_t child = 0;
  uint64_t before = 0;
};

TEST_F(Mortal, OpenGoesDirectWhenItIsStoppedOrKilled) {
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

TEST_F(Mortal, ClosedRefusesUntilAnotherRuns) {
  start("closed");
  expect_served(true);
  kill(child, SIGSTOP);
  ::usleep(700'000);
  EXPECT_EQ(tcp(), ECONNREFUSED);
  EXPECT_EQ(by_path(), ECONNREFUSED);
  kill(child, SIGCONT);
  ::usleep(200'000);
  expect_served(true);
  for (int i = 0; i < 2; ++i) {
    end(SIGKILL);
    EXPECT_EQ(tcp(), ECONNREFUSED);
    ::usleep(700'000);
    EXPECT_EQ(tcp(), ECONNREFUSED);
    EXPECT_EQ(by_path(), ECONNREFUSED);
    start("closed");
    expect_served(true);
  }
  // One that gates nothing lets go of them.
  end(SIGKILL);
  EXPECT_EQ(tcp(), ECONNREFUSED);
  Redirect::clear_pins(folder);
  expect_served(false);
}

TEST_F(Mortal, OneThatIsOpenTakesOverWhatWasClosed) {
  start("closed");
  end(SIGKILL);
  EXPECT_EQ(tcp(), ECONNREFUSED);
  start("open");
  expect_served(true);
  end(SIGKILL);
  expect_served(false);
}

}  // namespace
}  // namespace gatehouse::capture::test
