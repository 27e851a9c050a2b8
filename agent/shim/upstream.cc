// SPDX-License-Identifier: Apache-2.0
#include "agent/shim/upstream.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

#include "agent/identity/proc_reader.h"
#include "common/check.h"
#include "common/log.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

namespace gatehouse::shim {
namespace {

// More than a user has in practice; NGROUPS_MAX is 65536.
constexpr size_t kGroupsMax = 1024;
constexpr size_t kMappedPrefix = 12;  // of an IPv4 address in IPv6

template <typename Address>
Address& as(sockaddr_storage& storage) {
  return *reinterpret_cast<Address*>(&storage);
}
template <typename Address>
const Address& as(const sockaddr_storage& storage) {
  return *reinterpret_cast<const Address*>(&storage);
}

Endpoint to_endpoint(const sockaddr_storage& address) {
  Endpoint endpoint;
  if (address.ss_family == AF_INET) {
    const auto& in = as<sockaddr_in>(address);
    std::memcpy(endpoint.address.data(), &in.sin_addr, sizeof(in.sin_addr));
    endpoint.port = ntohs(in.sin_port);
  } else if (address.ss_family == AF_INET6) {
    const auto& in = as<sockaddr_in6>(address);
    std::memcpy(endpoint.address.data(), &in.sin6_addr, sizeof(in.sin6_addr));
    endpoint.port = ntohs(in.sin6_port);
  }
  return endpoint;
}

// ::ffff:a.b.c.d is IPv4 on the wire, and in the record.
void unmap(sockaddr_storage& address) {
  if (address.ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&as<sockaddr_in6>(address).sin6_addr)) return;
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = as<sockaddr_in6>(address).sin6_port;
  std::memcpy(&in.sin_addr, as<sockaddr_in6>(address).sin6_addr.s6_addr + kMappedPrefix, sizeof(in.sin_addr));
  address = {};
  as<sockaddr_in>(address) = in;
}

socklen_t size_of(const sockaddr_storage& address) {
  return address.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
}

const sockaddr* generic(const sockaddr_storage& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// The process may be gone, and another have its number: believed only while the kernel's own handle says it lives.
ProcessKey process_of(int accepted, uint32_t pid) {
  int handle = -1;
  socklen_t size = sizeof(handle);
  const bool has_handle = getsockopt(accepted, SOL_SOCKET, SO_PEERPIDFD, &handle, &size) == 0;
  const UniqueFd owned(has_handle ? handle : -1);
  const auto ticks = identity::read_start_ticks("/proc", pid);
  if (!ticks) return {};
  pollfd ended{.fd = owned.get(), .events = POLLIN, .revents = 0};
  if (has_handle && poll(&ended, 1, 0) != 0) return {};
  return {.pid = pid, .start_ns = *ticks * identity::kTickNs};
}

Opener unix_opener(int accepted) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (getsockopt(accepted, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return {};
  Opener opener{.uid = credentials.uid};
  if (credentials.pid > 0) opener.process = process_of(accepted, static_cast<uint32_t>(credentials.pid));
  return opener;
}

// This thread as somebody else, for one call. Only effective ids change, so nobody gains a right over the agent; raw
// system calls, because the library's would change every thread. Nothing may be logged, opened or allocated from files
// between begin() and end().
class Impersonation {
 public:
  explicit Impersonation(int accepted) : accepted_(accepted) {}
  Impersonation(const Impersonation&) = delete;
  Impersonation& operator=(const Impersonation&) = delete;
  ~Impersonation() { end(); }

  Status begin() {
    ucred client{};
    socklen_t size = sizeof(client);
    if (getsockopt(accepted_, SOL_SOCKET, SO_PEERCRED, &client, &size) != 0) return Error::system("SO_PEERCRED");
    if (client.uid == geteuid() && client.gid == getegid()) return {};  // the same user: nothing to change
    std::array<gid_t, kGroupsMax> theirs{};
    socklen_t theirs_size = sizeof(theirs);
    if (getsockopt(accepted_, SOL_SOCKET, SO_PEERGROUPS, theirs.data(), &theirs_size) != 0)
      return Error::system("SO_PEERGROUPS");
    const int own_count = getgroups(0, nullptr);
    own_.resize(static_cast<size_t>(std::max(own_count, 0)));
    if (own_count < 0 || getgroups(own_count, own_.data()) < 0) return Error::system("getgroups");
    own_uid_ = geteuid();
    own_gid_ = getegid();
    is_begun_ = true;
    if (syscall(SYS_setgroups, theirs_size / sizeof(gid_t), theirs.data()) != 0 ||
        syscall(SYS_setresgid, -1, client.gid, -1) != 0 || syscall(SYS_setresuid, -1, client.uid, -1) != 0)
      return Error::system("becoming the client");
    return {};
  }

  void end() {
    if (!is_begun_) return;
    is_begun_ = false;
    // What could not be taken back would let the shim act as one client for another.
    GH_CHECK(syscall(SYS_setresuid, -1, own_uid_, -1) == 0);
    GH_CHECK(syscall(SYS_setresgid, -1, own_gid_, -1) == 0);
    GH_CHECK(syscall(SYS_setgroups, own_.size(), own_.data()) == 0);
  }

 private:
  int accepted_;
  bool is_begun_ = false;
  uid_t own_uid_ = 0;
  gid_t own_gid_ = 0;
  std::vector<gid_t> own_;
};

Dialled failed(int error) {
  return {.error = error};
}

Dialled dial_unix(const Gated& gated, int accepted) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (gated.path.empty() || gated.path.size() >= sizeof(address.sun_path)) return failed(ENAMETOOLONG);
  std::memcpy(address.sun_path, gated.path.data(), gated.path.size());
  auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + gated.path.size());
  if (gated.path.front() == '@')
    address.sun_path[0] = '\0';
  else
    ++size;
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return failed(errno);
  Impersonation client(accepted);
  if (const auto begun = client.begin(); !begun) {
    const int error = errno;
    client.end();
    log::error("shim", "cannot connect to a server as its client", {{"reason", begun.error().message()}});
    return failed(error);
  }
  const int outcome = connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size);
  const int error = errno;
  client.end();
  if (outcome == 0) return {.state = Dialled::State::kConnected, .socket = std::move(socket)};
  if (error == EAGAIN) return {.state = Dialled::State::kBusy};
  return failed(error);
}

