// SPDX-License-Identifier: Apache-2.0
// Closure: one statement and all that it reaches. A queue of what is still to be looked at, so that neither cycles nor
// long chains matter; each object, function and piece of code is looked at once for each thing that is done to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/sql/catalog.h"
#include "agent/sql/name_path.h"
#include "agent/sql/resolver.h"

namespace gatehouse::sql {

// How something is done to a relation, beside what.
struct Manner {
  bool moves = false;     // UPDATE may move rows to other partitions
  bool cascades = false;  // TRUNCATE … CASCADE
  bool restarts = false;  // TRUNCATE … RESTART IDENTITY
  [[nodiscard]] bool covers(Manner other) const {
    return (moves || !other.moves) && (cascades || !other.cascades) && (restarts || !other.restarts);
  }
};

class Closure {
 public:
  // `created`: plain tables that the text made before. Both outlive the closure.
  Closure(const Catalog& catalog, const NameContext& names, const std::set<std::string>& created)
      : catalog_(catalog), names_(names), created_(created) {}

  ResolvedStatement run(const Statement& statement);
  // Of the whole statement.
  void note_unknown(std::string_view reason);

 private:
  enum class When : bool { kNow, kLater };
  // Why something is reached: a chain of labels. 0 is the statement itself.
  using Cause = uint32_t;
  struct CauseLink {
    Cause parent = 0;
    std::string label;
  };
  struct Work {
    const SqlCode* code = nullptr;  // or
    Oid relation = kNoOid;          // with
    Effects uses;
    Manner manner;
    When when = When::kNow;
    uint32_t path = 0;
    Cause cause = 0;
    Effects passed_on;  // of code that is a view's query: what is done to the view's rows
  };
  struct Reached {
    size_t object = 0;
    Effects now, later;
    Manner manner;
  };

  // closure.cc
  void drain();
  void visit_code(const Work& work, const Statement& statement);
  // Where a statement's object stands in the result; several, if its name may mean several.
  std::vector<size_t> add_object(const Work& work, const Statement& statement, size_t index);
  std::vector<size_t> add_relations(const Work& work, const Statement& statement, size_t index);
  void add_relation(const Work& work, const Statement& statement, size_t index, const CatalogRelation& relation);
  size_t add_other(const Work& work, const Object& object, std::string_view schema);
  void add_columns(const Work& work, const Statement& statement, const std::vector<std::vector<size_t>>& places);
  void add_column(size_t object, std::string_view name, Effects uses, bool is_named);
  void add_columns_of(size_t object, std::string_view name, Effects uses, bool is_named);
  [[nodiscard]] Manner manner_of(const Statement& statement, size_t index, const CatalogRelation& relation) const;
  void fire_event_triggers(const Work& work, const Statement& statement);
  void note(Effects effects, When when) { (when == When::kNow ? out_.effects : out_.deferred).add(effects); }
  void note_unknown(When when, Cause cause, std::string_view reason);
  Cause cause(Cause parent, std::string label);
  [[nodiscard]] std::string through(Cause cause) const;
  [[nodiscard]] std::string qualified(Oid schema, std::string_view name) const;
  uint32_t path(const std::optional<std::string>& search_path, std::string_view role);

  // closure_relation.cc
  size_t object_of(const CatalogRelation& relation, Cause cause);
  void reach(Oid relation, Effects uses, const Work& from, Cause cause, Manner manner = {});
  void visit_relation(const Work& work);
  void visit_system_relation(const Work& work, const CatalogRelation& relation, Effects fresh);
  void visit_view(const Work& work, const CatalogRelation& relation, Effects fresh);
  void visit_foreign(const Work& work, const CatalogRelation& relation);
  void fire_triggers(const Work& work, const CatalogRelation& relation, Effects fresh);
  void follow_keys(const Work& work, const CatalogRelation& relation, Effects fresh);
  void follow_children(const Work& work, const CatalogRelation& relation, Effects fresh);
  void follow_sequences(const Work& work, const CatalogRelation& relation, Effects fresh);
  void run_codes(const Work& work, const std::vector<const SqlCode*>& codes, Cause cause);
  void run_code(const Work& work, const SqlCode* code, Cause cause, Effects passed_on = {});

  // closure_function.cc
  void call_named(const Work& work, const Function& function);
  void call_fields(const Work& work, const Statement& statement);
  struct Call {
    bool is_named = false, is_hidden = false;
  };
  void call(const CatalogFunction& function, When when, uint32_t path, Cause cause, Call how);
  void call_oid(Oid function, const Work& from, Cause cause);
  void call_hidden();
  void call_hidden_of(std::span<const CatalogHidden> list, std::string_view what);
  void record(const CatalogFunction& function, When when, Cause cause, bool is_named);
  void add_type(Oid type, When when, uint32_t path);
  [[nodiscard]] bool is_present(Oid type) const { return type < kFirstUserOid || types_.contains(type); }

  const Catalog& catalog_;
  const NameContext& names_;
  const std::set<std::string>& created_;
  ResolvedStatement out_;
  std::deque<Work> queue_;
  size_t visited_ = 0;
  std::vector<CauseLink> causes_{{}};
  std::deque<NamePath> paths_;
  std::unordered_map<Oid, Reached> relations_;
  std::set<std::tuple<Oid, uint32_t, When>> called_;
  std::set<std::tuple<const SqlCode*, uint32_t, When, uint32_t>> run_;
  std::set<Oid> types_, hidden_;
  std::set<std::string> operators_{"=", "<>", "<", ">", "<=", ">="};
  std::map<std::pair<size_t, std::string_view>, size_t> columns_;
  std::map<std::pair<std::string, std::string>, size_t> others_;
};

}  // namespace gatehouse::sql
