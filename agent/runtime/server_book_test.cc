// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/server_book.h"

#include <gtest/gtest.h>

namespace gatehouse::runtime {
namespace {

constexpr uint32_t kOwnNetwork = 9;
constexpr uint64_t kSecond = 1'000'000'000;
constexpr ProcessKey kShell{.pid = 4'000'000, .start_ns = 1};  // beyond any pid: /proc is not asked
constexpr ProcessKey kServer{.pid = 4'000'001, .start_ns = 10};
constexpr ProcessKey kBackend{.pid = 4'000'002, .start_ns = 20};

AgentConfig::Database database(const std::string& name, std::initializer_list<std::string_view> listen) {
  AgentConfig::Database database;
  database.name = name;
  for (const std::string_view text : listen) database.listen.push_back(parse_listen_address(text).value());
  return database;
}

HostSocket listener(Transport transport, std::initializer_list<uint8_t> address, uint16_t port,
                    const std::string& path = "") {
  HostSocket socket;
  socket.is_listener = true;
  socket.transport = transport;
  socket.netns = kOwnNetwork;
  std::copy(address.begin(), address.end(), socket.server.address.begin());
  socket.server.port = port;
  socket.path = path;
  socket.server_end.process = kServer;
  return socket;
}

struct Fixture {
  Fixture() {
    processes.on_exec({.process = kServer, .parent = kShell, .exe = "/usr/lib/postgresql/bin/postgres"});
    processes.on_fork({.parent = kServer, .child = kBackend});
  }
  ServerBook book(std::vector<AgentConfig::Database> databases) {
    ServerBook book(processes, {.list_sockets =
                                    [this] {
                                      ++looks;
                                      return sockets;
                                    },
                                .own_netns = kOwnNetwork});
    book.set_databases(databases);
    return book;
  }
  identity::ProcessTable processes;
  std::vector<HostSocket> sockets;
  int looks = 0;
};

TEST(ServerBook, AServerIsKnownByWhereItListens) {
  struct Case {
    const char* name;
    const char* listen;
    HostSocket socket;
    bool is_it;
  };
  const std::array<Case, 9> cases{{
      {"address", "10.0.0.1:5432", listener(Transport::kTcp4, {10, 0, 0, 1}, 5432), true},
      {"port", "5432", listener(Transport::kTcp4, {10, 0, 0, 1}, 5432), true},
      {"any", "10.0.0.1:5432", listener(Transport::kTcp4, {}, 5432), true},
      {"any6", "10.0.0.1:5432", listener(Transport::kTcp6, {}, 5432), true},
      {"v6 any4", "[::1]:5432", listener(Transport::kTcp4, {}, 5432), false},
      {"other address", "10.0.0.1:5432", listener(Transport::kTcp4, {10, 0, 0, 2}, 5432), false},
      {"other port", "10.0.0.1:5432", listener(Transport::kTcp4, {}, 5433), false},
      {"path", "unix:/run/s", listener(Transport::kUnix, {}, 0, "/run/s"), true},
      {"other path", "unix:/run/s", listener(Transport::kUnix, {}, 0, "/run/t"), false},
  }};
  for (const Case& c : cases) {
    Fixture f;
    f.sockets.push_back(c.socket);
    ServerBook book = f.book({database("payroll", {c.listen})});
    for (const ProcessKey& process : {kServer, kBackend})
      EXPECT_EQ(book.database_of(process, kSecond), c.is_it ? "payroll" : "") << c.name;
    EXPECT_EQ(book.database_of(kShell, 10 * kSecond), "") << c.name;
  }
}

TEST(ServerBook, AnotherNetworksAddressesAreOthers) {
  Fixture f;
  f.sockets.push_back(listener(Transport::kTcp4, {}, 5432));
  f.sockets.back().netns = kOwnNetwork + 1;
  ServerBook book = f.book({database("payroll", {"5432"})});
  EXPECT_EQ(book.database_of(kBackend, kSecond), "");
}

TEST(ServerBook, LooksWhenItMustAndNotOftener) {
  Fixture f;
  ServerBook book = f.book({database("payroll", {"5432"})});
  EXPECT_EQ(book.database_of(ProcessKey{}, kSecond), "");
  EXPECT_EQ(f.looks, 0);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(book.database_of(kBackend, kSecond), "");
  EXPECT_EQ(f.looks, 1);
  // It comes to listen; who was looked for in vain is not looked for at once.
  f.sockets.push_back(listener(Transport::kTcp4, {}, 5432));
  EXPECT_EQ(book.database_of(kBackend, 30 * kSecond), "");
  EXPECT_EQ(book.database_of(kBackend, 70 * kSecond), "payroll");
  EXPECT_EQ(f.looks, 2);
  // Started again: another process, which is found at once.
  const ProcessKey again{.pid = kServer.pid, .start_ns = 99};
  f.processes.on_exec({.process = again, .parent = kShell, .exe = "/usr/lib/postgresql/bin/postgres"});
  f.sockets.back().server_end.process = again;
  EXPECT_EQ(book.database_of(again, 72 * kSecond), "payroll");
  EXPECT_EQ(f.looks, 3);
  ServerBook nobody = f.book({});
  EXPECT_EQ(nobody.database_of(again, 80 * kSecond), "");
  EXPECT_EQ(f.looks, 3);
}

}  // namespace
}  // namespace gatehouse::runtime
