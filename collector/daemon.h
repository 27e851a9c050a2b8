// SPDX-License-Identifier: Apache-2.0
// The collector as a running process, from its configuration to its end.
#pragma once

#include <chrono>
#include <string>

#include "collector/config/collector_config.h"
#include "common/result.h"

namespace gatehouse {

// Serves until SIGTERM or SIGINT, then ends in order: agents first, so that what they have sent is acknowledged.
// To be called before the process has threads.
Status run_collector(const CollectorConfig& config);

// Makes a certificate for an operator of that name, in the folder that is to be his: ca.pem, cert.pem, key.pem. The
// folder must not have one.
Status create_operator(const CollectorConfig& config, const std::string& name, const std::string& folder);

// A one-time enrolment token of the collector whose state this is, running or not.
Result<std::string> create_token(const CollectorConfig& config, std::chrono::milliseconds valid);

}  // namespace gatehouse
