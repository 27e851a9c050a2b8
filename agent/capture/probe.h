// SPDX-License-Identifier: Apache-2.0
// What this kernel and host allow, and which PostgreSQL servers listen here: for `doctor`, and for a clear error.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/stream/records.h"
#include "common/result.h"

namespace gatehouse::capture {

struct Requirement {
  std::string name;  // "tracepoint tcp_sendmsg_locked"
  bool available = false;
  std::string explanation;  // what it is for; if it is missing, why and what to do
};

// Everything that the socket plane needs, in the order in which it is worth mending. Loads nothing.
std::vector<Requirement> probe_requirements();
// An error with the first missing requirement as one line.
Status check_requirements();

// A socket on which a PostgreSQL server waits, in any network namespace of this host.
struct Listener {
  Transport transport = Transport::kTcp4;
  std::string address;  // "127.0.0.1", "::", or the path of a Unix socket
  uint16_t port = 0;    // TCP only
  uint32_t pid = 0;     // 0: no process could be found
  std::string exe;      // "" if it could not be read
};

// By the listening program (postgres, and poolers that speak for it) or by the socket's name. Reads /proc.
std::vector<Listener> find_listeners();

}  // namespace gatehouse::capture
