// SPDX-License-Identifier: Apache-2.0
// Resolver: facts and a catalog to what a statement really does. Names become objects by the session's search path;
// effects become their closure over views, triggers, rules, functions, defaults, checks, casts, operators, aggregates,
// foreign keys, policies, inheritance and partitions.
//
// It says more rather than less: of overloaded functions all that the number of arguments allows, of a branch in a body
// both ways. What cannot be read is kUnknown, with a reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/sql/catalog.h"
#include "agent/sql/facts.h"
#include "agent/sql/session_state.h"

namespace gatehouse::sql {

struct ResolvedObject {
  Oid oid = kNoOid;    // kNoOid: not in the catalog
  std::string schema;  // its own; empty: not known
  std::string name;    // empty: all of the schema, or of the database
  std::string alias;   // the first that the text gives it
  ObjectKind kind = ObjectKind::kRelation;
  Effects uses;
  Effects deferred;
  bool is_named = false;     // by the text; false: reached only
  bool is_filtered = false;  // as Object::is_filtered; what is reached is not
  // What reaches it, the nearest last: "view public.v", "table public.t > trigger g > function public.f()". Empty: it
  // is named.
  std::string through;
};

struct ResolvedColumn {
  size_t object = Column::kNotTold;  // in objects
  std::string name;                  // "*" only of what has no known columns
  Effects uses;
  bool is_named = false;
};

struct ResolvedFunction {
  Oid oid = kNoOid;  // kNoOid: PostgreSQL's own, or not in the catalog
  std::string schema, name;
  std::string language;  // empty: not known
  std::string owner;
  char volatility = 0;  // i, s, v; 0: not known
  bool is_security_definer = false;
  FunctionClass function_class = FunctionClass::kUnknown;
  bool is_named = false;
  bool is_deferred = false;
  std::string through;
};

// Of one statement; the same index as in Facts::statements, which has the rest (verbs, literals, session changes).
struct ResolvedStatement {
  Effects effects;   // all that happens
  Effects deferred;  // all that EXECUTE, FETCH or use of what it defines would do
  std::vector<ResolvedObject> objects;
  std::vector<ResolvedColumn> columns;
  std::vector<ResolvedFunction> functions;
  // If effects or deferred have kUnknown: why, as in "function public.f(): language c". At most kReasonsMax.
  std::vector<std::string> unknown_reasons;
};

struct ResolvedFacts {
  std::vector<ResolvedStatement> statements;
  uint64_t id = 0;  // of one Resolver's; no two different ones have the same
};

// Limits of one statement; beyond, kUnknown with "too much is reached".
inline constexpr size_t kReachedMax = 4096;  // objects, functions and pieces of code together
inline constexpr size_t kColumnsReachedMax = 16384;
inline constexpr size_t kReasonsMax = 16;

// Pure. `facts.parsed` must be true; else the result has no statement.
ResolvedFacts close_effects(const Facts& facts, const Catalog& catalog, const NameContext& names);

// The same, remembered by facts, catalog, search path and role. Thread-local, as the Analyzer whose facts it is given.
class Resolver {
 public:
  explicit Resolver(size_t entries_max = 2048);

  // Until the next call. `facts` come from one Analyzer only: Facts::id tells them apart.
  const ResolvedFacts& resolve(const Facts& facts, const std::shared_ptr<const Catalog>& catalog,
                               const NameContext& names);

  [[nodiscard]] uint64_t hit_count() const { return hit_count_; }
  [[nodiscard]] uint64_t miss_count() const { return miss_count_; }

 private:
  struct Entry {
    uint64_t facts_id = 0;  // 0: free
    uint64_t catalog_version = 0;
    NameContext names;
    ResolvedFacts facts;
  };
  std::vector<Entry> entries_;
  uint64_t hit_count_ = 0;
  uint64_t miss_count_ = 0;  // also the latest id
};

}  // namespace gatehouse::sql
