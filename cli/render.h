// SPDX-License-Identifier: Apache-2.0
// Tables of answers that are not streams of events, and a session's head. Pure but for the process's time zone.
#pragma once

#include <string>

#include "cli/coverage.h"
#include "cli/table.h"
#include "gatehouse/v1/query.pb.h"
#include "rules/engine/filter.h"

namespace gatehouse::cli {

std::string render_agents(const v1::AgentsResponse& answer, TableStyle style, uint64_t now_ns);
std::string render_top(const v1::TopResponse& answer, const rules::FieldSpec& by, TableStyle style);
std::string render_fields(TableStyle style);

// What a session's rows say about it as a whole.
class SessionTotals {
 public:
  void add(const v1::Row& row);
  // "12 statements, 1 error, 340 rows, 15.3 KiB answered, 2.1 s in the server"
  [[nodiscard]] std::string text() const;

  // Who, from where, to what. Every row carries it; the last ones know most.
  [[nodiscard]] std::string head() const;
  // How much of it was seen, as lines of the head.
  [[nodiscard]] std::string coverage() const;

  [[nodiscard]] SessionCoverage& covered() { return coverage_; }
  [[nodiscard]] const v1::Row& known() const { return known_; }
  // Of its first and last event.
  [[nodiscard]] uint64_t first_ns() const { return first_ns_; }
  [[nodiscard]] uint64_t last_ns() const { return last_ns_; }

 private:
  SessionCoverage coverage_;
  v1::Row known_{};  // of each field of the session the last known value
  uint64_t first_ns_ = 0;
  uint64_t last_ns_ = 0;
  bool ended_ = false;
  uint64_t statements_ = 0;
  uint64_t errors_ = 0;
  uint64_t rows_ = 0;
  uint64_t bytes_ = 0;
  uint64_t duration_ns_ = 0;
};

}  // namespace gatehouse::cli
