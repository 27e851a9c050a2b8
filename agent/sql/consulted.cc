// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/consulted.h"

#include <algorithm>

namespace gatehouse::sql {

bool matches_everything(std::string_view literal) {
  const size_t open = literal.find('\'');
  if (open == literal.npos || literal.back() != '\'') return false;
  const std::string_view value = literal.substr(open + 1, literal.size() - open - 2);
  return value.find_first_not_of('%') == value.npos || value == ".*" || value == "^.*" || value == "^.*$" ||
         value == "^" || value == "$";
}

bool Consulted::matches_everything_at(size_t offset) {
  note(offset, Consult::Kind::kMatchesEverything);
  const size_t literal = shape_->literal_at(offset);
  return literal < shape_->literals().size() && matches_everything(shape_->literal_text(literal));
}

void Consulted::note(size_t offset, Consult::Kind kind) {
  const size_t literal = shape_->literal_at(offset);
  if (literal == shape_->literals().size()) {
    all();  // a place that the shape does not know
    return;
  }
  const Consult consult{static_cast<uint32_t>(literal), kind};
  if (std::ranges::find(list_, consult) == list_.end()) list_.push_back(consult);
}

}  // namespace gatehouse::sql
