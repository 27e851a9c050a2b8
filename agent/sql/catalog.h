// SPDX-License-Identifier: Apache-2.0
// Catalog: one database's schema, as it was at one moment: what names mean, and what runs behind them. Immutable, and
// shared between threads; agent/catalog reads it from a server.
//
// System relations are known by their columns only, functions that PostgreSQL brings by known_functions.def only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/sql/catalog_rows.h"
#include "agent/sql/facts.h"

namespace gatehouse::sql {

// What a text that the database keeps does by itself: a view's query, a function's body, a default. All that it does is
// in what a statement does now; `deferred` is what it prepares or defines.
using SqlCode = Statement;

struct CatalogColumn {
  std::string name;
  Oid type = kNoOid;
  bool is_partition_key = false;
  int16_t attribute = 0;  // pg_attribute.attnum
  bool is_generated = false;
  std::string expression;  // its default, or what generates it, as SQL; empty: there is none
};

struct ForeignKey {
  Oid relation = kNoOid;  // the other one
  CatalogRows::KeyAction on_update = CatalogRows::KeyAction::kCheck, on_delete = CatalogRows::KeyAction::kCheck;
};

struct CatalogTrigger {
  std::string name;
  Effects events;  // of kInsert, kUpdate, kDelete, kTruncate
  bool is_instead = false;
  bool changes_row = false;  // it is called before each row, and says what becomes of it
  Oid function = kNoOid;
  const SqlCode* condition = nullptr;  // WHEN
};

struct CatalogRule {
  std::string name;
  Effect event = Effect::kUpdate;
  bool is_instead = false;  // always: there is no condition
  const SqlCode* code = nullptr;
};

struct CatalogRelation {
  Oid oid = kNoOid;
  Oid schema = kNoOid;
  Oid owner = kNoOid;
  std::string name;
  ObjectKind kind = ObjectKind::kTable;
  bool is_partitioned = false;
  bool is_system = false;  // in pg_catalog, information_schema or pg_toast: what is behind it is not known
  bool is_temporary = false;
  std::string foreign_wrapper;         // of a foreign table
  std::vector<CatalogColumn> columns;  // in order
  std::vector<Oid> parents, children;  // inheritance and partitions; of an index its table
  std::vector<Oid> sequences;          // that go with it
  std::vector<ForeignKey> references, referenced_by;
  std::vector<CatalogTrigger> triggers;
  std::vector<CatalogRule> rules;
  const SqlCode* definition = nullptr;    // of a view or materialized view
  std::string query;                      // the same as SQL
  std::vector<const SqlCode*> on_change;  // defaults, checks, generated columns, expressions of indexes and partitions
  std::vector<const SqlCode*> on_access;  // policies of row security
};

struct CatalogFunction {
  Oid oid = kNoOid;
  Oid schema = kNoOid;
  Oid owner = kNoOid;
  std::string name;
  std::string language;
  char volatility = 'v';    // i, s, v
  bool is_builtin = false;  // PostgreSQL's own: known_function() knows it by its name
  bool is_aggregate = false;
  bool is_security_definer = false;
  bool is_of_extension = false;
  uint16_t arguments_min = 0, arguments_max = 0;  // that a call may have
  std::vector<Oid> types;                         // of its arguments and what it gives
  std::optional<std::string> search_path;         // SET search_path
  const SqlCode* body = nullptr;                  // null: not readable, or an aggregate
  const SqlCode* defaults = nullptr;              // of its arguments
  std::vector<Oid> calls;                         // an aggregate's functions
  std::string source;                             // of SQL: what `body` was read from; empty: another language
  bool is_sql_body = false;                       // it is written in the SQL standard's way
  bool returns_set = false;
  Oid result = kNoOid;
  std::vector<std::string> inputs;   // names of the arguments of a call; empty: none has a name
  std::vector<std::string> outputs;  // names of what OUT, INOUT and TABLE give, in order; empty: it has no such
};

struct CatalogType {
  Oid oid = kNoOid;
  Oid schema = kNoOid;
  std::string name;
  Oid base = kNoOid;                 // of a domain; the element's of an array
  Oid relation = kNoOid;             // of a row
  std::vector<std::string> columns;  // of CREATE TYPE … AS (…)
  std::vector<const SqlCode*> checks;
};

// A function that is called without being named: by an operator, a cast, or the order of a type.
struct CatalogHidden {
  Oid function = kNoOid;
  Oid left = kNoOid, right = kNoOid;  // operands; source and target
};

struct CatalogEventTrigger {
  std::string name;
  Oid function = kNoOid;
  std::vector<std::string> tags;  // empty: all
};

class Catalog {
 public:
  // Reads the texts in it: some milliseconds per thousand objects. One call per thread at a time.
  static std::shared_ptr<const Catalog> build(CatalogRows rows);

