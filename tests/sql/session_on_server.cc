// SPDX-License-Identifier: Apache-2.0
// Random sequences of what sets and restores parameters, on a server; after each text what SessionState says is held
// against what the server says. ParameterStatus is kept from it in every other round, so that it must know by itself.
//
//   session_on_server SEED SECONDS
#include <libpq-fe.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "agent/catalog/connection.h"
#include "agent/catalog/loader.h"
#include "agent/sql/analyzer.h"
#include "agent/sql/session_state.h"
#include "tests/support/sql_statements.h"

namespace gatehouse::test {
namespace {

using sql::StatementOutcome;
using Words = const std::string_view[];

struct Finish {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
struct Clear {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Answer = std::unique_ptr<PGresult, Clear>;

constexpr size_t kTextsPerSession = 60;
constexpr const char* kReported[] = {"client_encoding", "standard_conforming_strings"};

class Session {
 public:
  // `options`: as libpq sends them.
  Session(const char* options, bool is_told, const sql::Catalog* catalog) : is_told_(is_told) {
    const char* keywords[] = {"options", "user", "dbname", nullptr};
    const char* values[] = {options, "session_a", "postgres", nullptr};
    connection_.reset(PQconnectdbParams(keywords, values, 0));
    if (PQstatus(connection_.get()) != CONNECTION_OK) {
      std::fprintf(stderr, "session_on_server: %s\n", PQerrorMessage(connection_.get()));
      std::exit(2);
    }
    PQsetNoticeProcessor(connection_.get(), [](void*, const char*) {}, nullptr);
    state_.on_startup({{"user", "session_a"}, {"database", "postgres"}, {"options", options}});
    for (const char* name : kReported) state_.on_parameter_status(name, parameter(name));
    state_.on_ready('I');
    if (catalog != nullptr) state_.apply_defaults(*catalog);
  }

  void run(const std::string& text) {
    const sql::Facts facts = *analyzer_.analyze(text, state_.lexical()).facts;
    size_t done = 0;
    bool failed = false;
    PQsendQuery(connection_.get(), text.c_str());
    for (Answer result(PQgetResult(connection_.get())); result; result.reset(PQgetResult(connection_.get()))) {
      const ExecStatusType status = PQresultStatus(result.get());
      failed = failed || (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK);
      done += failed ? 0 : 1;
    }
    for (size_t i = 0; i < done && i < facts.statements.size(); ++i)
      state_.on_finished(facts.statements[i], facts.statements[i].effects, StatementOutcome::kOk);
    if (failed && done < facts.statements.size())
      state_.on_finished(facts.statements[done], facts.statements[done].effects, StatementOutcome::kError);
    if (is_told_)
      for (const char* name : kReported) state_.on_parameter_status(name, parameter(name));
    const PGTransactionStatusType status = PQtransactionStatus(connection_.get());
    state_.on_ready(status == PQTRANS_IDLE ? 'I' : status == PQTRANS_INTRANS ? 'T' : 'E');
  }

  // What is wrong; empty: nothing.
  std::string check() {
    const sql::LexicalState wanted = sql::lexical_state(
        parameter("client_encoding"), std::string_view(parameter("standard_conforming_strings")) == "on");
    if (state_.lexical() != wanted)
      return std::string("the text is read otherwise: ") + parameter("client_encoding") + ", " +
             parameter("standard_conforming_strings");
    if (PQtransactionStatus(connection_.get()) == PQTRANS_INERROR) return {};
    const std::string path = ask("SHOW search_path"), role = ask("SELECT current_user"),
                      user = ask("SELECT session_user");
    if (state_.names().search_path != path)
      return "search_path is " + path + ", not " + state_.names().search_path.value_or("(not known)");
    if (state_.names().role != role) return "current_user is " + role + ", not " + state_.names().role;
    if (state_.session_user() != user) return "session_user is " + user + ", not " + std::string(state_.session_user());
    return {};
  }

 private:
  const char* parameter(const char* name) { return PQparameterStatus(connection_.get(), name); }
  std::string ask(const char* query) {
    const Answer result(PQexec(connection_.get(), query));
    return PQresultStatus(result.get()) == PGRES_TUPLES_OK ? PQgetvalue(result.get(), 0, 0) : "(failed)";
  }

  std::unique_ptr<PGconn, Finish> connection_;
  bool is_told_;
  sql::Analyzer analyzer_;
  sql::SessionState state_;
};

class Maker {
 public:
  explicit Maker(uint64_t seed) : dice_(seed) {}
  Dice& dice() { return dice_; }

  std::string text() {
    std::string out = statement();
    while (dice_.one_in(4)) out += "; " + statement();
    return out;
  }

