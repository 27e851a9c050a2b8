// SPDX-License-Identifier: Apache-2.0
// What the kernel side makes of a session: what it leaves out, what it refuses, and who did what.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <thread>

#include "tests/bpf/recorder.h"
#include "tests/bpf/wire.h"

namespace gatehouse::capture::test {
namespace {

constexpr uint16_t kPort = 15404;
constexpr uint16_t kUnnamedPort = 15405;  // not in the configuration
const std::string kPath = "/tmp/.gatehouse-sessions-" + std::to_string(getpid());

class Sessions : public testing::Test {
 protected:
  // Nobody reads while a conversation runs, and reads of a few bytes make a record each: the ring holds them all.
  Sessions() : capture({.ports = {kPort}, .response_ring_bytes = 16U << 20}) {}
  void SetUp() override { ASSERT_TRUE(capture.ok()); }

  SeenSocket* finish(Pair& pair, uint16_t port = kPort) {
    pair.close();
    const bool closed =
        capture.until([&] { return !capture.seen.at(port).empty() && capture.seen.at(port).back()->closed; });
    EXPECT_TRUE(closed);
    return closed ? capture.seen.at(port).back() : nullptr;
  }

  Capture capture;
};

// Wherever a result is cut into reads, each row is counted once and everything else is kept.
TEST_F(Sessions, RowsAreCountedNotKept) {
  for (const size_t read_step : {7U, 64U, 1000U, 1500U, 4096U, 65536U}) {
    Pair pair(Family::kTcp4, kPort);
    pair.request(startup());
    pair.respond(welcome());
    const std::string description = frame('T', pattern(40));
    const std::string tail = frame('C', "SELECT 2000") + ready();
    std::string result = description;
    for (size_t i = 0; i < 2000; ++i) result += row(i * 7 % 300);
    pair.respond(result + tail, 8192, read_step);
    SeenSocket* socket = finish(pair);
    ASSERT_NE(socket, nullptr);
    SeenStream& responses = socket->responses();
    EXPECT_EQ(imbalance(*socket, pair.requests_moved, pair.responses_moved), "") << read_step;
    EXPECT_EQ(responses.captured, pair.responses_moved) << read_step;
    EXPECT_TRUE(responses.data.starts_with(welcome() + description)) << read_step;
    EXPECT_TRUE(responses.data.ends_with(tail)) << read_step;
    // A small read keeps the rows that are whole in it: either way each row is told once.
    EXPECT_EQ(responses.rows + count_frames(responses.data, 'D'), 2000U) << read_step;
    if (read_step > 1024) {
      EXPECT_LT(responses.data.size(), 2000U) << read_step;
    }
  }
}

TEST_F(Sessions, LongMessageOfTheServerIsCut) {
  Pair pair(Family::kTcp4, kPort);
  pair.request(startup());
  const std::string error = frame('E', pattern(100'000));
  pair.respond(error + ready());
  SeenSocket* socket = finish(pair);
  ASSERT_NE(socket, nullptr);
  EXPECT_EQ(socket->responses().data, error.substr(0, 5 + (16U << 10)) + ready());
  EXPECT_EQ(imbalance(*socket, pair.requests_moved, pair.responses_moved), "");
}

TEST_F(Sessions, CopyDataOfTheClientIsCounted) {
  Pair pair(Family::kTcp4, kPort);
  pair.request(startup());
  std::string copy;
  for (size_t i = 0; i < 5000; ++i) copy += frame('d', pattern(50 + i % 100));
  pair.request(query("copy t from stdin"));
  pair.request(copy + frame('c', "") + query("select 2"), 8192);
  SeenSocket* socket = finish(pair);
  ASSERT_NE(socket, nullptr);
  EXPECT_EQ(socket->requests().rows, 5000U);
  EXPECT_EQ(socket->requests().data, startup() + query("copy t from stdin") + frame('c', "") + query("select 2"));
  EXPECT_EQ(imbalance(*socket, pair.requests_moved, 0), "");
}

TEST_F(Sessions, PasswordsAreNeverKept) {
  Pair pair(Family::kTcp4, kPort);
  pair.request(startup());
  pair.respond(frame('R', std::string("\0\0\0\3", 4)));
  pair.request(frame('p', std::string("secret\0", 7)));
  SeenSocket* socket = finish(pair);
  ASSERT_NE(socket, nullptr);
  EXPECT_EQ(socket->requests().data.find("secret"), std::string::npos);
  EXPECT_EQ(socket->requests().cut, 7U);
}

TEST_F(Sessions, EncryptedSessionIsOpaque) {
  Pair pair(Family::kTcp4, kPort);
  pair.request(ssl_request());
  pair.respond("S");
  pair.request(std::string("\x16\x03\x01", 3) + pattern(500));
  pair.respond(pattern(3000));
  SeenSocket* socket = finish(pair);
  ASSERT_NE(socket, nullptr);
  EXPECT_EQ(socket->opaque, SocketOpaque::Reason::kTls);
  EXPECT_EQ(socket->requests().data, ssl_request());
  EXPECT_EQ(socket->responses().data, "S");
  EXPECT_EQ(socket->closed->stream_bytes[0], pair.requests_moved);
  EXPECT_EQ(socket->closed->stream_bytes[1], pair.responses_moved);
}

TEST_F(Sessions, RefusedEncryptionGoesOnInPlain) {
  Pair pair(Family::kTcp4, kPort);
  pair.request(ssl_request());
  pair.respond("N");
  pair.request(startup());
  pair.respond(welcome());
  pair.request(query("select 1"));
  SeenSocket* socket = finish(pair);
  ASSERT_NE(socket, nullptr);
  EXPECT_FALSE(socket->opaque);
  EXPECT_EQ(socket->requests().data, ssl_request() + startup() + query("select 1"));
  EXPECT_EQ(socket->responses().data, "N" + welcome());
}

TEST_F(Sessions, DirectTlsOnANamedPort) {
  Pair pair(Family::kTcp4, kPort);
  pair.request(std::string("\x16\x03\x01", 3) + pattern(500));
  SeenSocket* socket = finish(pair);
  ASSERT_NE(socket, nullptr);
  EXPECT_EQ(socket->opaque, SocketOpaque::Reason::kTls);
}

TEST_F(Sessions, AnotherProtocolOnANamedPort) {
  Pair pair(Family::kTcp4, kPort);
  pair.request("GET / HTTP/1.1\r\n\r\n");
  SeenSocket* socket = finish(pair);
  ASSERT_NE(socket, nullptr);
  EXPECT_EQ(socket->opaque, SocketOpaque::Reason::kNotProtocol);
  EXPECT_EQ(socket->requests().data, "");
  EXPECT_EQ(socket->closed->stream_bytes[0], pair.requests_moved);
}

TEST_F(Sessions, OtherTrafficIsForgotten) {
  Pair http(Family::kTcp4, kUnnamedPort);
  http.request("GET / HTTP/1.1\r\n\r\n");
  http.close();
  Pair greeting(Family::kTcp4, kUnnamedPort);
  greeting.respond("220 mail\r\n");
  greeting.request("EHLO x\r\n");
  greeting.close();
  Pair local(Family::kUnix, 0, kPath);
  local.request("hello world");
  local.close();
  capture.drain();
  EXPECT_TRUE(capture.seen.at(kUnnamedPort).empty());
  EXPECT_TRUE(capture.seen.at(kPath).empty());
  // In the syscall plane a Unix socket is not even looked at twice.
  EXPECT_GE(capture.source().counters().sockets_forgotten, plane_under_test() == Plane::kSyscall ? 2U : 3U);
}

TEST_F(Sessions, ASessionIsKnownByItsFirstPacketOnAnyPort) {
  Pair pair(Family::kTcp4, kUnnamedPort);
  pair.request(startup("bob"), 3);
  SeenSocket* socket = finish(pair, kUnnamedPort);
  ASSERT_NE(socket, nullptr);
  EXPECT_EQ(socket->requests().data, startup("bob"));
}

TEST_F(Sessions, LocalConnectionIsCapturedOnce) {
  const uint64_t before = capture.source().counters().other_ends;
  Pair pair(Family::kTcp6, kPort);
  pair.request(startup());
  pair.respond(welcome());
  SeenSocket* socket = finish(pair);
  ASSERT_NE(socket, nullptr);
  EXPECT_EQ(capture.seen.at(kPort).size(), 1U);
  EXPECT_TRUE(socket->opened.captured_at_client);
  EXPECT_EQ(socket->opened.transport, Transport::kTcp6);
  EXPECT_EQ(socket->opened.client_opener.pid, static_cast<uint32_t>(getpid()));
  EXPECT_EQ(socket->opened.client_uid, getuid());
  EXPECT_GT(capture.source().counters().other_ends, before);
  // The server's process is known by its read of the first packet, and so is who writes the answers.
  ASSERT_FALSE(socket->responses().chunks.empty());
  EXPECT_EQ(socket->responses().chunks[0].writer.pid, static_cast<uint32_t>(getpid()));
}

// The child writes on the socket that the parent opened.
void write_in_child(int fd, const std::string& bytes) {
  const pid_t child = fork();
  if (child == 0) {
    const bool sent = send(fd, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size());
    _exit(sent ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(Sessions, WritersThatShareASocketAreToldApart) {
  for (const bool is_unix : {false, true}) {
    Pair pair(is_unix ? Family::kUnix : Family::kTcp4, kPort, is_unix ? kPath : "");
    pair.request(startup());
    write_in_child(pair.client.get(), query("from the child"));
    read_exactly(pair.server.get(), query("from the child").size());
    pair.request(query("from the parent"));
    // Both are written before either is read.
    write_in_child(pair.client.get(), query("child again"));
    send_exactly(pair.client.get(), query("parent again"));
    read_exactly(pair.server.get(), query("child again").size() + query("parent again").size());
    pair.close();
    const auto find = [&] { return is_unix ? capture.seen.at(kPath) : capture.seen.at(kPort); };
    ASSERT_TRUE(capture.until([&] { return !find().empty() && find().back()->closed; }));
    SeenSocket& socket = *find().back();
    const auto self = static_cast<uint32_t>(getpid());
    ASSERT_EQ(socket.requests().chunks.size(), 5U);
    for (const SeenChunk& chunk : socket.requests().chunks) {
      const bool by_child = chunk.data.find("child") != std::string::npos;
      EXPECT_NE(chunk.writer.pid, 0U) << chunk.data;
      EXPECT_EQ(chunk.writer.pid != self, by_child) << is_unix << ' ' << chunk.data;
    }
    EXPECT_EQ(socket.opened.client_opener.pid, self);
  }
}

// A send that is cut short, and then continued with other bytes: what counts is what the server reads.
TEST_F(Sessions, WhatWasNotSentIsNotReported) {
  Pair pair(Family::kTcp4, kPort);
  pair.request(startup());
  const int small = 16 << 10;
  setsockopt(pair.client.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
  setsockopt(pair.server.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
  fcntl(pair.client.get(), F_SETFL, O_NONBLOCK);
  size_t sent_bytes = 0, short_sends = 0;
  std::string received;
  for (int i = 0; i < 400; ++i) {
    // Each attempt says something else, also where the one before was not taken.
    const std::string text = query("attempt " + std::to_string(i) + " " + pattern(2000 + static_cast<size_t>(i) * 37));
    const ssize_t sent = send(pair.client.get(), text.data(), text.size(), 0);
    if (sent > 0) sent_bytes += static_cast<size_t>(sent);
    if (sent < static_cast<ssize_t>(text.size())) {
      ++short_sends;
      received += read_exactly(pair.server.get(), sent_bytes - received.size());
    }
    capture.drain();
  }
  received += read_exactly(pair.server.get(), sent_bytes - received.size());
  pair.requests_moved += sent_bytes;
  SeenSocket* socket = finish(pair);
  ASSERT_NE(socket, nullptr);
  EXPECT_GT(short_sends, 3U);
  EXPECT_EQ(socket->requests().overlaps, 0U);
  EXPECT_EQ(imbalance(*socket, pair.requests_moved, 0), "");
  EXPECT_TRUE(socket->requests().data == startup() + received);
}

TEST_F(Sessions, ProcessesAreKnownAsTheyExec) {
  const pid_t child = fork();
  if (child == 0) {
    if (chdir("/usr") != 0) _exit(1);
    execl("/bin/true", "not-true", "an argument", nullptr);
    _exit(1);
  }
  waitpid(child, nullptr, 0);
  const auto is_child = [child](const SeenExec& exec) {
    return exec.record.process.pid == static_cast<uint32_t>(child);
  };
  auto& execs = capture.seen.execs;
  ASSERT_TRUE(capture.until([&] { return std::ranges::any_of(execs, is_child); }));
  const SeenExec& exec = *std::ranges::find_if(execs, is_child);
  struct stat file{};
  ASSERT_EQ(stat("/usr/bin/true", &file), 0);
  EXPECT_EQ(exec.exe, "/usr/bin/true");
  EXPECT_EQ(exec.arguments, std::string("not-true\0an argument", 20));
  EXPECT_EQ(exec.cwd, "/usr");
  EXPECT_EQ(exec.record.exe_inode, file.st_ino);
  EXPECT_EQ(exec.record.parent.pid, static_cast<uint32_t>(getpid()));
  EXPECT_EQ(exec.record.uid, getuid());
  EXPECT_NE(exec.record.process.start_ns, 0U);
  ASSERT_TRUE(capture.until([&] {
    return std::ranges::any_of(capture.seen.exits,
                               [&](const ProcessExit& e) { return e.process == exec.record.process; });
  }));
  EXPECT_TRUE(
      std::ranges::any_of(capture.seen.forks, [&](const ProcessFork& f) { return f.child == exec.record.process; }));
}

// Nothing wakes the reader while it pauses between two looks; what is said first after a silence does.
TEST(Wait, EndsWithTheFirstWordAfterASilence) {
  constexpr uint32_t kPauseMs = 1, kIdleMs = 60'000;
  Capture capture({.ports = {kPort}});
  ASSERT_TRUE(capture.ok());
  Pair pair(Family::kTcp4, kPort);
  pair.request(startup());
  pair.respond(welcome());
  ASSERT_TRUE(capture.until(
      [&] { return !capture.seen.at(kPort).empty() && !capture.seen.at(kPort)[0]->responses().data.empty(); }));
  // After records it pauses; what comes meanwhile does not end that, nor is it forgotten by the wait that follows.
  pair.request(query("select 1"));
  capture.drain();
  EXPECT_FALSE(capture.source().wait(kPauseMs, kIdleMs));
  capture.drain();
  std::thread client([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    pair.respond(frame('C', "SELECT 1") + ready());
  });
  // Others of this host may say something, too: it wakes for them, and pauses after their records.
  const auto begin = std::chrono::steady_clock::now();
  const auto elapsed = [begin] { return std::chrono::steady_clock::now() - begin; };
  const std::string said = welcome() + frame('C', "SELECT 1") + ready();
  while (capture.seen.at(kPort)[0]->responses().data != said && elapsed() < std::chrono::milliseconds(kIdleMs)) {
    capture.source().wait(kPauseMs, kIdleMs);
    capture.drain();
  }
  EXPECT_LT(elapsed(), std::chrono::milliseconds(kIdleMs / 2));
  client.join();
}

// The programs that tell of its end were not there yet, and the sockets are gone: it is found missing.
TEST(UnixSessions, ThatEndUnheardAreFoundToBeOver) {
  Capture capture({.ports = {kPort}});
  ASSERT_TRUE(capture.ok());
  if (!hears_late()) return;
  {
    Pair pair(Family::kUnix, kPort, kPath);
    pair.request(startup());
    pair.respond(welcome());
  }
  const auto sockets = [&] { return capture.seen.at(kPath); };
  ASSERT_TRUE(capture.until([&] { return !sockets().empty() && sockets()[0]->closed; }));
  EXPECT_EQ(sockets().size(), 1U);
  EXPECT_FALSE(sockets()[0]->closed->witnessed);
  EXPECT_EQ(sockets()[0]->requests().data, startup());
  EXPECT_EQ(sockets()[0]->responses().data, welcome());
  EXPECT_EQ(capture.source().counters().closings_missed, 1U);
}

// A server that is told goodbye reads no more, so nothing else shows the end of a session at a Unix socket.
TEST(UnixSessions, EndWithTheirGoodbye) {
  Capture capture({.ports = {kPort}});
  ASSERT_TRUE(capture.ok());
  Pair pair(Family::kUnix, kPort, kPath);
  pair.request(startup());
  pair.respond(welcome());
  pair.request(query("select 1"));
  pair.respond(frame('C', "SELECT 1") + ready());
  pair.request(frame('X', ""));
  EXPECT_TRUE(capture.until([&] { return !capture.seen.at(kPath).empty() && capture.seen.at(kPath)[0]->closed; }));
  ASSERT_EQ(capture.seen.at(kPath).size(), 1U);
  EXPECT_EQ(imbalance(*capture.seen.at(kPath)[0], pair.requests_moved, pair.responses_moved), "");
}

// A client may say goodbye before it has its answer.
TEST(UnixSessions, EndAfterTheAnswersThatAreOnTheirWay) {
  for (const bool at_once : {true, false}) {
    Capture capture({.ports = {kPort}});
    ASSERT_TRUE(capture.ok());
    Pair pair(Family::kUnix, kPort, kPath);
    pair.request(startup());
    pair.respond(welcome());
    pair.request(query("select 1") + (at_once ? frame('X', "") : ""));
    if (!at_once) pair.request(frame('X', ""));
    pair.respond(frame('C', "SELECT 1") + ready());
    pair.close();
    ASSERT_TRUE(capture.until([&] { return !capture.seen.at(kPath).empty(); }));
    capture.drain();
    EXPECT_EQ(capture.seen.at(kPath)[0]->responses().data, welcome() + frame('C', "SELECT 1") + ready()) << at_once;
  }
}

// The writer's end and the reader's, on two CPUs, both come to a socket that has no state yet.
TEST(UnixSessions, BegunByBothEndsAtOnce) {
  constexpr size_t kSessions = 500, kSessionsPerLook = 20;
  Capture capture({.ports = {kPort}, .control_ring_bytes = 8U << 20});
  ASSERT_TRUE(capture.ok());
  std::atomic<int> waiting_reader{-1};
  std::atomic<size_t> read_count = 0;
  std::thread reader([&] {
    for (size_t i = 0; i < kSessions; ++i) {
      int fd = -1;
      while ((fd = waiting_reader.exchange(-1)) < 0) std::this_thread::yield();
      std::array<char, 256> bytes{};
      while (recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT) <= 0) continue;
      read_count = i + 1;
    }
  });
  for (size_t i = 0; i < kSessions; ++i) {
    Pair pair(Family::kUnix, kPort, kPath);
    waiting_reader = pair.server.get();
    while (waiting_reader >= 0) std::this_thread::yield();
    send_exactly(pair.client.get(), startup());
    while (read_count <= i) std::this_thread::yield();
    pair.respond(welcome());
    pair.request(frame('X', ""));
    if (i % kSessionsPerLook == 0) capture.drain();  // of the whole host, which may be busy
  }
  reader.join();
  EXPECT_TRUE(capture.until([&] {
    return std::ranges::count_if(capture.seen.at(kPath), [](const auto* s) { return s->closed.has_value(); }) ==
           static_cast<std::ptrdiff_t>(kSessions);
  })) << standing(capture);
  size_t wrong = 0;
  for (SeenSocket* const socket : capture.seen.at(kPath))
    if (socket->requests().data != startup() + frame('X', "") || socket->responses().data != welcome()) ++wrong;
  EXPECT_EQ(wrong, 0U) << standing(capture);
  EXPECT_EQ(capture.seen.at(kPath).size(), kSessions);
}

}  // namespace
}  // namespace gatehouse::capture::test
