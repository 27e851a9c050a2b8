// SPDX-License-Identifier: Apache-2.0
// The keeper against a server: it reads, as a role without privileges; sees DDL when it is asked to look, and by its
// timer; reads nothing anew when nothing has changed; says what is wrong; and stops at once.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>

#include "agent/catalog/keeper.h"
#include "tests/sql/server.h"

namespace gatehouse::test {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

int failures = 0;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::printf("FAILED: %s\n", what);
  ++failures;
}

bool soon(const std::function<bool()>& holds, milliseconds within = milliseconds(10'000)) {
  const auto end = Clock::now() + within;
  while (!holds()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(milliseconds(10));
  }
  return true;
}

bool has_table(const catalog::CatalogKeeper& keeper, const char* name) {
  const auto catalogs = keeper.current();
  const auto found = catalogs->find("postgres");
  return found != catalogs->end() && !found->second->relations(name).empty();
}

void check_refresh(Server& server) {
  catalog::CatalogKeeper keeper({.connection = "user=keeper_user",
                                 .password_file = {},
                                 .databases = {"postgres", "no_such_database"},
                                 .refresh = milliseconds(3'600'000)});
  expect(soon([&] { return keeper.version() == 1; }), "a catalog is read");
  const auto status_of = [&](size_t index) { return keeper.status()[index]; };
  expect(soon([&] { return !status_of(0).error.empty(); }), "a database that is not there is an error");
  expect(status_of(1).is_loaded && status_of(1).functions > 3000, "status counts");
  server.query("CREATE TABLE keeper_one (a int)");
  keeper.ask_refresh("postgres");
  expect(soon([&] { return has_table(keeper, "keeper_one"); }), "DDL is seen when asked for");
  const uint64_t version = keeper.version();
  const auto looked_at = status_of(1).loaded_at;
  keeper.ask_refresh("postgres");
  expect(soon([&] { return status_of(1).loaded_at != looked_at; }), "it looks again");
  expect(keeper.version() == version, "nothing is read anew if nothing has changed");
  server.query("DROP TABLE keeper_one; CREATE FUNCTION keeper_f() RETURNS int LANGUAGE sql AS 'SELECT 1'");
  keeper.ask_refresh("postgres");
  expect(soon([&] { return !has_table(keeper, "keeper_one"); }), "what is dropped is gone");
  for (const char* text : {"CREATE OR REPLACE FUNCTION keeper_f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
                           "ALTER ROLE keeper_user SET search_path = x", "DROP FUNCTION keeper_f()"}) {
    const uint64_t before = keeper.version();
    server.query(text);
    keeper.ask_refresh("postgres");
    expect(soon([&] { return keeper.version() > before; }), text);
  }
}

void check_timer(Server& server) {
  catalog::CatalogKeeper keeper({.connection = "user=keeper_user",
                                 .password_file = {},
                                 .databases = {"postgres"},
                                 .refresh = milliseconds(1000)});
  expect(soon([&] { return keeper.version() == 1; }), "a catalog is read");
  server.query("CREATE TABLE keeper_two (a int)");
  expect(soon([&] { return has_table(keeper, "keeper_two"); }), "DDL is seen by the timer");
  server.query("DROP TABLE keeper_two");
}

// A server that takes the connection and says nothing.
void check_stop() {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  expect(::bind(listener, generic, size) == 0 && ::listen(listener, 1) == 0 &&
             ::getsockname(listener, generic, &size) == 0,
         "a listener");
  const std::string connection = "host=127.0.0.1 port=" + std::to_string(ntohs(address.sin_port));
  Clock::time_point start;
  {
    catalog::CatalogKeeper keeper(
        {.connection = connection, .password_file = {}, .databases = {"postgres"}, .refresh = milliseconds(1000)});
    std::this_thread::sleep_for(milliseconds(300));
    start = Clock::now();
  }
  expect(Clock::now() - start < milliseconds(1000), "it stops at once while it waits");
  ::close(listener);
}

}  // namespace
}  // namespace gatehouse::test

int main() {
  using namespace gatehouse::test;
  Server server;
  server.query(
      "SET client_min_messages = error; DROP ROLE IF EXISTS keeper_user; CREATE ROLE keeper_user LOGIN;"
      "DROP TABLE IF EXISTS keeper_one, keeper_two; DROP FUNCTION IF EXISTS keeper_f()");
  check_refresh(server);
  check_timer(server);
  check_stop();
  server.query("DROP ROLE keeper_user");
  std::printf("keeper: %d faults\n", failures);
  return failures == 0 ? 0 : 1;
}