// Where the server is: at the address that it listens on, or else the one that the client asked for.
sockaddr_storage server_address(const Gated& gated, const Peer& peer) {
  sockaddr_storage address = peer.local;
  const bool is_any = std::ranges::all_of(gated.server.address, [](uint8_t byte) { return byte == 0; });
  if (!is_any && gated.transport == Transport::kTcp4) {
    address = {};
    address.ss_family = AF_INET;
    std::memcpy(&as<sockaddr_in>(address).sin_addr, gated.server.address.data(), sizeof(in_addr));
  } else if (!is_any && to_endpoint(address).address != gated.server.address) {
    address = {};
    address.ss_family = AF_INET6;
    std::memcpy(&as<sockaddr_in6>(address).sin6_addr, gated.server.address.data(), sizeof(in6_addr));
  }
  unmap(address);
  if (address.ss_family == AF_INET)
    as<sockaddr_in>(address).sin_port = htons(gated.server.port);
  else
    as<sockaddr_in6>(address).sin6_port = htons(gated.server.port);
  return address;
}

// From the server's own address, which is this host's; from any where it is not.
bool bind_beside(int socket, const sockaddr_storage& server) {
  sockaddr_storage own = server;
  if (own.ss_family == AF_INET)
    as<sockaddr_in>(own).sin_port = 0;
  else
    as<sockaddr_in6>(own).sin6_port = 0;
  if (bind(socket, generic(own), size_of(own)) == 0) return true;
  if (errno != EADDRNOTAVAIL) return false;
  if (own.ss_family == AF_INET)
    as<sockaddr_in>(own).sin_addr.s_addr = INADDR_ANY;
  else
    as<sockaddr_in6>(own).sin6_addr = in6addr_any;
  return bind(socket, generic(own), size_of(own)) == 0;
}

// A socket in the network namespace that the client is in: there it meant the address that it asked for.
UniqueFd socket_beside(int accepted, int family) {
  constexpr int kType = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  UniqueFd socket(::socket(family, kType, 0));
  uint64_t own = 0, theirs = 0;
  socklen_t size = sizeof(own);
  if (!socket.valid() || getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &own, &size) != 0 ||
      getsockopt(accepted, SOL_SOCKET, SO_NETNS_COOKIE, &theirs, &size) != 0 || own == theirs)
    return socket;
  const UniqueFd home(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  const UniqueFd there(ioctl(accepted, SIOCGSKNS));
  if (!home.valid() || !there.valid() || setns(there.get(), CLONE_NEWNET) != 0) return {};
  socket = UniqueFd(::socket(family, kType, 0));
  const int error = errno;
  // Left there, this thread would take one namespace's clients to another's servers.
  GH_CHECK(setns(home.get(), CLONE_NEWNET) == 0);
  errno = error;
  return socket;
}

