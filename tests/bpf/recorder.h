// SPDX-License-Identifier: Apache-2.0
// Recorder: remembers what a source delivered, per connection, and checks that every byte has an owner.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/capture/kernel_source.h"
#include "agent/identity/process_table.h"

namespace gatehouse::capture::test {

struct SeenChunk {
  uint64_t offset = 0;
  uint64_t end = 0;
  std::string data;  // of its kData pieces
  ProcessKey process, writer;
  uint32_t lost_reasons = 0;
  identity::ProcessRef image;  // of the writer, where a table is kept
};

struct SeenStream {
  std::string data;       // of all kData pieces
  uint64_t captured = 0;  // bytes of pieces other than kLost
  uint64_t lost = 0;      // bytes of kLost pieces
  uint64_t cut = 0;
  uint64_t left_out = 0;
  uint64_t rows = 0;
  uint64_t gaps = 0;  // bytes that no chunk covers
  uint64_t overlaps = 0;
  uint64_t end = 0;
  std::vector<SeenChunk> chunks;
};

struct SeenSocket {
  SocketOpened opened;
  std::string server_path;
  std::array<SeenStream, kDirections> stream;
  std::optional<SocketOpaque::Reason> opaque;
  std::optional<SocketClosed> closed;

  SeenStream& requests() { return stream[0]; }
  SeenStream& responses() { return stream[1]; }
};

struct SeenExec {
  ProcessExec record;
  std::string exe, arguments, cwd;
};

class Recorder final : public RecordSink {
 public:
  void on_socket_opened(const SocketOpened& record) override;
  void on_chunk(const Chunk& record) override;
  void on_socket_opaque(const SocketOpaque& record) override;
  void on_socket_closed(const SocketClosed& record) override;
  void on_process_exec(const ProcessExec& record) override;
  void on_process_fork(const ProcessFork& record) override;
  void on_process_exit(const ProcessExit& record) override;

  // Sockets whose server is at this TCP port, or at this path, in the order they were opened.
  std::vector<SeenSocket*> at(uint16_t port);
  std::vector<SeenSocket*> at(const std::string& path);

  // Where set, it is told of processes, and asked who wrote as each request comes.
  identity::ProcessTable* processes = nullptr;
  std::map<SocketId, SeenSocket> sockets;
  std::vector<SocketId> order;
  std::vector<SeenExec> execs;
  std::vector<ProcessFork> forks;
  std::vector<ProcessExit> exits;
  uint64_t strangers = 0;  // records of sockets that were not opened
};

// The plane under test: of the environment variable GATEHOUSE_PLANE, else the socket plane.
Plane plane_under_test();

// With GATEHOUSE_HEARS=late in the environment: no Unix session is heard (hearing.h) before one was polled.
bool hears_late();

// A source that is opened, or a test that has failed and says what is missing.
class Capture {
 public:
  // Unix sessions are heard from the start, unless hears_late(): tests look when it is all over.
  explicit Capture(CaptureConfig config);
  [[nodiscard]] bool ok() const { return source_ != nullptr; }
  // Polls until `done` holds, or for five seconds. Returns whether it held.
  bool until(const std::function<bool()>& done);
  // Polls what there is.
  void drain();
  KernelSource& source() { return *source_; }
  [[nodiscard]] const KernelSource& source() const { return *source_; }
  Recorder seen;

 private:
  std::unique_ptr<KernelSource> source_;
};

// "" if all bytes up to `moved` are captured or counted as lost, in both directions; else what is wrong.
std::string imbalance(SeenSocket& socket, uint64_t requests_moved, uint64_t responses_moved);

// Where what was seen of a stream first differs from what was sent, and what of it is not data.
std::string difference(const SeenStream& stream, const std::string& sent);
// What the kernel side counted and how much it keeps.
std::string standing(const Capture& capture);

}  // namespace gatehouse::capture::test
