// SPDX-License-Identifier: Apache-2.0
// Plane: by which of the kernel's events the bytes are seen. The records are the same. docs/bpf-hooks.md compares them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace gatehouse::capture {

enum class Plane : uint8_t {
  kSocket,   // where TCP copies what is sent, and where any socket copies what is received: from Linux 6.16
  kLength,   // where a socket says that it has moved bytes: from Linux 6.3
  kSyscall,  // where a system call ends: before that
};

std::string_view to_string(Plane plane);
// "socket", "length", "syscall".
std::optional<Plane> parse_plane(std::string_view name);

}  // namespace gatehouse::capture
