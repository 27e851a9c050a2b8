// SPDX-License-Identifier: Apache-2.0
// The messages that the gate says itself: errors to the client, and to the server requests that cannot but fail.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "agent/protocol/postgres/wire.h"

namespace gatehouse::shim {

struct ErrorText {
  std::string_view severity = "ERROR";
  std::string_view sqlstate{};  // five characters; anything else becomes XX000
  std::string_view message{};
  std::string_view detail{};
  std::string_view hint{};
};
// A whole ErrorResponse. Texts are cut at kErrorTextBytesMax, and have no NUL. `is_unicode`: the client reads UTF-8;
// else each character beyond ASCII becomes one question mark.
std::string error_response(const ErrorText& text, bool is_unicode);
inline constexpr size_t kErrorTextBytesMax = 4096;  // below what libpq takes as an error before it has logged in

// A whole NoticeResponse, with its text as that of an error.
std::string notice_response(std::string_view text, bool is_unicode);

// In place of `refused`, which is kQuery, kParse, kExecute or kFunctionCall: fails in any state of a session, also
// where its transaction has failed already and on a walsender, changes nothing that the refused one would not change by
// failing, and is answered with as many messages. `is_unnamed`: of a Parse that would have replaced the unnamed
// statement, which the server drops before it reads the text.
std::span<const std::byte> failing_request(postgres::RequestTag refused, bool is_unnamed);

std::span<const std::byte> flush_request();
// Describe of a portal.
std::string describe_request(std::string_view portal);
std::span<const std::byte> terminate_request();

}  // namespace gatehouse::shim
