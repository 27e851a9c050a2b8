// SPDX-License-Identifier: Apache-2.0
// x86-64 instructions, as far as a probe's place asks: how long is one, and does the kernel carry it out without
// stepping through it?
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace gatehouse::tls_learn {

struct Instruction {
  size_t bytes = 0;  // 0: not one that is known here
  // The kernel emulates it under a probe (arch/x86/kernel/uprobes.c): a fortieth of the price.
  bool is_emulated = false;
  bool ends_line = false;  // what follows is not reached each time, or not with the same registers
};

Instruction decode(std::span<const uint8_t> code);

// Where a probe on a function's way in can stand, the cheap places first: offsets in `code`, which begins with the
// function. Each is passed by every call.
std::vector<size_t> probe_places(std::span<const uint8_t> code);

}  // namespace gatehouse::tls_learn
