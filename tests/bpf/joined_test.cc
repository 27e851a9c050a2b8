// SPDX-License-Identifier: Apache-2.0
// Sessions that were open before the capture.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <memory>

#include "tests/bpf/recorder.h"
#include "tests/bpf/wire.h"

namespace gatehouse::capture::test {
namespace {

constexpr uint16_t kPort = 15406;
const std::string kPath = "/tmp/.s.PGSQL." + std::to_string(getpid());

struct Where {
  Family family;
  bool client_end;
};

std::string name_of(const testing::TestParamInfo<Where>& info) {
  static constexpr std::array<const char*, 3> kNames{"Tcp4", "Tcp6", "Unix"};
  return std::string(kNames[static_cast<size_t>(info.param.family)]) + (info.param.client_end ? "" : "ServerEnd");
}

class Joined : public testing::TestWithParam<Where> {
 protected:
  Joined() : pair(GetParam().family, kPort, GetParam().family == Family::kUnix ? kPath : "") {
    pair.request(startup());
    pair.respond(welcome());
    before_requests = pair.requests_moved;
    before_responses = pair.responses_moved;
  }
  void start() {
    capture = std::make_unique<Capture>(CaptureConfig{.ports = {kPort}, .client_ends = GetParam().client_end});
    ASSERT_TRUE(capture->ok());
  }
  SeenSocket* finish() {
    pair.close();
    const auto find = [this] {
      return GetParam().family == Family::kUnix ? capture->seen.at(kPath) : capture->seen.at(kPort);
    };
    EXPECT_TRUE(capture->until([&] { return !find().empty() && find()[0]->closed; }));
    EXPECT_EQ(find().size(), 1U);
    return find().empty() ? nullptr : find()[0];
  }

  // As the capture counts: a joined TCP stream from its first byte, a Unix one from where it was joined.
  static uint64_t moved(uint64_t before, uint64_t now) {
    return GetParam().family == Family::kUnix ? now - before : now;
  }