// To another host. The redirect knows the socket itself, wherever it is bound.
Dialled dial_far(const Gated& gated, const Peer& peer, int accepted, Redirect* redirect) {
  const sockaddr_storage server = server_address(gated, peer);
  UniqueFd socket = socket_beside(accepted, server.ss_family);
  if (!socket.valid()) return failed(errno);
  set_server_options(socket.get());
  if (redirect != nullptr) {
    // Not announced, it would be recorded as a client's that went past the shim.
    if (const auto announced = redirect->announce_far(socket.get()); !announced) {
      log::error("shim", "cannot announce a connection to its server", {{"reason", announced.error().message()}});
      return failed(ECONNREFUSED);
    }
  }
  if (connect(socket.get(), generic(server), size_of(server)) == 0)
    return {.state = Dialled::State::kConnected, .socket = std::move(socket)};
  if (errno == EINPROGRESS) return {.state = Dialled::State::kPending, .socket = std::move(socket)};
  return failed(errno);
}

Dialled dial_tcp(const Gated& gated, const Peer& peer, Redirect* redirect) {
  const sockaddr_storage server = server_address(gated, peer);
  UniqueFd socket(::socket(server.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return failed(errno);
  set_server_options(socket.get());
  if (!bind_beside(socket.get(), server)) return failed(errno);
  const Transport transport = server.ss_family == AF_INET ? Transport::kTcp4 : Transport::kTcp6;
  Dialled dialled;
  if (redirect != nullptr) {
    // Not let pass, it would come back to the shim.
    if (const auto announced = redirect->announce(socket.get(), transport, peer.client); !announced) {
      log::error("shim", "cannot announce a connection to its server", {{"reason", announced.error().message()}});
      return failed(ECONNREFUSED);
    }
    dialled.is_announced = true;
  }
  if (connect(socket.get(), generic(server), size_of(server)) == 0) {
    dialled.state = Dialled::State::kConnected;
  } else if (errno == EINPROGRESS) {
    dialled.state = Dialled::State::kPending;
  } else {
    dialled.error = errno;
    if (redirect != nullptr) redirect->forget(socket.get());
    return failed(dialled.error);
  }
  dialled.socket = std::move(socket);
  return dialled;
}

}  // namespace

void set_server_options(int socket) {
  // Refused for a Unix socket, which has neither.
  const int on = 1;
  setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

Peer describe_peer(int accepted, Transport transport, Redirect* redirect) {
  Peer peer{.transport = transport};
  socklen_t size = sizeof(peer.cookie);
  getsockopt(accepted, SOL_SOCKET, SO_COOKIE, &peer.cookie, &size);
  if (transport == Transport::kUnix) {
    peer.opener = unix_opener(accepted);
    return peer;
  }
  sockaddr_storage client{};
  size = sizeof(client);
  getpeername(accepted, reinterpret_cast<sockaddr*>(&client), &size);
  size = sizeof(peer.local);
  getsockname(accepted, reinterpret_cast<sockaddr*>(&peer.local), &size);
  unmap(client);
  unmap(peer.local);
  peer.transport = client.ss_family == AF_INET ? Transport::kTcp4 : Transport::kTcp6;
  peer.client = to_endpoint(client);
  if (redirect != nullptr) peer.opener = redirect->take_opener(accepted);
  return peer;
}

Endpoint server_endpoint(const Gated& gated, const Peer& peer) {
  if (peer.transport == Transport::kUnix) return {.path = gated.path};
  return to_endpoint(server_address(gated, peer));
}

Dialled dial(const Gated& gated, const Peer& peer, int accepted, Redirect* redirect) {
  if (peer.transport == Transport::kUnix) return dial_unix(gated, accepted);
  return gated.is_far ? dial_far(gated, peer, accepted, redirect) : dial_tcp(gated, peer, redirect);
}

}  // namespace gatehouse::shim
