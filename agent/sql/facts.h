// SPDX-License-Identifier: Apache-2.0
// Facts: what a PostgreSQL text does, as far as the text alone tells. Verbs are what it says, effects are what it does:
// WITH x AS (DELETE …) SELECT says SELECT and deletes.
//
// Facts may say more than will happen, never less. Where the text cannot tell (a function that nobody knows, EXECUTE of
// a name, a body in another language), the effect is kUnknown. What a catalog would have to tell is not in them: what
// views, triggers, rules, defaults, casts, operators and user-defined functions do in turn; see resolver.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/sql/statements.h"

namespace gatehouse::sql {

enum class Effect : uint8_t {
  // On objects.
  kRead,
  kInsert,
  kUpdate,
  kDelete,
  kTruncate,
  kCreate,
  kAlter,
  kDrop,
  kGrant,
  kRevoke,
  kLock,       // LOCK, SELECT … FOR UPDATE, advisory locks
  kMaintain,   // VACUUM, ANALYZE, REINDEX, CLUSTER, REFRESH
  kReference,  // named, neither read nor changed: a foreign key's target, COMMENT, a type
  // On the session.
  kSession,      // SET, RESET, DISCARD, set_config
  kTransaction,  // BEGIN, COMMIT, SAVEPOINT, …
  kPrepare,      // PREPARE, DECLARE: see Statement::deferred
  kRunPrepared,  // EXECUTE, FETCH: what it does is what was prepared; always with kUnknown
  kNotify,       // NOTIFY, LISTEN
  // On the host and the server.
  kFileRead,
  kFileWrite,
  kProgram,
  kNetwork,
  kLargeObject,
  kServerControl,  // configuration, other sessions, WAL, replication slots, shared libraries, backups
  kInspect,        // raw pages, other sessions' statements, server internals
  kDelay,          // pg_sleep and its like
  kRunText,        // runs SQL from a value; with kUnknown, since the value is not in the text
  kRunCode,        // DO, CALL
  kUnknown,
};
inline constexpr size_t kEffects = static_cast<size_t>(Effect::kUnknown) + 1;
std::string_view to_string(Effect effect);

class Effects {
 public:
  constexpr Effects() = default;
  constexpr Effects(std::initializer_list<Effect> effects) {
    for (const Effect effect : effects) add(effect);
  }
  constexpr void add(Effect effect) { bits_ |= bit(effect); }
  constexpr void add(Effects effects) { bits_ |= effects.bits_; }
  [[nodiscard]] constexpr bool has(Effect effect) const { return (bits_ & bit(effect)) != 0; }
  [[nodiscard]] constexpr bool has_any(Effects effects) const { return (bits_ & effects.bits_) != 0; }
  [[nodiscard]] constexpr bool has_all(Effects effects) const { return (bits_ & effects.bits_) == effects.bits_; }
  [[nodiscard]] constexpr bool empty() const { return bits_ == 0; }
  [[nodiscard]] constexpr uint32_t bits() const { return bits_; }
  constexpr bool operator==(const Effects&) const = default;

