// SPDX-License-Identifier: Apache-2.0
// Reads one process from /proc, for what ran before the agent and for what its records did not say.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/identity/process.h"

namespace gatehouse::identity {

// /proc shows start times in ticks of USER_HZ, 100 a second on every architecture, rounded down.
inline constexpr uint64_t kTickNs = 10'000'000;

struct ProcStat {
  uint32_t parent_pid = 0;
  uint32_t tty = 0;  // kernel's device number
  uint64_t start_ticks = 0;
};
// The text of /proc/PID/stat. A name may hold spaces and parentheses.
std::optional<ProcStat> parse_proc_stat(std::string_view text);

struct ProcProcess {
  Process process;  // key.start_ns rounded down to a tick; parent, user names and hash empty; snapshot set
  uint32_t parent_pid = 0;
};
// Nothing if there is no such process, it ended meanwhile, or it is a zombie or a kernel thread without a program.
std::optional<ProcProcess> read_process(const std::string& proc_root, uint32_t pid);

// Start of the process that has this pid now.
std::optional<uint64_t> read_start_ticks(const std::string& proc_root, uint32_t pid);
// Its command line as it stands now, which a process may rewrite; at most 4 KiB.
std::optional<std::string> read_title(const std::string& proc_root, uint32_t pid);
struct ProcCredentials {
  uint32_t uid = 0, euid = 0, gid = 0;
};
std::optional<ProcCredentials> read_credentials(const std::string& proc_root, uint32_t pid);
// The path choose_cgroup_path() picks; "" if it cannot be read. `unified_only`: the host has no v1 hierarchy.
std::string read_cgroup_path(const std::string& proc_root, uint32_t pid, bool& unified_only);
// All pids, in no order. Empty if the folder cannot be read.
std::vector<uint32_t> list_pids(const std::string& proc_root);

}  // namespace gatehouse::identity
