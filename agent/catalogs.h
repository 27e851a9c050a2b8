// SPDX-License-Identifier: Apache-2.0
// The catalogs that a configuration asks for.
#pragma once

#include <vector>

#include "agent/catalog/keeper.h"
#include "agent/config/agent_config.h"

namespace gatehouse::agent {

// Reads each once, one after the other, for `doctor`.
std::vector<catalog::CatalogStatus> try_catalogs(const AgentConfig& config);

}  // namespace gatehouse::agent
