// SPDX-License-Identifier: Apache-2.0
// What was not seen: every byte of it is told, with its reason.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "tests/bpf/recorder.h"
#include "tests/bpf/wire.h"

namespace gatehouse::capture::test {
namespace {

constexpr uint16_t kPort = 15408;
const std::string kPath = "/tmp/.gatehouse-losses-" + std::to_string(getpid());

// As pages of a file, which are sent without a copy.
void send_as_file(const UniqueFd& socket, const std::string& bytes) {
  const UniqueFd file(memfd_create("bytes", MFD_CLOEXEC));
  ASSERT_EQ(write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  off_t from = 0;
  ASSERT_EQ(sendfile(socket.get(), file.get(), &from, bytes.size()), static_cast<ssize_t>(bytes.size()));
}

// Rings far too small, and nobody reads them: what is lost is lost, but every byte of it is told.
TEST(Losses, EveryLostByteIsCounted) {
  for (const Family family : {Family::kTcp4, Family::kUnix}) {
    Capture capture({.ports = {kPort}, .request_ring_bytes = 64U << 10, .response_ring_bytes = 64U << 10});
    ASSERT_TRUE(capture.ok());
    Pair pair(family, kPort, family == Family::kUnix ? kPath : "");
    pair.request(startup());
    pair.respond(welcome());
    for (size_t i = 0; i < 300; ++i) {
      pair.request(query(pattern(i * 13)), i % 2 == 0 ? 1U << 20 : 100);
      pair.respond(frame('N', pattern(i * 11)) + ready(), 1U << 20, i % 3 == 0 ? 333 : 1U << 20);
      if (i % 100 == 99) capture.drain();
    }
    pair.close();
    const auto find = [&] { return family == Family::kUnix ? capture.seen.at(kPath) : capture.seen.at(kPort); };
    ASSERT_TRUE(capture.until([&] { return !find().empty() && find()[0]->closed; }));
    SeenSocket& socket = *find()[0];
    EXPECT_GT(socket.closed->lost_bytes[0][0], 0U);
    EXPECT_GT(socket.closed->lost_bytes[1][0], 0U);
    EXPECT_GT(socket.requests().gaps, 0U);
    EXPECT_EQ(imbalance(socket, pair.requests_moved, pair.responses_moved), "");
    EXPECT_GT(capture.source().counters().request_ring_full, 0U);
  }
}

// Nobody reads, and not even the records of life find room: sessions that came and went are told all the same, with
// what each has moved.
TEST(Losses, ALifeThatFoundNoRoomIsToldLater) {
  constexpr size_t kLives = 700;  // some 440 bytes of life each, for rings of 64 KiB
  for (const Family family : {Family::kTcp4, Family::kUnix}) {
    Capture capture({.ports = {kPort},
                     .control_ring_bytes = 64U << 10,
                     .request_ring_bytes = 64U << 10,
                     .response_ring_bytes = 64U << 10});
    ASSERT_TRUE(capture.ok());
    std::vector<std::array<uint64_t, kDirections>> moved;
    for (size_t i = 0; i < kLives; ++i) {
      Pair pair(family, kPort, family == Family::kUnix ? kPath : "");
      pair.request(startup());
      pair.respond(welcome());
      pair.request(query(pattern(100 + i)));
      pair.respond(frame('C', "SELECT 1") + ready());
      pair.close();
      moved.push_back({pair.requests_moved, pair.responses_moved});
    }
    const auto find = [&] { return family == Family::kUnix ? capture.seen.at(kPath) : capture.seen.at(kPort); };
    ASSERT_TRUE(capture.until([&] {
      const auto found = find();
      return found.size() == kLives && std::ranges::all_of(found, [](SeenSocket* s) { return s->closed.has_value(); });
    })) << find().size();
    EXPECT_GT(capture.source().counters().lives_recovered, 100U);
    EXPECT_EQ(capture.source().sessions_untold(), 0U);
    EXPECT_EQ(capture.seen.strangers, 0U);
    // Those that were told later come in no order; their requests differ in length.
    std::vector<SeenSocket*> sockets = find();
    std::ranges::sort(sockets, {}, [](SeenSocket* s) { return s->closed->stream_bytes[0]; });
    for (size_t i = 0; i < kLives; ++i) EXPECT_EQ(imbalance(*sockets[i], moved[i][0], moved[i][1]), "") << i;
  }
}

// Each gap says why: what could not be read is not what found no room.
TEST(Losses, AGapHasItsReason) {
  Capture capture({.ports = {kPort}, .read_pages = false});
  ASSERT_TRUE(capture.ok());
  Pair pair(Family::kTcp4, kPort);
  pair.request(startup());
  pair.respond(welcome());
  const std::string text = query(pattern(3000));
  send_as_file(pair.client, text);
  EXPECT_EQ(read_exactly(pair.server.get(), text.size()), text);
  pair.respond(frame('C', "SELECT 1") + ready());
  pair.request(query("select 1"));
  pair.request(query("select 2"));
  pair.requests_moved += text.size();
  pair.close();
  ASSERT_TRUE(capture.until([&] { return !capture.seen.at(kPort).empty() && capture.seen.at(kPort)[0]->closed; }));
  const std::vector<SeenChunk>& chunks = capture.seen.at(kPort)[0]->requests().chunks;
  ASSERT_EQ(chunks.size(), 3U);
  EXPECT_EQ(chunks[0].lost_reasons, 0U);
  EXPECT_EQ(chunks[1].offset, chunks[0].end + text.size());
  EXPECT_EQ(chunks[1].lost_reasons, 1U << static_cast<unsigned>(LostReason::kUnsupported));
  EXPECT_EQ(chunks[2].lost_reasons, 0U);
}

// The agent stops in the middle: where the open streams stand is known, also of what found no room.
TEST(Losses, PositionsOfOpenStreams) {
  for (const Family family : {Family::kTcp4, Family::kUnix}) {
    Capture capture({.ports = {kPort}, .request_ring_bytes = 64U << 10, .response_ring_bytes = 64U << 10});
    ASSERT_TRUE(capture.ok());
    Pair pair(family, kPort, family == Family::kUnix ? kPath : "");
    pair.request(startup());
    pair.respond(welcome());
    for (size_t i = 0; i < 300; ++i) {
      pair.request(query(pattern(500)));
      pair.respond(frame('N', pattern(500)) + ready());
    }
    capture.source().detach();
    capture.drain();
    const auto positions = capture.source().positions();
    ASSERT_TRUE(positions.has_value()) << positions.error().message();
    const auto found = family == Family::kUnix ? capture.seen.at(kPath) : capture.seen.at(kPort);
    ASSERT_EQ(found.size(), 1U);
    const auto mine = std::ranges::find(*positions, found[0]->opened.socket, &SocketClosed::socket);
    ASSERT_NE(mine, positions->end());
    capture.seen.on_socket_closed(*mine);
    EXPECT_GT(mine->lost_bytes[0][0], 0U);
    EXPECT_EQ(imbalance(*found[0], pair.requests_moved, pair.responses_moved), "");
  }
}

// Where the kernel's memory cannot be made out, pages of a file are not read but counted, and the rest goes on.
TEST(Losses, BytesOfAFileAreCounted) {
  Capture capture({.ports = {kPort}, .read_pages = false});
  ASSERT_TRUE(capture.ok());
  Pair pair(Family::kTcp4, kPort);
  pair.request(startup());
  pair.respond(welcome());
  const std::string text = query(pattern(3000));
  for (int i = 0; i < 2; ++i) {
    send_as_file(pair.client, text);
    EXPECT_EQ(read_exactly(pair.server.get(), text.size()), text);
    pair.requests_moved += text.size();
    if (i == 0) {
      pair.respond(frame('C', "SELECT 1") + ready());
      pair.request(query("select 1"));
    }
  }
  pair.close();
  ASSERT_TRUE(capture.until([&] { return !capture.seen.at(kPort).empty() && capture.seen.at(kPort)[0]->closed; }));
  SeenSocket& socket = *capture.seen.at(kPort)[0];
  EXPECT_EQ(imbalance(socket, pair.requests_moved, pair.responses_moved), "");
  EXPECT_EQ(socket.closed->lost_bytes[0][static_cast<size_t>(LostReason::kUnsupported)], 2 * text.size());
  EXPECT_EQ(socket.requests().data, startup() + query("select 1"));
}

// An urgent byte is sent in the middle of a statement and read by nobody: the record must not show another statement
// than the server's, so it shows a gap.
TEST(Losses, UrgentBytesAreNotPartOfAStatement) {
  for (const bool client_end : {true, false}) {
    Capture capture({.ports = {kPort}, .client_ends = client_end});
    ASSERT_TRUE(capture.ok());
    Pair pair(Family::kTcp4, kPort);
    pair.request(startup());
    pair.respond(welcome());
    const std::string text = query("drop table t");
    send_exactly(pair.client.get(), text.substr(0, 8));
    ASSERT_EQ(send(pair.client.get(), "!", 1, MSG_OOB), 1);
    send_exactly(pair.client.get(), text.substr(8));
    EXPECT_EQ(read_exactly(pair.server.get(), text.size()), text);
    pair.respond(frame('C', "DROP TABLE") + ready());
    pair.request(query("after"));
    pair.close();
    ASSERT_TRUE(capture.until([&] { return !capture.seen.at(kPort).empty() && capture.seen.at(kPort)[0]->closed; }));
    SeenSocket& socket = *capture.seen.at(kPort)[0];
    // A reader jumps over the byte. A fallback plane cannot tell where, and so not which bytes it read after that.
    const bool is_read_whole = client_end || plane_under_test() == Plane::kSocket;
    const size_t gap = 1 + (is_read_whole ? 0 : text.size() - 8);
    EXPECT_EQ(socket.requests().data, startup() + (is_read_whole ? text : text.substr(0, 8)) + query("after"));
    EXPECT_EQ(socket.closed->lost_bytes[0][static_cast<size_t>(LostReason::kUnsupported)], gap);
    EXPECT_EQ(imbalance(socket, pair.requests_moved + text.size() + 1, pair.responses_moved), "");
  }
}

// A reader that looks ahead at an offset: each byte is told as what it is, or as lost, and once.
TEST(Losses, LookingAheadAtAnOffset) {
  for (const Family family : {Family::kTcp4, Family::kUnix}) {
    Capture capture({.ports = {kPort}});
    ASSERT_TRUE(capture.ok());
    Pair pair(family, kPort, family == Family::kUnix ? kPath : "");
    pair.request(startup());
    const std::string first = welcome(), second = frame('N', pattern(50)), third = frame('N', "the third");
    send_exactly(pair.server.get(), first);
    send_exactly(pair.server.get(), second);
    const int zero = 0, off = -1;
    const int result = setsockopt(pair.client.get(), SOL_SOCKET, SO_PEEK_OFF, &zero, sizeof(zero));
    if (result != 0 && errno == EOPNOTSUPP && family == Family::kTcp4) continue;  // TCP has it from Linux 6.9 on
    ASSERT_EQ(result, 0);
    std::string ahead(first.size(), '\0');
    ASSERT_EQ(recv(pair.client.get(), ahead.data(), first.size(), MSG_PEEK), static_cast<ssize_t>(first.size()));
    EXPECT_EQ(ahead, first);
    ahead.resize(second.size());
    ASSERT_EQ(recv(pair.client.get(), ahead.data(), second.size(), MSG_PEEK), static_cast<ssize_t>(second.size()));
    EXPECT_EQ(ahead, second);
    EXPECT_EQ(read_exactly(pair.client.get(), first.size()), first);
    EXPECT_EQ(read_exactly(pair.client.get(), second.size()), second);
    ASSERT_EQ(setsockopt(pair.client.get(), SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off)), 0);
    pair.responses_moved += first.size() + second.size();
    pair.request(query("select 1"));
    pair.respond(third + ready());
    pair.close();
    const auto find = [&] { return family == Family::kUnix ? capture.seen.at(kPath) : capture.seen.at(kPort); };
    ASSERT_TRUE(capture.until([&] { return !find().empty() && find()[0]->closed; }));
    SeenSocket& socket = *find()[0];
    EXPECT_EQ(imbalance(socket, pair.requests_moved, pair.responses_moved), "");
    // Only the packet does not tell where in it a Unix socket looks: the call's memory does.
    if (family == Family::kTcp4 || plane_under_test() != Plane::kSocket) {
      EXPECT_EQ(socket.responses().data, first + second + third + ready());
    } else {
      EXPECT_EQ(socket.closed->lost_bytes[1][static_cast<size_t>(LostReason::kUnsupported)], second.size());
      EXPECT_TRUE(socket.responses().data.starts_with(first));
    }
  }
}

// How a connection ends decides whether its last sequence number is a byte's. What nobody saw is counted to the byte.
TEST(Losses, TheLastBytesAreCountedHoweverItEnds) {
  enum class End : uint8_t { kClient, kServer, kClientShutsFirst, kUnread, kReset };
  for (const bool client_end : {true, false})
    for (const End end : {End::kClient, End::kServer, End::kClientShutsFirst, End::kUnread, End::kReset}) {
      SCOPED_TRACE(testing::Message() << client_end << ' ' << static_cast<int>(end));
      Capture capture({.ports = {kPort}, .client_ends = client_end, .read_pages = false});
      ASSERT_TRUE(capture.ok());
      Pair pair(Family::kTcp4, kPort);
      pair.request(startup());
      pair.respond(welcome());
      // The captured end says this last, as pages; the other end may not read it.
      UniqueFd& speaker = client_end ? pair.client : pair.server;
      UniqueFd& listener = client_end ? pair.server : pair.client;
      const std::string text = client_end ? query("the last") : frame('N', "the last");
      send_as_file(speaker, text);
      read_exactly(listener.get(), text.size());
      const linger abort{.l_onoff = 1, .l_linger = 0};
      char byte = 0;
      if (end == End::kUnread) {
        send_exactly(listener.get(), ready());  // the speaker closes over it, which resets
        pollfd wait{.fd = speaker.get(), .events = POLLIN, .revents = 0};
        ASSERT_EQ(poll(&wait, 1, 1000), 1);
        speaker.reset();
      } else if (end == End::kReset) {
        setsockopt(listener.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
        listener.reset();
        EXPECT_EQ(recv(speaker.get(), &byte, 1, 0), -1);
      } else if (end == End::kServer) {
        pair.server.reset();
        EXPECT_EQ(recv(pair.client.get(), &byte, 1, 0), 0);
      } else if (end == End::kClientShutsFirst) {
        shutdown(pair.client.get(), SHUT_WR);
        EXPECT_EQ(recv(pair.server.get(), &byte, 1, 0), 0);
      }
      pair.close();
      ASSERT_TRUE(capture.until([&] { return !capture.seen.at(kPort).empty() && capture.seen.at(kPort)[0]->closed; }));
      SeenSocket& socket = *capture.seen.at(kPort)[0];
      const size_t spoken = client_end ? 0 : 1;
      EXPECT_EQ(socket.closed->lost_bytes[spoken][static_cast<size_t>(LostReason::kUnsupported)], text.size());
      EXPECT_EQ(socket.closed->stream_bytes[0], startup().size() + (client_end ? text.size() : 0));
      EXPECT_EQ(socket.closed->stream_bytes[1], welcome().size() + (client_end ? 0 : text.size()));
    }
}

// A connection that ends inside a header.
TEST(Losses, HalfAHeaderAtTheEnd) {
  for (const Family family : {Family::kTcp4, Family::kUnix}) {
    Capture capture({.ports = {kPort}});
    ASSERT_TRUE(capture.ok());
    Pair pair(family, kPort, family == Family::kUnix ? kPath : "");
    pair.request(startup() + "Q\1\2");
    pair.respond(welcome() + "ZZ");
    pair.close();
    const auto find = [&] { return family == Family::kUnix ? capture.seen.at(kPath) : capture.seen.at(kPort); };
    ASSERT_TRUE(capture.until([&] { return !find().empty() && find()[0]->closed; }));
    EXPECT_EQ(imbalance(*find()[0], pair.requests_moved, pair.responses_moved), "");
    EXPECT_EQ(find()[0]->requests().data, startup());
    EXPECT_EQ(find()[0]->responses().data, welcome());
  }
}

TEST(Losses, FramingThatMakesNoSenseIsToldAndLeft) {
  Capture capture({.ports = {kPort}});
  ASSERT_TRUE(capture.ok());
  Pair pair(Family::kTcp4, kPort);
  pair.request(startup());
  pair.respond(welcome());
  pair.respond("\x01garbage that is no frame");
  pair.respond(pattern(5000));
  pair.respond(frame('C', "SELECT 1") + ready());
  pair.respond(frame('C', "SELECT 2") + ready());
  pair.close();
  ASSERT_TRUE(capture.until([&] { return !capture.seen.at(kPort).empty() && capture.seen.at(kPort)[0]->closed; }));
  SeenSocket& socket = *capture.seen.at(kPort)[0];
  EXPECT_EQ(imbalance(socket, pair.requests_moved, pair.responses_moved), "");
  EXPECT_GT(socket.closed->lost_bytes[1][static_cast<size_t>(LostReason::kUnsynced)], 5000U);
  EXPECT_EQ(socket.responses().data, welcome() + ready() + frame('C', "SELECT 2") + ready());
}

}  // namespace
}  // namespace gatehouse::capture::test
