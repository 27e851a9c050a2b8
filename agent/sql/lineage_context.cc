// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/lineage_context.h"

#include <algorithm>

#include "agent/sql/closure.h"
#include "agent/sql/lineage_walk.h"
#include "agent/sql/parsed.h"

namespace gatehouse::sql {
namespace {

// What is remembered beyond a statement; beyond, it begins anew.
constexpr size_t kSourcesMax = 100'000;
constexpr size_t kPathsMax = 64;
constexpr size_t kReadsMax = 4096;
// That are merged in the time of visiting a node, about.
constexpr size_t kSourcesOfWork = 8;

// Of a function that is not followed: what it gives may come from where nobody knows.
constexpr Effects kFromElsewhere{Effect::kFileRead, Effect::kProgram, Effect::kNetwork,     Effect::kLargeObject,
                                 Effect::kInspect,  Effect::kRunText, Effect::kRunPrepared, Effect::kUnknown};

// Names of views and tables whose rows show values of columns (statistics), texts of statements, or what is stored
// outside of tables.
constexpr std::string_view kShowsValues[] = {
    "pg_largeobject",        "pg_stat_activity", "pg_stat_statements", "pg_statistic",
    "pg_statistic_ext_data", "pg_stats",         "pg_stats_ext",       "pg_stats_ext_exprs",
};
static_assert(std::ranges::is_sorted(kShowsValues));

}  // namespace

bool shows_values(std::string_view system_relation) {
  return std::ranges::binary_search(kShowsValues, system_relation);
}

LineageContext::LineageContext() = default;

void LineageContext::forget() {
  rows_.clear();
  reads_.clear();
  paths_.clear();
  sources.clear();
}

void LineageContext::begin(std::shared_ptr<const Catalog> catalog, const NameContext& names,
                           const LexicalState& state) {
  if (catalog != catalog_ || sources.size() > kSourcesMax || paths_.size() > kPathsMax || reads_.size() > kReadsMax)
    forget();
  catalog_ = std::move(catalog);
  names_ = names;
  state_ = state;
  statement_rows_.clear();
  open_relations_.clear();
  open_functions.clear();
  copies.clear();
  reasons.clear();
  predicates = touched = {};
  foldable = {};
  touches_unknown = depends_on_text = uses_session_path = false;
  depth = routines = 0;
  work_left_ = kLineageWorkMax;
  if (catalog_ == nullptr) {
    touches_unknown = true;
    return;
  }
  path("", {});  // kNoPath
  running_path_ = path(names.search_path, names.role);
}

LineageContext::PathId LineageContext::path(const std::optional<std::string>& search_path, std::string_view role) {
  for (size_t i = 0; i < paths_.size(); ++i)
    if (paths_[i].search_path() == search_path && paths_[i].role() == role) return static_cast<PathId>(i);
  paths_.emplace_back(*catalog_, search_path, role);
  return static_cast<PathId>(paths_.size() - 1);
}

LineageContext::PathId LineageContext::running_path_of(const CatalogFunction& function) {
  const NamePath& running = paths_[running_path_];
  if (!function.search_path) uses_session_path = true;
  const std::string role =
      function.is_security_definer ? std::string(catalog_->role_name(function.owner)) : running.role();
  return path(function.search_path ? function.search_path : running.search_path(), role);
}

bool LineageContext::spend(size_t work) {
  if (work < work_left_) {
    work_left_ -= work;
    return true;
  }
  if (work_left_ != 0) note_unknown("the statement is too long to trace");
  work_left_ = 0;
  return false;
}

void LineageContext::note_unknown(std::string reason) {
  if (reasons.size() < kReasonsMax && std::ranges::find(reasons, reason) == reasons.end())
    reasons.push_back(std::move(reason));
}

void LineageContext::touch(const Flow& flow) {
  spend(flow.sources.size() / kSourcesOfWork);
  touched.add(flow.sources);
}

void LineageContext::predicate(const Flow& flow) {
  spend((flow.sources.size() + flow.conditions.size()) / kSourcesOfWork);
  predicates.add(flow.sources);
  predicates.add(flow.conditions);
}

void LineageContext::copy(ColumnCopy::Place place, ColumnSource target, const Flow& flow) {
  copies.push_back({.place = place, .target = std::move(target), .flow = flow});
}

void LineageContext::carry() {
  for (TracedCopy& copy : copies)
    if (copy.place == ColumnCopy::Place::kRelation) carried_.push_back(std::move(copy));
  copies.clear();
}

std::shared_ptr<const Row> LineageContext::with_carried(const CatalogRelation& relation,
                                                        std::shared_ptr<const Row> row) const {
  std::shared_ptr<Row> changed;
  for (const TracedCopy& copy : carried_) {
    if (copy.target.relation != relation.name) continue;
    if (changed == nullptr) changed = std::make_shared<Row>(*row);
    for (NamedFlow& column : changed->columns)
      if (copy.target.column == "*" || copy.target.column == column.name) column.flow.take(copy.flow);
    if (changed->is_open) changed->rest.take(copy.flow);
  }
  return changed == nullptr ? row : changed;
}

std::shared_ptr<const Row> LineageContext::take(const KnownRow& known) {
  predicates.add(known.predicates);
  touched.add(known.touched);
  foldable.take(known.foldable);
  touches_unknown = touches_unknown || known.touches_unknown;
  spend(known.row->columns.size());
  return known.row;
}

std::shared_ptr<const Row> LineageContext::relation_row(const CatalogRelation& relation, bool only) {
  const RowKey key{relation.oid, only};
  for (const auto* known : {&rows_, &statement_rows_})
    if (const auto found = known->find(key); found != known->end()) return take(found->second);
  if (is_spent() || !open_relations_.insert(relation.oid).second) {
    note_unknown("relation " + relation.name + " is too deep within others");
    return std::make_shared<const Row>(open_row(unknown_flow()));
  }
  const bool used_session_path = std::exchange(uses_session_path, false);
  KnownRow made = make_row(relation, only);
  open_relations_.erase(relation.oid);
  // What could not be looked at for want of work may be known the next time.
  const bool is_of_statement = uses_session_path || is_spent();
  uses_session_path = uses_session_path || used_session_path;
  return take((is_of_statement ? statement_rows_ : rows_).insert_or_assign(key, std::move(made)).first->second);
}

LineageContext::KnownRow LineageContext::make_row(const CatalogRelation& relation, bool only) {
  KnownRow out;
  const SourceSet predicates_before = std::exchange(predicates, {});
  const SourceSet touched_before = std::exchange(touched, {});
  const Flow foldable_before = std::exchange(foldable, {});
  const bool touched_unknown_before = std::exchange(touches_unknown, false);
  Row row;
  if (relation.is_system) {
    const bool is_unknown = shows_values(relation.name);
    for (const CatalogColumn& column : relation.columns) {
      NamedFlow& made = row.columns.emplace_back();
      made.name = column.name;
      made.flow.sources.add(sources.of(*catalog_, relation, column));
      made.flow.type = column.type;
      made.flow.is_unknown = is_unknown;
    }
    if (row.columns.empty()) row = open_row({.is_derived = true, .is_unknown = is_unknown});
    touches_unknown = is_unknown;
  } else {
    add_own(relation, row);
    add_family(relation, only, row);
  }
  out.row = std::make_shared<const Row>(std::move(row));
  out.predicates = std::exchange(predicates, predicates_before);
  out.touched = std::exchange(touched, touched_before);
  out.foldable = std::exchange(foldable, foldable_before);
  out.touches_unknown = std::exchange(touches_unknown, touched_unknown_before);
  return out;
}

// Without those that it inherits from or that inherit from it.
void LineageContext::add_own(const CatalogRelation& relation, Row& row) {
  if (relation.kind == ObjectKind::kSequence) {
    for (const char* name : {"last_value", "log_cnt", "is_called"}) row.columns.push_back({.name = name, .flow = {}});
    return;
  }
  for (const CatalogColumn& column : relation.columns) {
    NamedFlow& made = row.columns.emplace_back();
    made.name = column.name;
    made.flow.sources.add(sources.of(*catalog_, relation, column));
    made.flow.type = column.type;
    for (const CatalogType* type = catalog_->type(made.flow.type); type != nullptr && is_text(type->base);
         type = catalog_->type(made.flow.type))
      made.flow.type = type->base;  // a domain's values are texts
  }
  if (relation.kind == ObjectKind::kForeignTable) {
    touches_unknown = true;
    note_unknown("foreign table " + relation.name);
    for (NamedFlow& column : row.columns) column.flow.is_unknown = true;
  }
  if (relation.definition != nullptr) add_view(relation, row);
  add_expressions(relation, row);
}

void LineageContext::add_view(const CatalogRelation& relation, Row& row) {
  ParsedText parsed;
  std::string detail;
  const LexicalState plain;
  Row given = open_row(unknown_flow());
  if (spend(relation.query.size() / 8 + 1) &&
      parsed.read(relation.query, plain, text_encoding(relation.query, plain.encoding), detail) == Refusal::kNone) {
    const Tree& tree = parsed.tree();
    for (const TreeNode& raw : tree.items(tree.root(), Key::k_stmts))
      if (const TreeNode* query = tree.child(raw, Key::k_stmt)) {
        LineageWalk walk(*this, tree, kNoPath);
        given = walk.query(*query);
      }
  } else {
    note_unknown("the query of " + relation.name + " is not read");
    touches_unknown = true;
  }
  const bool is_known = !given.is_open && given.columns.size() == row.columns.size();
  const Flow all = is_known ? Flow{} : given.all();
  for (size_t i = 0; i < row.columns.size(); ++i) {
    const Oid type = row.columns[i].flow.type;
    Flow& flow = row.columns[i].flow;
    flow.take(is_known ? given.columns[i].flow : all);
    if (is_known) flow.row = given.columns[i].flow.row;
    flow.type = type;
  }
}

// What generates a column flows into it; so does what its default reads.
void LineageContext::add_expressions(const CatalogRelation& relation, Row& row) {
  for (size_t i = 0; i < relation.columns.size(); ++i) {
    const CatalogColumn& column = relation.columns[i];
    if (column.expression.empty() || relation.definition != nullptr) continue;
    const bool touched_unknown = touches_unknown;
    const size_t reason_count = reasons.size();
    ParsedText parsed;
    std::string detail;
    const std::string text = "SELECT " + column.expression;
    const LexicalState plain;
    Flow flow = unknown_flow();
    if (spend(text.size() / 8 + 1) &&
        parsed.read(text, plain, text_encoding(text, plain.encoding), detail) == Refusal::kNone) {
      Row plain_row;
      for (const CatalogColumn& other : relation.columns) {
        NamedFlow& made = plain_row.columns.emplace_back();
        made.name = other.name;
        made.flow.sources.add(sources.of(*catalog_, relation, other));
      }
      const Tree& tree = parsed.tree();
      for (const TreeNode& raw : tree.items(tree.root(), Key::k_stmts))
        if (const TreeNode* query = tree.child(raw, Key::k_stmt)) {
          LineageWalk walk(*this, tree, kNoPath);
          walk.give_row(relation.name, std::make_shared<const Row>(plain_row));
          flow = walk.query(*query).all();
        }
    }
    // A default is one of many values, and what an extension's function gives (a UUID) is none of a table's.
    if (!column.is_generated) {
      flow.is_unknown = false;
      touches_unknown = touched_unknown;
      reasons.resize(reason_count);
    }
    if (flow.tells_something() || !flow.conditions.empty()) row.columns[i].flow.take(flow);
  }
}

// A mask on a column holds for the same column of what it inherits from and of what inherits from it.
void LineageContext::add_family(const CatalogRelation& relation, bool only, Row& row) {
  std::set<Oid> seen{relation.oid};
  const auto each = [&](const std::vector<Oid> CatalogRelation::*list, auto add) {
    std::vector<Oid> todo(relation.*list);
    while (!todo.empty()) {
      const CatalogRelation* other = catalog_->relation(todo.back());
      todo.pop_back();
      if (other == nullptr) {
        for (NamedFlow& column : row.columns) column.flow.is_unknown = true;
        touches_unknown = true;
        note_unknown("a part of " + relation.name + " is not in the catalog");
        continue;
      }
      if (!spend(1)) return;
      if (!seen.insert(other->oid).second) continue;
      add(*other);
      const std::vector<Oid>& more = other->*list;
      todo.insert(todo.end(), more.begin(), more.end());
    }
  };
  const auto flow_of = [&](std::string_view name) -> Flow* {
    const auto found = std::ranges::find(row.columns, name, &NamedFlow::name);
    return found == row.columns.end() ? nullptr : &found->flow;
  };
  each(&CatalogRelation::parents, [&](const CatalogRelation& parent) {
    for (const CatalogColumn& column : parent.columns)
      if (Flow* flow = flow_of(column.name)) flow->sources.add(sources.of(*catalog_, parent, column));
  });
  if (only && !relation.is_partitioned) return;
  each(&CatalogRelation::children, [&](const CatalogRelation& child) {
    Row own;
    add_own(child, own);
    for (const NamedFlow& column : own.columns)
      if (Flow* flow = flow_of(column.name)) flow->take(column.flow);
  });
}

const Reads& LineageContext::reads_of(const CatalogFunction& function) {
  const PathId path = running_path_;
  if (!function.search_path) uses_session_path = true;
  const auto [found, is_new] = reads_.try_emplace({function.oid, path});
  if (is_new) {
    // Whoever asks meanwhile (a view that the function reads, and that calls it) is told that it is not known.
    found->second.flow = unknown_flow();
    Reads made = make_reads(function);
    found->second = std::move(made);
  }
  if (found->second.flow.is_unknown) {
    touches_unknown = true;
    note_unknown("function " + function.name + "() is not followed, and reaches what is not known");
  }
  return found->second;
}

Reads LineageContext::make_reads(const CatalogFunction& function) {
  Statement call;
  call.functions.push_back(
      {.schema = std::string(catalog_->schema_name(function.schema)),
       .name = function.name,
       .argument_count = static_cast<uint16_t>(function.types.empty() ? 0 : function.types.size() - 1)});
  NameContext names = names_;
  names.search_path = paths_[running_path_].search_path();
  names.role = paths_[running_path_].role();
  const std::set<std::string> created;
  Closure closure(*catalog_, names, created);
  const ResolvedStatement reached = closure.run(call);
  Reads out;
  out.flow.is_derived = true;
  Effects effects = reached.effects;
  effects.add(reached.deferred);
  out.flow.is_unknown = effects.has_any(kFromElsewhere);
  for (const std::string& reason : reached.unknown_reasons) note_unknown(reason);
  spend(reached.objects.size() + reached.columns.size());
  for (const ResolvedColumn& column : reached.columns)
    if (column.uses.has(Effect::kRead)) add_read(reached, column, out);
  for (const ResolvedObject& object : reached.objects) {
    const CatalogRelation* relation = catalog_->relation(object.oid);
    if (relation == nullptr) continue;
    if (relation->is_system && shows_values(relation->name)) out.flow.is_unknown = true;
    if (relation->kind == ObjectKind::kTable && object.uses.has_any({Effect::kInsert, Effect::kUpdate}))
      out.writes.push_back(relation->oid);
  }
  return out;
}

void LineageContext::add_read(const ResolvedStatement& reached, const ResolvedColumn& column, Reads& reads) {
  if (column.object == Column::kNotTold) return;
  const ResolvedObject& object = reached.objects[column.object];
  const CatalogRelation* relation = catalog_->relation(object.oid);
  if (relation == nullptr) {
    reads.flow.sources.add(sources.of_name(object.schema, object.name, column.name));
    return;
  }
  const std::shared_ptr<const Row> row = relation_row(*relation, false);
  const Flow* found = row->find(column.name);
  if (found != nullptr)
    reads.flow.take(*found);
  else if (column.name == "*")
    reads.flow.take(row->all());
}

}  // namespace gatehouse::sql
