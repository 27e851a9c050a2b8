// SPDX-License-Identifier: Apache-2.0
// Which sockets of this host listen for a database or are connected to one, in all network namespaces.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/capture/plane.h"
#include "agent/capture/programs.h"
#include "agent/stream/host_socket.h"
#include "common/result.h"

namespace gatehouse::capture {

// `ports`: those that are a database's by configuration. Others are by the program that listens, or because a watched
// session is there. Not found: a socket that no process has a descriptor of.
Result<std::vector<HostSocket>> list_sockets(const Programs& programs, std::span<const uint16_t> ports);

// The same for whoever does not watch: loads one program of the plane for the occasion. Nothing is known of sessions
// then.
Result<std::vector<HostSocket>> list_unwatched_sockets(Plane plane, std::span<const uint16_t> ports);

// The two passes' records (gh_socket, see bpf/sockets.h) put together. Pure; `exe_of` tells a process's program.
struct DatabaseAddresses {
  std::vector<uint16_t> ports;     // sorted
  std::vector<std::string> paths;  // of Unix sockets; sorted
};
std::vector<HostSocket> database_listeners(std::string_view records, std::span<const uint16_t> ports,
                                           const std::function<std::string(const ProcessKey&)>& exe_of);
DatabaseAddresses addresses_of(std::span<const HostSocket> listeners, std::span<const uint16_t> ports);
// One for each connection, whose ends may be two records, each from several processes.
std::vector<HostSocket> database_connections(std::string_view records, const DatabaseAddresses& addresses);

}  // namespace gatehouse::capture
