// SPDX-License-Identifier: Apache-2.0
// What agents tell of their hosts: the sockets of databases, each with a verdict, and what the watching costs. Pure.
#pragma once

#include <string>
#include <vector>

#include "cli/table.h"
#include "gatehouse/v1/query.pb.h"

namespace gatehouse::cli {

// "40 full, 1 gaps, 2 opaque" of connections, by the agent's counters; empty if it does not tell.
std::string sockets_summary(const v1::Agent& agent);
// "0.4 %": of one core, the agent's own and its programs' in the kernel; empty if it does not tell.
std::string cpu_summary(const v1::Agent& agent);
// Resident memory; empty if it does not tell.
std::string memory_summary(const v1::Agent& agent);
// Something of the host is not seen.
bool has_unseen_sockets(const v1::Agent& agent);

// One row for each socket of all agents that tell.
std::string render_sockets(const v1::AgentsResponse& answer, TableStyle style);
// What people must know beside the table: agents that do not tell, or not of all.
std::vector<std::string> sockets_remarks(const v1::AgentsResponse& answer);

}  // namespace gatehouse::cli
