// SPDX-License-Identifier: Apache-2.0
// Lineage: for each column of what a statement gives, the columns of tables whose values may flow into it. Names are
// looked up as the server does; views, functions in SQL, inheritance and partitions are followed.
//
// It says more rather than less. What cannot be followed is `is_unknown`, which means: any value that the session can
// reach may be in it, as far as the statement can touch it (`touched`, `may_touch_unknown`).
//
// What flows is values. What only decides *whether* or *which* value is shown is apart: `predicates` of the statement,
// `conditions` of a column. A mask that allows predicates lets a patient reader ask bit by bit; docs/catalog.md says
// so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/sql/catalog.h"
#include "agent/sql/encoding.h"
#include "agent/sql/facts.h"
#include "agent/sql/resolver.h"
#include "agent/sql/session_state.h"

namespace gatehouse::sql {

// A column of a table, or of a view, which stands beside the columns that it shows. Of a table that inherits or is
// inherited from (partitions too), those of its ancestors and, unless it says ONLY, of its descendants are told as
// well: so a mask on any of them is met by comparing with this list alone.
struct ColumnSource {
  Oid relation_oid = kNoOid;             // kNoOid: not in the catalog; names are as written, and `schema` may be empty
  int16_t attribute = 0;                 // pg_attribute.attnum; 0: not known
  std::string schema, relation, column;  // column "*": any of them
  bool operator==(const ColumnSource&) const = default;
};

struct OutputColumn {
  enum class Derivation : uint8_t {
    // The value itself or NULL, with the type it is stored in (of text, varchar, char(n) and name: any of these): by
    // alias, *, join, subquery, CTE, view, UNION of such. A UNION, CASE or COALESCE with constants may have another
    // type, which the server finds for all of them. Also what has no sources.
    kCopied,
    kDerived,  // computed from it: whatever it shows may tell the value
  };
  std::string name;                      // as the server names it, where that is known
  std::vector<ColumnSource> sources;     // each once
  std::vector<ColumnSource> conditions;  // that decide which value is shown: CASE, FILTER, OVER, NULLIF, EXISTS, …
  Derivation derivation = Derivation::kCopied;
  bool is_unknown = false;  // may hold what is not in sources
};

// Values that go to a place where later statements, or others, find them.
struct ColumnCopy {
  enum class Place : uint8_t {
    kRelation,     // CREATE TABLE AS, SELECT INTO, INSERT, UPDATE, MERGE; also by functions
    kFile,         // COPY … TO 'file', lo_export
    kProgram,      // COPY … TO PROGRAM
    kSetting,      // set_config
    kSequence,     // setval
    kNotify,       // pg_notify
    kLargeObject,  // lo_from_bytea, lo_put, lowrite
    kNetwork,      // dblink
    kLog,          // pg_logical_emit_message and its like
  };
  Place place = Place::kRelation;
  ColumnSource target;  // of kRelation; attribute 0 and column "*": one or several of its columns
  std::vector<ColumnSource> sources;
  OutputColumn::Derivation derivation = OutputColumn::Derivation::kCopied;
  bool is_unknown = false;
};
std::string_view to_string(ColumnCopy::Place place);

// COPY (…) TO, as its options say.
struct CopyFormat {
  enum class Kind : uint8_t { kText, kCsv, kBinary };
  enum class To : uint8_t { kClient, kFile, kProgram };
  Kind kind = Kind::kText;
  To to = To::kClient;
  bool has_header = false;
  char delimiter = '\t', quote = '"', escape = '"';  // of kText: no quote, and escape is always a backslash
  std::string null = "\\N";
  bool forces_all_quotes = false;
  std::vector<std::string> forces_quotes;  // names of columns
  std::string encoding;                    // empty: client_encoding
};

// Of one statement.
struct Lineage {
  bool has_rows = false;  // it sends rows to the client (COPY TO STDOUT too)
  // PREPARE and DECLARE: `columns` are those of what is prepared, which EXECUTE or FETCH will send; has_rows is false.
  bool is_for_later = false;
  // EXECUTE, FETCH and EXPLAIN EXECUTE: Statement::handle says of what; to know the columns, trace the text that made
  // it. Until then they are unknown.
  bool is_of_handle = false;
  // False: how many columns there are, and in what order, is not known; `columns` is empty then, and each of the real
  // ones is at most `every`.
  bool are_columns_known = true;
  std::vector<OutputColumn> columns;
  OutputColumn every;                    // all columns together; name is empty
  std::vector<ColumnSource> predicates;  // looked at by WHERE, ON, ORDER BY, GROUP BY, DISTINCT, LIMIT, CASE, OVER, …
  std::vector<ColumnSource> touched;     // read at all, by functions, views and triggers too
  bool may_touch_unknown = false;        // what it reads is not all known
  std::vector<ColumnCopy> copies;        // only such with sources, or unknown
  std::optional<CopyFormat> copy;        // of COPY … TO
  std::vector<std::string> unknown_reasons;  // for people; at most kReasonsMax
};

// Index as in Facts::statements; empty where the text was refused (then nothing is known of it).
struct StatementsLineage {
  std::vector<Lineage> statements;
};

// Limits of one text; beyond, its columns are unknown.
inline constexpr size_t kLineageWorkMax = 200'000;  // nodes visited and sources merged; some 20 to 50 ms
inline constexpr size_t kLineageDepthMax = 1000;    // recursion over trees, through views and functions together
inline constexpr size_t kLineageRoutinesMax = 8;    // functions within functions

class LineageTracer {
 public:
  // Remembers by facts, catalog, names and (where literals matter) text. Thread-local, as the Analyzer and the Resolver
  // whose facts it is given.
  explicit LineageTracer(size_t entries_max = 512);
  ~LineageTracer();
  LineageTracer(const LineageTracer&) = delete;
  LineageTracer& operator=(const LineageTracer&) = delete;

  // Until the next call. `facts` are the text's, from one Analyzer only; `resolved` those of one Resolver for the same
  // catalog and names. Without a catalog (null, and `resolved` null) sources are names as written, what * stands for
  // is not known, and all of it is unknown: what is named may be a view.
  const StatementsLineage& trace(std::string_view text, const LexicalState& state, const Facts& facts,
                                 const ResolvedFacts* resolved, const std::shared_ptr<const Catalog>& catalog,
                                 const NameContext& names);

  [[nodiscard]] uint64_t hit_count() const;
  [[nodiscard]] uint64_t miss_count() const;

 private:
  struct Entry;
  class Memory;
  void trace_anew(std::string_view text, const LexicalState& state, const Facts& facts, const ResolvedFacts* resolved,
                  const std::shared_ptr<const Catalog>& catalog, const NameContext& names, Entry& entry);
  std::unique_ptr<Memory> memory_;
};

}  // namespace gatehouse::sql
