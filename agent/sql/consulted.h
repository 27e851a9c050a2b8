// SPDX-License-Identifier: Apache-2.0
// Consulted: which literals' values an analysis looked at. Another text of the same shape in which these are the same
// takes the same way through the analysis and has the same facts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "agent/sql/shape.h"

namespace gatehouse::sql {

// '%', '%%', '': as patterns of LIKE and of regular expressions, respectively, these match every text.
bool matches_everything(std::string_view literal);

struct Consult {
  enum class Kind : uint8_t { kValue, kMatchesEverything };
  uint32_t literal = 0;
  Kind kind = Kind::kValue;
  bool operator==(const Consult&) const = default;
};

class Consulted {
 public:
  explicit Consulted(const Shape& shape) : shape_(&shape), is_all_(shape.is_exact_only()) {}

  void value_at(size_t offset) { note(offset, Consult::Kind::kValue); }
  bool matches_everything_at(size_t offset);
  // Only the whole text tells.
  void all() { is_all_ = true; }

  [[nodiscard]] bool is_all() const { return is_all_; }
  [[nodiscard]] const std::vector<Consult>& list() const { return list_; }

 private:
  void note(size_t offset, Consult::Kind kind);

  const Shape* shape_;
  std::vector<Consult> list_;
  bool is_all_ = false;
};

}  // namespace gatehouse::sql
