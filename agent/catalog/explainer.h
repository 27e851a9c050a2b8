// SPDX-License-Identifier: Apache-2.0
// Explainer: the server's plan of a statement that somebody is asked to approve, over a catalog's connection: as its
// own user, in a read-only transaction, without running it. A thread of its own.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "agent/catalog/keeper.h"

namespace gatehouse::catalog {

struct Plan {
  std::string text;              // EXPLAIN's lines; empty: there is none
  std::optional<uint64_t> rows;  // that the statement is about, by the planner's guess
};

class Explainer {
 public:
  // By the databases[] entry's name.
  explicit Explainer(std::vector<std::pair<std::string, CatalogSource>> sources);
  ~Explainer();  // what is not answered is not
  Explainer(const Explainer&) = delete;
  Explainer& operator=(const Explainer&) = delete;

  struct Question {
    std::string label, database;
    std::optional<std::string> search_path;  // as SHOW prints it
    std::string text;                        // one statement of PostgreSQL's grammar, without parameters
  };
  // `tell` gets the plan, or none after kPlanTimeMax; on a thread of this, or, if too much waits, within the call.
  void ask(Question question, std::function<void(Plan)> tell);

 private:
  struct Entry {
    Question question;
    std::function<void(Plan)> tell;
  };
  void run();
  Plan explain(const Question& question);

  const std::vector<std::pair<std::string, CatalogSource>> sources_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> queue_;
  bool is_stopping_ = false;
  std::thread thread_;
};

// Of one question, connecting included.
inline constexpr std::chrono::milliseconds kPlanTimeMax{2'000};
inline constexpr size_t kPlansWaitingMax = 16;
inline constexpr size_t kPlanBytesMax = 16U << 10;

// Of EXPLAIN's lines: what the first node that has rows is expected to give. A node that changes rows gives none.
std::optional<uint64_t> estimated_rows(std::string_view plan);

}  // namespace gatehouse::catalog
