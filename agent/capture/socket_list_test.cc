// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/socket_list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "bpf/gatehouse_abi.h"

namespace gatehouse::capture {
namespace {

constexpr uint16_t kPort = 5433;
constexpr uint16_t kClientPort = 40'000;

abi::gh_socket tcp(uint32_t role, uint64_t inode, uint32_t pid, uint64_t start_ns) {
  abi::gh_socket s{};
  const bool is_client = role == abi::GH_ROLE_CLIENT;
  s.inode = inode;
  s.process.pid = pid;
  s.process.start_ns = start_ns;
  s.transport = abi::GH_TCP4;
  s.role = role;
  s.netns = 1;
  const uint8_t loopback[4] = {127, 0, 0, 1};
  std::memcpy(s.local_address, loopback, 4);
  if (role != abi::GH_ROLE_LISTENER) std::memcpy(s.remote_address, loopback, 4);
  s.local_port = is_client ? kClientPort : kPort;
  s.remote_port = role == abi::GH_ROLE_LISTENER ? 0 : is_client ? kPort : kClientPort;
  return s;
}

abi::gh_socket unix_end(uint32_t role, uint64_t inode, uint64_t peer, std::string_view path) {
  abi::gh_socket s{};
  s.inode = inode;
  s.peer_inode = peer;
  s.process.pid = static_cast<uint32_t>(inode);
  s.process.start_ns = inode;
  s.transport = abi::GH_UNIX;
  s.role = role;
  s.path_bytes = static_cast<uint32_t>(path.size());
  std::memcpy(s.path, path.data(), path.size());
  return s;
}

// As the kernel gives a v4 address to a socket of version 6.
abi::gh_socket mapped(abi::gh_socket s) {
  s.transport = abi::GH_TCP6;
  for (uint8_t* address : {s.local_address, s.remote_address}) {
    std::memcpy(address + 12, address, 4);
    std::memset(address, 0, 10);
    std::memset(address + 10, 0xff, 2);
  }
  return s;
}

std::string records(std::initializer_list<abi::gh_socket> list) {
  std::string bytes;
  for (const abi::gh_socket& s : list) bytes.append(reinterpret_cast<const char*>(&s), sizeof(s));
  return bytes;
}

std::string postgres_is_7(const ProcessKey& process) {
  return process.pid == 7 ? "/usr/lib/postgresql/15/bin/postgres" : "/usr/sbin/nginx";
}

TEST(SocketList, ListenersByProgramByPortAndByPath) {
  abi::gh_socket of_postgres = tcp(abi::GH_ROLE_LISTENER, 1, 7, 70);
  abi::gh_socket of_child = of_postgres;
  of_child.process = {.start_ns = 80, .pid = 8, .tid = 8};
  abi::gh_socket elsewhere = tcp(abi::GH_ROLE_LISTENER, 2, 9, 90);
  elsewhere.local_port = 80;
  abi::gh_socket named = tcp(abi::GH_ROLE_LISTENER, 3, 9, 90);
  named.local_port = 6000;
  const auto found = database_listeners(records({of_child, of_postgres, elsewhere, named,
                                                 unix_end(abi::GH_ROLE_LISTENER, 4, 0, "/run/postgresql/.s.PGSQL.5432"),
                                                 unix_end(abi::GH_ROLE_LISTENER, 5, 0, "/run/dbus")}),
                                        std::vector<uint16_t>{6000}, postgres_is_7);
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].server_end.process.pid, 7U);  // the oldest of those that hold it
  EXPECT_EQ(found[0].server.port, kPort);
  EXPECT_EQ(found[1].server.port, 6000);
  EXPECT_EQ(found[2].path, "/run/postgresql/.s.PGSQL.5432");
  const DatabaseAddresses addresses = addresses_of(found, std::vector<uint16_t>{6000});
  EXPECT_TRUE(std::ranges::binary_search(addresses.ports, kPort));
  EXPECT_FALSE(std::ranges::binary_search(addresses.ports, 80));
}

TEST(SocketList, BothEndsOfAConnectionAreOne) {
  abi::gh_socket client = tcp(abi::GH_ROLE_CLIENT, 11, 100, 1);
  client.session = 77;
  client.state = abi::GH_STATE_SESSION;
  abi::gh_socket forked_client = client;
  forked_client.process = {.start_ns = 2, .pid = 101, .tid = 101};
  const abi::gh_socket postmaster = tcp(abi::GH_ROLE_SERVER, 12, 7, 70);
  const abi::gh_socket backend = tcp(abi::GH_ROLE_SERVER, 12, 9, 90);
  for (const abi::gh_socket& server : {backend, mapped(backend)}) {
    const auto found = database_connections(records({postmaster, server, forked_client, client}), {});
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].session, 77U);
    EXPECT_EQ(found[0].state, HostSocket::State::kSession);
    EXPECT_EQ(found[0].client_end.process.pid, 100U);
    EXPECT_EQ(found[0].client_end.inode, 11U);
    EXPECT_EQ(found[0].server_end.process.pid, 9U);
    EXPECT_EQ(found[0].server.port, kPort);
    EXPECT_EQ(found[0].client.port, kClientPort);
  }
}

TEST(SocketList, LoopbacksOfTwoNamespacesAreTwo) {
  abi::gh_socket there = tcp(abi::GH_ROLE_SERVER, 12, 9, 90);
  there.netns = 2;
  EXPECT_EQ(database_connections(records({tcp(abi::GH_ROLE_CLIENT, 11, 8, 80), there}), {}).size(), 2U);
}

TEST(SocketList, UnixConnectionsByPathOrSession) {
  const std::string path = "/run/postgresql/.s.PGSQL.5432";
  const std::string abstract("\0pg", 3);
  abi::gh_socket watched = unix_end(abi::GH_ROLE_CLIENT, 25, 26, "/run/own");
  watched.session = 5;
  const auto found = database_connections(
      records({unix_end(abi::GH_ROLE_CLIENT, 21, 22, path), unix_end(abi::GH_ROLE_SERVER, 22, 21, path),
               unix_end(abi::GH_ROLE_SERVER, 23, 24, abstract), unix_end(abi::GH_ROLE_SERVER, 27, 28, "/run/dbus"),
               watched}),
      {.ports = {}, .paths = {"@pg"}});
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].client_end.inode, 21U);
  EXPECT_EQ(found[0].server_end.inode, 22U);
  EXPECT_EQ(found[1].path, "@pg");
  EXPECT_EQ(found[2].session, 5U);
}

}  // namespace
}  // namespace gatehouse::capture
