// SPDX-License-Identifier: Apache-2.0
#include "agent/catalog/connection.h"

#include <poll.h>

#include <charconv>
#include <utility>
#include <vector>

#include "common/file.h"

namespace gatehouse::catalog {
namespace {

constexpr int kLookMilliseconds = 100;
constexpr size_t kPasswordBytesMax = 4096;

using Options = std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)>;

Result<Options> parse(const std::string& text) {
  char* message = nullptr;
  Options options(PQconninfoParse(text.c_str(), &message), PQconninfoFree);
  const std::string reason = message == nullptr ? "not understood" : message;
  PQfreemem(message);
  if (!options) return Error(reason);
  return options;
}

Result<std::string> password_of(const CatalogSource& source) {
  if (source.password_file.empty()) return std::string();
  GH_ASSIGN(std::string password, read_file(source.password_file, kPasswordBytesMax).context("password_file"));
  while (!password.empty() && (password.back() == '\n' || password.back() == '\r')) password.pop_back();
  return password;
}

}  // namespace

uint32_t Table::number(size_t row, int column) const {
  const std::string_view digits = text(row, column);
  uint32_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

Status check_connection_text(const std::string& text) {
  GH_ASSIGN(const Options options, parse(text));
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option)
    if (std::string_view(option->keyword) == "password" && option->val != nullptr)
      return Error("a password does not belong here: use password_file or .pgpass");
  return {};
}

Result<Connection> Connection::open(const CatalogSource& source, const std::string& database, Stop stop,
                                    Clock::time_point deadline) {
  GH_ASSIGN(const Options options, parse(source.connection));
  GH_ASSIGN(const std::string password, password_of(source));
  std::vector<const char*> keywords, values;
  const auto add = [&](const char* keyword, const char* value) {
    keywords.push_back(keyword);
    values.push_back(value);
  };
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    const std::string_view keyword = option->keyword;
    if (option->val == nullptr || keyword == "dbname" || keyword == "application_name") continue;
    add(option->keyword, option->val);
  }
  if (!database.empty()) add("dbname", database.c_str());
  if (!password.empty()) add("password", password.c_str());
  add("application_name", kCatalogApplicationName.data());
  add(nullptr, nullptr);
  Connection made({PQconnectStartParams(keywords.data(), values.data(), 0), {}}, std::move(stop), deadline);
  if (!made.connection_) return Error("out of memory");
  GH_TRY(made.finish_connecting());
  return made;
}

Error Connection::error() const {
  std::string text = PQerrorMessage(connection_.get());
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (char& c : text)
    if (c == '\n') c = ' ';
  return Error(text.empty() ? "connection lost" : text);
}

Status Connection::await(bool writes) {
  for (;;) {
    if (stop_ && stop_()) return Error("stopped");
    if (Clock::now() > deadline_) return Error("timed out");
    pollfd entry{
        .fd = PQsocket(connection_.get()), .events = static_cast<short>(writes ? POLLOUT : POLLIN), .revents = 0};
    const int ready = ::poll(&entry, 1, kLookMilliseconds);
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return Error::system("poll");
  }
}

Status Connection::finish_connecting() {
  if (PQstatus(connection_.get()) == CONNECTION_BAD) return error();
  for (PostgresPollingStatusType wants = PGRES_POLLING_WRITING; wants != PGRES_POLLING_OK;
       wants = PQconnectPoll(connection_.get())) {
    if (wants == PGRES_POLLING_FAILED) return error();
    GH_TRY(await(wants == PGRES_POLLING_WRITING));
  }
  return {};
}

Result<Table> Connection::query(const std::string& text) {
  if (PQsendQuery(connection_.get(), text.c_str()) == 0) return error();
  return take_results();
}

Result<Table> Connection::query_one(const std::string& text) {
  if (PQsendQueryParams(connection_.get(), text.c_str(), 0, nullptr, nullptr, nullptr, nullptr, 0) == 0) return error();
  return take_results();
}

Result<Table> Connection::take_results() {
  Table last(nullptr);
  bool failed = false;
  for (;;) {
    while (PQisBusy(connection_.get()) != 0) {
      GH_TRY(await(false));
      if (PQconsumeInput(connection_.get()) == 0) return error();
    }
    PGresult* result = PQgetResult(connection_.get());
    if (result == nullptr) break;
    const ExecStatusType status = PQresultStatus(result);
    failed = failed || (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK);
    last = Table(result);
  }
  if (failed) return error();
  return last;
}

Status Connection::run(const std::string& text) {
  GH_TRY(query(text));
  return {};
}

}  // namespace gatehouse::catalog
