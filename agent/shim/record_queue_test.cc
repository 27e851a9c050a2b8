// SPDX-License-Identifier: Apache-2.0
#include "agent/shim/record_queue.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace gatehouse::shim {
namespace {

// What comes out, as text.
class Listing final : public RecordSink {
 public:
  void on_socket_opened(const SocketOpened& r) override {
    add("opened", r.socket);
    text += std::string(r.client.path) + ">" + std::string(r.server.path) + (r.is_gated ? " gated" : "");
  }
  void on_chunk(const Chunk& r) override {
    add("chunk", r.socket);
    text += std::to_string(r.offset);
    for (const Piece& piece : r.pieces) {
      text += " " + std::to_string(static_cast<int>(piece.kind)) + ":" + std::to_string(piece.bytes) + ":" +
              std::to_string(piece.rows) + ":";
      for (const std::byte byte : piece.data) text += static_cast<char>(byte);
    }
  }
  void on_socket_opaque(const SocketOpaque& r) override { add("opaque", r.socket); }
  void on_refused(const Refused& r) override {
    add("refused", r.socket);
    text += std::to_string(r.offset) + " " + std::string(r.rule) + " " + std::string(r.message);
  }
  void on_masked(const Masked& r) override {
    add("masked", r.socket);
    text += std::to_string(r.values) + " " + std::string(r.mask) + " " + std::string(r.column) + " ";
    text += r.method;
  }
  void on_approval(const ApprovalStep& r) override {
    add("approval", r.socket);
    text += std::to_string(r.time_ns) + " " + std::string(r.approval);
  }
  void on_socket_closed(const SocketClosed& r) override {
    add("closed", r.socket);
    text += std::to_string(r.stream_bytes[1]);
  }
  void on_process_exec(const ProcessExec& /*r*/) override { FAIL(); }
  void on_process_fork(const ProcessFork& /*r*/) override { FAIL(); }
  void on_process_exit(const ProcessExit& /*r*/) override { FAIL(); }

  std::string text;
  size_t records = 0;

 private:
  void add(std::string_view kind, SocketId socket) {
    ++records;
    text += "\n" + std::string(kind) + " " + std::to_string(socket) + " ";
  }
};

void fill(RecordSink& sink, SocketId socket) {
  // Nothing of what is borrowed lives longer than the call.
  SocketOpened opened{.socket = socket, .transport = Transport::kUnix, .is_gated = true};
  std::string path = "/run/x" + std::to_string(socket);
  opened.server.path = path;
  sink.on_socket_opened(opened);
  path = "gone";
  std::string data = "Q" + std::to_string(socket);
  const Piece pieces[] = {{.kind = Piece::Kind::kData, .bytes = 2, .data = std::as_bytes(std::span(data))},
                          {.kind = Piece::Kind::kRows, .bytes = 100, .rows = 7}};
  sink.on_chunk({.socket = socket, .offset = 9, .pieces = pieces});
  sink.on_refused({.socket = socket, .offset = 9, .rule = "no-such", .message = data});
  sink.on_masked({.socket = socket, .offset = 9, .values = 3, .mask = "m", .column = data, .method = "hash"});
  sink.on_socket_opaque({.socket = socket});
  sink.on_approval({.socket = socket, .time_ns = 3, .approval = data});
  sink.on_socket_closed({.socket = socket, .stream_bytes = {1, socket}});
}

TEST(RecordQueue, GivesWhatItGotInOrder) {
  Listing direct, queued;
  RecordQueue queue(1 << 20, nullptr);
  for (const SocketId socket : {1, 22, 333}) {
    fill(direct, socket);
    fill(queue, socket);
  }
  EXPECT_EQ(queue.poll(queued, 100), 0U) << "not before take()";
  queue.take();
  EXPECT_EQ(queue.poll(queued, 4), 4U);
  fill(queue, 5);
  queue.take();  // what was taken before is not all read
  EXPECT_EQ(queue.poll(queued, 100), 17U);
  EXPECT_EQ(queued.text, direct.text);
  queue.take();
  EXPECT_EQ(queue.poll(queued, 100), 7U);
}

TEST(RecordQueue, SaysThatItIsFull) {
  int woken = 0;
  RecordQueue queue(4000, [&] { ++woken; });
  const auto fill_up = [&] {
    while (!queue.is_congested()) fill(queue, 1);
  };
  fill_up();
  EXPECT_EQ(woken, 1) << "when it was half full";
  Listing out;
  queue.take();
  while (queue.poll(out, 1) > 0) {
  }
  EXPECT_FALSE(queue.is_congested());
  fill_up();
  EXPECT_EQ(woken, 2);
}

TEST(RecordQueue, TwoThreads) {
  constexpr size_t kSessions = 20'000;
  RecordQueue queue(1 << 20, nullptr);
  std::thread producer([&] {
    for (size_t i = 0; i < kSessions; ++i) {
      while (queue.is_congested()) std::this_thread::yield();
      fill(queue, i);
    }
  });
  Listing out;
  while (out.records < 7 * kSessions) {
    queue.take();
    queue.poll(out, 1000);
  }
  producer.join();
  Listing direct;
  for (size_t i = 0; i < kSessions; ++i) fill(direct, i);
  EXPECT_EQ(out.text, direct.text);
}

}  // namespace
}  // namespace gatehouse::shim
