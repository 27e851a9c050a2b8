// SPDX-License-Identifier: Apache-2.0
// A libpq session for a test: rows as strings, errors as SQLSTATE.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <string>
#include <vector>

namespace gatehouse::test {

using Rows = std::vector<std::vector<std::string>>;

// What one statement gave.
struct Answer {
  std::vector<std::string> names;
  Rows rows;
  std::string copied;  // COPY's data, as it came
  bool is_copy = false;
};

class Server {
 public:
  // By PGHOST, PGPORT, PGUSER, PGDATABASE; ends the program if there is none.
  Server();
  // Ends the program if it fails.
  Rows query(const std::string& text);
  // SQLSTATE of the first error, or empty. What it gives is thrown away, COPY's data included.
  std::string run(const std::string& text);
  // Of each statement of the text until one fails; then `sqlstate` is set.
  std::vector<Answer> answers(const std::string& text, std::string& sqlstate);
  [[nodiscard]] bool is_in_transaction() const { return PQtransactionStatus(connection_.get()) != PQTRANS_IDLE; }

 private:
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  std::unique_ptr<PGconn, Finish> connection_;
};

}  // namespace gatehouse::test
