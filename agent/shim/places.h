// SPDX-License-Identifier: Apache-2.0
// Names of Unix sockets, and where cgroup v2 is, as redirect.cc and the kernel side need them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bpf/gate_abi.h"

namespace gatehouse::shim {

// Absolute, or abstract with a leading '@'. Without "//" and "/./", as the kernel side compares it. False: it is
// neither, or too long for a socket's address.
bool to_path(std::string_view name, abi::gh_path& path);

// What a client may call the socket: the path as given, with its folder's links resolved, and through /var/run where
// that is /run. At most GH_PATH_NAMES_MAX; none if it is no path.
std::vector<abi::gh_path> path_names(const std::string& path);

// The path by its folder and its name there; false: there is no such folder, or it is no path of a file.
bool to_path_in(const std::string& path, abi::gh_path_in& found);

// The mount point of cgroup v2 in a /proc/PID/mounts; empty if there is none.
std::string cgroup2_mount(std::string_view mounts);

}  // namespace gatehouse::shim
