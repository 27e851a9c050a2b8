// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/lineage.h"

#include <algorithm>
#include <utility>

#include "agent/sql/lineage_context.h"
#include "agent/sql/lineage_walk.h"
#include "agent/sql/parsed.h"
#include "agent/sql/text_state.h"

namespace gatehouse::sql {

std::string_view to_string(ColumnCopy::Place place) {
  switch (place) {
    case ColumnCopy::Place::kRelation:
      return "relation";
    case ColumnCopy::Place::kFile:
      return "file";
    case ColumnCopy::Place::kProgram:
      return "program";
    case ColumnCopy::Place::kSetting:
      return "setting";
    case ColumnCopy::Place::kSequence:
      return "sequence";
    case ColumnCopy::Place::kNotify:
      return "notify";
    case ColumnCopy::Place::kLargeObject:
      return "large object";
    case ColumnCopy::Place::kNetwork:
      return "network";
    case ColumnCopy::Place::kLog:
      return "log";
  }
  return {};
}

// What a text told of itself, and for what it holds.
struct LineageTracer::Entry {
  uint64_t facts_id = 0;  // 0: free
  uint64_t catalog_version = 0;
  bool has_catalog = false;
  bool is_of_text = false;  // of this very text only
  std::string text;
  NameContext names;
  StatementsLineage lineage;
};

class LineageTracer::Memory {
 public:
  explicit Memory(size_t entries_max) : entries(std::max<size_t>(entries_max, 1)) {}

