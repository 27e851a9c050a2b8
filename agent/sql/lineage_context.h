// SPDX-License-Identifier: Apache-2.0
// LineageContext: what the walks over one statement, and over the views and functions behind it, share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/sql/catalog.h"
#include "agent/sql/encoding.h"
#include "agent/sql/lineage_flow.h"
#include "agent/sql/name_path.h"
#include "agent/sql/session_state.h"

namespace gatehouse::sql {

struct TracedCopy {
  ColumnCopy::Place place = ColumnCopy::Place::kRelation;
  ColumnSource target;
  Flow flow;
};

// What runs when something is called that is not followed: all columns that its closure reads.
struct Reads {
  Flow flow;
  std::vector<Oid> writes;  // relations that it inserts into or updates
};

class LineageContext {
 public:
  using PathId = uint32_t;
  static constexpr PathId kNoPath = 0;  // search_path = '': texts of the catalog

  LineageContext();

  // Before each text.
  void begin_text() { carried_.clear(); }
  // Before each statement. What is remembered of the last catalog goes when it is another one.
  void begin(std::shared_ptr<const Catalog> catalog, const NameContext& names, const LexicalState& state);

  [[nodiscard]] const Catalog* catalog() const { return catalog_.get(); }
  [[nodiscard]] const NameContext& names() const { return names_; }
  [[nodiscard]] const LexicalState& state() const { return state_; }
  // By what names in bodies are looked up that have no path of their own: the session's, or that of the function in
  // whose body it is.
  [[nodiscard]] PathId running_path() const { return running_path_; }
  PathId running_path_of(const CatalogFunction& function);
  PathId run_in(PathId path) { return std::exchange(running_path_, path); }
  PathId path(const std::optional<std::string>& search_path, std::string_view role);
  [[nodiscard]] const NamePath& path_at(PathId id) const { return paths_[id]; }

  // False: the work is all used up, and what is not looked at is unknown. Merging some sources is work as visiting a
  // node is.
  bool spend(size_t work);
  [[nodiscard]] bool is_spent() const { return work_left_ == 0; }
  void note_unknown(std::string reason);
  void predicate(const Flow& flow);
  void touch(const Flow& flow);
  void copy(ColumnCopy::Place place, ColumnSource target, const Flow& flow);

  // Columns of a relation with all that they may hold. `only`: without its children's.
  std::shared_ptr<const Row> relation_row(const CatalogRelation& relation, bool only);
  // Of a function that is not followed into.
  const Reads& reads_of(const CatalogFunction& function);

  SourceTable sources;
  // Of the statement.
  SourceSet predicates, touched;
  Flow foldable;  // what functions give that the planner may run: EXPLAIN shows it
  std::vector<TracedCopy> copies;
  // After each statement: what it copied is read by those that follow in the text.
  void carry();
  // The row of a relation with what was copied into it before.
  std::shared_ptr<const Row> with_carried(const CatalogRelation& relation, std::shared_ptr<const Row> row) const;
  std::vector<std::string> reasons;
  bool touches_unknown = false;
  bool depends_on_text = false;     // on more than its facts: on the values of literals
  bool uses_session_path = false;   // a function was followed into, whose names the session's path looks up
  size_t depth = 0, routines = 0;   // of recursion; of functions within functions
  std::vector<Oid> open_functions;  // that are being followed

 private:
  struct KnownRow {
    std::shared_ptr<const Row> row;
    SourceSet predicates, touched;
    Flow foldable;
    bool touches_unknown = false;
  };
  using RowKey = std::pair<Oid, bool>;

  void forget();
  KnownRow make_row(const CatalogRelation& relation, bool only);
  std::shared_ptr<const Row> take(const KnownRow& known);
  void add_own(const CatalogRelation& relation, Row& row);
  void add_view(const CatalogRelation& relation, Row& row);
  void add_expressions(const CatalogRelation& relation, Row& row);
  void add_family(const CatalogRelation& relation, bool only, Row& row);
  Reads make_reads(const CatalogFunction& function);
  void add_read(const ResolvedStatement& reached, const ResolvedColumn& column, Reads& reads);

  std::shared_ptr<const Catalog> catalog_;
  NameContext names_;
  LexicalState state_;
  PathId running_path_ = kNoPath;
  std::deque<NamePath> paths_;
  size_t work_left_ = 0;
  std::vector<TracedCopy> carried_;
  std::map<RowKey, KnownRow> rows_;            // of this catalog
  std::map<RowKey, KnownRow> statement_rows_;  // that depend on the session's path
  std::set<Oid> open_relations_;
  std::map<std::pair<Oid, PathId>, Reads> reads_;
};

// Of pg_catalog and information_schema: those that show values of other tables' columns, or what other sessions run.
bool shows_values(std::string_view system_relation);

}  // namespace gatehouse::sql
