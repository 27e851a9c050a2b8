// SPDX-License-Identifier: Apache-2.0
// A socket of this host that listens for a database or is connected to one, whether or not it is watched.
#pragma once

#include <cstdint>
#include <string>

#include "agent/stream/records.h"
#include "common/process_key.h"

namespace gatehouse {

struct HostSocketEnd {
  ProcessKey process{};  // who holds it; unknown: not on this host, or nobody has a descriptor
  uint64_t inode = 0;    // as `ss -e` shows it; 0: not on this host
};

// What listens, or a connection with those of its ends that are here.
struct HostSocket {
  // Of a connection.
  enum class State : uint8_t {
    kUnknown,  // nobody watches it, or nobody runs
    kSilent,   // watched, and nothing was said yet
    kIgnored,  // looked at, and found to speak something else
    kSession,  // watched: `session`
  };
  bool is_listener = false;
  State state = State::kUnknown;
  Transport transport = Transport::kTcp4;
  SocketId session = 0;
  uint32_t netns = 0;  // inode of the network namespace
  Endpoint client{};   // without paths
  Endpoint server{};
  std::string path;  // kUnix: of the server, an abstract one starts with '@'
  HostSocketEnd client_end{}, server_end{};
};

}  // namespace gatehouse
