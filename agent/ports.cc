// SPDX-License-Identifier: Apache-2.0
#include "agent/ports.h"

#include <algorithm>

#include "agent/capture/probe.h"

namespace gatehouse::agent {

std::vector<uint16_t> ports_to_watch(const AgentConfig& config) {
  constexpr size_t kPortsMax = 16;  // the kernel side's table, GH_PORTS_MAX
  std::vector<uint16_t> ports;
  const auto add = [&](uint16_t port) {
    if (port != 0 && ports.size() < kPortsMax && std::ranges::find(ports, port) == ports.end()) ports.push_back(port);
  };
  for (const AgentConfig::Database& database : config.databases)
    for (const ListenAddress& listen : database.listen) add(listen.port);
  for (const capture::Listener& listener : capture::find_listeners()) add(listener.port);
  add(5432);
  return ports;
}

}  // namespace gatehouse::agent
