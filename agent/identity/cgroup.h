// SPDX-License-Identifier: Apache-2.0
// What a cgroup path says of a process: its systemd unit, container and pod. Pure.
#pragma once

#include <string>
#include <string_view>

namespace gatehouse::identity {

struct CgroupNames {
  std::string systemd_unit;  // innermost .service or .scope: "postgresql@15-main.service"; empty: none
  std::string container_id;  // 64 hex digits, or the name of an LXC container; empty: none
  std::string pod_uid;       // with dashes, as the API server prints it; empty: none
  bool operator==(const CgroupNames&) const = default;
};

// Knows docker, containerd, CRI-O, podman, LXC and Kubernetes under both cgroup drivers. Monitors of containers
// (conmon, lxc.monitor) run on the host and are not in them.
CgroupNames parse_cgroup_path(std::string_view path);

// The path that says most in the text of /proc/PID/cgroup: the unified one unless it is the root, then systemd's named
// hierarchy, then the longest of the others. "/" if there is none.
std::string choose_cgroup_path(std::string_view proc_cgroup);

}  // namespace gatehouse::identity
