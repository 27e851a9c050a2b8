// SPDX-License-Identifier: Apache-2.0
// Which TCP ports are a database's.
#pragma once

#include <cstdint>
#include <vector>

#include "agent/config/agent_config.h"

namespace gatehouse::agent {

// Ports of the configuration, and those where a PostgreSQL server listens now. A new session is known by its first
// packet on any port; a port matters for sessions that are open already and for what is not PostgreSQL on it.
std::vector<uint16_t> ports_to_watch(const AgentConfig& config);

}  // namespace gatehouse::agent
