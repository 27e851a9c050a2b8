// SPDX-License-Identifier: Apache-2.0
// HMAC-SHA-256 (RFC 2104).
#pragma once

#include <string_view>

#include "common/digest.h"

namespace gatehouse {

Sha256 hmac_sha256(std::string_view key, std::string_view text);

}  // namespace gatehouse
