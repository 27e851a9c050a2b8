// SPDX-License-Identifier: Apache-2.0
// From the client's first packet to a server that has been reached as the client asked for it, or to a word why not.
#include <sys/socket.h>

#include <cstring>

#include "agent/protocol/postgres/wire.h"
#include "agent/shim/session.h"
#include "common/clock.h"
#include "common/log.h"

namespace gatehouse::shim {
namespace {

constexpr std::array<std::byte, 8> ssl_request() {
  std::array<std::byte, 8> packet{};
  packet[3] = std::byte{packet.size()};
  for (size_t i = 0; i < 4; ++i) packet[4 + i] = static_cast<std::byte>(postgres::kSslRequestCode >> (24 - 8 * i));
  return packet;
}
constexpr std::array<std::byte, 8> kSslRequest = ssl_request();

// 57P03, cannot_connect_now: what libpq and others take as "this host not, try the next", and pg_isready as "no", as
// they would take the refused connection that the client would have seen without the shim.
Farewell unreachable(int error) {
  return {.sqlstate = "57P03",
          .message = std::string("the database server cannot be reached: ") + std::strerror(error),
          .detail = "Gatehouse stands before it and accepted the connection."};
}

}  // namespace

void Session::begin_dial() {
  enter(Phase::kDial);
  dial_server();
}

void Session::dial_server() {
  Dialled dialled = dial(*door_.gated, peer_, client().fd(), loop_.redirect);
  is_announced_ = dialled.is_announced;
  switch (dialled.state) {
    case Dialled::State::kFailed:
      return fail(unreachable(dialled.error));
    case Dialled::State::kBusy:
      // Its backlog is full; the deadline ends the trying.
      return list_in(loop_.later);
    case Dialled::State::kConnected:
    case Dialled::State::kPending: {
      const int fd = dialled.socket.get();
      if (const auto opened = server().open(std::move(dialled.socket), loop_.epoll); !opened) {
        if (std::exchange(is_announced_, false)) loop_.redirect->forget(fd);
        return fail(unreachable(ENOMEM));
      }
      if (dialled.state == Dialled::State::kConnected) on_connected();
    }
  }
}

void Session::finish_dial() {
  if (!server().is_open()) {
    if (!is_listed) dial_server();
    return;
  }
  if (!server().is_settled()) return;
  int error = 0;
  socklen_t size = sizeof(error);
  if (getsockopt(server().fd(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return fail(unreachable(error));
  on_connected();
}

void Session::on_connected() {
  if (!client().is_tls()) return begin_session();
  server().write(kSslRequest);
  enter(Phase::kServerAnswer);
}

// One byte and no more: what a third party may have put behind it is never taken for the server's.
void Session::read_answer() {
  std::byte answer{};
  if (server().read({&answer, 1}) == 0) {
    if (server().at_end()) fail(unreachable(ECONNRESET));
    return;
  }
  if (answer == std::byte{'S'} && server().start_tls(door_.tls->to_server(), false, door_.tls->server_name()))
    return enter(Phase::kServerTls);
  bump(loop_.counters.tls_failed);
  fail({.sqlstate = "08006",
        .message = "the database server does not accept TLS, which this client uses",
        .detail = "Gatehouse does not pass on in the clear what came encrypted.",
        .hint = "Turn on ssl in the server's configuration, or take tls out of Gatehouse's for this database."});
}

void Session::shake_server() {
  switch (server().handshake()) {
    case Leg::Handshake::kPending:
      return;
    case Leg::Handshake::kDone:
      return begin_session();
    case Leg::Handshake::kFailed:
      break;
  }
  bump(loop_.counters.tls_failed);
  const long verified = SSL_get_verify_result(server().ssl());
  const bool is_untrusted = verified != X509_V_OK;
  const bool is_pinned = door_.gated->upstream_tls.verify == UpstreamTls::Verify::kCertificate;
  const std::string reason = is_untrusted ? X509_verify_cert_error_string(verified) : take_tls_reason();
  if (!is_untrusted) return fail({.sqlstate = "08006", .message = "TLS with the database server failed: " + reason});
  fail({.sqlstate = "28000",
        .message = is_pinned ? "the database server's certificate is not the one that Gatehouse was given"
                             : "the database server's certificate cannot be verified: " + reason,
        .hint = is_pinned ? "Give Gatehouse the server's present certificate and key, or have it verify by a root "
                            "certificate."
                          : "Check the root certificate and the server name in Gatehouse's configuration."});
}

void Session::begin_session() {
  Buffer& in = ways_[kClient].in;
  if (is_cancel_) {
    bump(loop_.counters.cancels);
    record_bytes(Direction::kRequest, in.view().first(first_bytes_));
    server().write(in.view().first(first_bytes_));
    in.clear();
    return enter(Phase::kCancel);
  }
  set_deadline(UINT64_MAX);
  tether_ = std::make_shared<Session*>(this);
  const SocketOpened opened = this->opened();
  judge_ = loop_.host.open_session({.opened = opened,
                                    .gated = door_.index,
                                    .resume =
                                        [tether = tether_] {
                                          if (*tether != nullptr) (*tether)->resume();
                                        },
                                    .notice =
                                        [tether = tether_](std::string_view text) {
                                          if (*tether != nullptr) (*tether)->notice(text);
                                        }});
  gate_ = std::make_unique<Gate>(*this, door_.gated->limits);
  ways_[kClient].is_due = true;
  enter(Phase::kRelay);
}

// The server says nothing to a cancel request; that it closes tells the client that it was heard.
void Session::await_cancel() {
  while (server().is_readable() && !server().at_end())
    if (server().read(loop_.scratch) == 0) break;
  if (server().at_end() || server().is_deaf()) wind_up();
}

void Session::fail(const Farewell& farewell) {
  bump(loop_.counters.upstream_failed);
  if (loop_.may_tell(boottime_ns()))
    log::warn("shim", "a client could not be led to its server",
              {{"database", door_.gated->label}, {"reason", farewell.message}});
  close_server();
  // The record says what was asked, and what was answered in the server's place.
  record_bytes(Direction::kRequest, ways_[kClient].in.view().first(first_bytes_));
  if (!is_cancel_) {
    const std::string response = error_response(farewell);
    record_bytes(Direction::kResponse, as_bytes(response));
    client().write(as_bytes(response));
  }
  wind_up();
}

}  // namespace gatehouse::shim
