// SPDX-License-Identifier: Apache-2.0
// The way from the shim to a gated server: sockets that the redirect lets pass, and that the server sees as the
// client's.
#pragma once

#include <sys/socket.h>

#include "agent/shim/redirect.h"
#include "agent/shim/worker.h"
#include "common/file.h"

namespace gatehouse::shim {

// Who was accepted, and where.
struct Peer {
  Transport transport = Transport::kTcp4;
  sockaddr_storage local{};  // TCP: what the client asked for
  Endpoint client{};         // without path
  Opener opener{};           // kUnix: by its credentials
  uint64_t cookie = 0;
};

// Of a socket that was just accepted. An opener of TCP is asked of `redirect` (which may be null).
Peer describe_peer(int accepted, Transport transport, Redirect* redirect);
// Where the client believes the server to be.
Endpoint server_endpoint(const Gated& gated, const Peer& peer);

struct Dialled {
  enum class State : uint8_t { kConnected, kPending, kBusy, kFailed };
  State state = State::kFailed;  // kBusy: a Unix server's backlog is full; dial again later
  int error = 0;                 // errno; kFailed
  UniqueFd socket{};             // kConnected, kPending
  bool is_announced = false;     // redirect->forget() before it is closed
};
// `accepted`: the client's socket. Unix: this thread is the client for the time of the connect, by uid, gid and groups,
// so that the server's peer authentication and the folder's permissions say of it what they would say without the shim.
Dialled dial(const Gated& gated, const Peer& peer, int accepted, Redirect* redirect);

// Keepalive and no delay, as servers set them on what they accept.
void set_server_options(int socket);

}  // namespace gatehouse::shim
