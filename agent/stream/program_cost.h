// SPDX-License-Identifier: Apache-2.0
// What one of the kernel's programs has cost, as the kernel counts it while it is asked to.
#pragma once

#include <cstdint>
#include <string>

namespace gatehouse {

struct ProgramCost {
  std::string name;
  uint64_t run_ns = 0;
  uint64_t runs = 0;
};

}  // namespace gatehouse
