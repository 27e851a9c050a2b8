// SPDX-License-Identifier: Apache-2.0
// BPF programs that are run rather than attached to an event.
#pragma once

#include <string>

#include "common/result.h"

struct bpf_program;

namespace gatehouse::capture {

// Runs the program over everything that it iterates over; appends what it writes to `out`.
Status run_iterator(const bpf_program* program, std::string& out);

}  // namespace gatehouse::capture
