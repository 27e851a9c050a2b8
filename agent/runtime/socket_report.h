// SPDX-License-Identifier: Apache-2.0
// The account of the host: each socket of a database with a verdict. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config/agent_config.h"
#include "agent/runtime/shard.h"
#include "agent/stream/host_socket.h"
#include "gatehouse/v1/event.pb.h"

namespace gatehouse::runtime {

enum class Watching : uint8_t {
  kRunning,     // an agent watches, and knows its sessions
  kWouldWatch,  // none runs; what would one see?
  kCannot,      // none can run here
};

struct SocketSurvey {
  std::span<const HostSocket> found;
  Watching watching = Watching::kCannot;
  const Shard* shard = nullptr;     // kRunning only. Sessions that were not found among the sockets are told, too.
  std::span<const uint16_t> ports;  // at which sessions that were open before are joined
  std::span<const AgentConfig::Database> databases;
  std::function<std::string(const ProcessKey&)> exe_of;
  uint32_t own_netns = 0;
  uint32_t shim_pid = 0;  // whose connections are the halves of sessions that are told anyway; 0: there is no shim
  uint64_t time_unix_ns = 0;
  size_t sockets_max = SIZE_MAX;
};

// The keys of its counts while an agent runs: "listening", and the verdicts of connections.
inline constexpr std::array<std::string_view, 8> kSocketVerdicts{"listening", "watched", "full",   "truncated",
                                                                 "gaps",      "blind",   "opaque", "unwatched"};

v1::HostSockets report_sockets(const SocketSurvey& survey);

// The network namespace of this process.
uint32_t own_network_namespace();

}  // namespace gatehouse::runtime
