// SPDX-License-Identifier: Apache-2.0
// What carries data without being a result: errors, notices, notifications.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "agent/mask/method.h"

namespace gatehouse::mask {

// `text` with each detected span as ***, and each of `known` values (4 bytes and longer) likewise.
std::string redact_text(std::string_view text, DetectorSet what, std::span<const std::string_view> known = {});

struct MessagePolicy {
  DetectorSet what{};
  // The statement touches masked columns: detail, where and internal query go, and of the message what stands in
  // quotes after a colon or in parentheses after an equals sign, which is where the server puts values.
  bool has_masked_columns = false;
};

// `body`: of an ErrorResponse or NoticeResponse, without tag and length. Appends the whole message under `tag` if
// anything changed. Severity, SQLSTATE and the names of objects stay. False: forward it as it came.
// A body that is not well-formed becomes a message that says so and no more.
bool redact_message(char tag, std::span<const std::byte> body, const MessagePolicy& policy, std::string& out);

}  // namespace gatehouse::mask
