// SPDX-License-Identifier: Apache-2.0
// Pairs of connected sockets, and PostgreSQL's wire format, for tests that say exactly which bytes move.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/file.h"

namespace gatehouse::capture::test {

// kMapped: an IPv6 socket that connects to ::ffff:127.0.0.1, where an IPv4 one listens.
enum class Family : uint8_t { kTcp4, kTcp6, kUnix, kMapped };

// A client and the server's end of its connection, both in this process. Counts what moved.
class Pair {
 public:
  // `path` for kUnix; it is created, and removed at the end. One that begins with '@' is abstract.
  // `client_port`: of the client's end; 0: any.
  Pair(Family family, uint16_t port, std::string path = {}, uint16_t client_port = 0);
  ~Pair();

  // Sends all of `bytes` in writes of at most `step`, and reads them at the other end in reads of at most `step`.
  void request(std::string_view bytes, size_t step = 1U << 20);
  void respond(std::string_view bytes, size_t step = 1U << 20, size_t read_step = 1U << 20);
  void close();

  UniqueFd client, server;
  uint64_t requests_moved = 0, responses_moved = 0;

 private:
  void listen_and_connect(Family family, uint16_t port, uint16_t client_port);
  std::string path_;
};

// Reads exactly `bytes` in reads of at most `step`.
std::string read_exactly(int fd, size_t bytes, size_t step = 1U << 20);
void send_exactly(int fd, std::string_view bytes, size_t step = 1U << 20);

std::string frame(char tag, std::string_view body);
std::string startup(std::string_view user = "alice");
std::string query(std::string_view sql);
std::string ssl_request();
std::string row(size_t value_bytes);
std::string ready();
// AuthenticationOk and ReadyForQuery: what a server says to a startup message.
std::string welcome();
// Frames with this tag in a row of whole frames.
size_t count_frames(std::string_view frames, char tag);
// `bytes` characters that differ by position, so that a shifted copy is not the same.
std::string pattern(size_t bytes);

}  // namespace gatehouse::capture::test
