// SPDX-License-Identifier: Apache-2.0
#include "agent/stream/connection.h"

#include <algorithm>

#include "agent/protocol/postgres/session.h"
#include "agent/tls/channel.h"

namespace gatehouse {
namespace {

constexpr std::byte kTlsHandshake{0x16};

}  // namespace

// What a TLS session says inside, to the protocol's session. A record is what was written at once.
class Connection::TlsRelay final : public tls::ChannelSink {
 public:
  explicit TlsRelay(ProtocolSession& session) : session_(session) {}
  void on_plain(Direction direction, std::span<const std::byte> plain, const tls::Moment& moment) override {
    session_.on_bytes(direction, plain, context(moment));
  }
  void on_plain_lost(Direction direction, uint64_t bytes, const tls::Moment& moment) override {
    session_.on_gap(direction, bytes, context(moment));
  }

 private:
  static ByteContext context(const tls::Moment& moment) {
    return {.time_ns = moment.time_ns, .writer = moment.writer, .offset = moment.position};
  }
  ProtocolSession& session_;
};

Connection::Connection(const SocketOpened& opened, tls::SecretBook* book)
    : socket_(opened.socket),
      joined_(opened.joined),
      session_(std::make_unique<postgres::Session>(
          relay_, postgres::Session::Options{.joined = opened.joined,
                                             .opens_tls = book != nullptr && !opened.is_gated && !opened.joined})),
      book_(opened.is_gated || opened.joined ? nullptr : book) {
  for (size_t d = 0; d < kDirections; ++d) sides_[d].origin = sides_[d].position = opened.origin[d];
}

Connection::~Connection() = default;

void Connection::on_chunk(const Chunk& chunk, ConnectionObserver& observer, uint32_t writer_image) {
  if (is_closed_) return;
  relay_.target = &observer;
  Side& side = sides_[static_cast<size_t>(chunk.direction)];
  ByteContext context{
      .time_ns = chunk.time_ns, .writer = {.process = chunk.writer, .image = writer_image}, .offset = side.position};
  if (chunk.offset > side.position)
    lose(chunk.direction, chunk.offset - side.position, reason_of_jump(chunk), context, observer);

  uint64_t behind = side.position - chunk.offset;
  bool is_first = true;
  for (size_t i = 0; i < chunk.pieces.size(); ++i) {
    Piece piece = chunk.pieces[i];
    if (behind > 0) {
      const auto known = static_cast<uint32_t>(std::min<uint64_t>(behind, piece.bytes));
      behind -= known;
      duplicate_bytes_ += known;
      piece.bytes -= known;
      if (piece.bytes == 0) continue;
      if (piece.kind == Piece::Kind::kData) piece.data = piece.data.subspan(known);
      // How many of the rows began in the known part cannot be told.
      if (piece.kind == Piece::Kind::kRows) piece.kind = Piece::Kind::kLost;
      is_first = false;
    }
    if (piece.bytes == 0) continue;
    context.offset = side.position;
    context.chunk_begins = is_first;
    context.chunk_ends = i + 1 == chunk.pieces.size();
    push_piece(chunk, piece, context, observer);
    is_first = false;
  }
}

void Connection::push_piece(const Chunk& chunk, const Piece& piece, const ByteContext& context,
                            ConnectionObserver& observer) {
  Side& side = sides_[static_cast<size_t>(chunk.direction)];
  if (piece.kind == Piece::Kind::kLost)
    return lose(chunk.direction, piece.bytes, LostReason::kUnsynced, context, observer);
  const bool was_unsynced = session_->is_unsynced(chunk.direction);
  side.position += piece.bytes;
  if (session_->is_opaque()) {
    side.ledger.opaque += piece.bytes;
    return;
  }
  uint64_t& owner = piece.kind == Piece::Kind::kData   ? side.ledger.decoded
                    : piece.kind == Piece::Kind::kRows ? side.ledger.elided
                                                       : side.ledger.cut;
  owner += piece.bytes;  // before: what the session says now may tell the account
  if (tls_ || (piece.kind == Piece::Kind::kData && turns_to_tls(chunk.direction, piece.data)))
    return push_tls(chunk, piece, context, observer);
  if (piece.kind == Piece::Kind::kData)
    session_->on_bytes(chunk.direction, piece.data, context);
  else if (piece.kind == Piece::Kind::kRows)
    session_->on_rows(chunk.direction, piece.rows, piece.bytes, context);
  else
    session_->on_cut(chunk.direction, piece.bytes, context);
  // What came and could not be read is as lost as what did not come.
  if (!was_unsynced || !session_->is_unsynced(chunk.direction) || session_->is_opaque()) return;
  owner -= piece.bytes;
  own_as_lost(chunk.direction, side.position - piece.bytes, piece.bytes, LostReason::kUnsynced, context, observer);
}

// TLS from the first byte, or the server's answer to the request for it.
bool Connection::turns_to_tls(Direction direction, std::span<const std::byte> bytes) const {
  if (book_ == nullptr) return false;
  if (direction == Direction::kResponse) return session_->awaits_tls_answer();
  const Side& side = sides_[static_cast<size_t>(Direction::kRequest)];
  return bytes[0] == kTlsHandshake && side.position - side.origin == bytes.size();
}

void Connection::push_tls(const Chunk& chunk, const Piece& piece, const ByteContext& context,
                          ConnectionObserver& observer) {
  std::span<const std::byte> bytes = piece.data;
  tls::Moment moment{.time_ns = context.time_ns, .writer = context.writer, .position = context.offset};
  if (!tls_ && chunk.direction == Direction::kResponse) {
    session_->on_bytes(chunk.direction, bytes.first(1), context);
    bytes = bytes.subspan(1);
    ++moment.position;
    if (!session_->is_inside_tls()) {
      ByteContext rest = context;
      rest.offset = moment.position;
      if (!bytes.empty()) session_->on_bytes(chunk.direction, bytes, rest);
      return;
    }
  }
  if (!tls_) tls_ = std::make_unique<tls::Channel>(*book_);
  TlsRelay relay(*session_);
  if (piece.kind == Piece::Kind::kData)
    tls_->on_bytes(chunk.direction, bytes, moment, relay);
  else
    tls_->on_gap(chunk.direction, piece.bytes, moment, relay);
  mind_tls(context.time_ns, observer);
}

// What is sealed for good is opaque; and what was held of it, too.
void Connection::mind_tls(uint64_t time_ns, ConnectionObserver& observer) {
  if (tls_->sealed_because().empty() || session_->is_opaque()) return;
  relay_.target = &observer;
  for (const Direction direction : {Direction::kRequest, Direction::kResponse}) {
    StreamLedger& ledger = sides_[static_cast<size_t>(direction)].ledger;
    const uint64_t held = std::min(tls_->held_bytes(direction), ledger.decoded);
    ledger.decoded -= held;
    ledger.opaque += held;
  }
  session_->on_sealed(tls_->sealed_because(), time_ns);
}

void Connection::on_tls_secret(uint64_t time_ns, ConnectionObserver& observer) {
  if (is_closed_ || !tls_) return;
  relay_.target = &observer;
  TlsRelay relay(*session_);
  tls_->on_secret(relay);
  mind_tls(time_ns, observer);
}

void Connection::seal_tls(std::string_view why, uint64_t time_ns, ConnectionObserver& observer) {
  if (is_closed_ || !tls_) return;
  tls_->seal(why);
  mind_tls(time_ns, observer);
}

// A gap has one reason in the record. Where several were at work the ring comes first: that is what can be mended. A
// joined session's first gap is what was skipped until a message began.
LostReason Connection::reason_of_jump(const Chunk& chunk) const {
  static_assert(static_cast<size_t>(LostReason::kRingFull) == 0);
  for (size_t i = 0; i < kLostReasons; ++i)
    if ((chunk.lost_reasons >> i & 1U) != 0) return static_cast<LostReason>(i);
  const bool is_joining = joined_ && sides_[static_cast<size_t>(chunk.direction)].ledger.decoded == 0;
  return is_joining ? LostReason::kUnsynced : LostReason::kRingFull;
}

void Connection::lose(Direction direction, uint64_t bytes, LostReason reason, const ByteContext& context,
                      ConnectionObserver& observer) {
  Side& side = sides_[static_cast<size_t>(direction)];
  const uint64_t offset = side.position;
  side.position += bytes;
  if (session_->is_opaque()) {
    side.ledger.opaque += bytes;
    return;
  }
  own_as_lost(direction, offset, bytes, reason, context, observer);
  if (!tls_) return session_->on_gap(direction, bytes, context);
  TlsRelay relay(*session_);
  tls_->on_gap(direction, bytes, {.time_ns = context.time_ns, .writer = context.writer, .position = offset}, relay);
  mind_tls(context.time_ns, observer);
}

void Connection::own_as_lost(Direction direction, uint64_t offset, uint64_t bytes, LostReason reason,
                             const ByteContext& context, ConnectionObserver& observer) {
  sides_[static_cast<size_t>(direction)].ledger.lost[static_cast<size_t>(reason)] += bytes;
  observer.on_gap({.socket = socket_,
                   .time_ns = context.time_ns,
                   .direction = direction,
                   .offset = offset,
                   .bytes = bytes,
                   .reason = reason});
}

void Connection::on_opaque(const SocketOpaque& record, ConnectionObserver& observer) {
  if (is_closed_) return;
  relay_.target = &observer;
  session_->on_opaque(record.reason, record.time_ns);
}

void Connection::on_closed(const SocketClosed& record, ConnectionObserver& observer) {
  if (is_closed_) return;
  relay_.target = &observer;
  for (const Direction direction : {Direction::kRequest, Direction::kResponse}) {
    const auto index = static_cast<size_t>(direction);
    Side& side = sides_[index];
    if (record.stream_bytes[index] <= side.position) continue;
    // The reason that accounts for more than has been given to it.
    LostReason reason = LostReason::kRingFull;
    for (size_t i = 0; i < kLostReasons; ++i)
      if (record.lost_bytes[index][i] > side.ledger.lost[i]) reason = static_cast<LostReason>(i);
    lose(direction, record.stream_bytes[index] - side.position, reason,
         {.time_ns = record.time_ns, .offset = side.position}, observer);
  }
  if (tls_ && tls_->is_waiting()) seal_tls("tls-no-secret", record.time_ns, observer);
  tls_.reset();
  session_->on_closed(record.time_ns);
  is_closed_ = true;
}

}  // namespace gatehouse
