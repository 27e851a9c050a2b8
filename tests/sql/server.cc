// SPDX-License-Identifier: Apache-2.0
#include "tests/sql/server.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace gatehouse::test {
namespace {

struct Clear {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, Clear>;

[[noreturn]] void fail(const char* what, const char* why) {
  std::fprintf(stderr, "facts_on_server: %s: %s\n", what, why);
  std::exit(2);
}

void drain_copy(PGconn* connection) {
  char* data = nullptr;
  while (PQgetCopyData(connection, &data, 0) > 0) PQfreemem(data);
}

}  // namespace

Server::Server() : connection_(PQconnectdb("")) {
  if (PQstatus(connection_.get()) != CONNECTION_OK) fail("connect", PQerrorMessage(connection_.get()));
  PQsetNoticeProcessor(
      connection_.get(), [](void*, const char*) {}, nullptr);
}

Rows Server::query(const std::string& text) {
  const Result result(PQexec(connection_.get(), text.c_str()));
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) fail(text.c_str(), PQresultErrorMessage(result.get()));
  Rows rows(static_cast<size_t>(PQntuples(result.get())));
  for (size_t row = 0; row < rows.size(); ++row)
    for (int column = 0; column < PQnfields(result.get()); ++column)
      rows[row].emplace_back(PQgetvalue(result.get(), static_cast<int>(row), column));
  return rows;
}

std::string Server::run(const std::string& text) {
  if (PQsendQuery(connection_.get(), text.c_str()) == 0) fail("send", PQerrorMessage(connection_.get()));
  std::string sqlstate;
  for (Result result(PQgetResult(connection_.get())); result; result.reset(PQgetResult(connection_.get()))) {
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_COPY_OUT) drain_copy(connection_.get());
    if (status == PGRES_COPY_IN) PQputCopyEnd(connection_.get(), nullptr);
    const char* code = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
    if (code != nullptr && sqlstate.empty()) sqlstate = code;
  }
  if (PQstatus(connection_.get()) != CONNECTION_OK) fail(text.c_str(), "the server is gone");
  return sqlstate;
}

std::vector<Answer> Server::answers(const std::string& text, std::string& sqlstate) {
  if (PQsendQuery(connection_.get(), text.c_str()) == 0) fail("send", PQerrorMessage(connection_.get()));
  std::vector<Answer> out;
  sqlstate.clear();
  for (Result result(PQgetResult(connection_.get())); result; result.reset(PQgetResult(connection_.get()))) {
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_COPY_IN) PQputCopyEnd(connection_.get(), nullptr);
    const char* code = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
    if (code != nullptr && sqlstate.empty()) sqlstate = code;
    // COPY's end comes as a result of its own.
    if (status == PGRES_COMMAND_OK && !out.empty() && std::exchange(out.back().is_copy, false)) continue;
    Answer& answer = out.emplace_back();
    if (status == PGRES_COPY_OUT) {
      answer.is_copy = true;
      char* data = nullptr;
      for (int size = 0; (size = PQgetCopyData(connection_.get(), &data, 0)) > 0; PQfreemem(data))
        answer.copied.append(data, static_cast<size_t>(size));
      continue;
    }
    for (int column = 0; column < PQnfields(result.get()); ++column)
      answer.names.emplace_back(PQfname(result.get(), column));
    for (int row = 0; row < PQntuples(result.get()); ++row) {
      auto& values = answer.rows.emplace_back();
      for (int column = 0; column < PQnfields(result.get()); ++column)
        values.emplace_back(PQgetvalue(result.get(), row, column));
    }
  }
  if (PQstatus(connection_.get()) != CONNECTION_OK) fail(text.c_str(), "the server is gone");
  return out;
}

}  // namespace gatehouse::test
