// SPDX-License-Identifier: Apache-2.0
// Connection: puts the chunks of one socket in order, makes holes explicit, feeds its protocol session, and keeps the
// account of every byte.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "agent/protocol/activity.h"
#include "agent/protocol/session.h"
#include "agent/stream/records.h"

namespace gatehouse {

namespace tls {
class Channel;
class SecretBook;
}  // namespace tls

// Bytes of one stream that moved and were not seen.
struct Gap {
  SocketId socket = 0;
  uint64_t time_ns = 0;
  Direction direction = Direction::kRequest;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  LostReason reason = LostReason::kRingFull;
};

class ConnectionObserver : public ActivitySink {
 public:
  virtual void on_gap(const Gap& gap) = 0;
};

// Where one direction's bytes went. Their sum is how far the stream has moved since it was first seen.
struct StreamLedger {
  uint64_t decoded = 0;  // given to the session as bytes
  uint64_t elided = 0;   // rows left out on purpose
  uint64_t cut = 0;      // rest of long frames, left out on purpose
  uint64_t opaque = 0;   // encrypted, or not the protocol
  std::array<uint64_t, kLostReasons> lost{};

  [[nodiscard]] uint64_t lost_total() const {
    uint64_t total = 0;
    for (const uint64_t bytes : lost) total += bytes;
    return total;
  }
  [[nodiscard]] uint64_t total() const { return decoded + elided + cut + opaque + lost_total(); }
};

// Pure, one thread. Records come in the order their source delivers, which is causal: a request before its answer.
class Connection {
 public:
  // `book`: opens TLS with what it has of secrets; outlives the connection. Null: TLS is opaque.
  explicit Connection(const SocketOpened& opened, tls::SecretBook* book = nullptr);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // The observer is used inside the call only. A chunk behind the stream's position is a duplicate: what is known of
  // it is dropped. One ahead of it proves a gap. `writer_image`: which image of its writer wrote it, see ImageKey.
  void on_chunk(const Chunk& chunk, ConnectionObserver& observer, uint32_t writer_image = 0);
  void on_opaque(const SocketOpaque& record, ConnectionObserver& observer);
  // A secret of this session's has come to the book.
  void on_tls_secret(uint64_t time_ns, ConnectionObserver& observer);
  // None will come, `why` (a constant): the session is opaque from here on.
  void seal_tls(std::string_view why, uint64_t time_ns, ConnectionObserver& observer);
  // Null: it has not turned to TLS, or nobody opens it.
  [[nodiscard]] const tls::Channel* tls() const { return tls_.get(); }
  // See ProtocolSession.
  void on_joined_idle(TransactionState transaction) { session_->on_joined_idle(transaction); }
  // Ends the session. The tail of a stream that never arrived is a gap. Later calls do nothing.
  void on_closed(const SocketClosed& record, ConnectionObserver& observer);

  [[nodiscard]] SocketId socket() const { return socket_; }
  [[nodiscard]] const ProtocolSession& session() const { return *session_; }
  [[nodiscard]] const StreamLedger& ledger(Direction direction) const {
    return sides_[static_cast<size_t>(direction)].ledger;
  }
  // Where the next byte of this direction is expected, and where the watching began.
  [[nodiscard]] uint64_t position(Direction direction) const { return sides_[static_cast<size_t>(direction)].position; }
  [[nodiscard]] uint64_t origin(Direction direction) const { return sides_[static_cast<size_t>(direction)].origin; }
  [[nodiscard]] bool is_closed() const { return is_closed_; }
  [[nodiscard]] uint64_t duplicate_bytes() const { return duplicate_bytes_; }

 private:
  struct Side {
    uint64_t origin = 0;
    uint64_t position = 0;
    StreamLedger ledger{};
  };
  // The session's sink is fixed; the observer comes with each call.
  class Relay final : public ActivitySink {
   public:
    void on_activity(const Activity& activity) override { target->on_activity(activity); }
    ConnectionObserver* target = nullptr;
  };

  class TlsRelay;

  [[nodiscard]] bool turns_to_tls(Direction direction, std::span<const std::byte> bytes) const;
  void push_tls(const Chunk& chunk, const Piece& piece, const ByteContext& context, ConnectionObserver& observer);
  void mind_tls(uint64_t time_ns, ConnectionObserver& observer);
  void push_piece(const Chunk& chunk, const Piece& piece, const ByteContext& context, ConnectionObserver& observer);
  void lose(Direction direction, uint64_t bytes, LostReason reason, const ByteContext& context,
            ConnectionObserver& observer);
  void own_as_lost(Direction direction, uint64_t offset, uint64_t bytes, LostReason reason, const ByteContext& context,
                   ConnectionObserver& observer);
  LostReason reason_of_jump(const Chunk& chunk) const;

  SocketId socket_;
  bool joined_;
  bool is_closed_ = false;
  uint64_t duplicate_bytes_ = 0;
  std::array<Side, kDirections> sides_{};
  Relay relay_;
  std::unique_ptr<ProtocolSession> session_;
  tls::SecretBook* const book_;
  std::unique_ptr<tls::Channel> tls_;
};

}  // namespace gatehouse
