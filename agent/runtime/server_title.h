// SPDX-License-Identifier: Apache-2.0
// What a PostgreSQL server process says of its session in its title, which `ps` shows: for sessions whose start-up was
// not seen. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "agent/protocol/activity.h"

namespace gatehouse::runtime {

// Views into the title. User and database are empty where the title does not tell them apart.
struct ServerTitle {
  std::string_view user{}, database{};
  uint32_t client_port = 0;  // 0: "[local]", a Unix socket
  std::string_view state{};  // "idle", "idle in transaction", or the command that runs: "SELECT"
};

// What the session's transaction was, where the state says that the server waits for the client; else nothing.
std::optional<TransactionState> idle_transaction(std::string_view state);

// "postgres: app shop 127.0.0.1(51234) idle", "postgres: CLUSTER: walsender repl [local] streaming 0/1A2B". Nothing if
// it is not of a process that serves a session.
std::optional<ServerTitle> parse_server_title(std::string_view title);

}  // namespace gatehouse::runtime
