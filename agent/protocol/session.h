// SPDX-License-Identifier: Apache-2.0
// ProtocolSession: both directions of one connection, from bytes to activities. The contract that stream (passive
// capture, replay) and shim share; each protocol implements it once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "agent/protocol/activity.h"
#include "agent/protocol/framer.h"
#include "agent/stream/records.h"
#include "common/process_key.h"

namespace gatehouse {

// What is known of the bytes handed over.
struct ByteContext {
  uint64_t time_ns = 0;
  ImageKey writer{};
  uint64_t offset = 0;  // stream position of the first byte
  // These are the first, or the last, bytes of one write or read of the captured end: where peers pause.
  bool chunk_begins = true;
  bool chunk_ends = true;
};

// Counters a caller exports; the session itself never logs.
struct SessionTotals {
  uint64_t statements = 0;
  uint64_t desyncs = 0;         // times a direction lost its framing, for whatever reason
  uint64_t resyncs = 0;         // times framing was found again at a safe point
  uint64_t malformed = 0;       // whole bodies that did not decode
  uint64_t withheld_bytes = 0;  // of what was cut: secrets, which are never kept
  std::array<uint64_t, kReasons> desync_reasons{};
};

// Pure: no I/O, clock, lock or log. One thread. Each direction's calls come in stream order, the two directions in
// causal order (a request before its answer); every byte of a stream is named by exactly one call. Activities go to
// the sink given to the constructor, inside the call that completes them.
class ProtocolSession {
 public:
  virtual ~ProtocolSession() = default;

  virtual void on_bytes(Direction direction, std::span<const std::byte> bytes, const ByteContext& context) = 0;
  // Row frames left out on purpose: `rows` frames began in `bytes`. Bytes that follow start at a frame.
  virtual void on_rows(Direction direction, uint64_t rows, uint64_t bytes, const ByteContext& context) = 0;
  // The rest of the current frame's body, left out because the frame is long.
  virtual void on_cut(Direction direction, uint64_t bytes, const ByteContext& context) = 0;
  // Bytes that were lost.
  virtual void on_gap(Direction direction, uint64_t bytes, const ByteContext& context) = 0;
  virtual void on_opaque(SocketOpaque::Reason reason, uint64_t time_ns) = 0;
  // It is TLS, and `why` nobody opens it: a constant, a word for people ("no-secret").
  virtual void on_sealed(std::string_view why, uint64_t time_ns) = 0;
  virtual void on_closed(uint64_t time_ns) = 0;
  // A joined session's server said, when the session was joined, that it waits for the client: what the client writes
  // next begins a message. Call it before the first byte.
  virtual void on_joined_idle(TransactionState transaction) = 0;

  // Stable until the next call that is not const. Empty while unknown.
  [[nodiscard]] virtual std::string_view user() const = 0;
  [[nodiscard]] virtual std::string_view database() const = 0;
  [[nodiscard]] virtual std::string_view application_name() const = 0;
  [[nodiscard]] virtual std::string_view server_version() const = 0;
  [[nodiscard]] virtual std::string_view client_encoding() const = 0;
  [[nodiscard]] virtual uint32_t backend_pid() const = 0;
  [[nodiscard]] virtual bool is_opaque() const = 0;
  // The next byte of the server's answers whether TLS follows …
  [[nodiscard]] virtual bool awaits_tls_answer() const = 0;
  // … and it does: from here on the caller hands over what is inside, in both directions, or says on_sealed().
  [[nodiscard]] virtual bool is_inside_tls() const = 0;
  // Where messages begin in this direction is not known: its bytes are passed over until it is.
  [[nodiscard]] virtual bool is_unsynced(Direction direction) const = 0;
  [[nodiscard]] virtual const SessionTotals& totals() const = 0;
  // Heap bytes held now; never above kSessionBytesMax.
  [[nodiscard]] virtual size_t memory_bytes() const = 0;
};

}  // namespace gatehouse
