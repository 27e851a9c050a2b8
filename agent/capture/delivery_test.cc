// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/delivery.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace gatehouse::capture {
namespace {

constexpr SocketId kTcp = 7;
constexpr SocketId kUnix = 1ULL << 63 | 7;

class Log final : public RecordSink {
 public:
  void on_socket_opened(const SocketOpened& r) override { text += "opened:" + std::string(r.server.path) + ' '; }
  void on_chunk(const Chunk& r) override {
    text += r.direction == Direction::kRequest ? "request@" : "response@";
    text += std::to_string(r.offset) + ':';
    for (const Piece& piece : r.pieces)
      text += piece.kind == Piece::Kind::kData
                  ? std::string(reinterpret_cast<const char*>(piece.data.data()), piece.data.size())
                  : '(' + std::to_string(piece.bytes) + ')';
    text += '/' + std::to_string(r.writer.pid) + ' ';
  }
  void on_socket_opaque(const SocketOpaque&) override { text += "opaque "; }
  void on_socket_closed(const SocketClosed& r) override {
    if (!r.witnessed) {
      text += "gone:" + std::to_string(r.time_ns) + ' ';
      return;
    }
    text += "closed:" + std::to_string(r.stream_bytes[0]) + ',' + std::to_string(r.stream_bytes[1]) + ' ';
  }
  void on_process_exec(const ProcessExec& r) override {
    text += "exec:" + std::string(r.exe) + ':' + std::string(r.cwd) + ':' + std::string(r.cgroup_path) + ' ';
  }
  void on_process_fork(const ProcessFork&) override { text += "fork "; }
  void on_process_exit(const ProcessExit&) override { text += "exit "; }
  std::string take() { return std::exchange(text, {}); }

