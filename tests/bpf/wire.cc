// SPDX-License-Identifier: Apache-2.0
#include "tests/bpf/wire.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace gatehouse::capture::test {
namespace {

std::string be32(uint32_t value) {
  const uint32_t network = htonl(value);
  return {reinterpret_cast<const char*>(&network), sizeof(network)};
}

struct Address {
  sockaddr_storage storage{};
  socklen_t bytes = 0;
};

Address address_of(Family family, uint16_t port, const std::string& path) {
  static constexpr in6_addr kMappedLoopback{{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}}};
  Address address;
  if (family == Family::kTcp4) {
    auto* in = reinterpret_cast<sockaddr_in*>(&address.storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.bytes = sizeof(*in);
  } else if (family == Family::kTcp6 || family == Family::kMapped) {
    auto* in = reinterpret_cast<sockaddr_in6*>(&address.storage);
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(port);
    in->sin6_addr = family == Family::kMapped ? kMappedLoopback : in6addr_loopback;
    address.bytes = sizeof(*in);
  } else {
    auto* un = reinterpret_cast<sockaddr_un*>(&address.storage);
    un->sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), un->sun_path);
    const bool is_abstract = path.starts_with('@');
    if (is_abstract) un->sun_path[0] = '\0';
    address.bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (is_abstract ? 0 : 1));
  }
  return address;
}

}  // namespace

Pair::Pair(Family family, uint16_t port, std::string path, uint16_t client_port) : path_(std::move(path)) {
  listen_and_connect(family, port, client_port);
}

void Pair::listen_and_connect(Family family, uint16_t port, uint16_t client_port) {
  const Address address = address_of(family, port, path_);
  const Address local = address_of(family == Family::kMapped ? Family::kTcp4 : family, port, path_);
  const UniqueFd listener(::socket(local.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address.storage);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<const sockaddr*>(&local.storage), local.bytes), 0)
      << std::strerror(errno);
  ASSERT_EQ(listen(listener.get(), 4), 0);
  client = UniqueFd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (client_port != 0) {
    const Address from = address_of(family, client_port, "");
    ASSERT_EQ(bind(client.get(), reinterpret_cast<const sockaddr*>(&from.storage), from.bytes), 0);
  }
  ASSERT_EQ(connect(client.get(), generic, address.bytes), 0) << std::strerror(errno);
  server = UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(server.valid());
  setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(server.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

Pair::~Pair() {
  close();
  if (!path_.empty() && path_[0] != '@') unlink(path_.c_str());
}

void Pair::close() {
  client.reset();
  if (!server.valid()) return;
  char byte = 0;
  while (recv(server.get(), &byte, 1, 0) > 0) {
  }
  server.reset();
}

std::string read_exactly(int fd, size_t bytes, size_t step) {
  std::string result(bytes, '\0');
  size_t done = 0;
  while (done < bytes) {
    const ssize_t got = recv(fd, result.data() + done, std::min(step, bytes - done), 0);
    if (got <= 0) {
      ADD_FAILURE() << "read: " << std::strerror(errno);
      break;
    }
    done += static_cast<size_t>(got);
  }
  return result;
}

void send_exactly(int fd, std::string_view bytes, size_t step) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd, bytes.data(), std::min(step, bytes.size()), MSG_NOSIGNAL);
    ASSERT_GT(sent, 0) << std::strerror(errno);
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

namespace {

// What fits the socket's buffers is sent before it is read.
constexpr size_t kInFlightBytes = 64U << 10;

void carry(int from, int to, std::string_view bytes, size_t step, size_t read_step) {
  while (!bytes.empty()) {
    const size_t part = std::min(bytes.size(), kInFlightBytes);
    send_exactly(from, bytes.substr(0, part), step);
    EXPECT_EQ(read_exactly(to, part, read_step), bytes.substr(0, part));
    bytes.remove_prefix(part);
  }
}

}  // namespace

void Pair::request(std::string_view bytes, size_t step) {
  requests_moved += bytes.size();
  carry(client.get(), server.get(), bytes, step, step);
}

void Pair::respond(std::string_view bytes, size_t step, size_t read_step) {
  responses_moved += bytes.size();
  carry(server.get(), client.get(), bytes, step, read_step);
}

std::string frame(char tag, std::string_view body) {
  return tag + be32(static_cast<uint32_t>(body.size() + 4)) + std::string(body);
}

std::string startup(std::string_view user) {
  std::string body = be32(3U << 16) + "user";
  body += '\0';
  body += user;
  body += '\0';
  body += '\0';
  return be32(static_cast<uint32_t>(body.size() + 4)) + body;
}

std::string query(std::string_view sql) {
  return frame('Q', std::string(sql) + '\0');
}

std::string ssl_request() {
  return be32(8) + be32(80877103);
}

std::string row(size_t value_bytes) {
  return frame('D', std::string("\0\1", 2) + be32(static_cast<uint32_t>(value_bytes)) + pattern(value_bytes));
}

std::string ready() {
  return frame('Z', "I");
}

std::string welcome() {
  return frame('R', std::string(4, '\0')) + ready();
}

size_t count_frames(std::string_view frames, char tag) {
  size_t count = 0;
  while (frames.size() >= 5) {
    size_t bytes = 0;
    for (size_t i = 1; i < 5; ++i) bytes = bytes << 8 | static_cast<unsigned char>(frames[i]);
    count += frames[0] == tag ? 1 : 0;
    frames.remove_prefix(std::min(bytes + 1, frames.size()));
  }
  return count;
}

std::string pattern(size_t bytes) {
  std::string text(bytes, '\0');
  uint32_t state = 1;
  for (char& c : text) {
    state = state * 1664525U + 1013904223U;
    c = static_cast<char>('a' + (state >> 24) % 26);
  }
  return text;
}

}  // namespace gatehouse::capture::test
