// SPDX-License-Identifier: Apache-2.0
// As facts_on_server, with a catalog of the server's database: texts behind which views, triggers, rules, functions and
// so on do things, and what is said of them with the catalog.
//
//   reach_on_server SEED SECONDS
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>

#include "agent/catalog/connection.h"
#include "agent/catalog/loader.h"
#include "agent/sql/analyzer.h"
#include "agent/sql/resolver.h"
#include "tests/sql/judge.h"
#include "tests/sql/observed.h"
#include "tests/sql/reach.h"
#include "tests/support/sql_facts.h"

namespace gatehouse::test {
namespace {

using sql::Effect;

constexpr double kShareRunMin = 0.3;
constexpr int kGrammarVersion = 150'000;  // as server_version_num
// With a catalog, more unknown effects than this mean that it does not do what it is for.
constexpr double kShareUnknownMax = 0.35;

std::shared_ptr<const sql::Catalog> read_catalog_here() {
  const auto deadline = catalog::Connection::Clock::now() + std::chrono::seconds(30);
  auto connection = catalog::Connection::open({}, "", {}, deadline);
  auto rows = connection ? catalog::read_catalog(*connection) : Result<sql::CatalogRows>(connection.error());
  if (!rows) {
    std::fprintf(stderr, "reach_on_server: %s\n", rows.error().message().c_str());
    std::exit(2);
  }
  return sql::Catalog::build(std::move(*rows));
}

Told told_of(const sql::ResolvedFacts& facts) {
  Told told;
  for (const sql::ResolvedStatement& statement : facts.statements) {
    told.effects.add(statement.effects);
    told.effects.add(statement.deferred);
    for (const sql::ResolvedObject& object : statement.objects) {
      if (object.name.empty() && object.schema.empty() && object.uses.empty() && object.deferred.empty()) continue;
      Told::Object& made = told.objects.emplace_back();
      made = {.schema = object.schema, .name = object.name, .uses = object.uses, .deferred = object.deferred};
      // The observer counts partitions and children as their parents.
      if (made.name == "q_low" || made.name == "q_high") made.stands_for = "q";
      if (made.name == "q_high0" || made.name == "q_rest") made.stands_for = "q_high";
      if (made.name == "p1" || made.name == "p2") made.stands_for = "p";
      if (made.name == "i2") made.stands_for = "i1";
    }
  }
  return told;
}

std::string words(const sql::ResolvedFacts& facts) {
  std::string out;
  for (const sql::ResolvedStatement& statement : facts.statements) {
    out += (out.empty() ? "" : " | ") + to_string(statement.effects) + "; later: " + to_string(statement.deferred);
    for (const sql::ResolvedObject& object : statement.objects) {
      out += "; " + object.schema + "." + object.name + " [" + to_string(object.uses) + "]";
      if (!object.deferred.empty()) out += " later [" + to_string(object.deferred) + "]";
    }
    for (const std::string& reason : statement.unknown_reasons) out += "; unknown: " + reason;
  }
  return out;
}

class Run {
 public:
  explicit Run(uint64_t seed) : maker_(seed), dice_(seed + 1), mutator_(seed + 2) { start(); }

  void one() {
    std::string text = maker_.statement();
    if (dice_.one_in(5)) text = mutator_.mutated(std::move(text));
    ++count;
    server_.query("BEGIN; SET LOCAL statement_timeout = '2s'; SET LOCAL lock_timeout = '1s'");
    observer_->begin();
    const std::string error = server_.run(text);
    if (error.empty() && server_.is_in_transaction()) judge(text);
    const bool was_in_transaction = server_.is_in_transaction();
    server_.run("ROLLBACK; DEALLOCATE ALL");
    if (!was_in_transaction) start();
  }

  size_t count = 0, run_count = 0, refused_count = 0, unknown_count = 0, text_unknown_count = 0, bad_count = 0;

 private:
  void start() {
    server_.query("DROP EVENT TRIGGER IF EXISTS e1");
    make_fixture(server_);
    make_reaching_fixture(server_);
    observer_.emplace(server_);
    catalog_ = read_catalog_here();
  }

  void judge(const std::string& text) {
    ++run_count;
    const sql::Facts& facts = *analyzer_.analyze(text, {}).facts;
    const sql::NameContext names{.search_path = "\"$user\", public", .role = "postgres"};
    const sql::ResolvedFacts& resolved = resolver_.resolve(facts, catalog_, names);
    server_.run("RESET ROLE");
    const Observed observed = observer_->end();
    const Told told = told_of(resolved);
    // Newer servers know more than the grammar of 15, such as sub-queries without a name; what they do is unknown then.
    if (!facts.parsed && version_ >= kGrammarVersion + 10'000) {
      ++refused_count;
      return;
    }
    std::string missing = facts.parsed ? missing_of(observed, told) : "the server ran it, and it was refused here";
    if (told.says(Effect::kUnknown)) ++unknown_count;
    bool is_unknown_by_text = false;
    for (const sql::Statement& statement : facts.statements)
      is_unknown_by_text = is_unknown_by_text || statement.effects.has(Effect::kUnknown);
    if (is_unknown_by_text) ++text_unknown_count;
    if (missing.empty()) return;
    ++bad_count;
    std::printf("LESS than happened: %s\n  %s\n  %s\n", missing.c_str(), text.c_str(), words(resolved).c_str());
  }

  Server server_;
  const int version_ = std::stoi(server_.query("SHOW server_version_num")[0][0]);
  ReachMaker maker_;
  Dice dice_;
  StatementMaker mutator_;
  sql::Analyzer analyzer_;
  sql::Resolver resolver_;
  std::shared_ptr<const sql::Catalog> catalog_;
  std::optional<Observer> observer_;
};

int main_of(uint64_t seed, int64_t seconds) {
  Run run(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (std::chrono::steady_clock::now() < end) run.one();
  std::printf("%zu texts, %zu ran (%zu not in the grammar, %zu with unknown effects, %zu by text); %zu faults\n",
              run.count, run.run_count, run.refused_count, run.unknown_count, run.text_unknown_count, run.bad_count);
  const auto share = [](size_t part, size_t whole) {
    return static_cast<double>(part) / static_cast<double>(whole == 0 ? 1 : whole);
  };
  const bool runs = share(run.run_count, run.count) >= kShareRunMin;
  const bool knows = share(run.unknown_count, run.run_count) <= kShareUnknownMax;
  if (!runs) std::printf("too few ran\n");
  if (!knows) std::printf("too much is unknown\n");
  return run.bad_count == 0 && runs && knows ? 0 : 1;
}

}  // namespace
}  // namespace gatehouse::test

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: reach_on_server SEED SECONDS\n");
    return 64;
  }
  return gatehouse::test::main_of(std::strtoull(argv[1], nullptr, 10), std::strtoll(argv[2], nullptr, 10));
}
