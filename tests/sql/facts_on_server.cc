// SPDX-License-Identifier: Apache-2.0
// Runs made and mutated statements on a server, each in a transaction that is rolled back, and holds what really
// happened against the facts: they may say more than happened, never less.
//
//   facts_on_server SEED SECONDS
//
// What is behind the text is the test's to know, since a catalogue would have to tell it: v is a view of t2, m1 one of
// t1, p1 and p2 are partitions of p.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include "agent/sql/analyzer.h"
#include "agent/sql/functions.h"
#include "tests/sql/judge.h"
#include "tests/sql/observed.h"
#include "tests/support/sql_facts.h"
#include "tests/support/sql_statements.h"

namespace gatehouse::test {
namespace {

using sql::Effect;

// Running less than this share means that the maker makes nonsense.
constexpr double kShareRunMin = 0.4;

Told told_of(const sql::Facts& facts) {
  Told told;
  for (const sql::Statement& statement : facts.statements) {
    told.effects.add(statement.effects);
    told.effects.add(statement.deferred);
    for (const sql::Object& object : statement.objects) {
      Told::Object& made = told.objects.emplace_back();
      made = {.schema = object.schema, .name = object.name, .uses = object.uses, .deferred = object.deferred};
      const bool names_all = made.schema.empty() && made.name.empty();
      if (made.schema.empty() && !names_all) made.schema = "public";
      if (made.name == "v") made.stands_for = "t2";
      if (made.name == "m1") made.stands_for = "t1";
      if (made.name == "p1" || made.name == "p2") made.stands_for = "p";
    }
  }
  return told;
}

// The table of functions against the server's own list: whatever is reserved must be known, and not as harmless.
size_t check_functions(Server& server) {
  size_t bad = 0;
  const auto complain = [&bad](const char* what, const std::string& name) {
    std::printf("FUNCTION %s: %s\n", what, name.c_str());
    ++bad;
  };
  // Trigger, cast and type functions cannot be called by name.
  const Rows rows = server.query(
      "SELECT proname, bool_or(proacl IS NOT NULL) FROM pg_proc "
      "WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind IN ('f', 'p') "
      "AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype, 'internal'::regtype) "
      "AND NOT 'internal'::regtype = ANY (proargtypes) GROUP BY proname");
  for (const auto& row : rows) {
    const sql::FunctionClass known = sql::known_function(row[0]).function_class;
    if (row[1] == "t" && known == sql::FunctionClass::kHarmless) complain("is reserved, yet harmless", row[0]);
    if (row[1] == "t" && known == sql::FunctionClass::kUnknown) complain("is reserved and not known", row[0]);
  }
  return bad;
}

class Run {
 public:
  explicit Run(uint64_t seed) : maker_(seed), dice_(seed + 1) { start(); }

  void one() {
    std::string text = maker_.statement();
    const auto [encoding, conforms] = dice_.one_in(3) ? pick_state() : std::pair{"UTF8", true};
    if (encoding != std::string_view("UTF8") || !conforms) text = behind_a_quote(std::move(text));
    for (size_t i = dice_.one_in(3) ? 1 + dice_.below(3) : 0; i > 0; --i) text = maker_.mutated(std::move(text));
    if (text.find('\0') != text.npos) return;
    ++count;
    server_.query("BEGIN; SET LOCAL statement_timeout = '2s'; SET LOCAL lock_timeout = '1s'");
    observer_->begin();
    server_.query(std::string("SET LOCAL client_encoding = ") + encoding +
                  "; SET LOCAL standard_conforming_strings = " + (conforms ? "on" : "off"));
    const std::string error = server_.run(text);
    // Facts of what is committed or rolled back in the text hold as well, but nothing is left to be observed.
    if (error.empty() && server_.is_in_transaction()) judge(text, sql::lexical_state(encoding, conforms));
    const bool was_in_transaction = server_.is_in_transaction();
    server_.run("ROLLBACK; DEALLOCATE ALL");
    if (!was_in_transaction) start();
  }

  size_t count = 0, run_count = 0, other_run_count = 0, unknown_count = 0, bad_count = 0;

 private:
  void start() {
    make_fixture(server_);
    observer_.emplace(server_);
  }
  std::pair<const char*, bool> pick_state() {
    static constexpr const char* kEncodings[] = {"UTF8", "UTF8",    "LATIN1", "SJIS",           "BIG5",   "GBK",
                                                 "UHC",  "GB18030", "JOHAB",  "SHIFT_JIS_2004", "EUC_JP", "WIN1252"};
    const size_t encoding = dice_.below(std::size(kEncodings));
    return {kEncodings[encoding], dice_.one_in(2)};
  }
  // Whether the text is within the literal depends on how its last bytes are read.
  std::string behind_a_quote(std::string text) {
    static constexpr std::string_view kEnds[] = {
        "\\",   "\\\\",       "\x95\\",      "\x83\\",     "\xb1\\",   "\xbf", "\x81", "\xa4\x5c", "\x81\x30\x81\x30",
        "\xe9", "\xc3\xa9\\", "a\\\xb1\xdc", "\x88\xea\\", "\xa4\xa2", "x\\n", ""};
    static constexpr std::string_view kOpenings[] = {"SELECT '", "SELECT E'", "SELECT 1 AS \"x", "SELECT $q$",
                                                     "SELECT n'"};
    const std::string_view opening = dice_.pick(kOpenings);
    const std::string close = opening.back() == '$' ? "$q$" : std::string(1, opening[opening.find_first_of("'\"")]);
    return std::string(opening) + std::string(dice_.pick(kEnds)) + close + "; " + std::move(text) + "; -- " + close;
  }
  void judge(const std::string& text, const sql::LexicalState& state) {
    ++run_count;
    if (state != sql::LexicalState{}) ++other_run_count;
    const sql::Facts& facts = *analyzer_.analyze(text, state).facts;
    const Observed observed = observer_->end();
    std::string missing;
    if (!facts.parsed)
      missing = "the server ran it, and it was refused here";
    else
      missing = missing_of(observed, told_of(facts));
    for (const sql::Statement& statement : facts.statements)
      if (statement.effects.has(Effect::kUnknown)) {
        ++unknown_count;
        break;
      }
    if (missing.empty()) return;
    ++bad_count;
    std::printf("LESS than happened: %s\n  %s\n  %s\n", missing.c_str(), text.c_str(), describe(facts).c_str());
  }

  Server server_;
  StatementMaker maker_;
  Dice dice_;
  sql::Analyzer analyzer_;
  std::optional<Observer> observer_;
};

int main_of(uint64_t seed, int64_t seconds) {
  Server server;
  size_t bad = check_functions(server);
  Run run(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (std::chrono::steady_clock::now() < end) run.one();
  bad += run.bad_count;
  std::printf("%zu texts, %zu ran (%zu of them in other lexical states, %zu with unknown effects); %zu faults\n",
              run.count, run.run_count, run.other_run_count, run.unknown_count, bad);
  if (static_cast<double>(run.run_count) < kShareRunMin * static_cast<double>(run.count)) {
    std::printf("too few ran\n");
    return 1;
  }
  return bad == 0 && run.run_count > 0 ? 0 : 1;
}

}  // namespace
}  // namespace gatehouse::test

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: facts_on_server SEED SECONDS\n");
    return 64;
  }
  return gatehouse::test::main_of(std::strtoull(argv[1], nullptr, 10), std::strtoll(argv[2], nullptr, 10));
}
