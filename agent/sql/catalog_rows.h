// SPDX-License-Identifier: Apache-2.0
// CatalogRows: what pg_catalog says of one database, row by row, as Catalog::build takes it. Texts (definitions,
// defaults, bodies) are as the server prints them while its search_path is empty, so that they name schemas.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gatehouse::sql {

using Oid = uint32_t;
inline constexpr Oid kNoOid = 0;
inline constexpr Oid kFirstUserOid = 16384;  // what is below came with PostgreSQL

struct CatalogRows {
  enum class KeyAction : uint8_t { kCheck, kCascade, kSet };  // NO ACTION and RESTRICT; CASCADE; SET NULL and DEFAULT

  struct Role {
    Oid oid = kNoOid;
    std::string name;
  };
  struct Schema {
    Oid oid = kNoOid, owner = kNoOid;
    std::string name;
    bool is_usable_by_all = false;  // USAGE is granted to PUBLIC
  };
  struct Relation {
    Oid oid = kNoOid, schema = kNoOid, owner = kNoOid;
    std::string name;
    char kind = 'r';  // pg_class.relkind
    bool is_temporary = false;
    std::string foreign_wrapper;
    std::string definition;  // of a view
  };
  struct Column {
    Oid relation = kNoOid, type = kNoOid;
    std::string name;
    bool is_partition_key = false;  // or may be part of it
    int16_t attribute = 0;          // pg_attribute.attnum; 0: as they come
    bool is_generated = false;
    std::string expression;  // its default, or what generates it
  };
  struct Inheritance {  // also of an index and its table
    Oid child = kNoOid, parent = kNoOid;
  };
  struct OwnedSequence {
    Oid sequence = kNoOid, relation = kNoOid;
  };
  // An expression that belongs to a relation or a domain.
  struct Expression {
    enum class Kind : uint8_t {
      kOnChange,  // default, generated column, check, index, partition key, statistics
      kPolicy,
      kDomain,  // of a type: its check or default
    };
    Kind kind = Kind::kOnChange;
    Oid owner = kNoOid;
    std::string text;
  };
  struct ForeignKey {
    Oid from = kNoOid, to = kNoOid;
    KeyAction on_update = KeyAction::kCheck, on_delete = KeyAction::kCheck;
  };
  struct Trigger {
    Oid relation = kNoOid, function = kNoOid;
    uint16_t type = 0;  // pg_trigger.tgtype
    std::string name;
    std::string definition;  // if it has a WHEN
  };
  struct Rule {
    Oid relation = kNoOid;
    char event = '2';  // pg_rewrite.ev_type: 2 UPDATE, 3 INSERT, 4 DELETE
    bool is_instead = false, has_condition = false;
    std::string name, definition;
  };
  // Of those that PostgreSQL brings only oid, schema, name, result and the last three.
  struct Function {
    Oid oid = kNoOid, schema = kNoOid, owner = kNoOid, result = kNoOid;
    std::string name, language;
    char kind = 'f';  // pg_proc.prokind
    char volatility = 'v';
    bool is_security_definer = false, is_of_extension = false, is_variadic = false;
    uint16_t argument_count = 0, default_count = 0;
    std::vector<Oid> argument_types;
    std::optional<std::string> search_path;
    std::string source;         // prosrc, or the SQL-standard body
    bool is_sql_body = false;   // the latter
    std::string defaults;       // of its arguments
    std::vector<Oid> supports;  // an aggregate's functions
    // Of PostgreSQL's own these too. Names and modes (pg_proc.proargmodes) of all arguments, those that it gives as
    // well; no modes: all are `i`; no names: there are none.
    bool returns_set = false;
    std::vector<std::string> argument_names;
    std::string argument_modes;
  };
  struct Type {
    Oid oid = kNoOid, schema = kNoOid, base = kNoOid, element = kNoOid, relation = kNoOid;
    std::string name;
  };
  struct Operator {
    Oid function = kNoOid, left = kNoOid, right = kNoOid;
    std::string name;
  };
  struct Hidden {  // casts, and functions of operator classes
    Oid function = kNoOid, left = kNoOid, right = kNoOid;
  };
  struct EventTrigger {
    Oid function = kNoOid;
    std::string name;
    std::vector<std::string> tags;
  };
  struct Setting {
    bool is_of_database = false;
    Oid role = kNoOid;  // kNoOid: of all
    std::string name, value;
  };

  uint64_t version = 0;  // the reader's count: no two snapshots in one process have the same
  std::string database;
  std::vector<std::string> missing;
  std::vector<Role> roles;
  std::vector<Schema> schemas;
  std::vector<Relation> relations;
  std::vector<Column> columns;  // in order
  std::vector<Inheritance> inheritance;
  std::vector<OwnedSequence> sequences;
  std::vector<Expression> expressions;
  std::vector<ForeignKey> foreign_keys;
  std::vector<Trigger> triggers;
  std::vector<Rule> rules;
  std::vector<Function> functions;
  std::vector<Type> types;
  std::vector<Operator> operators;
  std::vector<Hidden> casts, orders;
  std::vector<EventTrigger> event_triggers;
  std::vector<Setting> settings;  // is_of_database false and no role: the server's own
};

// Limits of a snapshot; beyond, `missing` says what is left out, and it is unknown.
inline constexpr size_t kCatalogRelationsMax = 50'000;
inline constexpr size_t kCatalogColumnsMax = 500'000;
inline constexpr size_t kCatalogFunctionsMax = 20'000;
inline constexpr size_t kCatalogRowsMax = 200'000;  // of each other kind
// A longer definition or body is not read.
inline constexpr size_t kCatalogTextBytesMax = 256 * 1024;
inline constexpr size_t kCatalogTextsBytesMax = 64 * 1024 * 1024;  // of all together

}  // namespace gatehouse::sql