 private:
  static constexpr uint32_t bit(Effect effect) { return 1U << static_cast<unsigned>(effect); }
  uint32_t bits_ = 0;
};
static_assert(kEffects <= 32);
std::string to_string(Effects effects);  // words with a blank between, in the order above

enum class ObjectKind : uint8_t {
  kRelation,  // read or written by name: a table, view, sequence, …; only a catalog can tell
  kTable,
  kView,
  kMaterializedView,
  kForeignTable,
  kIndex,
  kSequence,
  kFunction,  // also procedures and aggregates
  kType,      // also domains
  kSchema,
  kDatabase,
  kRole,
  kTablespace,
  kExtension,
  kLanguage,
  kTrigger,
  kEventTrigger,
  kRule,
  kPolicy,
  kPublication,
  kSubscription,
  kServer,
  kUserMapping,
  kForeignDataWrapper,
  kOther,
};
std::string_view to_string(ObjectKind kind);

struct Object {
  std::string schema;  // as written; empty: search_path decides
  std::string name;    // as the server stores it: folded, unquoted, cut. Empty: all (VACUUM, GRANT … ON ALL TABLES)
  std::string alias;   // the name that the statement gives it; empty: its own
  ObjectKind kind = ObjectKind::kRelation;
  Effects uses;              // what the statement does to it
  Effects deferred;          // what is only prepared, explained or put into the body of a view, rule or function
  bool is_filtered = false;  // a WHERE that looks at rows stands above each read, update or delete of it
};

struct Column {
  static constexpr size_t kNotTold = SIZE_MAX;
  size_t object = kNotTold;  // index in Statement::objects; kNotTold: one of several, or unknown
  std::string name;          // "*": all
  Effects uses;              // of kRead, kInsert, kUpdate
};

enum class FunctionClass : uint8_t {
  kUnknown,   // not PostgreSQL's own, or not in the table
  kHarmless,  // PostgreSQL's own, and without an effect
  kSequence,  // nextval, setval
  kSession,
  kLock,
  kNotify,
  kFileRead,
  kFileWrite,
  kProgram,
  kNetwork,
  kLargeObject,
  kServerControl,
  kInspect,
  kDelay,
  kRunText,
};
std::string_view to_string(FunctionClass function_class);

struct Function {
  static constexpr uint16_t kNotTold = UINT16_MAX;
  std::string schema;
  std::string name;
  uint16_t argument_count = kNotTold;  // of the call; kNotTold: it is none, or has VARIADIC
  FunctionClass function_class = FunctionClass::kUnknown;
  // Of a dangerous one: what it can do. Static text.
  std::string_view reason{};
  bool is_deferred = false;
  // The name says pg_catalog, or nothing, in which case a function of that name that fits its arguments better and is
  // in the search path is called instead: only a catalog can tell.
  bool is_presumed_builtin = false;
};

struct SessionChange {
  enum class Kind : uint8_t { kSet, kSetLocal, kReset, kResetAll, kDiscard, kResetLocal };
  Kind kind = Kind::kSet;
  std::string name;   // lower case; empty: computed, or all; "role", "session_authorization"; of DISCARD: all, plans,
                      // sequences, temp
  std::string value;  // items with ", " between; of search_path as names, quoted where they need it
  bool is_value_known = true;  // false: computed, or a parameter
  bool operator==(const SessionChange&) const = default;
};

// A type or an operator, as written.
struct QualifiedName {
  std::string schema;
  std::string name;
  bool operator==(const QualifiedName&) const = default;
};

// Why an effect is kUnknown. Functions are those of Statement::functions with that effect; a catalog may know them.
enum class UnknownReason : uint8_t {
  kFunction,
  kPrepared,      // EXECUTE: what was prepared
  kCode,          // a body or DO that is not read
  kComputedText,  // a body runs SQL that it computes
  kCascade,       // what else goes with what is dropped
  kCascadeTruncate,
  kCommand,  // what a command goes on to do: CREATE EXTENSION, DROP OWNED
  kName,     // a name in an encoding that is not converted
};
inline constexpr size_t kUnknownReasons = static_cast<size_t>(UnknownReason::kName) + 1;
std::string_view to_string(UnknownReason reason);

class UnknownReasons {
 public:
  constexpr void add(UnknownReason reason) { bits_ |= bit(reason); }
  constexpr void add(UnknownReasons reasons) { bits_ |= reasons.bits_; }
  [[nodiscard]] constexpr bool has(UnknownReason reason) const { return (bits_ & bit(reason)) != 0; }
  [[nodiscard]] constexpr bool empty() const { return bits_ == 0; }
  constexpr bool operator==(const UnknownReasons&) const = default;

