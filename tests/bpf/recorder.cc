// SPDX-License-Identifier: Apache-2.0
#include "tests/bpf/recorder.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>

namespace gatehouse::capture::test {

void Recorder::on_socket_opened(const SocketOpened& record) {
  SeenSocket& socket = sockets[record.socket];
  socket.opened = record;
  socket.server_path = record.server.path;
  socket.opened.server.path = {};
  order.push_back(record.socket);
}

void Recorder::on_chunk(const Chunk& record) {
  const auto found = sockets.find(record.socket);
  if (found == sockets.end()) {
    ++strangers;
    return;
  }
  SeenStream& stream = found->second.stream[static_cast<size_t>(record.direction)];
  if (record.offset > stream.end) stream.gaps += record.offset - stream.end;
  if (record.offset < stream.end) stream.overlaps += stream.end - record.offset;
  SeenChunk chunk{.offset = record.offset,
                  .end = record.end(),
                  .data = {},
                  .process = record.process,
                  .writer = record.writer,
                  .lost_reasons = record.lost_reasons,
                  .image = {}};
  if (processes != nullptr && record.direction == Direction::kRequest)
    chunk.image = processes->writer(record.writer, record.writer_uid);
  for (const Piece& piece : record.pieces) {
    if (piece.kind == Piece::Kind::kLost)
      stream.lost += piece.bytes;
    else
      stream.captured += piece.bytes;
    if (piece.kind == Piece::Kind::kCut) stream.cut += piece.bytes;
    if (piece.kind == Piece::Kind::kRows) stream.left_out += piece.bytes;
    stream.rows += piece.rows;
    if (piece.kind == Piece::Kind::kData)
      chunk.data.append(reinterpret_cast<const char*>(piece.data.data()), piece.data.size());
  }
  stream.data += chunk.data;
  stream.end = record.end();
  stream.chunks.push_back(std::move(chunk));
}

void Recorder::on_socket_opaque(const SocketOpaque& record) {
  if (const auto found = sockets.find(record.socket); found != sockets.end())
    found->second.opaque = record.reason;
  else
    ++strangers;
}

void Recorder::on_socket_closed(const SocketClosed& record) {
  if (const auto found = sockets.find(record.socket); found != sockets.end())
    found->second.closed = record;
  else
    ++strangers;
}

void Recorder::on_process_fork(const ProcessFork& record) {
  if (processes != nullptr) processes->on_fork(record);
  forks.push_back(record);
}

void Recorder::on_process_exit(const ProcessExit& record) {
  if (processes != nullptr) processes->on_exit(record);
  exits.push_back(record);
}

void Recorder::on_process_exec(const ProcessExec& record) {
  if (processes != nullptr) processes->on_exec(record);
  execs.push_back({.record = record,
                   .exe = std::string(record.exe),
                   .arguments = std::string(record.arguments),
                   .cwd = std::string(record.cwd)});
}

std::vector<SeenSocket*> Recorder::at(uint16_t port) {
  std::vector<SeenSocket*> result;
  for (const SocketId id : order)
    if (sockets[id].opened.server.port == port) result.push_back(&sockets[id]);
  return result;
}

std::vector<SeenSocket*> Recorder::at(const std::string& path) {
  std::vector<SeenSocket*> result;
  for (const SocketId id : order)
    if (sockets[id].server_path == path) result.push_back(&sockets[id]);
  return result;
}

Plane plane_under_test() {
  const char* const name = std::getenv("GATEHOUSE_PLANE");
  return name == nullptr ? Plane::kSocket : parse_plane(name).value();
}

bool hears_late() {
  const char* const hears = std::getenv("GATEHOUSE_HEARS");
  return hears != nullptr && std::string_view(hears) == "late";
}

Capture::Capture(CaptureConfig config) {
  config.plane = plane_under_test();
  config.hear_at_once = !hears_late();
  auto source = KernelSource::open(config);
  if (source)
    source_ = std::move(*source);
  else
    ADD_FAILURE() << "these tests need root and a kernel with the plane: " << source.error().message();
}

bool Capture::until(const std::function<bool()>& done) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!done()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    if (source_->poll(seen, 4096) == 0) source_->wait(10, 10);
  }
  return true;
}

void Capture::drain() {
  while (source_->poll(seen, 4096) > 0) {
  }
}

std::string imbalance(SeenSocket& socket, uint64_t requests_moved, uint64_t responses_moved) {
  if (!socket.closed) return "not closed";
  const std::array<uint64_t, kDirections> moved{requests_moved, responses_moved};
  for (size_t d = 0; d < kDirections; ++d) {
    const SeenStream& stream = socket.stream[d];
    const auto& reasons = socket.closed->lost_bytes[d];
    const uint64_t lost = std::accumulate(reasons.begin(), reasons.end(), uint64_t{0});
    const std::string name = d == 0 ? "requests: " : "responses: ";
    if (socket.closed->stream_bytes[d] != moved[d])
      return name + "moved " + std::to_string(moved[d]) + ", told " + std::to_string(socket.closed->stream_bytes[d]);
    if (socket.opened.origin[d] + stream.captured + lost != moved[d])
      return name + "captured " + std::to_string(stream.captured) + " + lost " + std::to_string(lost) + " of " +
             std::to_string(moved[d] - socket.opened.origin[d]);
    if (stream.overlaps != 0) return name + "bytes delivered twice: " + std::to_string(stream.overlaps);
  }
  return "";
}

std::string difference(const SeenStream& stream, const std::string& sent) {
  const auto [seen_at, sent_at] = std::mismatch(stream.data.begin(), stream.data.end(), sent.begin(), sent.end());
  std::string text = "of " + std::to_string(sent.size()) + " bytes " + std::to_string(stream.data.size()) +
                     " are data, alike up to " + std::to_string(sent_at - sent.begin()) + "; cut " +
                     std::to_string(stream.cut) + ", lost " + std::to_string(stream.lost) + ", gaps " +
                     std::to_string(stream.gaps) + ", chunks";
  for (const SeenChunk& chunk : stream.chunks)
    text += " " + std::to_string(chunk.offset) + "-" + std::to_string(chunk.end) +
            (chunk.lost_reasons != 0 ? "!" + std::to_string(chunk.lost_reasons) : "");
  return text + "\n";
}

std::string standing(const Capture& capture) {
  const CaptureCounters counters = capture.source().counters();
  return "rung " + std::string(to_string(capture.source().rung())) + ", faults " + std::to_string(counters.faults) +
         ", unsynced " + std::to_string(counters.unsynced) + ", rings full " +
         std::to_string(counters.request_ring_full) + " " + std::to_string(counters.response_ring_full) +
         ", programs missed " + std::to_string(counters.programs_missed);
}

}  // namespace gatehouse::capture::test
