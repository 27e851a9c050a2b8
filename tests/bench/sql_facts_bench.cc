// SPDX-License-Identifier: Apache-2.0
// Budget: 0.3 µs for a text of 100 bytes whose shape is known, whatever its values, and 25 µs for one that is new.
#include <benchmark/benchmark.h>

#include <array>
#include <string>

#include "agent/sql/analyzer.h"

namespace gatehouse::sql {
namespace {

constexpr std::array<std::string_view, 4> kTexts{
    "SELECT abalance FROM pgbench_accounts WHERE aid = 61234",
    "UPDATE accounts SET balance = balance - 10, touched = now() WHERE id = 5 AND balance >= 10 RETURNING balance",
    "INSERT INTO orders (id, customer, total, note) VALUES (17, 'ann', 12.50, 'two of them') ON CONFLICT (id) DO "
    "NOTHING",
    "SELECT u.id, u.name, count(o.id) AS n FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE u.active AND "
    "o.created > now() - interval '7 days' GROUP BY u.id, u.name HAVING count(o.id) > 3 ORDER BY n DESC LIMIT 20",
};

void BM_Miss(benchmark::State& state) {
  Analyzer analyzer;
  const std::string_view text = kTexts[static_cast<size_t>(state.range(0))];
  for (auto _ : state) benchmark::DoNotOptimize(analyzer.analyze_fresh(text, {}).facts);
}
BENCHMARK(BM_Miss)->DenseRange(0, kTexts.size() - 1);

// Two texts in turn that differ in a value.
void BM_Hit(benchmark::State& state) {
  Analyzer analyzer;
  const std::string one(kTexts[static_cast<size_t>(state.range(0))]);
  std::string other = one;
  const size_t digit = other.find_last_of("123456789", other.find("LIMIT"));
  other[digit] = other[digit] == '9' ? '1' : '9';
  bool turn = false;
  for (auto _ : state) {
    benchmark::DoNotOptimize(analyzer.analyze(turn ? one : other, {}).facts);
    turn = !turn;
  }
  state.counters["misses"] = static_cast<double>(analyzer.miss_count());
}
BENCHMARK(BM_Hit)->DenseRange(0, kTexts.size() - 1);

}  // namespace
}  // namespace gatehouse::sql
