// SPDX-License-Identifier: Apache-2.0
// Wire constants of the PostgreSQL protocol, version 3.0 to 3.2. docs/protocols/postgres.md cites the specification.
// One enum per direction: the same letter means different messages.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace gatehouse::postgres {

enum class RequestTag : uint8_t {
  kBind = 'B',
  kClose = 'C',
  kCopyData = 'd',
  kCopyDone = 'c',
  kCopyFail = 'f',
  kDescribe = 'D',
  kExecute = 'E',
  kFlush = 'H',
  kFunctionCall = 'F',
  kParse = 'P',
  kPassword = 'p',  // also SASLInitialResponse, SASLResponse, GSSResponse
  kQuery = 'Q',
  kSync = 'S',
  kTerminate = 'X',
};

enum class ResponseTag : uint8_t {
  kAuthentication = 'R',
  kBackendKeyData = 'K',
  kBindComplete = '2',
  kCloseComplete = '3',
  kCommandComplete = 'C',
  kCopyBothResponse = 'W',
  kCopyData = 'd',
  kCopyDone = 'c',
  kCopyInResponse = 'G',
  kCopyOutResponse = 'H',
  kDataRow = 'D',
  kEmptyQueryResponse = 'I',
  kErrorResponse = 'E',
  kFunctionCallResponse = 'V',
  kNegotiateProtocolVersion = 'v',
  kNoData = 'n',
  kNoticeResponse = 'N',
  kNotificationResponse = 'A',
  kParameterDescription = 't',
  kParameterStatus = 'S',
  kParseComplete = '1',
  kPortalSuspended = 's',
  kReadyForQuery = 'Z',
  kRowDescription = 'T',
};

// First word of an untagged start-up frame, after its length.
inline constexpr uint32_t kSslRequestCode = 80877103;
inline constexpr uint32_t kGssEncRequestCode = 80877104;
inline constexpr uint32_t kCancelRequestCode = 80877102;

inline constexpr size_t kHeaderSize = 5;         // tag, length
inline constexpr size_t kStartupHeaderSize = 4;  // length

// The server's own bounds (MAX_STARTUP_PACKET_LENGTH, PQ_SMALL_MESSAGE_LIMIT, PG_MAX_AUTH_TOKEN_LENGTH,
// PQ_LARGE_MESSAGE_LIMIT), and libpq's for what a server may send outside the long kinds.
inline constexpr uint32_t kStartupFrameBytesMax = 10000;
inline constexpr uint32_t kSmallBodyBytesMax = 10000;
inline constexpr uint32_t kAuthTokenBytesMax = 65535;
inline constexpr uint32_t kLargeBodyBytesMax = 0x3fffffff - 4;
inline constexpr uint32_t kShortResponseBodyBytesMax = 30000;

// Largest body by tag; kNoSuchTag where the direction has no such message.
inline constexpr uint32_t kNoSuchTag = UINT32_MAX;
using BodyBounds = std::array<uint32_t, 256>;

consteval BodyBounds request_body_bounds() {
  BodyBounds bounds{};
  bounds.fill(kNoSuchTag);
  const auto set = [&bounds](RequestTag tag, uint32_t bytes_max) { bounds[static_cast<uint8_t>(tag)] = bytes_max; };
  for (const auto tag :
       {RequestTag::kQuery, RequestTag::kParse, RequestTag::kBind, RequestTag::kFunctionCall, RequestTag::kCopyData})
    set(tag, kLargeBodyBytesMax);
  for (const auto tag : {RequestTag::kClose, RequestTag::kDescribe, RequestTag::kExecute, RequestTag::kCopyFail})
    set(tag, kSmallBodyBytesMax);
  for (const auto tag : {RequestTag::kFlush, RequestTag::kSync, RequestTag::kCopyDone, RequestTag::kTerminate})
    set(tag, 0);
  set(RequestTag::kPassword, kAuthTokenBytesMax);
  return bounds;
}

consteval BodyBounds response_body_bounds() {
  BodyBounds bounds{};
  bounds.fill(kNoSuchTag);
  const auto set = [&bounds](ResponseTag tag, uint32_t bytes_max) { bounds[static_cast<uint8_t>(tag)] = bytes_max; };
  for (const auto tag :
       {ResponseTag::kCopyData, ResponseTag::kDataRow, ResponseTag::kErrorResponse, ResponseTag::kFunctionCallResponse,
        ResponseTag::kNoticeResponse, ResponseTag::kNotificationResponse, ResponseTag::kRowDescription,
        ResponseTag::kParameterDescription})
    set(tag, kLargeBodyBytesMax);
  for (const auto tag : {ResponseTag::kAuthentication, ResponseTag::kBackendKeyData, ResponseTag::kCommandComplete,
                         ResponseTag::kCopyBothResponse, ResponseTag::kCopyInResponse, ResponseTag::kCopyOutResponse,
                         ResponseTag::kNegotiateProtocolVersion, ResponseTag::kParameterStatus})
    set(tag, kShortResponseBodyBytesMax);
  for (const auto tag : {ResponseTag::kBindComplete, ResponseTag::kCloseComplete, ResponseTag::kCopyDone,
                         ResponseTag::kEmptyQueryResponse, ResponseTag::kNoData, ResponseTag::kParseComplete,
                         ResponseTag::kPortalSuspended})
    set(tag, 0);
  set(ResponseTag::kReadyForQuery, 1);
  return bounds;
}

inline constexpr BodyBounds kRequestBodyBounds = request_body_bounds();
inline constexpr BodyBounds kResponseBodyBounds = response_body_bounds();

}  // namespace gatehouse::postgres
