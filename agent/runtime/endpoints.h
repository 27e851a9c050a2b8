// SPDX-License-Identifier: Apache-2.0
// How the two ends of a connection are written for people, and which configured database a server end is.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "agent/config/agent_config.h"
#include "agent/stream/records.h"

namespace gatehouse::runtime {

// "127.0.0.1", "fe80::1"; a v4-mapped v6 address as the v4 address it is; for Unix sockets the path.
std::string address_text(Transport transport, const Endpoint& endpoint);

// "127.0.0.1:5432", "[::1]:5432".
std::string end_text(const std::string& address, uint32_t port);

// Port; for a Unix socket named as PostgreSQL names them, the N of ".s.PGSQL.N"; else 0.
uint32_t port_number(Transport transport, const Endpoint& endpoint);

// The first entry that matches the server end; null if none does.
const AgentConfig::Database* find_database(std::span<const AgentConfig::Database> databases, Transport transport,
                                           const Endpoint& server);

// `name` of the first entry that matches the server end, else "postgresql:PORT", or "postgresql:PATH" where a Unix
// socket has no port number.
std::string database_label(std::span<const AgentConfig::Database> databases, Transport transport,
                           const Endpoint& server);

}  // namespace gatehouse::runtime
