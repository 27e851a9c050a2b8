// SPDX-License-Identifier: Apache-2.0
// Connection: a libpq session that never blocks for long: it looks every tenth of a second whether it is to stop.
#pragma once

#include <libpq-fe.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "agent/catalog/keeper.h"
#include "common/result.h"

namespace gatehouse::catalog {

// What a query gave, as text.
class Table {
 public:
  explicit Table(PGresult* result) : result_(result, PQclear) {}
  [[nodiscard]] size_t size() const { return static_cast<size_t>(PQntuples(result_.get())); }
  [[nodiscard]] bool is_null(size_t row, int column) const {
    return PQgetisnull(result_.get(), static_cast<int>(row), column) != 0;
  }
  [[nodiscard]] std::string_view text(size_t row, int column) const {
    const int at = static_cast<int>(row);
    return {PQgetvalue(result_.get(), at, column), static_cast<size_t>(PQgetlength(result_.get(), at, column))};
  }
  [[nodiscard]] uint32_t number(size_t row, int column) const;  // 0 for NULL
  [[nodiscard]] bool flag(size_t row, int column) const { return text(row, column) == "t"; }

 private:
  std::unique_ptr<PGresult, void (*)(PGresult*)> result_;
};

class Connection {
 public:
  using Clock = std::chrono::steady_clock;
  using Stop = std::function<bool()>;

  // Fails if there is no connection at `deadline`, or when `stop` says so, then as in all that follows.
  static Result<Connection> open(const CatalogSource& source, const std::string& database, Stop stop,
                                 Clock::time_point deadline);

  [[nodiscard]] int server_version() const { return PQserverVersion(connection_.get()); }

  Result<Table> query(const std::string& text);
  // Of one statement: a text of several is refused by the server.
  Result<Table> query_one(const std::string& text);
  Status run(const std::string& text);

 private:
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  Connection(std::unique_ptr<PGconn, Finish> connection, Stop stop, Clock::time_point deadline)
      : connection_(std::move(connection)), stop_(std::move(stop)), deadline_(deadline) {}
  Status await(bool writes);
  Result<Table> take_results();
  Status finish_connecting();
  [[nodiscard]] Error error() const;

  std::unique_ptr<PGconn, Finish> connection_;
  Stop stop_;
  Clock::time_point deadline_;
};

// What is wrong with a connection text; good: nothing. A password in it is refused.
Status check_connection_text(const std::string& text);

}  // namespace gatehouse::catalog
