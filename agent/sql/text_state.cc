// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/text_state.h"

#include <algorithm>
#include <iterator>
#include <string_view>

namespace gatehouse::sql {
namespace {

bool sets(Effects effects) {
  return effects.has(Effect::kSession);
}

bool makes_plain_tables(const Statement& statement) {
  static constexpr std::string_view kCommands[] = {"CREATE TABLE", "CREATE TABLE AS", "SELECT INTO",
                                                   "CREATE INDEX", "CREATE SEQUENCE", "CREATE MATERIALIZED VIEW"};
  return std::ranges::find(kCommands, statement.command) != std::end(kCommands);
}

}  // namespace

void TextState::after(const Statement& statement, const ResolvedStatement& resolved) {
  for (const SessionChange& change : statement.session_changes) apply(change);
  if (resolved.effects.has(Effect::kTransaction) || (statement.session_changes.empty() && sets(resolved.effects)))
    names_.search_path.reset();
  if (!resolved.effects.has_any({Effect::kCreate, Effect::kAlter})) return;
  if (makes_plain_tables(statement)) {
    for (const Object& object : statement.objects)
      if (object.uses.has(Effect::kCreate)) created_.insert(object.name);
    return;
  }
  names_.has_changed_schema = true;
}

void TextState::apply(const SessionChange& change) {
  using Kind = SessionChange::Kind;
  const bool sets_value = change.kind == Kind::kSet || change.kind == Kind::kSetLocal;
  if (change.name == "search_path" || change.name.empty() || change.name == "all") {
    names_.search_path.reset();
    if (sets_value && change.is_value_known && !change.name.empty()) names_.search_path = change.value;
  }
  if (change.name == "role" || change.name == "session_authorization" || change.name.empty() || change.name == "all") {
    names_.role.clear();
    if (sets_value && change.is_value_known && change.value != "none") names_.role = change.value;
  }
}

}  // namespace gatehouse::sql
