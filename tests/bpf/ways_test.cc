// SPDX-License-Identifier: Apache-2.0
// Whatever way a program takes to a socket, what its peer received is what was captured, each byte once, and the
// process that did it is told; what cannot be seen is an exact gap with its reason.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

#include "tests/bpf/recorder.h"
#include "tests/bpf/ways.h"
#include "tests/bpf/wire.h"

namespace gatehouse::capture::test {
namespace {

constexpr uint16_t kPort = 26310;
const std::string kPath = "/tmp/.gatehouse-ways-" + std::to_string(getpid());

struct Where {
  Family family;
  bool client_end;
};

std::string name_of(const testing::TestParamInfo<Where>& param) {
  static constexpr std::array<const char*, 4> kNames{"Tcp4", "Tcp6", "Unix", "Mapped"};
  return std::string(kNames[static_cast<size_t>(param.param.family)]) + (param.param.client_end ? "" : "ServerEnd");
}

class Ways : public testing::TestWithParam<Where> {
 protected:
  // One capture for all ways: it takes longer to load than a way takes. It keeps everything at any fill of the rings:
  // 40,000 one-byte buffers are as many records, half a ring.
  Ways() : capture({.ports = {kPort}, .client_ends = GetParam().client_end, .may_degrade = false}) {}
  void SetUp() override {
    ASSERT_TRUE(capture.ok());
    // The kernels that this is built for can be made out; one that cannot would count such bytes as lost.
    ASSERT_EQ(capture.source().reads_pages(), plane_under_test() == Plane::kSocket);
  }

  [[nodiscard]] bool is_unix() const { return GetParam().family == Family::kUnix; }
  std::vector<SeenSocket*> sockets() { return is_unix() ? capture.seen.at(kPath) : capture.seen.at(kPort); }
  void check(const Way& way, Pair& pair, std::string requests, std::string responses);

  Capture capture;
};

// Does the plane under test read them?
bool is_seen(By by) {
  switch (plane_under_test()) {
    case Plane::kSocket:
      return by != By::kSplice;
    case Plane::kLength:
      return by == By::kCall;
    case Plane::kSyscall:
      return by == By::kCall || by == By::kMessages;
  }
  return false;
}

// Does it notice that they move? If not, their gap shows with the next bytes.
bool is_noticed(By by) {
  switch (plane_under_test()) {
    case Plane::kSocket:
    case Plane::kLength:
      return by != By::kSplice;
    case Plane::kSyscall:
      return by != By::kUring;
  }
  return false;
}

void Ways::check(const Way& way, Pair& pair, std::string requests, std::string responses) {
  // A Unix socket shows what was spliced from it when its owner is heard again.
  pair.request(frame('X', ""));
  pair.close();
  ASSERT_TRUE(capture.until([this] { return !sockets().empty() && sockets().back()->closed; }));
  SeenSocket& socket = *sockets().back();
  EXPECT_EQ(imbalance(socket, pair.requests_moved, pair.responses_moved), "");
  constexpr auto kUnsupported = static_cast<size_t>(LostReason::kUnsupported);
  const By request_by = is_unix() || !GetParam().client_end ? way.receives : way.sends;
  const By response_by = is_unix() || GetParam().client_end ? way.receives : way.sends;
  std::string last = frame('X', "");
  if (!is_seen(request_by)) {
    // In the fallback planes, bytes that follow a gap that nobody noticed could be any of those: they are lost, too.
    if (!is_unix() && plane_under_test() != Plane::kSocket && !is_noticed(request_by)) last.clear();
    EXPECT_EQ(socket.closed->lost_bytes[0][kUnsupported],
              requests.size() - startup().size() + frame('X', "").size() - last.size());
    requests = startup();
  }
  if (!is_seen(response_by)) {
    EXPECT_EQ(socket.closed->lost_bytes[1][kUnsupported], responses.size() - welcome().size());
    responses = welcome();
  }
  EXPECT_TRUE(socket.requests().data == requests + last)
      << difference(socket.requests(), requests + last) << standing(capture);
  EXPECT_TRUE(socket.responses().data == responses) << difference(socket.responses(), responses) << standing(capture);
  const auto self = static_cast<uint32_t>(getpid());
  for (const SeenChunk& chunk : socket.requests().chunks) {
    // A kernel thread that works for a process is that process.
    EXPECT_EQ(chunk.process.pid, self);
    if (GetParam().client_end) {
      EXPECT_EQ(chunk.writer.pid, self);
    }
  }
}

TEST_P(Ways, ThePeersBytesAreTheCaptured) {
  size_t tried = 0;
  for (const Way& way : all_ways()) {
    SCOPED_TRACE(way.name);
    Pair pair(GetParam().family, kPort, is_unix() ? kPath : "");
    pair.request(startup());
    pair.respond(welcome());
    std::string requests = startup(), responses = welcome();
    for (const size_t bytes : {1U, 60U, 63U, 64U, 200U, 1000U, 1100U, 4096U, 5000U, 40'000U}) {
      const std::string request = query(pattern(bytes));
      way.send(pair.client.get(), request);
      ASSERT_FALSE(HasFatalFailure());
      requests += way.receive(pair.server.get(), request.size());
      // Not longer than what is kept of a server's message.
      const std::string response = frame('N', pattern(bytes % 16'000)) + ready();
      way.send(pair.server.get(), response);
      ASSERT_FALSE(HasFatalFailure());
      responses += way.receive(pair.client.get(), response.size());
      pair.requests_moved += request.size();
      pair.responses_moved += response.size();
      capture.drain();
    }
    check(way, pair, requests, responses);
    ASSERT_EQ(sockets().size(), ++tried);
  }
}

INSTANTIATE_TEST_SUITE_P(Everywhere, Ways,
                         testing::Values(Where{Family::kTcp4, true}, Where{Family::kTcp4, false},
                                         Where{Family::kTcp6, true}, Where{Family::kMapped, true},
                                         Where{Family::kUnix, true}),
                         name_of);

}  // namespace
}  // namespace gatehouse::capture::test
