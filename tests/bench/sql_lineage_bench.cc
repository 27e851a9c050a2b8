// SPDX-License-Identifier: Apache-2.0
// Budget: 0.2 µs for facts whose lineage is known, and 50 µs for a text of 200 bytes that is new.
#include <benchmark/benchmark.h>

#include <array>
#include <memory>
#include <string>
#include <utility>

#include "agent/sql/analyzer.h"
#include "agent/sql/lineage.h"

namespace gatehouse::sql {
namespace {

constexpr std::array<std::string_view, 4> kTexts{
    "SELECT * FROM users WHERE id = 5",
    "UPDATE orders SET total = total - 10 WHERE id = 5 AND total >= 10 RETURNING total, note",
    "SELECT u.id, u.name, count(o.id) AS n FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE u.active AND "
    "o.created > now() - interval '7 days' GROUP BY u.id, u.name HAVING count(o.id) > 3 ORDER BY n DESC LIMIT 20",
    "WITH t AS (SELECT * FROM v) SELECT lower(t.email) || ':' || o.note, (SELECT max(u.name) FROM users u) FROM t "
    "JOIN orders o ON o.user_id = t.id UNION ALL SELECT name, email FROM users",
};

std::shared_ptr<const Catalog> make_catalog() {
  CatalogRows rows;
  rows.version = 1;
  rows.schemas = {{.oid = 11, .owner = 10, .name = "pg_catalog", .is_usable_by_all = true},
                  {.oid = 2200, .owner = 10, .name = "public", .is_usable_by_all = true}};
  Oid next = 20000;
  const auto relation = [&](const char* name, char kind, const char* query,
                            std::initializer_list<const char*> columns) {
    rows.relations.push_back({.oid = ++next, .schema = 2200, .name = name, .kind = kind, .definition = query});
    for (const char* column : columns) rows.columns.push_back({.relation = next, .type = 25, .name = column});
  };
  relation("users", 'r', "", {"id", "name", "email", "ssn", "active", "created"});
  relation("orders", 'r', "", {"id", "user_id", "total", "note", "created"});
  relation("v", 'v', "SELECT users.id, users.email FROM public.users WHERE users.active", {"id", "email"});
  for (const char* name : {"now", "max", "count", "lower"})
    rows.functions.push_back({.oid = ++next - 10000, .schema = 11, .result = 25, .name = name});
  return Catalog::build(std::move(rows));
}

void run(benchmark::State& state, size_t entries, bool is_new) {
  const auto catalog = make_catalog();
  Analyzer analyzer;
  Resolver resolver;
  LineageTracer tracer(entries);
  const NameContext names{.search_path = "public", .role = "joe"};
  const std::string_view text = kTexts[static_cast<size_t>(state.range(0))];
  const Facts facts = *analyzer.analyze(text, {}).facts;
  Facts other = facts;
  other.id += 1;
  const ResolvedFacts resolved = resolver.resolve(facts, catalog, names);
  bool turn = false;
  for (auto _ : state) {
    benchmark::DoNotOptimize(&tracer.trace(text, {}, turn ? other : facts, &resolved, catalog, names));
    if (is_new) turn = !turn;
  }
  state.counters["misses"] = static_cast<double>(tracer.miss_count());
}

void BM_Miss(benchmark::State& state) {
  run(state, 1, true);
}
BENCHMARK(BM_Miss)->DenseRange(0, kTexts.size() - 1);

void BM_Hit(benchmark::State& state) {
  run(state, 512, false);
}
BENCHMARK(BM_Hit)->DenseRange(0, kTexts.size() - 1);

}  // namespace
}  // namespace gatehouse::sql
