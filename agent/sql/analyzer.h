// SPDX-License-Identifier: Apache-2.0
// Analyzer: facts of texts, remembered by shape.
//
// One per thread, and few threads: libpg_query takes a key of the process's 1,024 thread-specific ones for each thread
// that parses, and never gives it back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/sql/encoding.h"
#include "agent/sql/facts.h"
#include "agent/sql/facts_cache.h"
#include "agent/sql/parsed.h"
#include "agent/sql/routine.h"
#include "agent/sql/shape.h"

namespace gatehouse::sql {

// What one text gives. All of it borrows from the analyzer, until its next call.
struct Analysis {
  const Facts* facts = nullptr;
  std::span<const TextRange> ranges;  // of each statement, from its first token to behind its last
  std::span<const Literal> literals;  // in order: what must not be shown where values must not be
};

class Analyzer {
 public:
  // `routine_depth`: of routines in whose bodies the texts stand.
  explicit Analyzer(FactsCache::Limits limits = {}, size_t routine_depth = 0)
      : cache_(limits), routines_(routine_depth) {}

  Analysis analyze(std::string_view text, const LexicalState& state);
  // Without the memory.
  Analysis analyze_fresh(std::string_view text, const LexicalState& state);

  [[nodiscard]] uint64_t hit_count() const { return hit_count_; }
  [[nodiscard]] uint64_t miss_count() const { return miss_count_; }

 private:
  struct Fresh {
    Facts facts;
    std::vector<TextRange> ranges;
    std::vector<Consult> consulted;
    bool is_exact = false;  // the facts hold for this very text only
  };
  Fresh parse(std::string_view text, const LexicalState& state, TextEncoding encoding);
  static Fresh refuse(Refusal refusal, std::string detail = {});
  void read_tree(std::string_view text, const LexicalState& state, TextEncoding encoding, Fresh& out);
  Analysis keep(Fresh fresh);

  FactsCache cache_;
  RoutineReader routines_;
  Shape shape_;
  ParsedText parsed_;
  Fresh last_;          // what is not remembered
  TextRange single_range_;
  uint64_t last_id_ = 0;  // of facts
  uint64_t hit_count_ = 0;
  uint64_t miss_count_ = 0;
};

}  // namespace gatehouse::sql
