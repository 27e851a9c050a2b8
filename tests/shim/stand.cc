// SPDX-License-Identifier: Apache-2.0
#include "tests/shim/stand.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "common/check.h"

namespace gatehouse::test {
namespace {

constexpr size_t kSaidBytesMax = 4096;

}  // namespace

void Record::on_socket_opened(const SocketOpened& record) {
  const std::lock_guard lock(mutex_);
  if (!open_.emplace(record.socket, all_.size()).second) fault("opened twice");
  all_.push_back({.opened = record, .path = std::string(record.server.path)});
}

void Record::on_chunk(const Chunk& record) {
  if (!keeps_bytes) return;
  const std::lock_guard lock(mutex_);
  const auto found = open_.find(record.socket);
  if (found == open_.end()) return fault("a chunk of a socket that is not open");
  Recorded& session = all_[found->second];
  const auto way = static_cast<size_t>(record.direction);
  if (record.offset != session.positions[way]) fault("a chunk that does not follow the one before");
  session.positions[way] = record.end();
  for (const Piece& piece : record.pieces)
    if (session.said[way].size() < kSaidBytesMax)
      session.said[way].append(reinterpret_cast<const char*>(piece.data.data()), piece.data.size());
}

void Record::on_socket_closed(const SocketClosed& record) {
  const std::lock_guard lock(mutex_);
  const auto found = open_.find(record.socket);
  if (found == open_.end()) return fault("closed, and not open");
  Recorded& session = all_[found->second];
  if (keeps_bytes && record.stream_bytes != session.positions) fault("totals are not what the chunks add up to");
  session.is_closed = true;
  session.closed = record;
  open_.erase(found);
}

std::string Record::faults() {
  const std::lock_guard lock(mutex_);
  return faults_;
}

std::vector<Recorded> Record::sessions() {
  const std::lock_guard lock(mutex_);
  return all_;
}

int listen_tcp(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  GH_CHECK(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  GH_CHECK(listen(fd, 4096) == 0);
  return fd;
}

int listen_unix(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  GH_CHECK(path.size() < sizeof(address.sun_path));
  std::memcpy(address.sun_path, path.data(), path.size());
  unlink(path.c_str());
  GH_CHECK(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  GH_CHECK(chmod(path.c_str(), 0777) == 0 && listen(fd, 4096) == 0);
  return fd;
}

uint16_t port_of(int socket) {
  sockaddr_in address{};
  socklen_t size = sizeof(address);
  GH_CHECK(getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return ntohs(address.sin_port);
}

}  // namespace gatehouse::test
