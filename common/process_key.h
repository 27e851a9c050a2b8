// SPDX-License-Identifier: Apache-2.0
// ProcessKey: which process, for ever. A pid alone is reused; with its start time it is not.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace gatehouse {

struct ProcessKey {
  uint32_t pid = 0;       // thread group id in the initial pid namespace; 0: unknown
  uint64_t start_ns = 0;  // group leader's start_boottime, CLOCK_BOOTTIME

  auto operator<=>(const ProcessKey&) const = default;
  [[nodiscard]] bool known() const { return pid != 0; }
};

// What a process was when it wrote: it may exec, or change its user, between one statement and the next.
struct ImageKey {
  ProcessKey process{};
  uint32_t image = 0;  // number of its image; 0: whichever it has when it is looked up

  auto operator<=>(const ImageKey&) const = default;
  [[nodiscard]] bool known() const { return process.known(); }
};

}  // namespace gatehouse

template <>
struct std::hash<gatehouse::ProcessKey> {
  size_t operator()(const gatehouse::ProcessKey& key) const noexcept {
    return static_cast<size_t>((key.start_ns * 0x9E3779B97F4A7C15ULL) ^ key.pid);
  }
};
