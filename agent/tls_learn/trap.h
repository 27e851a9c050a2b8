// SPDX-License-Identifier: Apache-2.0
// Trap: a breakpoint in this process's own code. What a probe will see there later is seen here first.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace gatehouse::tls_learn {

// In the order of enum gh_register (bpf/gatehouse_abi.h).
inline constexpr size_t kRegisters = 16;
using Registers = std::array<uintptr_t, kRegisters>;

// One at a time, one thread.
class Trap {
 public:
  using Handler = void (*)(const Registers&);

  // `address` begins an instruction. `handler` runs as a signal's, each time that it is reached.
  Trap(uintptr_t address, Handler handler);
  Trap(const Trap&) = delete;
  Trap& operator=(const Trap&) = delete;
  ~Trap();

  [[nodiscard]] bool is_set() const { return is_set_; }

 private:
  bool is_set_ = false;
};

// Reads this process's memory, which may not be there: false.
bool read_memory(uintptr_t address, std::span<uint8_t> to);

}  // namespace gatehouse::tls_learn
