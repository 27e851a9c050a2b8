// SPDX-License-Identifier: Apache-2.0
// TextState: what the statements of one text do to each other's meaning.
#pragma once

#include <set>
#include <string>

#include "agent/sql/facts.h"
#include "agent/sql/resolver.h"
#include "agent/sql/session_state.h"

namespace gatehouse::sql {

class TextState {
 public:
  explicit TextState(const NameContext& names) : names_(names) {}

  [[nodiscard]] const NameContext& names() const { return names_; }
  [[nodiscard]] const std::set<std::string>& created() const { return created_; }
  void after(const Statement& statement, const ResolvedStatement& resolved);

 private:
  void apply(const SessionChange& change);

  NameContext names_;
  std::set<std::string> created_;
};

}  // namespace gatehouse::sql
