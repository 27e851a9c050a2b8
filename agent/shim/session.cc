// SPDX-License-Identifier: Apache-2.0
#include "agent/shim/session.h"

#include <algorithm>
#include <utility>

#include "agent/protocol/postgres/wire.h"
#include "common/clock.h"

namespace gatehouse::shim {
namespace {

// After its end a session waits this long for its peers to close, so that what was written to them is not lost.
constexpr uint64_t kLingerNsMax = 5'000'000'000;
constexpr size_t kLingerReadsMax = 16;

}  // namespace

Session::Session(Loop& loop, const Door& door, const Peer& peer, uint64_t now_ns)
    : loop_(loop),
      door_(door),
      peer_(peer),
      accepted_ns_(now_ns),
      legs_{Leg(*this, loop.staging), Leg(*this, loop.staging)} {}

Session::~Session() {
  if (tether_) *tether_ = nullptr;
}

Status Session::open(UniqueFd accepted) {
  GH_TRY(client().open(std::move(accepted), loop_.epoll));
  set_deadline(accepted_ns_ + loop_.options.handshake_ns_max);
  return {};
}

void Session::set_deadline(uint64_t at_ns) {
  loop_.deadlines[slot] = at_ns;
}

void Session::enter(Phase phase) {
  if (phase_ != Phase::kGone) phase_ = phase;
}

void Session::list_in(std::vector<Session*>& sessions) {
  if (!std::exchange(is_listed, true)) sessions.push_back(this);
}

void Session::on_leg() {
  run();
}

void Session::run() {
  Phase before = phase_;
  do {
    before = phase_;
    step();
  } while (phase_ != before);
  account_held();
}

void Session::account_held() {
  size_t held = 0;
  for (const Way& way : ways_) held += way.in.capacity();
  for (const Leg& leg : legs_) held += leg.held_bytes();
  if (held == held_bytes_) return;
  bump(loop_.counters.held_bytes, held - held_bytes_);
  held_bytes_ = held;
  const uint64_t total = loop_.counters.held_bytes.load(std::memory_order_relaxed);
  if (total > loop_.counters.held_bytes_max.load(std::memory_order_relaxed))
    loop_.counters.held_bytes_max.store(total, std::memory_order_relaxed);
}

void Session::step() {
  switch (phase_) {
    case Phase::kFirst:
      return read_first();
    case Phase::kClientTls:
      return shake_client();
    case Phase::kDial:
      return finish_dial();
    case Phase::kServerAnswer:
      return read_answer();
    case Phase::kServerTls:
      return shake_server();
    case Phase::kRelay:
      return relay();
    case Phase::kCancel:
      return await_cancel();
    case Phase::kLinger:
      return linger();
    case Phase::kGone:
      return;
  }
}

void Session::read_first() {
  if (!is_peeked_) {
    std::byte first{};
    if (!client().peek(first)) {
      if (client().at_end()) wind_up();
      return;
    }
    is_peeked_ = has_spoken_ = true;
    if (first == kTlsRecordByte) {
      if (!begin_direct_tls()) wind_up();
      return;
    }
  }
  Buffer& in = ways_[kClient].in;
  while (true) {
    const FirstPacket packet = read_first_packet(in.view());
    if (packet.kind != FirstPacket::Kind::kMore) {
      if (!on_first_packet(packet)) return;
      continue;
    }
    // Below its bound a packet may be incomplete, never at it.
    const auto space = std::span(loop_.scratch).first(postgres::kStartupFrameBytesMax - in.size());
    const size_t got = client().read(space);
    in.append(space.first(got));
    if (got > 0) continue;
    if (client().at_end()) wind_up();
    return;
  }
}

// False: not here. As a server without TLS it says nothing.
bool Session::begin_direct_tls() {
  if (peer_.transport == Transport::kUnix || !door_.tls->is_offered() ||
      !client().start_tls(door_.tls->to_client(), true)) {
    bump(loop_.counters.refused_startups);
    return false;
  }
  is_direct_ = has_asked_ssl_ = has_asked_gss_ = true;
  enter(Phase::kClientTls);
  return true;
}

// False: nothing more to read for now.
bool Session::on_first_packet(const FirstPacket& packet) {
  using Kind = FirstPacket::Kind;
  const bool may_ask =
      (packet.kind == Kind::kSslRequest && !has_asked_ssl_) || (packet.kind == Kind::kGssRequest && !has_asked_gss_);
  if (may_ask) return on_encryption_request(packet);
  first_bytes_ = static_cast<uint32_t>(packet.bytes);
  switch (packet.kind) {
    case Kind::kStartup:
    case Kind::kCancel:
      is_cancel_ = packet.kind == Kind::kCancel;
      record_opened();
      if (!is_cancel_ || !cancel_here()) begin_dial();
      return false;
    case Kind::kMalformed:
      // A server closes without a word as well: who sends this does not speak the protocol.
      bump(loop_.counters.refused_startups);
      wind_up();
      return false;
    case Kind::kSslRequest:
    case Kind::kGssRequest:
    case Kind::kUnsupported:
      refuse_first({.sqlstate = "0A000",
                    .message = "unsupported frontend protocol " + std::to_string(packet.version >> 16) + "." +
                               std::to_string(packet.version & 0xffff) + ": server supports 3.0 to 3.2"});
      return false;
    case Kind::kMore:
      break;
  }
  return false;
}

// What waits in the shim is cancelled there: its server would cancel what it runs next. As a server, the shim says
// nothing and closes.
bool Session::cancel_here() {
  constexpr size_t kBeforeKey = 8;  // length and code
  const auto packet = ways_[kClient].in.view().first(first_bytes_);
  if (!loop_.host.on_cancel(packet.subspan(kBeforeKey))) return false;
  bump(loop_.counters.cancels);
  record_bytes(Direction::kRequest, packet);
  wind_up();
  return true;
}

// True: declined, and the client goes on in the clear.
bool Session::on_encryption_request(const FirstPacket& packet) {
  const bool is_ssl = packet.kind == FirstPacket::Kind::kSslRequest;
  Buffer& in = ways_[kClient].in;
  // Whoever wrote what follows did so without knowing whether it would be encrypted: not the client, or not a sane one.
  if (in.size() > packet.bytes) {
    refuse_first({.sqlstate = "08P01",
                  .message = is_ssl ? "received unencrypted data after SSL request"
                                    : "received unencrypted data after GSSAPI encryption request",
                  .detail = "This could be either a client-software bug or evidence of an attempted man-in-the-middle "
                            "attack."});
    return false;
  }
  in.consume(packet.bytes);
  (is_ssl ? has_asked_ssl_ : has_asked_gss_) = true;
  const bool accepts = is_ssl && peer_.transport != Transport::kUnix && door_.tls->is_offered();
  const std::byte answer{static_cast<unsigned char>(accepts ? 'S' : 'N')};
  client().write({&answer, 1});
  if (!accepts) return true;
  has_asked_gss_ = true;
  if (!client().start_tls(door_.tls->to_client(), true)) {
    bump(loop_.counters.tls_failed);
    wind_up();
    return false;
  }
  enter(Phase::kClientTls);
  return false;
}

void Session::shake_client() {
  switch (client().handshake()) {
    case Leg::Handshake::kPending:
      return;
    case Leg::Handshake::kDone:
      if (!is_direct_ || has_postgres_alpn(client().ssl())) return enter(Phase::kFirst);
      [[fallthrough]];
    case Leg::Handshake::kFailed:
      bump(loop_.counters.tls_failed);
      wind_up();
  }
}

void Session::refuse_first(const Farewell& farewell) {
  bump(loop_.counters.refused_startups);
  record_opened();
  const std::string response = error_response(farewell);
  record_bytes(Direction::kResponse, as_bytes(response));
  client().write(as_bytes(response));
  wind_up();
}

void Session::wind_up() {
  if (phase_ == Phase::kLinger || phase_ == Phase::kGone) return;
  end_gate();
  if (has_spoken_) record_opened();
  record_closed();
  if (tether_) *std::exchange(tether_, nullptr) = nullptr;
  for (Way& way : ways_) way.in.clear();
  if (server().is_open() && (server().at_end() || server().is_deaf())) close_server();
  server().end_writing();
  client().end_writing();
  set_deadline(boottime_ns() + kLingerNsMax);
  enter(Phase::kLinger);
}

// However it ends, the gate tells what became of what was asked.
void Session::end_gate() {
  if (gate_ && !is_gate_ended_ && !ways_[kServer].is_told) {
    ways_[kServer].is_told = true;
    now_ns_ = boottime_ns();
    gate_->on_closed(Direction::kResponse, now_ns_);
    uncork();
  }
  gate_.reset();
  judge_.reset();
}

// Reads to the end what its peers still say, and throws it away.
void Session::linger() {
  for (Leg& leg : legs_) {
    size_t reads = 0;
    while (leg.is_open() && !leg.at_end() && leg.is_readable() && reads++ < kLingerReadsMax)
      if (leg.read(loop_.scratch) == 0) break;
    if (reads > kLingerReadsMax) list_in(loop_.again);
    if (leg.is_open() && (leg.is_deaf() || (leg.at_end() && leg.has_ended_writing())))
      &leg == &server() ? close_server() : leg.close();
  }
  if (!client().is_open() && !server().is_open()) abandon();
}

void Session::on_deadline() {
  const bool can_be_told = phase_ == Phase::kDial || phase_ == Phase::kServerAnswer || phase_ == Phase::kServerTls;
  if (phase_ == Phase::kLinger) return abandon();
  if (can_be_told)
    fail({.sqlstate = "57P03", .message = "the database server does not answer"});
  else
    wind_up();
  run();
}

void Session::abandon() {
  if (phase_ == Phase::kGone) return;
  end_gate();
  if (has_spoken_) record_opened();
  record_closed();
  close_server();
  client().close();
  for (Way& way : ways_) way.in.clear();
  account_held();
  phase_ = Phase::kGone;
  bump(loop_.counters.closed);
  loop_.remove(*this);
}

void Session::close_server() {
  if (std::exchange(is_announced_, false)) loop_.redirect->forget(server().fd());
  server().close();
}

SocketOpened Session::opened() {
  return {.socket = peer_.cookie,
          .time_ns = accepted_ns_,
          .transport = peer_.transport,
          .netns = loop_.netns,
          .client = peer_.client,
          .server = server_endpoint(*door_.gated, peer_),
          .client_opener = peer_.opener.process,
          .client_uid = peer_.opener.uid,
          .is_gated = true,
          .is_encrypted = client().is_tls()};
}

void Session::record_opened() {
  if (std::exchange(is_recorded_, true)) return;
  loop_.host.records().on_socket_opened(opened());
}

// What was said without a gate.
void Session::record_bytes(Direction direction, std::span<const std::byte> bytes) {
  const Piece piece{.kind = Piece::Kind::kData, .bytes = static_cast<uint32_t>(bytes.size()), .data = bytes};
  now_ns_ = boottime_ns();
  on_moved(direction, ways_[static_cast<size_t>(direction)].moved, {&piece, 1});
}

void Session::record_closed() {
  if (!is_recorded_ || std::exchange(is_counted_, true)) return;
  loop_.host.records().on_socket_closed(
      {.socket = peer_.cookie, .time_ns = boottime_ns(), .stream_bytes = {ways_[kClient].moved, ways_[kServer].moved}});
}

}  // namespace gatehouse::shim
