// SPDX-License-Identifier: Apache-2.0
// What each command does, between the command line and the terminal.
#pragma once

#include <stop_token>

#include "cli/options.h"
#include "cli/output.h"
#include "cli/table.h"

namespace gatehouse::cli {

struct Surroundings {
  Output& out;
  Output& problems;  // standard error
  TableStyle style;
  uint64_t now_ns;
  std::stop_token stop{};  // ends `tail`
};

// The exit code. Every problem was told on `problems`, one line each.
int run(const Options& options, const Surroundings& surroundings);

}  // namespace gatehouse::cli