 private:
  std::string statement() {
    static constexpr Words kTransactions = {"BEGIN",         "COMMIT",        "ROLLBACK",         "SAVEPOINT a",
                                            "SAVEPOINT b",   "ROLLBACK TO a", "ROLLBACK TO b",    "RELEASE a",
                                            "RELEASE b",     "BEGIN",         "SAVEPOINT a",      "COMMIT AND CHAIN",
                                            "ROLLBACK",      "SELECT 1/0",    "SELECT 1",         "SAVEPOINT \"C\"",
                                            "RELEASE \"C\"", "ROLLBACK TO a", "START TRANSACTION"};
    static constexpr Words kOthers = {"RESET search_path",
                                      "RESET ALL",
                                      "DISCARD ALL",
                                      "RESET ROLE",
                                      "RESET SESSION AUTHORIZATION",
                                      "SET SESSION AUTHORIZATION DEFAULT",
                                      "SET search_path TO DEFAULT",
                                      "SET LOCAL search_path TO DEFAULT",
                                      "SET SESSION AUTHORIZATION session_b",
                                      "SET SESSION AUTHORIZATION 'session_a'",
                                      "SET LOCAL SESSION AUTHORIZATION session_b",
                                      "SET LOCAL ROLE session_b",
                                      "SET ROLE session_c",
                                      "SET ROLE NONE",
                                      "SET ROLE no_such",
                                      "SET NAMES 'latin1'",
                                      "RESET client_encoding",
                                      "SET client_encoding TO DEFAULT",
                                      "SET client_encoding = no_such",
                                      "SET standard_conforming_strings = maybe",
                                      "DO 'BEGIN PERFORM 1; END'"};
    switch (dice_.below(6)) {
      case 0:
      case 1:
        return std::string(dice_.pick(kTransactions));
      case 2:
      case 3:
        return std::string(dice_.one_in(2) ? "SET " : dice_.one_in(2) ? "SET LOCAL " : "SET SESSION ") + setting();
      case 4:
        return set_config();
      default:
        return std::string(dice_.pick(kOthers));
    }
  }
  std::string setting() {
    static constexpr Words kSettings = {"search_path = a",
                                        "search_path TO a, \"B c\", 'd, e'",
                                        "search_path = ''",
                                        "search_path = public",
                                        "Search_Path = \"$user\", pg_temp",
                                        "standard_conforming_strings = off",
                                        "standard_conforming_strings = on",
                                        "standard_conforming_strings TO 'tr'",
                                        "standard_conforming_strings = 0",
                                        "client_encoding = 'shift-jis'",
                                        "client_encoding TO GBK",
                                        "client_encoding = 'UTF8'",
                                        "client_encoding = utf_8",
                                        "client_encoding = 'big5'",
                                        "role = session_b",
                                        "role TO 'none'",
                                        "session_authorization = session_b",
                                        "work_mem = '8MB'"};
    return std::string(dice_.pick(kSettings));
  }
  std::string set_config() {
    static constexpr Words kCalls = {"'search_path', 'x, \"Y\"'", "'SEARCH_PATH', ''",
                                     "'role', 'session_b'",       "'standard_conforming_strings', 'off'",
                                     "'client_encoding', 'SJIS'", "'session_authorization', 'session_c'"};
    return "SELECT set_config(" + std::string(dice_.pick(kCalls)) + (dice_.one_in(2) ? ", true)" : ", false)");
  }

  Dice dice_;
};

std::shared_ptr<const sql::Catalog> read_catalog_here() {
  const auto deadline = catalog::Connection::Clock::now() + std::chrono::seconds(30);
  auto connection = catalog::Connection::open({}, "postgres", {}, deadline);
  const Status made = connection
                          ? connection->run(
                                "SET client_min_messages = error; DROP ROLE IF EXISTS session_a, session_b, session_c;"
                                "CREATE ROLE session_a SUPERUSER LOGIN; CREATE ROLE session_b SUPERUSER;"
                                "CREATE ROLE session_c; ALTER ROLE session_a SET search_path = own, public;"
                                "ALTER ROLE session_a SET role = session_b;"
                                "ALTER ROLE session_b SET search_path = other; RESET client_min_messages")
                          : Status(connection.error());
  auto rows = made ? catalog::read_catalog(*connection) : Result<sql::CatalogRows>(made.error());
  if (!rows) {
    std::fprintf(stderr, "session_on_server: %s\n", rows.error().message().c_str());
    std::exit(2);
  }
  return sql::Catalog::build(std::move(*rows));
}

int main_of(uint64_t seed, int64_t seconds) {
  const auto catalog = read_catalog_here();
  Maker maker(seed);
  size_t count = 0, bad = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  static constexpr const char* kOptions[] = {"", "-c search_path=o,\\ p", "--client-encoding=SJIS -c role=session_c",
                                             "-cstandard_conforming_strings=off"};
  while (std::chrono::steady_clock::now() < end && bad < 5) {
    const char* options = kOptions[maker.dice().below(std::size(kOptions))];
    Session session(options, maker.dice().one_in(2), catalog.get());
    std::string history = std::string("options: ") + options;
    std::string wrong = session.check();
    for (size_t i = 0; i < kTextsPerSession && wrong.empty(); ++i) {
      const std::string text = maker.text();
      history += "\n  " + text;
      session.run(text);
      ++count;
      wrong = session.check();
    }
    if (wrong.empty()) continue;
    ++bad;
    std::printf("%s\n  after %s\n", wrong.c_str(), history.c_str());
  }
  std::printf("%zu texts; %zu faults\n", count, bad);
  return bad == 0 && count > 0 ? 0 : 1;
}

}  // namespace
}  // namespace gatehouse::test

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: session_on_server SEED SECONDS\n");
    return 64;
  }
  return gatehouse::test::main_of(std::strtoull(argv[1], nullptr, 10), std::strtoll(argv[2], nullptr, 10));
}