  std::vector<Entry> entries;
  LineageContext context;
  ParsedText parsed;
  uint64_t hit_count = 0, miss_count = 0;
};

namespace {

// What the closure says is read beside what is read by the columns of results.
void add_reached(const ResolvedStatement& reached, const Catalog& catalog, Lineage& lineage) {
  constexpr Effects kMayReadAnything{Effect::kFileRead, Effect::kProgram, Effect::kInspect,
                                     Effect::kRunText,  Effect::kUnknown, Effect::kRunPrepared};
  Effects effects = reached.effects;
  effects.add(reached.deferred);
  if (effects.has_any(kMayReadAnything)) lineage.may_touch_unknown = true;
  const auto add = [&](ColumnSource source) {
    if (std::ranges::find(lineage.touched, source) == lineage.touched.end())
      lineage.touched.push_back(std::move(source));
  };
  for (const ResolvedColumn& column : reached.columns) {
    if (!column.uses.has(Effect::kRead) || column.object == Column::kNotTold) continue;
    const ResolvedObject& object = reached.objects[column.object];
    ColumnSource source{
        .relation_oid = object.oid, .schema = object.schema, .relation = object.name, .column = column.name};
    if (const CatalogRelation* relation = catalog.relation(object.oid)) {
      const auto found = std::ranges::find(relation->columns, column.name, &CatalogColumn::name);
      if (found != relation->columns.end()) source.attribute = found->attribute;
    }
    add(std::move(source));
  }
  for (const std::string& reason : reached.unknown_reasons)
    if (lineage.unknown_reasons.size() < kReasonsMax &&
        std::ranges::find(lineage.unknown_reasons, reason) == lineage.unknown_reasons.end())
      lineage.unknown_reasons.push_back(reason);
}

// Neither the catalog nor the walk can be believed.
void make_unknown(Lineage& lineage, std::string reason) {
  lineage.every.is_unknown = true;
  lineage.every.derivation = OutputColumn::Derivation::kDerived;
  for (OutputColumn& column : lineage.columns) {
    column.is_unknown = true;
    column.derivation = OutputColumn::Derivation::kDerived;
  }
  lineage.may_touch_unknown = true;
  lineage.unknown_reasons.insert(lineage.unknown_reasons.begin(), std::move(reason));
  if (lineage.unknown_reasons.size() > kReasonsMax) lineage.unknown_reasons.pop_back();
}

bool fires_rule(const ResolvedStatement& reached, const Catalog& catalog) {
  return std::ranges::any_of(reached.objects, [&](const ResolvedObject& object) {
    const CatalogRelation* relation = catalog.relation(object.oid);
    return relation != nullptr && std::ranges::any_of(relation->rules, [&](const CatalogRule& rule) {
             return object.uses.has(rule.event) || object.deferred.has(rule.event);
           });
  });
}

// Rows of what is run in a body's place: a DO's and a procedure's copies are told by what it reads and writes.
void add_copies_of_code(const Statement& statement, const ResolvedStatement& reached, Lineage& lineage) {
  if (statement.command != "DO" || (lineage.touched.empty() && !lineage.may_touch_unknown)) return;
  for (const ResolvedObject& object : reached.objects) {
    if (!object.uses.has_any({Effect::kInsert, Effect::kUpdate})) continue;
    lineage.copies.push_back(
        {.place = ColumnCopy::Place::kRelation,
         .target = {.relation_oid = object.oid, .schema = object.schema, .relation = object.name, .column = "*"},
         .sources = lineage.touched,
         .derivation = OutputColumn::Derivation::kDerived,
         .is_unknown = lineage.may_touch_unknown});
  }
}

}  // namespace

LineageTracer::LineageTracer(size_t entries_max) : memory_(std::make_unique<Memory>(entries_max)) {}
LineageTracer::~LineageTracer() = default;

const StatementsLineage& LineageTracer::trace(std::string_view text, const LexicalState& state, const Facts& facts,
                                              const ResolvedFacts* resolved,
                                              const std::shared_ptr<const Catalog>& catalog, const NameContext& names) {
  constexpr uint64_t kSpread = 0x9e3779b97f4a7c15ULL;
  Memory& memory = *memory_;
  Entry& entry = memory.entries[((facts.id * kSpread) >> 16) % memory.entries.size()];
  const uint64_t version = catalog == nullptr ? 0 : catalog->version();
  if (entry.facts_id == facts.id && entry.has_catalog == (catalog != nullptr) && entry.catalog_version == version &&
      (!entry.is_of_text || entry.text == text) && entry.names == names) {
    ++memory.hit_count;
    return entry.lineage;
  }
  ++memory.miss_count;
  entry.facts_id = facts.id;
  entry.has_catalog = catalog != nullptr;
  entry.catalog_version = version;
  entry.names = names;
  entry.is_of_text = false;
  entry.lineage = {};
  trace_anew(text, state, facts, resolved, catalog, names, entry);
  if (entry.is_of_text) entry.text = text;
  return entry.lineage;
}

void LineageTracer::trace_anew(std::string_view text, const LexicalState& state, const Facts& facts,
                               const ResolvedFacts* resolved, const std::shared_ptr<const Catalog>& catalog,
                               const NameContext& names, Entry& entry) {
  if (!facts.parsed) return;
  Memory& memory = *memory_;
  std::string detail;
  const bool is_read = memory.parsed.read(text, state, text_encoding(text, state.encoding), detail) == Refusal::kNone;
  const Tree& tree = memory.parsed.tree();
  std::vector<const TreeNode*> nodes;
  if (is_read)
    for (const TreeNode& raw : tree.items(tree.root(), Key::k_stmts))
      if (const TreeNode* statement = tree.child(raw, Key::k_stmt)) nodes.push_back(statement);
  TextState text_state(names);
  memory.context.begin_text();
  for (size_t i = 0; i < facts.statements.size(); ++i) {
    const ResolvedStatement* reached =
        resolved != nullptr && i < resolved->statements.size() ? &resolved->statements[i] : nullptr;
    memory.context.begin(catalog, text_state.names(), state);
    Lineage lineage;
    if (i < nodes.size()) {
      LineageWalk walk(memory.context, tree, memory.context.running_path());
      lineage = walk.statement(*nodes[i]);
      entry.is_of_text = entry.is_of_text || memory.context.depends_on_text;
      memory.context.carry();
    } else {
      lineage.has_rows = true;
      lineage.are_columns_known = false;
      make_unknown(lineage, "the text is not read");
    }
    if (reached != nullptr && catalog != nullptr) {
      add_reached(*reached, *catalog, lineage);
      add_copies_of_code(facts.statements[i], *reached, lineage);
    }
    if (catalog == nullptr) lineage.may_touch_unknown = true;
    // Rows of a rule's queries are sent as if they were the statement's.
    if (reached != nullptr && catalog != nullptr && fires_rule(*reached, *catalog)) {
      lineage.has_rows = true;
      lineage.are_columns_known = false;
      lineage.columns.clear();
      make_unknown(lineage, "a rule of what it changes");
    }
    if (text_state.names().has_changed_schema) make_unknown(lineage, "the transaction has changed the schema");
    if (memory.context.is_spent()) make_unknown(lineage, "the statement is too long to trace");
    entry.lineage.statements.push_back(std::move(lineage));
    if (reached != nullptr && facts.statements.size() > 1) text_state.after(facts.statements[i], *reached);
  }
}

uint64_t LineageTracer::hit_count() const {
  return memory_->hit_count;
}
uint64_t LineageTracer::miss_count() const {
  return memory_->miss_count;
}

}  // namespace gatehouse::sql
