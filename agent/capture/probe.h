// SPDX-License-Identifier: Apache-2.0
// What this kernel and host allow, and which PostgreSQL servers listen here: for `doctor`, and for a clear error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/capture/plane.h"
#include "agent/stream/records.h"
#include "common/result.h"

namespace gatehouse::capture {

struct Requirement {
  std::string name;  // "tracepoint tcp_sendmsg_locked"
  bool available = false;
  std::string explanation;  // what it is for; if it is missing, why and what to do
};

// Everything that the plane needs, in the order in which it is worth mending. Loads nothing.
std::vector<Requirement> probe_requirements(Plane plane);
// Whether a Unix socket says how much waits to be read from it: from Linux 6.17 on.
bool unix_queue_tells_its_length();
// An error with the first missing requirement as one line.
Status check_requirements(Plane plane);

// The plane that is `wanted`, else the best one that this host has everything for. An error if there is none.
Result<Plane> choose_plane(std::optional<Plane> wanted);

// What of the traffic the plane does not see, as lines for people; each such byte is counted as lost.
std::string_view blind_spots(Plane plane);

// A socket on which a PostgreSQL server waits, in any network namespace of this host.
struct Listener {
  Transport transport = Transport::kTcp4;
  std::string address;  // "127.0.0.1", "::", or the path of a Unix socket
  uint16_t port = 0;    // TCP only
  uint32_t pid = 0;     // 0: no process could be found
  std::string exe;      // "" if it could not be read
};

// Whether a program file's name is that of a server, or of a pooler that speaks for one.
bool is_database_program(std::string_view exe);
// Whether a Unix socket is named as PostgreSQL names them.
bool is_database_path(std::string_view path);

// By the listening program (postgres, and poolers that speak for it) or by the socket's name. Reads /proc.
std::vector<Listener> find_listeners();

}  // namespace gatehouse::capture
