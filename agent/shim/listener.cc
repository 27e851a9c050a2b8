// SPDX-License-Identifier: Apache-2.0
#include "agent/shim/listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "agent/shim/first_packet.h"
#include "agent/shim/session.h"
#include "agent/shim/upstream.h"
#include "common/clock.h"
#include "common/log.h"

namespace gatehouse::shim {
namespace {

constexpr size_t kAcceptsPerTurnMax = 64;

}  // namespace

Status Listener::open() {
  const int flags = fcntl(socket_.get(), F_GETFL);
  if (flags < 0 || fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK) != 0) return Error::system("a listening socket");
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.ptr = static_cast<Pollable*>(this)}};
  if (epoll_ctl(loop_.epoll, EPOLL_CTL_ADD, socket_.get(), &event) != 0)
    return Error::system("polling a listening socket");
  return {};
}

void Listener::on_events(uint32_t /*events*/) {
  accept_some();
}

void Listener::accept_some() {
  is_due_ = true;
  for (size_t i = 0; i < kAcceptsPerTurnMax; ++i) {
    UniqueFd accepted(accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (accepted.valid()) {
      take(std::move(accepted));
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      is_due_ = false;
    } else if (errno == EINVAL) {
      is_due_ = false;
      is_over_ = true;
      epoll_ctl(loop_.epoll, EPOLL_CTL_DEL, socket_.get(), nullptr);  // whoever shut it down may hold it yet
    } else if (const Error error = Error::system("accept"); loop_.may_tell(boottime_ns())) {
      // Descriptors or memory: they wait in the backlog, and are tried again.
      log::error("shim", "cannot accept a client", {{"reason", error.message()}});
    }
    return;
  }
}

// Who is led here was accepted at the server's port.
bool Listener::is_led(int accepted) const {
  const Gated& gated = *door_.gated;
  if (loop_.redirect == nullptr || gated.transport == Transport::kUnix || gated.is_far) return true;
  sockaddr_storage local{};
  socklen_t size = sizeof local;
  if (getsockname(accepted, reinterpret_cast<sockaddr*>(&local), &size) != 0) return false;
  // Ports of both families stand in the same place.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&local)->sin_port) == gated.server.port;
}

void Listener::take(UniqueFd accepted) {
  bump(loop_.counters.accepted);
  if (loop_.sessions.size() >= loop_.options.sessions_max) {
    bump(loop_.counters.refused_startups);
    bump(loop_.counters.closed);
    const std::string response =
        error_response({.sqlstate = "53300", .message = "Gatehouse has as many sessions as it may"});
    // A client that is to be refused need not have been heard; if this does not fit into an empty socket, nothing does.
    [[maybe_unused]] const ssize_t sent = send(accepted.get(), response.data(), response.size(), MSG_NOSIGNAL);
    return;
  }
  // Nobody was led to this place by its own address: who comes that way wants to be taken for somebody from elsewhere.
  if (!is_led(accepted.get())) {
    bump(loop_.counters.refused_startups);
    bump(loop_.counters.closed);
    return;
  }
  set_server_options(accepted.get());
  const Peer peer = describe_peer(accepted.get(), door_.gated->transport, loop_.redirect);
  // Who is led to a loopback address is of this host, and was noted as he connected: others have come by themselves.
  if (door_.gated->is_far && loop_.redirect != nullptr && !peer.opener.process.known()) {
    bump(loop_.counters.refused_startups);
    bump(loop_.counters.closed);
    return;
  }
  auto session = std::make_unique<Session>(loop_, door_, peer, boottime_ns());
  Session& added = *session;
  loop_.add(std::move(session));
  if (const auto opened = added.open(std::move(accepted)); !opened) {
    log::error("shim", "cannot take a client", {{"reason", opened.error().message()}});
    added.abandon();
  }
}

}  // namespace gatehouse::shim
