// SPDX-License-Identifier: Apache-2.0
// ServerBook: which database a server's process serves: its own listener, or its parent's, is at an address of that
// database. So a session that came by an address that nobody named is still known for whose it is.
//
// One thread. Looks at the host's sockets when a server is seen that it does not know, not oftener than once a second.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "agent/config/agent_config.h"
#include "agent/identity/process_table.h"
#include "agent/stream/host_socket.h"
#include "common/process_key.h"

namespace gatehouse::runtime {

class ServerBook {
 public:
  struct Options {
    std::function<std::vector<HostSocket>()> list_sockets;
    uint32_t own_netns = 0;  // sockets of others have the same addresses for other servers
  };
  // `processes` outlives it.
  ServerBook(identity::ProcessTable& processes, Options options);

  // Where the databases listen that are of interest. What was known is looked at anew.
  void set_databases(std::span<const AgentConfig::Database> located);
  // `name` of the database; empty: none of them. Until the next call.
  const std::string& database_of(const ProcessKey& server, uint64_t now_boottime_ns);

 private:
  const std::string* find(const ProcessKey& process) const;
  void look(uint64_t now_boottime_ns);

  identity::ProcessTable& processes_;
  Options options_;
  std::vector<AgentConfig::Database> databases_;
  std::map<ProcessKey, std::string> listeners_;  // the process that listens
  std::map<ProcessKey, uint64_t> strangers_;     // looked for, and not found: when
  uint64_t looked_ns_ = 0;
};

}  // namespace gatehouse::runtime
