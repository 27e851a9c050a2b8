// SPDX-License-Identifier: Apache-2.0
// Oracle: whatever the reader accepts moves forward, and a connection keeps its account of whatever it is given. The
// checksum would keep the fuzzer out, so the records of the input get the right one.
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

#include "agent/replay/ghcap.h"
#include "agent/stream/connection.h"
#include "common/crc32c.h"
#include "common/limits.h"

namespace {

using namespace gatehouse;

class Observer final : public ConnectionObserver {
 public:
  void on_activity(const Activity& activity) override { bytes += activity.text.size(); }
  void on_gap(const Gap& gap) override { bytes += gap.bytes; }
  uint64_t bytes = 0;
};

class Sink final : public RecordSink {
 public:
  void on_socket_opened(const SocketOpened& record) override {
    if (connections_.size() < 16) connections_.try_emplace(record.socket, std::make_unique<Connection>(record));
  }
  void on_chunk(const Chunk& record) override {
    if (Connection* connection = find(record.socket)) {
      connection->on_chunk(record, observer_);
      check(*connection);
    }
  }
  void on_socket_opaque(const SocketOpaque& record) override {
    if (Connection* connection = find(record.socket)) connection->on_opaque(record, observer_);
  }
  void on_socket_closed(const SocketClosed& record) override {
    if (Connection* connection = find(record.socket)) {
      connection->on_closed(record, observer_);
      check(*connection);
    }
  }
  void on_process_exec(const ProcessExec& record) override { observer_.bytes += record.exe.size(); }
  void on_process_fork(const ProcessFork&) override {}
  void on_process_exit(const ProcessExit&) override {}

 private:
  Connection* find(SocketId socket) {
    const auto found = connections_.find(socket);
    return found == connections_.end() ? nullptr : found->second.get();
  }
  static void check(const Connection& connection) {
    for (const Direction direction : {Direction::kRequest, Direction::kResponse})
      if (connection.ledger(direction).total() != connection.position(direction) - connection.origin(direction))
        std::abort();
    if (connection.session().memory_bytes() > kSessionBytesMax) std::abort();
  }

  Observer observer_;
  std::map<SocketId, std::unique_ptr<Connection>> connections_;
};

void fix_checksums(std::vector<std::byte>& file) {
  for (size_t at = 8; at + 8 <= file.size();) {
    uint32_t size = 0;
    std::memcpy(&size, file.data() + at, sizeof(size));
    if (size > file.size() - at - 8) return;
    const uint32_t checksum = crc32c(std::span{file}.subspan(at + 8, size));
    std::memcpy(file.data() + at + 4, &checksum, sizeof(checksum));
    at += 8 + size;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto input = std::as_bytes(std::span{data, size});
  std::vector<std::byte> file(input.begin(), input.end());
  fix_checksums(file);
  replay::Parser parser(file);
  Sink sink;
  size_t before = parser.offset();
  while (parser.next(sink)) {
    if (parser.offset() <= before) std::abort();
    before = parser.offset();
  }
  if (parser.outcome() == replay::ReadOutcome::kReading || parser.outcome() == replay::ReadOutcome::kChecksum)
    std::abort();
  return 0;
}
