// SPDX-License-Identifier: Apache-2.0
#include "agent/shim/gate_messages.h"

#include <algorithm>

namespace gatehouse::shim {
namespace {

using postgres::RequestTag;
using postgres::ResponseTag;
using namespace std::string_view_literals;

// A statement of no grammar, SQL or replication: none begins with a name and a colon. It is what the server's log
// shows, as a syntax error, for each refusal.
#define GH_REFUSED_TEXT "gatehouse: refused\0"
// Query: text. Parse: name, text, no types. FunctionCall: a function that cannot be, no formats, no arguments, format
// of the result.
constexpr auto kFailingQuery = "Q\0\0\0\x17" GH_REFUSED_TEXT ""sv;
constexpr auto kFailingParse =
    "P\0\0\0\x2b"
    "gatehouse_refused\0" GH_REFUSED_TEXT "\0\0"sv;
constexpr auto kFailingUnnamedParse =
    "P\0\0\0\x1a"
    "\0" GH_REFUSED_TEXT "\0\0"sv;
constexpr auto kFailingFunctionCall =
    "F\0\0\0\x0e"
    "\0\0\0\0"
    "\0\0"
    "\0\0"
    "\0\0"sv;
constexpr auto kFlush = "H\0\0\0\x04"sv;
constexpr auto kTerminate = "X\0\0\0\x04"sv;
#undef GH_REFUSED_TEXT

consteval bool says_its_length(std::string_view frame) {
  uint32_t length = 0;
  for (const char c : frame.substr(1, 4)) length = length << 8 | static_cast<unsigned char>(c);
  return length == frame.size() - 1;
}
static_assert(says_its_length(kFailingQuery) && says_its_length(kFailingParse) &&
              says_its_length(kFailingUnnamedParse) && says_its_length(kFailingFunctionCall) &&
              says_its_length(kFlush) && says_its_length(kTerminate));

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}

void put_field(std::string& out, char code, std::string_view value, bool is_unicode) {
  if (value.empty()) return;
  out += code;
  value = value.substr(0, kErrorTextBytesMax);
  // Not within a character.
  if (const size_t end = value.size(); end == kErrorTextBytesMax) {
    size_t last = end;
    while (last > 0 && (static_cast<unsigned char>(value[last - 1]) & 0xc0) == 0x80) --last;
    value = value.substr(0, last > 0 ? last - 1 : 0);
  }
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\0' || (!is_unicode && (byte & 0xc0) == 0x80)) continue;
    out += byte < 0x80 || is_unicode ? c : '?';
  }
  out += '\0';
}

void put_length(std::string& message) {
  const size_t length = message.size() - 1;
  for (size_t i = 0; i < 4; ++i) message[1 + i] = static_cast<char>(length >> (8 * (3 - i)));
}

bool is_sqlstate(std::string_view text) {
  return text.size() == 5 &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); });
}

}  // namespace

std::string error_response(const ErrorText& text, bool is_unicode) {
  std::string out(postgres::kHeaderSize, static_cast<char>(ResponseTag::kErrorResponse));
  put_field(out, 'S', text.severity, true);
  put_field(out, 'V', text.severity, true);
  put_field(out, 'C', is_sqlstate(text.sqlstate) ? text.sqlstate : "XX000", true);
  // The protocol says that a message is always there.
  put_field(out, 'M', text.message.empty() ? "refused" : text.message, is_unicode);
  put_field(out, 'D', text.detail, is_unicode);
  put_field(out, 'H', text.hint, is_unicode);
  out += '\0';
  put_length(out);
  return out;
}

std::string notice_response(std::string_view text, bool is_unicode) {
  std::string out(postgres::kHeaderSize, static_cast<char>(ResponseTag::kNoticeResponse));
  put_field(out, 'S', "NOTICE", true);
  put_field(out, 'V', "NOTICE", true);
  put_field(out, 'C', "00000", true);  // as the server's own have it
  put_field(out, 'M', text, is_unicode);
  out += '\0';
  put_length(out);
  return out;
}

std::span<const std::byte> failing_request(RequestTag refused, bool is_unnamed) {
  switch (refused) {
    case RequestTag::kQuery:
      return bytes_of(kFailingQuery);
    case RequestTag::kFunctionCall:
      return bytes_of(kFailingFunctionCall);
    default:
      return bytes_of(is_unnamed ? kFailingUnnamedParse : kFailingParse);
  }
}

std::string describe_request(std::string_view portal) {
  std::string out(postgres::kHeaderSize, static_cast<char>(RequestTag::kDescribe));
  out.append(1, 'P').append(portal).append(1, '\0');
  put_length(out);
  return out;
}

std::span<const std::byte> flush_request() {
  return bytes_of(kFlush);
}

std::span<const std::byte> terminate_request() {
  return bytes_of(kTerminate);
}

}  // namespace gatehouse::shim
