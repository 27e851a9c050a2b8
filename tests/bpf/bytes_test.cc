// SPDX-License-Identifier: Apache-2.0
// What is sent is what is captured, on every transport and by every way of sending.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "tests/bpf/recorder.h"
#include "tests/bpf/wire.h"

namespace gatehouse::capture::test {
namespace {

constexpr uint16_t kPort = 15403;
const std::string kPath = "/tmp/.gatehouse-test-" + std::to_string(getpid()) + ".s.PGSQL.15403";
// The path must look like a server's for sessions that begin before the capture; new ones are known by their bytes.

struct Where {
  Family family;
  bool client_end;
};

std::string name_of(const testing::TestParamInfo<Where>& info) {
  static constexpr std::array<const char*, 3> kNames{"Tcp4", "Tcp6", "Unix"};
  return std::string(kNames[static_cast<size_t>(info.param.family)]) + (info.param.client_end ? "" : "ServerEnd");
}

class Bytes : public testing::TestWithParam<Where> {
 protected:
  Bytes() : capture({.ports = {kPort}, .client_ends = GetParam().client_end}) {}
  void SetUp() override { ASSERT_TRUE(capture.ok()); }

  Pair open() { return Pair(GetParam().family, kPort, GetParam().family == Family::kUnix ? kPath : ""); }
  std::vector<SeenSocket*> sockets() {
    return GetParam().family == Family::kUnix ? capture.seen.at(kPath) : capture.seen.at(kPort);
  }
  // Closes the pair and waits for its last record.
  SeenSocket* finish(Pair& pair) {
    capture.drain();  // an end without a goodbye is only told of a session that is heard
    pair.close();
    const bool closed = capture.until([this] { return !sockets().empty() && sockets()[0]->closed; });
    EXPECT_TRUE(closed);
    if (!closed) return nullptr;
    EXPECT_EQ(sockets().size(), 1U);
    EXPECT_EQ(capture.seen.strangers, 0U);
    return sockets()[0];
  }

  Capture capture;
};

TEST_P(Bytes, EveryRequestSize) {
  Pair pair = open();
  std::string sent = startup();
  pair.request(sent);
  pair.respond(welcome());
  for (size_t bytes = 1; bytes <= 3000; bytes += bytes < 1100 ? 1 : 97) {
    const std::string q = query(pattern(bytes));
    sent += q;
    pair.request(q);
    pair.respond(frame('C', "SELECT 1") + ready());
    if (bytes % 64 == 0) capture.drain();
  }
  SeenSocket* socket = finish(pair);
  ASSERT_NE(socket, nullptr);
  EXPECT_EQ(socket->requests().data, sent);
  EXPECT_EQ(imbalance(*socket, pair.requests_moved, pair.responses_moved), "");
  EXPECT_EQ(socket->responses().captured, pair.responses_moved);
  EXPECT_EQ(socket->opened.captured_at_client, GetParam().client_end && GetParam().family != Family::kUnix);
}

TEST_P(Bytes, OneByteAtATime) {
  Pair pair = open();
  const std::string sent = startup() + query("select 1") + query("select 22") + frame('X', "");
  pair.request(startup(), 1);
  pair.respond(welcome(), 1, 1);
  pair.request(sent.substr(startup().size()), 1);
  SeenSocket* socket = finish(pair);
  ASSERT_NE(socket, nullptr);
  EXPECT_EQ(socket->requests().data, sent);
  EXPECT_EQ(socket->responses().data, welcome());
  EXPECT_EQ(imbalance(*socket, pair.requests_moved, pair.responses_moved), "");
}

TEST_P(Bytes, SeveralBuffersInOneWrite) {
  Pair pair = open();
  std::string first = startup(), second = query(pattern(5000)), third = query("select 3"), empty;
  std::array<iovec, 5> buffers{{{first.data(), 3},
                                {first.data() + 3, first.size() - 3},
                                {empty.data(), 0},
                                {second.data(), second.size()},
                                {third.data(), third.size()}}};
  ASSERT_EQ(writev(pair.client.get(), buffers.data(), 5),
            static_cast<ssize_t>(first.size() + second.size() + third.size()));
  read_exactly(pair.server.get(), first.size() + second.size() + third.size());
  msghdr message{};
  message.msg_iov = buffers.data() + 3;
  message.msg_iovlen = 2;
  ASSERT_EQ(sendmsg(pair.client.get(), &message, 0), static_cast<ssize_t>(second.size() + third.size()));
  read_exactly(pair.server.get(), second.size() + third.size());
  pair.requests_moved = first.size() + 2 * (second.size() + third.size());
  SeenSocket* socket = finish(pair);
  ASSERT_NE(socket, nullptr);
  EXPECT_EQ(socket->requests().data, first + second + third + second + third);
  EXPECT_EQ(imbalance(*socket, pair.requests_moved, 0), "");
}

TEST_P(Bytes, LookingAheadCountsOnce) {
  Pair pair = open();
  std::string buffer(100, '\0');
  pair.request(startup());
  send_exactly(pair.server.get(), welcome());
  ASSERT_GT(recv(pair.client.get(), buffer.data(), 5, MSG_PEEK), 0);
  ASSERT_GT(recv(pair.client.get(), buffer.data(), buffer.size(), MSG_PEEK), 0);
  EXPECT_EQ(read_exactly(pair.client.get(), welcome().size(), 7), welcome());
  send_exactly(pair.client.get(), query("select 1"));
  ASSERT_GT(recv(pair.server.get(), buffer.data(), buffer.size(), MSG_PEEK), 0);
  read_exactly(pair.server.get(), query("select 1").size());
  capture.drain();
  send_exactly(pair.client.get(), query("select 2"));
  ASSERT_GT(recv(pair.server.get(), buffer.data(), 7, MSG_PEEK), 0);
  read_exactly(pair.server.get(), query("select 2").size(), 9);
  pair.requests_moved += query("select 1").size() + query("select 2").size();
  pair.responses_moved += welcome().size();
  SeenSocket* socket = finish(pair);
  ASSERT_NE(socket, nullptr);
  EXPECT_EQ(socket->requests().data, startup() + query("select 1") + query("select 2"));
  EXPECT_EQ(socket->responses().data, welcome());
  EXPECT_EQ(imbalance(*socket, pair.requests_moved, pair.responses_moved), "");
}

TEST_P(Bytes, LongStatementIsCutAndSaysSo) {
  Pair pair = open();
  const std::string text = pattern(3U << 20);
  pair.request(startup());
  pair.request(query(text));
  pair.request(query("after"));
  SeenSocket* socket = finish(pair);
  ASSERT_NE(socket, nullptr);
  const std::string expected = startup() + query(text).substr(0, 5 + (1U << 20)) + query("after");
  EXPECT_EQ(socket->requests().data.size(), expected.size());
  EXPECT_TRUE(socket->requests().data == expected);
  EXPECT_EQ(socket->requests().cut, text.size() + 1 - (1U << 20));
  EXPECT_EQ(imbalance(*socket, pair.requests_moved, 0), "");
}

INSTANTIATE_TEST_SUITE_P(Everywhere, Bytes,
                         testing::Values(Where{Family::kTcp4, true}, Where{Family::kTcp6, true},
                                         Where{Family::kUnix, true}, Where{Family::kTcp4, false},
                                         Where{Family::kTcp6, false}),
                         name_of);

}  // namespace
}  // namespace gatehouse::capture::test
