// SPDX-License-Identifier: Apache-2.0
#include "tests/bpf/forwarder.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>

#include "common/clock.h"
#include "tests/bpf/visits.h"

namespace gatehouse::capture::test {
namespace {

constexpr auto kBeat = std::chrono::milliseconds(25);

Transport transport_of(const SocketAddress& address) {
  if (address.storage.ss_family == AF_UNIX) return Transport::kUnix;
  return address.storage.ss_family == AF_INET ? Transport::kTcp4 : Transport::kTcp6;
}

Endpoint endpoint_of(const SocketAddress& address) {
  Endpoint endpoint;
  if (address.storage.ss_family == AF_INET) {
    const auto* const in = reinterpret_cast<const sockaddr_in*>(&address.storage);
    std::memcpy(endpoint.address.data(), &in->sin_addr, 4);
    endpoint.port = ntohs(in->sin_port);
  } else {
    const auto* const in = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    std::memcpy(endpoint.address.data(), &in->sin6_addr, 16);
    endpoint.port = ntohs(in->sin6_port);
  }
  return endpoint;
}

// One turn of one direction. False: it has ended.
bool move_some(int from, int to) {
  std::array<char, 65536> buffer{};
  const ssize_t bytes = ::read(from, buffer.data(), buffer.size());
  for (ssize_t at = 0; at < bytes;) {
    const ssize_t sent = ::send(to, buffer.data() + at, static_cast<size_t>(bytes - at), MSG_NOSIGNAL);
    if (sent < 0) return false;
    at += sent;
  }
  return bytes > 0;
}

}  // namespace

shim::Place place_at(const std::string& where, uint16_t port, shim::OnFailure on_failure) {
  const SocketAddress address = address_of(where, port);
  shim::Place place{.transport = transport_of(address), .server = {}, .path = {}, .on_failure = on_failure};
  if (place.transport == Transport::kUnix)
    place.path = where;
  else
    place.server = endpoint_of(address);
  return place;
}

shim::Place far_place(const std::string& where, uint16_t port, shim::OnFailure on_failure) {
  shim::Place place = place_at(where, port, on_failure);
  place.is_far = true;
  return place;
}

namespace {

SocketAddress server_of(const shim::Place& place) {
  SocketAddress address;
  if (place.transport == Transport::kTcp4) {
    auto* const in = reinterpret_cast<sockaddr_in*>(&address.storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(place.server.port);
    std::memcpy(&in->sin_addr, place.server.address.data(), 4);
    address.bytes = sizeof(*in);
  } else {
    auto* const in = reinterpret_cast<sockaddr_in6*>(&address.storage);
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(place.server.port);
    std::memcpy(&in->sin6_addr, place.server.address.data(), 16);
    address.bytes = sizeof(*in);
  }
  return address;
}

const char* loopback_of(const shim::Place& place) {
  return place.transport == Transport::kTcp4 ? "127.0.0.1" : "::1";
}

}  // namespace

Forwarder::Forwarder(shim::Redirect& redirect, const std::vector<shim::Place>& places, const std::string& unix_folder)
    : redirect_(redirect) {
  redirect_.beat(boottime_ns());
  heart_ = std::thread([this] {
    while (!is_ending_) {
      if (is_beating_) redirect_.beat(boottime_ns());
      std::this_thread::sleep_for(kBeat);
    }
  });
  for (size_t i = 0; i < places.size(); ++i) {
    Status led;
    if (places[i].transport == Transport::kUnix) {
      const std::string path = unix_folder + "/shim" + std::to_string(i);
      listeners_.push_back(listening(path));
      led = redirect_.lead_unix(i, path);
    } else {
      listeners_.push_back(listening(loopback_of(places[i])));
      led = redirect_.lead(i, listeners_.back().get());
    }
    EXPECT_TRUE(led) << led.error().message();
    acceptors_.emplace_back([this, fd = listeners_.back().get(), place = places[i]] { accept_from(fd, place); });
  }
}

Forwarder::~Forwarder() {
  is_ending_ = true;
  heart_.join();
  for (const UniqueFd& listener : listeners_) ::shutdown(listener.get(), SHUT_RDWR);
  for (std::thread& thread : acceptors_) thread.join();
  while (forwarding_ > 0) std::this_thread::sleep_for(kBeat);
}

void Forwarder::play_dead() {
  is_beating_ = false;
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
}

void Forwarder::revive() {
  is_beating_ = true;
  redirect_.beat(boottime_ns());
}

std::vector<Forwarded> Forwarder::sessions() {
  const std::scoped_lock lock(mutex_);
  return sessions_;
}

void Forwarder::listen_there(const shim::Place& place, size_t index, int netns) {
  std::thread([&] {
    EXPECT_EQ(::setns(netns, CLONE_NEWNET), 0);
    listeners_.push_back(listening(loopback_of(place)));
  }).join();
  const Status led = redirect_.lead_there(index, listeners_.back().get());
  EXPECT_TRUE(led) << led.error().message();
  acceptors_.emplace_back([this, fd = listeners_.back().get(), place] { accept_from(fd, place); });
}

void Forwarder::accept_from(int listener, shim::Place place) {
  while (!is_ending_) {
    UniqueFd client(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (!client.valid()) continue;
    const Forwarded session{.opener = redirect_.take_opener(client.get()),
                            .client = peer_of(client.get()),
                            .asked_for = place.is_far ? text_of(server_of(place)) : local_of(client.get())};
    const std::scoped_lock lock(mutex_);
    sessions_.push_back(session);
    ++forwarding_;
    std::thread([this, place, fd = client.release()] {
      forward(UniqueFd(fd), place);
      --forwarding_;
    }).detach();
  }
}

UniqueFd Forwarder::reach_far(const shim::Place& place) {
  const SocketAddress server = server_of(place);
  UniqueFd up(::socket(server.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!redirect_.announce_far(up.get())) return {};
  return ::connect(up.get(), server.generic(), server.bytes) == 0 ? std::move(up) : UniqueFd();
}

UniqueFd Forwarder::reach_server(int client, const shim::Place& place) {
  const std::string& server_path = place.path;
  if (place.is_far) return reach_far(place);
  SocketAddress server, peer;
  server.bytes = peer.bytes = sizeof(server.storage);
  ::getsockname(client, reinterpret_cast<sockaddr*>(&server.storage), &server.bytes);
  ::getpeername(client, reinterpret_cast<sockaddr*>(&peer.storage), &peer.bytes);
  if (!server_path.empty()) {
    // With the client's uid, of this thread only.
    ucred credentials{};
    socklen_t bytes = sizeof(credentials);
    ::getsockopt(client, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes);
    UniqueFd up(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    server = address_of(server_path);
    ::syscall(SYS_setresuid, -1, credentials.uid, -1);
    const int error = ::connect(up.get(), server.generic(), server.bytes);
    ::syscall(SYS_setresuid, -1, 0, -1);
    return error == 0 ? std::move(up) : UniqueFd();
  }
  UniqueFd up(::socket(server.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(up.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  SocketAddress local = server;
  if (local.storage.ss_family == AF_INET)
    reinterpret_cast<sockaddr_in*>(&local.storage)->sin_port = 0;
  else
    reinterpret_cast<sockaddr_in6*>(&local.storage)->sin6_port = 0;
  if (::bind(up.get(), local.generic(), local.bytes) != 0) return {};
  if (!redirect_.announce(up.get(), transport_of(peer), endpoint_of(peer))) return {};
  if (::connect(up.get(), server.generic(), server.bytes) == 0) return up;
  redirect_.forget(up.get());
  return {};
}

void Forwarder::forward(UniqueFd client, const shim::Place& place) {
  const std::string& server_path = place.path;
  const UniqueFd server = reach_server(client.get(), place);
  if (!server.valid()) return;
  const int on = 1;
  if (server_path.empty()) setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  std::array<pollfd, 2> ends{{{client.get(), POLLIN, 0}, {server.get(), POLLIN, 0}}};
  while (!is_ending_ && ::poll(ends.data(), ends.size(), 100) >= 0) {
    for (size_t i = 0; i < ends.size(); ++i) {
      if (ends[i].revents == 0) continue;
      if (move_some(ends[i].fd, ends[1 - i].fd)) continue;
      ::shutdown(ends[1 - i].fd, SHUT_WR);
      ends[i].fd = -1;  // not polled any more
    }
    if (ends[0].fd < 0) break;  // the client is gone
  }
  if (server_path.empty()) redirect_.forget(server.get());
}

}  // namespace gatehouse::capture::test
