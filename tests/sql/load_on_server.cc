// SPDX-License-Identifier: Apache-2.0
// How long it takes to read a large catalog, and what it takes in memory, by the keeper's own way.
//
//   load_on_server ROUNDS    makes a database of 10,000 relations and 5,000 functions, and drops it again
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "agent/catalog/connection.h"
#include "agent/catalog/loader.h"
#include "agent/sql/catalog.h"
#include "tests/sql/server.h"

namespace gatehouse::test {
namespace {

using Clock = std::chrono::steady_clock;

// 10,000 relations and 5,000 functions: reading and building, from the connection on.
constexpr double kSecondsMax = 3.0;
constexpr size_t kBytesMax = 256 * 1024 * 1024;

constexpr const char* kDatabase = "gatehouse_large";
constexpr const char* kMake[] = {
    "CREATE SCHEMA app",
    "CREATE TABLE app.audit (id int)",
    R"(CREATE FUNCTION app.base() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO app.audit VALUES (new.id); RETURN new; END')",
    R"(DO $do$ BEGIN FOR i IN 1..8000 LOOP
  EXECUTE format('CREATE TABLE app.t%s (id serial PRIMARY KEY, a int DEFAULT 1, b text DEFAULT lower(''X''),
    c timestamptz DEFAULT now(), d numeric CHECK (d > 0), e int, f int, g int, h int, i int)', i);
  IF i % 50 = 0 THEN COMMIT; END IF; END LOOP; END $do$)",
    R"(DO $do$ BEGIN FOR i IN 1..2000 LOOP
  EXECUTE format('CREATE VIEW app.v%s AS SELECT x.id, x.a, y.b FROM app.t%s x JOIN app.t%s y USING (id)
    WHERE x.c > now()', i, i, i + 1);
  EXECUTE format('CREATE TRIGGER g BEFORE INSERT ON app.t%s FOR EACH ROW EXECUTE FUNCTION app.base()', i);
  IF i % 50 = 0 THEN COMMIT; END IF; END LOOP; END $do$)",
    R"(DO $do$ BEGIN FOR i IN 1..5000 LOOP
  EXECUTE format($f$CREATE FUNCTION app.f%s(x int, y text DEFAULT 'a') RETURNS int LANGUAGE plpgsql AS $x$
    DECLARE r record; n int := 0; BEGIN
      FOR r IN SELECT id, b FROM app.t%s WHERE a = x LOOP
        n := n + r.id;
        IF n > 100 THEN UPDATE app.t%s SET e = n WHERE id = r.id; END IF;
      END LOOP;
      RETURN n;
    END$x$ $f$, i, i, i + 1);
  IF i % 50 = 0 THEN COMMIT; END IF; END LOOP; END $do$)",
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int main_of(size_t rounds) {
  Server admin;
  admin.query(std::string("DROP DATABASE IF EXISTS ") + kDatabase);
  admin.query(std::string("CREATE DATABASE ") + kDatabase);
  ::setenv("PGDATABASE", kDatabase, 1);
  {
    Server server;
    for (const char* text : kMake) server.query(text);
  }
  std::vector<double> took, mark_took;
  size_t bytes = 0, relations = 0, functions = 0;
  bool failed = false;
  for (size_t round = 0; round < rounds && !failed; ++round) {
    const size_t before = ::mallinfo2().uordblks;
    const Clock::time_point start = Clock::now();
    auto connection = catalog::Connection::open({}, kDatabase, {}, start + std::chrono::seconds(30));
    auto mark = connection ? catalog::change_mark(*connection) : Result<std::string>(connection.error());
    mark_took.push_back(seconds_since(start));
    auto rows = mark ? catalog::read_catalog(*connection) : Result<sql::CatalogRows>(mark.error());
    if (!rows) {
      std::printf("%s\n", rows.error().message().c_str());
      failed = true;
      break;
    }
    const double read = seconds_since(start);
    const auto catalog = sql::Catalog::build(std::move(*rows));
    took.push_back(seconds_since(start));
    *rows = {};
    bytes = std::max(bytes, ::mallinfo2().uordblks - before);
    relations = catalog->relation_count();
    functions = catalog->function_count();
    std::printf("read %.2f s, built %.2f s, says %zu MiB\n", read, took.back() - read, catalog->bytes() >> 20);
  }
  admin.query(std::string("DROP DATABASE ") + kDatabase + " WITH (FORCE)");
  if (failed) return 1;
  std::ranges::sort(took);
  std::ranges::sort(mark_took);
  const double median = took[took.size() / 2];
  std::printf("%zu relations, %zu functions: %.2f s (%.2f to %.2f), %zu MiB; looking for changes %.0f ms\n", relations,
              functions, median, took.front(), took.back(), bytes >> 20, mark_took[mark_took.size() / 2] * 1000);
  return median <= kSecondsMax && bytes <= kBytesMax ? 0 : 1;
}

}  // namespace
}  // namespace gatehouse::test

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: load_on_server ROUNDS\n");
    return 64;
  }
  return gatehouse::test::main_of(std::strtoull(argv[1], nullptr, 10));
}
