// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/resolver.h"

#include <algorithm>
#include <set>

#include "agent/sql/closure.h"

namespace gatehouse::sql {
namespace {

// What the statements of one text do to each other's meaning.
class TextState {
 public:
  explicit TextState(const NameContext& names) : names_(names) {}

  [[nodiscard]] const NameContext& names() const { return names_; }
  [[nodiscard]] const std::set<std::string>& created() const { return created_; }

  void after(const Statement& statement, const ResolvedStatement& resolved) {
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

 private:
  static bool sets(Effects effects) { return effects.has(Effect::kSession); }
  static bool makes_plain_tables(const Statement& statement) {
    static constexpr std::string_view kCommands[] = {"CREATE TABLE", "CREATE TABLE AS", "SELECT INTO",
                                                     "CREATE INDEX", "CREATE SEQUENCE", "CREATE MATERIALIZED VIEW"};
    return std::ranges::find(kCommands, statement.command) != std::end(kCommands);
  }
  void apply(const SessionChange& change) {
    using Kind = SessionChange::Kind;
    const bool sets_value = change.kind == Kind::kSet || change.kind == Kind::kSetLocal;
    if (change.name == "search_path" || change.name.empty() || change.name == "all") {
      names_.search_path.reset();
      if (sets_value && change.is_value_known && !change.name.empty()) names_.search_path = change.value;
    }
    if (change.name == "role" || change.name == "session_authorization" || change.name.empty() ||
        change.name == "all") {
      names_.role.clear();
      if (sets_value && change.is_value_known && change.value != "none") names_.role = change.value;
    }
  }

  NameContext names_;
  std::set<std::string> created_;
};

}  // namespace

ResolvedFacts close_effects(const Facts& facts, const Catalog& catalog, const NameContext& names) {
  ResolvedFacts out;
  if (!facts.parsed) return out;
  TextState state(names);
  out.statements.reserve(facts.statements.size());
  for (const Statement& statement : facts.statements) {
    Closure closure(catalog, state.names(), state.created());
    out.statements.push_back(closure.run(statement));
    if (facts.statements.size() > 1) state.after(statement, out.statements.back());
  }
  return out;
}

Resolver::Resolver(size_t entries_max) : entries_(std::max<size_t>(entries_max, 1)) {}

const ResolvedFacts& Resolver::resolve(const Facts& facts, const std::shared_ptr<const Catalog>& catalog,
                                       const NameContext& names) {
  constexpr uint64_t kSpread = 0x9e3779b97f4a7c15ULL;
  const uint64_t path = names.search_path ? names.search_path->size() : 0;
  Entry& entry = entries_[((facts.id * kSpread ^ path) >> 16) % entries_.size()];
  if (entry.facts_id == facts.id && entry.catalog_version == catalog->version() && entry.names == names) {
    ++hit_count_;
    return entry.facts;
  }
  ++miss_count_;
  entry.facts = close_effects(facts, *catalog, names);
  entry.facts.id = miss_count_;
  entry.facts_id = facts.id;
  entry.catalog_version = catalog->version();
  entry.names = names;
  return entry.facts;
}

}  // namespace gatehouse::sql
