// SPDX-License-Identifier: Apache-2.0
// Network namespaces of this host, and sockets of this process in them.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "agent/stream/records.h"
#include "common/file.h"
#include "common/result.h"

namespace gatehouse::shim {

// Each network namespace that a process is in, by its inode: one of those processes. `proc`: "/proc".
std::map<uint64_t, uint32_t> networks_of_processes(const std::string& proc);
// The network namespace of a process; 0: it is gone.
uint64_t network_of_process(const std::string& proc, uint32_t pid);

// Listens on a loopback address, at any port: kTcp4 or kTcp6. Nobody connects here by himself: the kernel leads
// clients of a gated place to it.
Result<UniqueFd> listen_on_loopback(Transport transport);
// The same in the network namespace of a process. Needs CAP_SYS_ADMIN there. An error where loopback is down.
Result<UniqueFd> listen_on_loopback_of(const std::string& proc, uint32_t pid, Transport transport);

}  // namespace gatehouse::shim