  [[nodiscard]] uint64_t version() const { return version_; }
  [[nodiscard]] const std::string& database() const { return database_; }
  // What is not in it, since a limit was met; empty: nothing. Names that are not found are unknown then.
  [[nodiscard]] std::span<const std::string> missing() const { return missing_; }
  [[nodiscard]] size_t bytes() const { return bytes_; }  // about what it takes in memory
  [[nodiscard]] size_t relation_count() const { return relations_.size(); }
  [[nodiscard]] size_t function_count() const { return functions_.size(); }

  [[nodiscard]] const CatalogRelation* relation(Oid oid) const;
  [[nodiscard]] const CatalogFunction* function(Oid oid) const;
  [[nodiscard]] const CatalogType* type(Oid oid) const;
  [[nodiscard]] std::string_view schema_name(Oid oid) const;
  [[nodiscard]] std::string_view role_name(Oid oid) const;
  // kNoOid: there is none.
  [[nodiscard]] Oid schema(std::string_view name) const;
  // False: this role may lack USAGE on it, and the server then looks further.
  [[nodiscard]] bool is_usable(Oid schema, std::string_view role) const;

  template <typename Visit>
  void each_relation(const Visit& visit) const {
    for (const auto& [oid, relation] : relations_) visit(relation);
  }

  // All of that name, in whatever schema.
  [[nodiscard]] std::span<const CatalogRelation* const> relations(std::string_view name) const;
  [[nodiscard]] std::span<const CatalogFunction* const> functions(std::string_view name) const;
  [[nodiscard]] std::span<const CatalogType* const> types(std::string_view name) const;
  [[nodiscard]] std::span<const CatalogHidden> operators(std::string_view name) const;
  [[nodiscard]] std::span<const CatalogHidden> casts() const { return casts_; }
  [[nodiscard]] std::span<const CatalogHidden> orders() const { return orders_; }
  [[nodiscard]] std::span<const CatalogEventTrigger> event_triggers() const { return event_triggers_; }

  // Relations with code that VACUUM and ANALYZE run.
  [[nodiscard]] std::span<const CatalogRelation* const> with_expressions() const { return with_expressions_; }

  // What a session of that role begins with: ALTER ROLE and ALTER DATABASE before the server's. Nothing: not known.
  [[nodiscard]] std::optional<std::string> default_setting(std::string_view role, std::string_view name) const;

 private:
  friend class CatalogBuilder;
  Catalog() = default;

  template <typename T>
  using ByName = std::unordered_map<std::string_view, std::vector<T>>;
  struct Schema {
    std::string name;
    Oid owner = kNoOid;
    bool is_usable_by_all = false;
  };

  uint64_t version_ = 0;
  std::string database_;
  std::vector<std::string> missing_;
  size_t bytes_ = 0;
  std::deque<SqlCode> codes_;
  std::deque<std::string> names_;  // of operators
  std::unordered_map<Oid, Schema> schemas_;
  std::unordered_map<std::string_view, Oid> schema_oids_;
  std::unordered_map<Oid, std::string> roles_;
  std::unordered_map<Oid, CatalogRelation> relations_;
  std::unordered_map<Oid, CatalogFunction> functions_;
  std::unordered_map<Oid, CatalogType> types_;
  ByName<const CatalogRelation*> relations_by_name_;
  ByName<const CatalogFunction*> functions_by_name_;
  ByName<const CatalogType*> types_by_name_;
  ByName<CatalogHidden> operators_;
  std::vector<const CatalogRelation*> with_expressions_;
  std::vector<CatalogHidden> casts_, orders_;
  std::vector<CatalogEventTrigger> event_triggers_;
  std::vector<CatalogRows::Setting> settings_;
};

}  // namespace gatehouse::sql