 private:
  static constexpr uint8_t bit(UnknownReason reason) {
    return static_cast<uint8_t>(1U << static_cast<unsigned>(reason));
  }
  uint8_t bits_ = 0;
};

// A file, a program, a host: what stands in the text. What functions reach stands in Statement::functions.
struct Access {
  Effect effect = Effect::kUnknown;
  std::string target;
};

struct Statement {
  std::string_view verb{};              // the first word of its command tag, as in "DELETE"; static text
  std::string_view command{};           // its command tag, as in "DROP TABLE"; static text
  std::vector<std::string_view> verbs;  // of it and of all statements inside, each once; static text
  Effects effects;
  Effects deferred;             // what EXECUTE, FETCH or use of what it defines would do
  std::vector<Object> objects;  // each relation once per alias
  std::vector<Column> columns;
  std::vector<Function> functions;
  // What runs functions without naming them, and what a catalog is asked for. Operators without = <> < > <= >=, which
  // sorting and joining use as well. Fields: x of t.x and (t).x, which may be a function that is given t.
  std::vector<QualifiedName> types, operators;
  std::vector<std::string> fields;
  UnknownReasons unknown, deferred_unknown;  // not empty: of kUnknown in effects, in deferred
  std::vector<SessionChange> session_changes;
  // What ALTER SYSTEM, ROLE and DATABASE set for sessions to come, and CREATE and ALTER FUNCTION for their calls; kSet,
  // kReset and kResetAll.
  std::vector<SessionChange> settings;
  std::vector<Access> accesses;
  // What else a rule wants to know of it, in small words. GRANT: privileges. ALTER TABLE: its commands ("disable row
  // security"). CREATE and ALTER ROLE: options ("superuser", "no login"). ALTER SYSTEM, ROLE, DATABASE: "set NAME" or
  // "reset NAME". CREATE FUNCTION, ALTER FUNCTION and DO: "language NAME", "security definer". VACUUM, ANALYZE,
  // REINDEX: options ("full"). What says CASCADE: "cascade". A query to which UNION adds rows of constants: "union of
  // constants".
  std::vector<std::string> details;
  std::string handle;  // of PREPARE, EXECUTE, DEALLOCATE, DECLARE, FETCH, CLOSE, LISTEN, NOTIFY, SAVEPOINT: the name
  // False: it updates, deletes, truncates or (if it does none of these) reads the rows of a table without a condition
  // that looks at rows; 1=1, id = id, $1 and now() > '2020-01-01' are none.
  bool filters_rows = true;
  bool has_limit = false;
  std::optional<uint64_t> limit;  // where it is a number in the text
};

enum class Refusal : uint8_t {
  kNone,
  kSyntax,    // the grammar of PostgreSQL 15 refuses it
  kTooLong,   // kTextBytesMax
  kTooDeep,   // kNestingMax, kTreeDepthMax, or the grammar's own stack
  kTooMany,   // kStatementsMax
  kEncoding,  // not valid in the session's encoding, or a byte 0
  kInternal,  // the library said something that is not understood
};
std::string_view to_string(Refusal refusal);

struct Facts {
  uint64_t id = 0;  // of one Analyzer's facts; no two different ones have the same
  bool parsed = false;
  Refusal refusal = Refusal::kNone;
  std::string refusal_detail;  // the grammar's own words; they may quote the text
  std::vector<Statement> statements;
  std::string normalized;    // literals are ?, lists of them (?), comments are gone, key words and plain names small
  uint64_t fingerprint = 0;  // of that; stable between runs and versions
};

// Limits of what is analysed; beyond, parsed is false.
inline constexpr size_t kTextBytesMax = 256 * 1024;  // about 10 ms of work
inline constexpr size_t kStatementsMax = 1000;
// The library's parser and writer recurse without looking at the stack, about 128 bytes a level; nesting_bound() says
// how deep at most. The walk recurses over the tree, which has one to four levels for each of SQL's.
inline constexpr size_t kNestingMax = 8192;
inline constexpr size_t kTreeDepthMax = 1500;
// Alternatives of one OR, each of which is held against all others: is one the opposite of another? With more of them
// the OR counts as one that every row passes, so that none is missed. Some milliseconds.
inline constexpr size_t kAlternativesMax = 512;

}  // namespace gatehouse::sql
