// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>

#include <bit>
#include <cstring>

#include "agent/replay/ghcap.h"
#include "common/crc32c.h"

namespace gatehouse::replay {
namespace {

constexpr size_t kFlushBytes = 256U << 10;
constexpr size_t kRecordHeaderSize = 8;
static_assert(std::endian::native == std::endian::little, "integers are copied as they are");

}  // namespace

Result<std::unique_ptr<Writer>> Writer::create(const std::string& path) {
  GH_ASSIGN(UniqueFd fd, open_file(path, O_WRONLY | O_CREAT | O_EXCL));
  return std::unique_ptr<Writer>(new Writer(std::move(fd)));
}

Writer::Writer(UniqueFd fd) : fd_(std::move(fd)) {
  const auto magic = std::as_bytes(std::span{kMagic});
  buffer_.assign(magic.begin(), magic.end());
  put(kFormatVersion);
}

Writer::~Writer() {
  // An error stays in status_, for who asks before.
  static_cast<void>(flush().has_value());
}

template <typename T>
void Writer::put(T value) {
  const size_t at = buffer_.size();
  buffer_.resize(at + sizeof(value));
  std::memcpy(buffer_.data() + at, &value, sizeof(value));
}

void Writer::put_text(std::string_view text) {
  put(static_cast<uint32_t>(text.size()));
  const auto bytes = as_bytes(text);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void Writer::put_process(const ProcessKey& process) {
  put(process.pid);
  put(process.start_ns);
}

void Writer::put_endpoint(const Endpoint& endpoint) {
  const auto address = std::as_bytes(std::span{endpoint.address});
  buffer_.insert(buffer_.end(), address.begin(), address.end());
  put(endpoint.port);
  put_text(endpoint.path);
}

void Writer::begin(uint8_t kind) {
  record_at_ = buffer_.size();
  buffer_.resize(record_at_ + kRecordHeaderSize);
  put(kind);
}

void Writer::end() {
  const auto body = std::span{buffer_}.subspan(record_at_ + kRecordHeaderSize);
  if (body.size() > kBodyBytesMax) {
    ++refused_;
    buffer_.resize(record_at_);
    return;
  }
  const std::array<uint32_t, 2> header{static_cast<uint32_t>(body.size()), crc32c(body)};
  std::memcpy(buffer_.data() + record_at_, header.data(), sizeof(header));
  ++records_;
  if (buffer_.size() >= kFlushBytes) static_cast<void>(flush().has_value());
}

Status Writer::flush() {
  if (status_.has_value() && !buffer_.empty()) status_ = write_all(fd_.get(), buffer_).context("writing capture file");
  buffer_.clear();
  return status_;
}

void Writer::on_socket_opened(const SocketOpened& record) {
  begin(1);
  put(record.socket);
  put(record.time_ns);
  put(static_cast<uint8_t>(record.transport));
  const bool has_origin = record.origin != decltype(record.origin){};
  put(static_cast<uint8_t>((record.captured_at_client ? 1 : 0) | (record.joined ? 2 : 0) | (has_origin ? 4 : 0)));
  put(record.netns);
  put_endpoint(record.client);
  put_endpoint(record.server);
  put_process(record.client_opener);
  put_process(record.server_opener);
  put(record.client_uid);
  if (has_origin)
    for (const uint64_t offset : record.origin) put(offset);
  end();
}

void Writer::on_chunk(const Chunk& record) {
  if (record.pieces.size() > kPiecesMax) {
    ++refused_;
    return;
  }
  begin(2);
  put(record.socket);
  put(static_cast<uint8_t>(record.direction));
  put(record.offset);
  put(record.time_ns);
  put_process(record.process);
  put_process(record.writer);
  put(record.tid);
  put(static_cast<uint16_t>(record.pieces.size()));
  for (const Piece& piece : record.pieces) {
    put(static_cast<uint8_t>(piece.kind));
    put(piece.bytes);
    put(piece.rows);
    buffer_.insert(buffer_.end(), piece.data.begin(), piece.data.end());
  }
  end();
}

void Writer::on_socket_opaque(const SocketOpaque& record) {
  begin(3);
  put(record.socket);
  put(record.time_ns);
  put(static_cast<uint8_t>(record.reason));
  end();
}

void Writer::on_socket_closed(const SocketClosed& record) {
  begin(4);
  put(record.socket);
  put(record.time_ns);
  for (const uint64_t bytes : record.stream_bytes) put(bytes);
  for (const auto& direction : record.lost_bytes)
    for (const uint64_t bytes : direction) put(bytes);
  end();
}

void Writer::on_process_exec(const ProcessExec& record) {
  begin(5);
  put_process(record.process);
  put_process(record.parent);
  put(record.time_ns);
  for (const uint32_t id :
       {record.uid, record.gid, record.euid, record.egid, record.loginuid, record.audit_session, record.tty})
    put(id);
  put(record.cgroup_id);
  put(record.exe_inode);
  for (const uint32_t number :
       {record.exe_device, record.exe_links, record.pid_namespace, record.mount_namespace, record.net_namespace})
    put(number);
  put(static_cast<uint8_t>(record.arguments_cut ? 1 : 0));
  for (const std::string_view text : {record.exe, record.arguments, record.cwd, record.cgroup_path}) put_text(text);
  end();
}

void Writer::on_process_fork(const ProcessFork& record) {
  begin(6);
  put_process(record.parent);
  put_process(record.child);
  put(record.time_ns);
  end();
}

void Writer::on_process_exit(const ProcessExit& record) {
  begin(7);
  put_process(record.process);
  put(record.time_ns);
  put(record.status);
  end();
}

}  // namespace gatehouse::replay
