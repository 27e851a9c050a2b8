// SPDX-License-Identifier: Apache-2.0
// Backtest: what rules would have said of the events of the record, and how that differs from what was said then. Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cli/history.h"
#include "cli/table.h"
#include "gatehouse/v1/query.pb.h"
#include "rules/engine/policy.h"

namespace gatehouse::cli {

inline constexpr size_t kBacktestExamplesMax = 5;

// Of one rule.
struct BacktestLine {
  std::string rule;
  std::string action;  // empty: it is not in the set, and was only found then
  std::string severity;
  uint64_t found = 0;                 // events
  uint64_t fresh = 0;                 // of these, those in which it was not found then
  uint64_t gone = 0;                  // events in which it was found then, and is not now
  std::vector<std::string> examples;  // ids of events that differ, or else of those in which it is found
};

class Backtest {
 public:
  explicit Backtest(std::shared_ptr<const rules::Policy> policy);

  // Oldest first.
  void add(const v1::Row& row);

  [[nodiscard]] uint64_t events() const { return events_; }
  [[nodiscard]] uint64_t events_found() const { return events_found_; }
  // Rules of the set in its order, then those that are only in the record, by name.
  [[nodiscard]] std::vector<BacktestLine> lines() const;

 private:
  struct Tally {
    uint64_t found = 0, fresh = 0, gone = 0;
    std::vector<std::string> differing, same;
  };

  std::shared_ptr<const rules::Policy> policy_;
  History history_;
  std::unordered_map<std::string, Tally> tallies_;
  uint64_t events_ = 0;
  uint64_t events_found_ = 0;
};

std::string render_backtest(const Backtest& backtest, const TableStyle& style);
// A line for each rule.
std::string to_json(const BacktestLine& line);

}  // namespace gatehouse::cli
