// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "agent/replay/ghcap.h"
#include "common/crc32c.h"
#include "common/reader.h"

namespace gatehouse::replay {
namespace {

constexpr size_t kFileHeaderSize = kMagic.size() + sizeof(uint16_t);
constexpr size_t kRecordHeaderSize = 8;

ProcessKey read_process(Reader& r) {
  return {.pid = r.le<uint32_t>(), .start_ns = r.le<uint64_t>()};
}

std::string_view read_text(Reader& r) {
  return Reader::as_text(r.take(r.le<uint32_t>()));
}

Endpoint read_endpoint(Reader& r) {
  Endpoint endpoint;
  const auto address = r.take(endpoint.address.size());
  std::ranges::transform(address, endpoint.address.begin(), [](std::byte b) { return std::to_integer<uint8_t>(b); });
  endpoint.port = r.le<uint16_t>();
  endpoint.path = read_text(r);
  return endpoint;
}

// An enumerator, if it is one. False: it is not.
template <typename Enum>
bool read_enum(Reader& r, Enum last, Enum& value) {
  const auto number = r.le<uint8_t>();
  if (number > static_cast<uint8_t>(last)) return false;
  value = static_cast<Enum>(number);
  return true;
}

bool is_finished(const Reader& r) {
  return r.ok() && r.left() == 0;
}

bool read_opened(Reader r, RecordSink& sink) {
  SocketOpened record;
  record.socket = r.le<uint64_t>();
  record.time_ns = r.le<uint64_t>();
  if (!read_enum(r, Transport::kUnix, record.transport)) return false;
  const auto flags = r.le<uint8_t>();
  if (flags > 7) return false;
  record.captured_at_client = (flags & 1) != 0;
  record.joined = (flags & 2) != 0;
  record.netns = r.le<uint32_t>();
  record.client = read_endpoint(r);
  record.server = read_endpoint(r);
  record.client_opener = read_process(r);
  record.server_opener = read_process(r);
  record.client_uid = r.le<uint32_t>();
  if ((flags & 4) != 0)
    for (uint64_t& offset : record.origin) offset = r.le<uint64_t>();
  if (!is_finished(r)) return false;
  sink.on_socket_opened(record);
  return true;
}

bool read_pieces(Reader& r, std::vector<Piece>& pieces) {
  const size_t count = r.le<uint16_t>();
  if (count > kPiecesMax) return false;
  pieces.clear();
  for (size_t i = 0; i < count; ++i) {
    Piece piece;
    if (!read_enum(r, Piece::Kind::kLost, piece.kind)) return false;
    piece.bytes = r.le<uint32_t>();
    piece.rows = r.le<uint32_t>();
    if (piece.kind == Piece::Kind::kData) piece.data = r.take(piece.bytes);
    if (!r.ok()) return false;
    pieces.push_back(piece);
  }
  return true;
}

bool read_chunk(Reader r, std::vector<Piece>& pieces, RecordSink& sink) {
  Chunk record;
  record.socket = r.le<uint64_t>();
  if (!read_enum(r, Direction::kResponse, record.direction)) return false;
  record.offset = r.le<uint64_t>();
  record.time_ns = r.le<uint64_t>();
  record.process = read_process(r);
  record.writer = read_process(r);
  record.tid = r.le<uint32_t>();
  if (!read_pieces(r, pieces) || !is_finished(r)) return false;
  record.pieces = pieces;
  // The end of the stream must be a position.
  if (record.end() < record.offset) return false;
  sink.on_chunk(record);
  return true;
}

bool read_opaque(Reader r, RecordSink& sink) {
  SocketOpaque record;
  record.socket = r.le<uint64_t>();
  record.time_ns = r.le<uint64_t>();
  if (!read_enum(r, SocketOpaque::Reason::kNotProtocol, record.reason) || !is_finished(r)) return false;
  sink.on_socket_opaque(record);
  return true;
}

bool read_closed(Reader r, RecordSink& sink) {
  SocketClosed record;
  record.socket = r.le<uint64_t>();
  record.time_ns = r.le<uint64_t>();
  for (uint64_t& bytes : record.stream_bytes) bytes = r.le<uint64_t>();
  for (auto& direction : record.lost_bytes)
    for (uint64_t& bytes : direction) bytes = r.le<uint64_t>();
  if (!is_finished(r)) return false;
  sink.on_socket_closed(record);
  return true;
}

bool read_exec(Reader r, RecordSink& sink) {
  ProcessExec record;
  record.process = read_process(r);
  record.parent = read_process(r);
  record.time_ns = r.le<uint64_t>();
  for (uint32_t* id :
       {&record.uid, &record.gid, &record.euid, &record.egid, &record.loginuid, &record.audit_session, &record.tty})
    *id = r.le<uint32_t>();
  record.cgroup_id = r.le<uint64_t>();
  record.exe_inode = r.le<uint64_t>();
  for (uint32_t* number :
       {&record.exe_device, &record.exe_links, &record.pid_namespace, &record.mount_namespace, &record.net_namespace})
    *number = r.le<uint32_t>();
  const auto cut = r.le<uint8_t>();
  record.arguments_cut = cut != 0;
  for (std::string_view* text : {&record.exe, &record.arguments, &record.cwd, &record.cgroup_path})
    *text = read_text(r);
  if (!is_finished(r) || cut > 1) return false;
  sink.on_process_exec(record);
  return true;
}

bool read_fork(Reader r, RecordSink& sink) {
  ProcessFork record;
  record.parent = read_process(r);
  record.child = read_process(r);
  record.time_ns = r.le<uint64_t>();
  if (!is_finished(r)) return false;
  sink.on_process_fork(record);
  return true;
}

bool read_exit(Reader r, RecordSink& sink) {
  ProcessExit record;
  record.process = read_process(r);
  record.time_ns = r.le<uint64_t>();
  record.status = static_cast<int32_t>(r.le<uint32_t>());
  if (!is_finished(r)) return false;
  sink.on_process_exit(record);
  return true;
}

}  // namespace

std::string_view outcome_text(ReadOutcome outcome) {
  switch (outcome) {
    case ReadOutcome::kReading:
      return "reading";
    case ReadOutcome::kEnd:
      return "end of file";
    case ReadOutcome::kCut:
      return "the file ends inside a record";
    case ReadOutcome::kNotGhcap:
      return "not a capture file";
    case ReadOutcome::kVersion:
      return "a capture file of another version";
    case ReadOutcome::kTooLarge:
      return "a record longer than the format allows";
    case ReadOutcome::kChecksum:
      return "a record whose checksum does not match";
    case ReadOutcome::kMalformed:
      return "a malformed record";
  }
  return "";
}

Parser::Parser(std::span<const std::byte> file) : file_(file) {
  Reader r{file_};
  const auto magic = r.take(kMagic.size());
  const auto version = r.le<uint16_t>();
  if (!r.ok() || !std::ranges::equal(magic, std::as_bytes(std::span{kMagic}))) {
    outcome_ = ReadOutcome::kNotGhcap;
  } else if (version != kFormatVersion) {
    outcome_ = ReadOutcome::kVersion;
  } else {
    offset_ = kFileHeaderSize;
  }
}

bool Parser::next(RecordSink& sink) {
  if (outcome_ != ReadOutcome::kReading) return false;
  Reader r{file_.subspan(offset_)};
  if (r.left() == 0) return stop(ReadOutcome::kEnd);
  const auto body_bytes = r.le<uint32_t>();
  const auto checksum = r.le<uint32_t>();
  if (!r.ok()) return stop(ReadOutcome::kCut);
  if (body_bytes > kBodyBytesMax) return stop(ReadOutcome::kTooLarge);
  const auto body = r.take(body_bytes);
  if (!r.ok()) return stop(ReadOutcome::kCut);
  if (crc32c(body) != checksum) return stop(ReadOutcome::kChecksum);
  if (!dispatch(body, sink)) return stop(ReadOutcome::kMalformed);
  offset_ += kRecordHeaderSize + body_bytes;
  return true;
}

bool Parser::dispatch(std::span<const std::byte> body, RecordSink& sink) {
  Reader r{body};
  switch (r.le<uint8_t>()) {
    case 1:
      return read_opened(r, sink);
    case 2:
      return read_chunk(r, pieces_, sink);
    case 3:
      return read_opaque(r, sink);
    case 4:
      return read_closed(r, sink);
    case 5:
      return read_exec(r, sink);
    case 6:
      return read_fork(r, sink);
    case 7:
      return read_exit(r, sink);
    default:
      return false;
  }
}

}  // namespace gatehouse::replay
