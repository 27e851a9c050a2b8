// SPDX-License-Identifier: Apache-2.0
// The first contact: an agent that knows nothing but a token asks the collector for its certificates.
#pragma once

#include <chrono>
#include <string>

#include "common/digest.h"
#include "common/result.h"

namespace gatehouse::uplink {

// Shakes hands with `address` ("host:port") and returns, from the chain it presents, the authority's certificate that
// has this fingerprint. Nothing secret is sent. An Error of kind configuration: the collector there is another one.
Result<std::string> fetch_authority(const std::string& address, const Sha256& fingerprint,
                                    std::chrono::milliseconds timeout);

}  // namespace gatehouse::uplink
