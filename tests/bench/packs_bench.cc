// SPDX-License-Identifier: Apache-2.0
// What the packs as they are delivered cost an ordinary statement: to look it up, and to evaluate what is left.
// Wanted: 1 us and no allocation for an application's statement. What it takes beyond that are the conditions that ask
// for no equality, and are evaluated for every statement.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rules/engine/judge.h"
#include "rules/schema/event.h"
#include "rules/schema/event_builder.h"
#include "rules/schema/load_policy.h"
#include "tests/bench/allocations.h"

namespace {

using namespace gatehouse;

using Fields = std::vector<std::pair<std::string, std::vector<std::string>>>;

const Fields kApplication = {
    {"actor.exe", {"/usr/lib/jvm/java-17/bin/java"}},
    {"actor.command", {"java -Xmx2g -cp /srv/shop/lib/* org.example.shop.Main"}},
    {"actor.ancestors", {"/usr/lib/systemd/systemd --system --deserialize 33"}},
};
const Fields kByHand = {
    {"actor.exe", {"/usr/bin/psql"}},
    {"actor.command", {"psql -h db1 shop"}},
    {"actor.ancestors",
     {"/usr/bin/bash -l", "/usr/sbin/sshd -D -R", "/usr/sbin/sshd -D", "/usr/lib/systemd/systemd --system"}},
};
const Fields kByAgent = {
    {"actor.exe", {"/usr/bin/psql"}},
    {"actor.command", {"psql -h db1 shop"}},
    {"actor.ancestors",
     {"/usr/bin/bash -c psql", "/usr/local/bin/claude --resume", "/usr/bin/bash -l", "/usr/sbin/sshd -D -R",
      "/usr/sbin/sshd -D", "/usr/lib/systemd/systemd --system"}},
};

void judge(benchmark::State& state, const Fields& actor, const std::string& sql) {
  const std::vector<std::string> folder = {GH_SOURCE_DIR "/rules/packs"};
  const auto policy = rules::load_policy_files(folder);
  if (!policy) return state.SkipWithError(policy.error().message().c_str());
  rules::Judge judge(*policy);
  sql::Analyzer analyzer;
  rules::EventBuilder made(rules::Occasion::kStatement, analyzer);
  using Shape = rules::FieldValue::Shape;
  bool is_set = made.set("statement.text", {.text = sql}).has_value() &&
                made.set("database.labels", {.shape = Shape::kLabels, .labels = {{"env", "production"}}}).has_value() &&
                made.set("session.user", {.text = "shop"}).has_value() &&
                made.set("result.rows", {.text = "1"}).has_value();
  for (const auto& [name, texts] : actor) {
    const Shape shape = texts.size() == 1 && name != "actor.ancestors" ? Shape::kText : Shape::kTexts;
    is_set = is_set && made.set(name, {.shape = shape, .text = texts.front(), .texts = texts}).has_value();
  }
  if (!is_set) return state.SkipWithError("a field has another name");
  const rules::Event& event = made.event(0);
  const rules::Variables variables(event);
  uint64_t now = 1'795'568'523'000'000'000;
  judge.judge(variables.kind(), variables.values(), now);
  const rules::JudgeCounters counters = judge.counters();
  const uint64_t before = allocations;
  for (auto _ : state) {
    const rules::Variables values(event);
    benchmark::DoNotOptimize(judge.judge(values.kind(), values.values(), now += 1000));
  }
  state.counters["allocations"] = benchmark::Counter(static_cast<double>(allocations - before));
  state.counters["evaluated"] = benchmark::Counter(static_cast<double>(counters.evaluations));
  state.counters["found"] = benchmark::Counter(static_cast<double>(counters.matches));
}

constexpr const char* kRead = "SELECT id, name, price FROM items WHERE id = 5";
constexpr const char* kWrite = "UPDATE items SET price = 7 WHERE id = 5";

BENCHMARK_CAPTURE(judge, application_reads, kApplication, kRead);
BENCHMARK_CAPTURE(judge, application_writes, kApplication, kWrite);
BENCHMARK_CAPTURE(judge, application_commits, kApplication, "COMMIT");
BENCHMARK_CAPTURE(judge, person_reads, kByHand, kRead);
BENCHMARK_CAPTURE(judge, person_writes, kByHand, kWrite);
BENCHMARK_CAPTURE(judge, agent_reads, kByAgent, kRead);
BENCHMARK_CAPTURE(judge, agent_writes, kByAgent, kWrite);

}  // namespace