  std::string text;
};

template <typename T>
std::string record_of(const T& value, std::string_view rest = {}) {
  std::string bytes(reinterpret_cast<const char*>(&value), sizeof(value));
  bytes += rest;
  return bytes;
}

std::string opened(SocketId socket, std::string_view path = {}) {
  abi::gh_opened r{};
  r.head = {.time_ns = 1, .socket = socket, .kind = abi::GH_RECORD_OPENED, .flags = 0, .record_bytes = sizeof(r)};
  r.transport = path.empty() ? abi::GH_TCP4 : abi::GH_UNIX;
  r.client_opener = {.start_ns = 1, .pid = 100, .tid = 100};
  r.path_bytes = static_cast<uint32_t>(path.size());
  std::ranges::copy(path, r.path);
  return record_of(r);
}

struct ChunkOptions {
  bool is_response = false;
  bool unconfirmed = false;
  uint32_t writer = 0;
  uint32_t reader = 500;
};

std::string chunk(SocketId socket, uint64_t offset, std::string_view data, ChunkOptions options) {
  abi::gh_chunk r{};
  r.head = {.time_ns = 2,
            .socket = socket,
            .kind = abi::GH_RECORD_CHUNK,
            .flags = static_cast<uint16_t>(options.unconfirmed ? GH_CHUNK_UNCONFIRMED : 0),
            .record_bytes = 0};
  r.offset = offset;
  r.process = {.start_ns = 5, .pid = options.reader, .tid = options.reader};
  r.writer = {.start_ns = 1, .pid = options.writer, .tid = options.writer};
  r.direction = options.is_response ? 1 : 0;
  r.piece_count = 2;
  abi::gh_piece pieces[2] = {{.bytes = static_cast<uint32_t>(data.size()), .rows = 0, .kind = abi::GH_PIECE_DATA},
                             {.bytes = 3, .rows = 0, .kind = abi::GH_PIECE_CUT}};
  return record_of(r, record_of(pieces) + std::string(data));
}

std::string sent(SocketId socket, uint64_t position, uint64_t since, uint32_t writer, bool cut) {
  abi::gh_sent r{};
  r.head = {.time_ns = 3,
            .socket = socket,
            .kind = abi::GH_RECORD_SENT,
            .flags = static_cast<uint16_t>(cut ? GH_SENT_CUT : 0),
            .record_bytes = sizeof(r)};
  r.sent = position;
  r.since = since;
  r.writer = {.start_ns = 1, .pid = writer, .tid = writer};
  return record_of(r);
}

class DeliveryTest : public testing::Test {
 protected:
  std::string feed(const std::string& record) {
    delivery.deliver(std::as_bytes(std::span(record)), log);
    return log.take();
  }
  Delivery delivery;
  Log log;
};

TEST_F(DeliveryTest, ChunksGoThrough) {
  EXPECT_EQ(feed(opened(kTcp)), "opened: ");
  EXPECT_EQ(feed(chunk(kTcp, 0, "abc", {.writer = 100})), "request@0:abc(3)/100 ");
  EXPECT_EQ(feed(chunk(kTcp, 0, "xyz", {.is_response = true})), "response@0:xyz(3)/0 ");
}

TEST_F(DeliveryTest, ALocalServerWritesTheAnswers) {
  feed(opened(kTcp));
  feed(chunk(kTcp, 0, "abc", {.writer = 100}));
  abi::gh_peer r{};
  r.head = {.time_ns = 9, .socket = kTcp, .kind = abi::GH_RECORD_PEER, .flags = 0, .record_bytes = sizeof(r)};
  r.server = {.start_ns = 4, .pid = 400, .tid = 400};
  EXPECT_EQ(feed(record_of(r)), "");
  EXPECT_EQ(feed(chunk(kTcp, 0, "xyz", {.is_response = true})), "response@0:xyz(3)/400 ");
}

// In the fallback planes a send is told when it returns, and by then the server may have read.
TEST_F(DeliveryTest, AServerIsToldBeforeItsSession) {
  abi::gh_peer r{};
  r.head = {.time_ns = 1, .socket = kTcp, .kind = abi::GH_RECORD_PEER, .flags = 0, .record_bytes = sizeof(r)};
  r.server = {.start_ns = 4, .pid = 400, .tid = 400};
  EXPECT_EQ(feed(record_of(r)), "");
  feed(opened(kTcp));
  feed(chunk(kTcp, 0, "abc", {.writer = 100}));
  EXPECT_EQ(feed(chunk(kTcp, 0, "xyz", {.is_response = true})), "response@0:xyz(3)/400 ");
}

TEST_F(DeliveryTest, UnsentBytesAreForgotten) {
  feed(opened(kTcp));
  EXPECT_EQ(feed(chunk(kTcp, 0, "abcdef", {.unconfirmed = true, .writer = 100})), "");
  EXPECT_EQ(feed(chunk(kTcp, 9, "ghi", {.unconfirmed = true, .writer = 100})), "");
  EXPECT_EQ(feed(sent(kTcp, 4, 0, 100, true)), "request@0:abcd/100 ");
  EXPECT_EQ(feed(chunk(kTcp, 4, "XY", {.writer = 100})), "request@4:XY(3)/100 ");
}

TEST_F(DeliveryTest, AnAnswerProvesThatTheRequestWasSent) {
  feed(opened(kTcp));
  feed(chunk(kTcp, 0, "abc", {.unconfirmed = true, .writer = 100}));
  EXPECT_EQ(feed(chunk(kTcp, 0, "xyz", {.is_response = true})), "request@0:abc(3)/100 response@0:xyz(3)/0 ");
}

TEST_F(DeliveryTest, UnixRequestsWaitForTheirWriter) {
  EXPECT_EQ(feed(opened(kUnix, std::string("\0name", 5))), "opened:@name ");
  EXPECT_EQ(feed(chunk(kUnix, 0, "abc", {.unconfirmed = true})), "");
  EXPECT_EQ(feed(chunk(kUnix, 6, "def", {.unconfirmed = true})), "");
  EXPECT_EQ(feed(sent(kUnix, 6, 0, 101, false)), "request@0:abc(3)/101 ");
  EXPECT_EQ(feed(sent(kUnix, 12, 6, 102, false)), "request@6:def(3)/102 ");
  // The writer was told before the chunk was.
  EXPECT_EQ(feed(sent(kUnix, 18, 12, 103, false)), "");
  EXPECT_EQ(feed(chunk(kUnix, 12, "ghi", {.unconfirmed = true})), "request@12:ghi(3)/103 ");
}

TEST_F(DeliveryTest, ManyWriteBeforeOneReads) {
  feed(opened(kUnix, "/p"));
  for (uint32_t i = 0; i < 4; ++i) EXPECT_EQ(feed(sent(kUnix, 6 * i + 6, 6 * i, 101 + i, false)), "");
  EXPECT_EQ(feed(sent(kUnix, 27, 18, 104, false)), "");
  EXPECT_EQ(feed(chunk(kUnix, 0, "abc", {})), "request@0:abc(3)/101 ");
  EXPECT_EQ(feed(chunk(kUnix, 12, "ghi", {.unconfirmed = true})), "request@12:ghi(3)/103 ");
  EXPECT_EQ(feed(chunk(kUnix, 18, "jkl", {})), "request@18:jkl(3)/104 ");
  EXPECT_EQ(feed(chunk(kUnix, 24, "mno", {})), "request@24:mno(3)/104 ");
}

// One read takes what several have written: each part is its writer's.
TEST_F(DeliveryTest, AReadOfManyWritersIsCutAtTheirTurns) {
  feed(opened(kUnix, "/s"));
  feed(sent(kUnix, 2, 0, 200, false));
  feed(sent(kUnix, 4, 2, 201, false));
  EXPECT_EQ(feed(chunk(kUnix, 0, "aabb", {})), "request@0:aa/200 request@2:bb(3)/201 ");
  feed(sent(kUnix, 9, 8, 202, false));
  EXPECT_EQ(feed(chunk(kUnix, 7, "cd", {})), "request@7:c/201 request@8:d(3)/202 ");
  // One that is not told yet waits for all of its writers.
  EXPECT_EQ(feed(chunk(kUnix, 12, "ef", {.unconfirmed = true})), "");
  EXPECT_EQ(feed(sent(kUnix, 13, 12, 203, false)), "");
  EXPECT_EQ(feed(sent(kUnix, 17, 13, 204, false)), "request@12:e/203 request@13:f(3)/204 ");
}

TEST_F(DeliveryTest, UnknownWriterIsTheOpenerInTheEnd) {
  feed(opened(kUnix, "/p"));
  feed(chunk(kUnix, 0, "abc", {.unconfirmed = true}));
  delivery.expire(2, log);
  EXPECT_EQ(log.take(), "");
  delivery.expire(10'000'000'000, log);
  EXPECT_EQ(log.take(), "request@0:abc(3)/100 ");
}

TEST_F(DeliveryTest, UnixSessionEndsWithItsServer) {
  feed(opened(kUnix, "/p"));
  feed(chunk(kUnix, 0, "abc", {.writer = 100}));
  abi::gh_exit r{};
  r.head = {.time_ns = 9, .socket = 0, .kind = abi::GH_RECORD_EXIT, .flags = 0, .record_bytes = sizeof(r)};
  r.process = {.start_ns = 5, .pid = 500, .tid = 500};
  EXPECT_EQ(feed(record_of(r)), "exit ");
  delivery.expire(10, log);
  EXPECT_EQ(log.take(), "");
  delivery.expire(10'000'000'000, log);
  EXPECT_EQ(log.take(), "closed:6,0 ");
}

// Whose sessions end with an exit: those that the process serves now, and no others.
TEST_F(DeliveryTest, AnExitEndsWhatThatProcessServes) {
  const auto exit_of = [&](uint32_t pid) {
    abi::gh_exit r{};
    r.head = {.time_ns = 9, .socket = 0, .kind = abi::GH_RECORD_EXIT, .flags = 0, .record_bytes = sizeof(r)};
    r.process = {.start_ns = 5, .pid = pid, .tid = pid};
    EXPECT_EQ(feed(record_of(r)), "exit ");
    delivery.expire(10'000'000'000, log);
    return log.take();
  };
  const SocketId first = kUnix, second = kUnix + 1, passed_on = kUnix + 2, tcp = kTcp;
  for (const SocketId socket : {first, second, passed_on}) feed(opened(socket, "/p"));
  feed(opened(tcp));
  for (const SocketId socket : {first, second, passed_on, tcp}) feed(chunk(socket, 0, "abc", {.writer = 100}));
  feed(chunk(passed_on, 6, "abc", {.writer = 100, .reader = 600}));
  EXPECT_EQ(exit_of(700), "");
  EXPECT_EQ(exit_of(500), "closed:6,0 closed:6,0 ");
  EXPECT_EQ(exit_of(500), "");
  EXPECT_EQ(exit_of(600), "closed:12,0 ");
  EXPECT_EQ(delivery.unix_sessions(), 0U);
  // The number comes again.
  feed(opened(first, "/p"));
  feed(opened(first, "/p"));
  feed(chunk(first, 0, "abc", {.writer = 100, .reader = 500}));
  EXPECT_EQ(delivery.unix_sessions(), 1U);
  EXPECT_EQ(exit_of(600), "");
  EXPECT_EQ(exit_of(500), "closed:6,0 ");
}

// What was said last may be a request whose end shows only when the session's is told: until then it is not settled.
TEST_F(DeliveryTest, AnEndingUnixSessionIsUnsettledUntilItHasEnded) {
  constexpr uint64_t kNothing = UINT64_MAX, kLater = 10'000'000'000;
  const auto exit_of = [&](uint32_t pid, uint64_t start_ns, uint64_t time_ns) {
    abi::gh_exit r{};
    r.head = {.time_ns = time_ns, .socket = 0, .kind = abi::GH_RECORD_EXIT, .flags = 0, .record_bytes = sizeof(r)};
    r.process = {.start_ns = start_ns, .pid = pid, .tid = pid};
    EXPECT_EQ(feed(record_of(r)), "exit ");
  };
  feed(opened(kUnix, "/p"));
  const std::string request = chunk(kUnix, 0, "abc", {.writer = 100});
  const uint64_t said_ns = reinterpret_cast<const abi::gh_head*>(request.data())->time_ns;
  feed(request);
  EXPECT_EQ(delivery.unsettled_ns(said_ns + 1), kNothing);
  exit_of(499, 5, said_ns + 1);
  EXPECT_EQ(delivery.unsettled_ns(said_ns + 2), kNothing);
  exit_of(500, 5, said_ns + 2);
  EXPECT_EQ(delivery.unsettled_ns(said_ns + 3), said_ns);
  delivery.expire(kLater, log);
  EXPECT_EQ(log.take(), "closed:6,0 ");
  EXPECT_EQ(delivery.unsettled_ns(said_ns + 3), kNothing);
  // What waits for its writer.
  feed(opened(kUnix, "/p"));
  feed(chunk(kUnix, 0, "abc", {.unconfirmed = true}));
  EXPECT_NE(delivery.unsettled_ns(kLater), kNothing);
}

TEST_F(DeliveryTest, AConnectionThatWentUnnoticedEnds) {
  feed(opened(kTcp));
  feed(opened(kUnix, "/run/x"));
  log.take();
  const uint32_t here = 0, elsewhere = 77;
  const auto reconcile = [&](uint64_t listed_ns, std::vector<SocketId> alive, uint32_t network) {
    delivery.reconcile({.listed_ns = listed_ns, .alive = std::move(alive), .networks = {network}}, log);
  };
  reconcile(1, {}, here);  // opened just then: it need not be in the list
  reconcile(5, {}, here);
  reconcile(6, {kTcp}, here);  // the list before had left it out
  reconcile(7, {}, here);
  EXPECT_EQ(log.take(), "");
  // A list of another network namespace says nothing of it.
  reconcile(8, {}, elsewhere);
  reconcile(9, {}, elsewhere);
  reconcile(10, {}, here);
  EXPECT_EQ(log.take(), "");
  reconcile(11, {}, here);
  EXPECT_EQ(log.take(), "gone:11 ");
  EXPECT_EQ(delivery.counters().closings_missed, 1U);
  reconcile(12, {}, here);
  EXPECT_EQ(log.take(), "");
}

TEST_F(DeliveryTest, PathsAreTurnedRound) {
  abi::gh_exec r{};
  r.head = {.time_ns = 9, .socket = 0, .kind = abi::GH_RECORD_EXEC, .flags = 0, .record_bytes = 0};
  const std::string exe("psql\0bin\0usr\0", 13), cwd("tmp\0", 4), cgroup;
  r.exe_bytes = static_cast<uint32_t>(exe.size());
  r.cwd_bytes = static_cast<uint32_t>(cwd.size());
  EXPECT_EQ(feed(record_of(r, exe + cwd + cgroup)), "exec:/usr/bin/psql:/tmp:/ ");
}

TEST_F(DeliveryTest, SizesThatContradictEachOtherAreRefused) {
  const std::string whole = chunk(kTcp, 0, "abc", {.writer = 100});
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) EXPECT_EQ(feed(whole.substr(0, bytes)), "") << bytes;
  EXPECT_EQ(delivery.counters().malformed, whole.size());
  abi::gh_exec exec{};
  exec.head.kind = abi::GH_RECORD_EXEC;
  exec.exe_bytes = 1;
  EXPECT_EQ(feed(record_of(exec)), "");
  abi::gh_opened open{};
  open.head.kind = abi::GH_RECORD_OPENED;
  open.path_bytes = 109;
  EXPECT_EQ(feed(record_of(open)), "");
}

}  // namespace
}  // namespace gatehouse::capture
