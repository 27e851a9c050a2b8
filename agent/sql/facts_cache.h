// SPDX-License-Identifier: Apache-2.0
// FactsCache: facts by shape, lexical state and the values that the analysis looked at. The whole key is compared, so
// no text can be given another's facts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/sql/consulted.h"
#include "agent/sql/encoding.h"
#include "agent/sql/facts.h"
#include "agent/sql/shape.h"

namespace gatehouse::sql {

class FactsCache {
 public:
  // What is larger is not kept, so the memory is bounded by about entries_max * text_bytes_max * 10.
  struct Limits {
    size_t entries_max = 2048;
    size_t text_bytes_max = 4096;
  };
  struct Entry {
    uint64_t hash = 0;
    uint64_t used = 0;  // order of last use; 0: free
    LexicalState state;
    std::string key;
    std::string text;                 // if is_exact
    std::vector<Consult> consulted;   // if not
    std::vector<std::string> values;  // of each consulted
    std::vector<TextRange> ranges;
    Facts facts;
    bool is_exact = false;
  };

  explicit FactsCache(Limits limits);

  // Null: not there. Valid until the next put.
  const Entry* find(const Shape& shape, const LexicalState& state);
  bool takes(const Shape& shape) const { return shape.text().size() <= limits_.text_bytes_max; }
  // Takes the place of the one in its set that was used longest ago. For what `find` did not find just now.
  Entry& put(const Shape& shape, const LexicalState& state);

 private:
  static constexpr size_t kWays = 4;
  [[nodiscard]] uint64_t hash(const Shape& shape, const LexicalState& state) const;
  Entry* set(uint64_t hash) { return &entries_[(hash % sets_) * kWays]; }

  Limits limits_;
  size_t sets_;
  std::vector<Entry> entries_;
  uint64_t clock_ = 0;
};

}  // namespace gatehouse::sql
