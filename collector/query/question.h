// SPDX-License-Identifier: Apache-2.0
// Questions as typed trees, before any engine's language. duckdb_sql.h writes them as SQL.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "collector/ledger/segment_log.h"
#include "rules/engine/filter.h"

namespace gatehouse::query {

// Which events: all of the conditions.
struct Selection {
  rules::Filter filter;
  uint64_t since_ns = 0;                   // Unix time, inclusive
  uint64_t until_ns = 0;                   // exclusive; 0: no bound
  std::optional<ledger::Position> before;  // only what stands before this in the log
};

struct Search {
  Selection selection;
  uint32_t limit = 0;  // 0: none
  bool oldest_first = false;
};

// Sessions whose id is `text`, starts with it, or whose last part does; with how well they fit.
struct FindSessions {
  std::string text;
  uint32_t limit = 0;
};

struct OneSession {
  std::string session;  // whole id
  uint32_t limit = 0;
};

struct Top {
  Selection selection;
  const rules::FieldSpec* by = nullptr;
  uint32_t limit = 0;
};

// The last status row of each agent.
struct LastStatus {};

}  // namespace gatehouse::query
