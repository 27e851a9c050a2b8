// SPDX-License-Identifier: Apache-2.0
// Clients that say where they are, and a server that says whom it sees, for tests of who is led where.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <cstdint>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "common/file.h"

namespace gatehouse::capture::test {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t bytes = 0;
  [[nodiscard]] const sockaddr* generic() const { return reinterpret_cast<const sockaddr*>(&storage); }
};
// "127.0.0.1", "::1", "::ffff:127.0.0.1"; a path, or '@' and an abstract name.
SocketAddress address_of(const std::string& where, uint16_t port = 0);
// As address_of() takes it, with " PORT" behind if it has one. A mapped address is its IPv4 one.
std::string text_of(const SocketAddress& address);
std::string local_of(int fd);
std::string peer_of(int fd);

// What a client has found.
struct Visit {
  int error = 0;  // of connect()
  std::string local, peer;
  std::string seen_as;  // what the server says: its accept(), then its getpeername()
  pid_t pid = 0;        // the client's
};
struct VisitOptions {
  uint16_t from_port = 0;  // bound to it, and closed with a reset so that it is free at once
  std::string folder;      // where it goes first: relative paths
  uint32_t uid = 0;
  int netns = -1;
  std::string local;      // bound to this address
  std::string device;     // SO_BINDTODEVICE
  int protocol = 0;       // other than TCP
  bool is_fast = false;   // the first bytes go with the SYN (sendto with MSG_FASTOPEN)
  bool is_prompt = true;  // false: connect() does not wait
};
// Connects, says a startup message, and hears the server out. In a process of its own.
Visit visit(const std::string& where, uint16_t port = 0, const VisitOptions& options = {});

// A server that tells each client whom it sees. Its threads end with it.
class Host {
 public:
  Host() = default;
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;
  // `netns`: a network namespace's descriptor; -1: this one.
  void listen_at(const std::string& where, uint16_t port = 0, int netns = -1);
  std::atomic<uint64_t> accepted{0};
  // Of the last that came by a Unix socket.
  std::atomic<pid_t> last_pid{0};
  std::atomic<uid_t> last_uid{0};

 private:
  void serve(int listener);
  std::list<UniqueFd> listeners_;
  std::vector<std::thread> threads_;
};

// A shell's command, and what it says.
struct Output {
  int status = -1;
  std::string text;
};
Output run(const std::string& command);

// A socket that listens; port 0: any.
UniqueFd listening(const std::string& where, uint16_t port = 0);

}  // namespace gatehouse::capture::test
