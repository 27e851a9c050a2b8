// SPDX-License-Identifier: Apache-2.0
// What a webhook says of a request: docs/approvals.md has the payloads. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "gatehouse/v1/approvals.pb.h"

namespace gatehouse::approvals {

enum class WebhookFormat : uint8_t { kJson, kSlack, kTeams };

// `event`: "asked", "decided" or "expired". The statement's text without its literals, never with them: a chat is no
// place for what a database holds.
std::string webhook_body(WebhookFormat format, std::string_view event, const v1::ApprovalView& view);

// Of a message: "sha256=" and the HMAC of "<timestamp>.<body>", hexadecimal.
std::string webhook_signature(std::string_view secret, uint64_t timestamp_s, std::string_view body);

}  // namespace gatehouse::approvals