  Pair pair;
  uint64_t before_requests, before_responses;
  std::unique_ptr<Capture> capture;
};

TEST_P(Joined, IdleSessionLosesNothing) {
  ASSERT_NO_FATAL_FAILURE(start());
  const std::string answer = frame('T', pattern(30)) + frame('C', "SELECT 0") + ready();
  for (int i = 0; i < 3; ++i) {
    pair.request(query("select " + std::to_string(i)));
    pair.respond(answer);
  }
  SeenSocket* socket = finish();
  ASSERT_NE(socket, nullptr);
  EXPECT_TRUE(socket->opened.joined);
  // TCP counts what moved before; nobody counts it for a Unix socket.
  const bool is_unix = GetParam().family == Family::kUnix;
  EXPECT_EQ(socket->opened.origin[0], is_unix ? 0 : before_requests);
  EXPECT_EQ(socket->opened.origin[1], is_unix ? 0 : before_responses);
  EXPECT_EQ(socket->requests().data, query("select 0") + query("select 1") + query("select 2"));
  EXPECT_EQ(socket->responses().data, answer + answer + answer);
  EXPECT_EQ(
      imbalance(*socket, moved(before_requests, pair.requests_moved), moved(before_responses, pair.responses_moved)),
      "");
}

// One that says nothing is known all the same, with both its processes.
TEST_P(Joined, SilentSessionIsKnown) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto find = [this] {
    return GetParam().family == Family::kUnix ? capture->seen.at(kPath) : capture->seen.at(kPort);
  };
  EXPECT_TRUE(capture->until([&] { return !find().empty(); }));
  ASSERT_EQ(find().size(), 1U);
  const SocketOpened& opened = find()[0]->opened;
  EXPECT_TRUE(opened.joined);
  const auto self = static_cast<uint32_t>(getpid());
  if (GetParam().client_end) {
    EXPECT_EQ(opened.client_opener.pid, self);
  }
  EXPECT_EQ(opened.server_opener.pid, self);
  EXPECT_NE(opened.server_opener.start_ns, 0U);
  finish();
}

using JoinedBusy = Joined;

TEST_P(JoinedBusy, IsJoinedWhenItIsIdle) {
  // In the middle of a message of either side.
  const std::string request = query(pattern(500));
  const std::string answer = frame('E', pattern(500)) + ready();
  pair.request(request.substr(0, 100));
  pair.respond(answer.substr(0, 100));
  const uint64_t requests = pair.requests_moved, responses = pair.responses_moved;
  ASSERT_NO_FATAL_FAILURE(start());
  pair.request(request.substr(100));
  pair.respond(answer.substr(100));
  pair.request(query("select 1"));
  pair.respond(welcome());
  SeenSocket* socket = finish();
  ASSERT_NE(socket, nullptr);
  EXPECT_EQ(socket->requests().data, query("select 1"));
  EXPECT_EQ(socket->responses().data, ready() + welcome());
  EXPECT_EQ(imbalance(*socket, moved(requests, pair.requests_moved), moved(responses, pair.responses_moved)), "");
}

using JoinedTls = Joined;

std::string tls_record(uint8_t type, size_t bytes) {
  return std::string{static_cast<char>(type), 3, 3, static_cast<char>(bytes >> 8), static_cast<char>(bytes)} +
         pattern(bytes);
}

// It never comes to a message. Both directions begin with records, of which one is read header first, as OpenSSL does.
TEST_P(JoinedTls, IsOpaqueOnceBothSidesSpoke) {
  ASSERT_NO_FATAL_FAILURE(start());
  pair.request(tls_record(0x17, 40) + tls_record(0x17, 300));
  const std::string answer = tls_record(0x17, 600);
  pair.respond(answer.substr(0, 5));
  pair.respond(answer.substr(5));
  pair.request(tls_record(0x15, 2));
  SeenSocket* socket = finish();
  ASSERT_NE(socket, nullptr);
  ASSERT_TRUE(socket->opaque.has_value());
  EXPECT_EQ(*socket->opaque, SocketOpaque::Reason::kTls);
  EXPECT_EQ(socket->requests().data + socket->responses().data, "");
  EXPECT_EQ(socket->closed->stream_bytes[0], pair.requests_moved);
  EXPECT_EQ(socket->closed->stream_bytes[1], pair.responses_moved);
}

// In the middle of a COPY any bytes may come from one side.
TEST_P(JoinedTls, IsNotTakenFromOneSide) {
  ASSERT_NO_FATAL_FAILURE(start());
  for (int i = 0; i < 3; ++i) pair.request(tls_record(0x17, 40));
  pair.respond(frame('C', "COPY 3") + ready());
  pair.request(query("select 1"));
  SeenSocket* socket = finish();
  ASSERT_NE(socket, nullptr);
  EXPECT_FALSE(socket->opaque.has_value());
  EXPECT_EQ(socket->requests().data, query("select 1"));
}

// What follows the first record must be one too.
TEST_P(JoinedTls, IsNotTakenFromAHeaderAlone) {
  ASSERT_NO_FATAL_FAILURE(start());
  pair.request(tls_record(0x17, 40) + pattern(60));
  pair.respond(tls_record(0x17, 40));
  pair.respond(ready());
  pair.request(query("select 1"));
  SeenSocket* socket = finish();
  ASSERT_NE(socket, nullptr);
  EXPECT_FALSE(socket->opaque.has_value());
  EXPECT_EQ(socket->requests().data, query("select 1"));
}

INSTANTIATE_TEST_SUITE_P(Everywhere, JoinedTls,
                         testing::Values(Where{Family::kTcp4, true}, Where{Family::kTcp6, true},
                                         Where{Family::kTcp4, false}),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Everywhere, Joined,
                         testing::Values(Where{Family::kTcp4, true}, Where{Family::kTcp6, true},
                                         Where{Family::kUnix, true}, Where{Family::kTcp4, false}),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Everywhere, JoinedBusy,
                         testing::Values(Where{Family::kTcp4, true}, Where{Family::kUnix, true},
                                         Where{Family::kTcp4, false}),
                         name_of);

}  // namespace
}  // namespace gatehouse::capture::test
