// SPDX-License-Identifier: Apache-2.0
// Limits of ingest: what an agent, or anyone who reaches the port, can make the collector hold.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "common/limits.h"

namespace gatehouse::ingest {

inline constexpr size_t kBootIdBytesMax = 64;  // it is 32 hex digits
// A batch of kBatchBytesMax that does not compress.
inline constexpr size_t kRequestPayloadBytesMax = kBatchBytesMax + (kBatchBytesMax >> 7) + 1024;
// gRPC refuses larger messages itself; room for the fields beside the payload.
inline constexpr int kMessageBytesMax = static_cast<int>(kRequestPayloadBytesMax + (64U << 10));
// Received from one agent and not yet appended; beyond it the stream is not read, and the agent's window fills.
inline constexpr size_t kStreamQueueBytesMax = 8U << 20;
// One append for one stream, so that a stream with a long queue does not keep the others waiting.
inline constexpr size_t kAppendRequestsMax = 256;
// Threads that check and append. Appending waits for the disk, so there are more than CPUs need.
inline constexpr size_t kWorkers = 4;
// Idle connections live; dead ones are found. The agent pings every 20 s.
inline constexpr int kPingIntervalMsMin = 10'000;

inline constexpr size_t kAgentNameBytesMax = 256;
inline constexpr size_t kTokensMax = 10'000;
inline constexpr std::chrono::seconds kTokenValidDefault{3600};
inline constexpr std::chrono::seconds kTokenValidMax{30 * 86'400};
// An expired token is remembered this long, so that its holder is told "expired" rather than "unknown".
inline constexpr std::chrono::seconds kTokenForgetAfter{7 * 86'400};

}  // namespace gatehouse::ingest
