// SPDX-License-Identifier: Apache-2.0
// Process: who runs, as the kernel attested it at fork and exec time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/process_key.h"

namespace gatehouse::identity {

// One image of one process: a program, run by a user. An exec, or a change of user, makes a new one with the same key
// and the next `image_number`, so an event keeps the image that ran when it happened. Immutable once published: what is
// learned later (digest, names) comes as another object with the same key and image_number.
struct Process {
  ProcessKey key{};
  ProcessKey parent{};        // at fork time; survives reparenting
  uint32_t exec_number = 0;   // 0: forked without exec since
  uint32_t image_number = 1;  // grows with every exec and every change of user that was seen
  std::string exe;            // path at exec time
  uint64_t exe_inode = 0;
  uint32_t exe_device = 0;   // kernel's dev_t (major << 20 | minor)
  bool exe_deleted = false;  // deleted file or memfd
  std::string exe_sha256;    // lower-case hex; empty while unknown
  std::vector<std::string> arguments;
  std::string cwd;
  uint32_t uid = 0, gid = 0, euid = 0;  // UINT32_MAX: unknown
  std::string user;                     // name of uid, "" if it has none
  uint32_t loginuid = UINT32_MAX;       // UINT32_MAX: none
  std::string login_user;
  uint32_t audit_session = UINT32_MAX;
  std::string tty;           // "pts/3"; empty: none
  std::string cgroup;        // path
  std::string systemd_unit;  // "nginx.service"; empty: none
  std::string container_id;  // 64 hex digits, or the runtime's id; empty: none
  std::string pod_uid;       // Kubernetes; empty: none
  uint32_t pid_namespace = 0, mount_namespace = 0, net_namespace = 0;
  uint64_t exec_ns = 0;   // CLOCK_BOOTTIME
  bool snapshot = false;  // read from /proc at start-up rather than attested at exec time
};

}  // namespace gatehouse::identity
