// SPDX-License-Identifier: Apache-2.0
// What gatehouse-agent can be asked to do. Each returns an Error that main() prints as one line.
#pragma once

#include <string>

#include "agent/config/agent_config.h"
#include "common/result.h"

namespace gatehouse::agent {

// Watches until SIGTERM or SIGINT. `record_path`: also writes every record to that file ("" for none).
Status run_daemon(const AgentConfig& config, const std::string& record_path);

// Everything but the kernel, from a recorded file: prints each event as one JSON object per line on standard output.
Status replay_file(const std::string& path, const AgentConfig& config);

// Prints what this kernel and host allow, and every socket of a database with its verdict: as the agent that runs knows
// it, or as one would see it. `as_json`: one object. Ends with an error if watching is not possible.
Status print_doctor(const AgentConfig& config, bool as_json);

}  // namespace gatehouse::agent
