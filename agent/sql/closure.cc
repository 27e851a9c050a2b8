// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/closure.h"

#include <algorithm>

namespace gatehouse::sql {
namespace {

constexpr Effects kUnknownOnly{Effect::kUnknown};
constexpr Effects kDefines{Effect::kCreate, Effect::kAlter,  Effect::kDrop,
                           Effect::kGrant,  Effect::kRevoke, Effect::kMaintain};
// What happens to a relation that nobody knows may be anything, but for these.
constexpr Effects kHarmlessOnUnknown{Effect::kDrop, Effect::kReference, Effect::kGrant, Effect::kRevoke,
                                     Effect::kCreate};
constexpr size_t kLabelsMax = 8;  // of a chain; the middle is left out

constexpr Effects without(Effects effects, Effects less) {
  Effects out;
  for (size_t i = 0; i < kEffects; ++i) {
    const auto effect = static_cast<Effect>(i);
    if (effects.has(effect) && !less.has(effect)) out.add(effect);
  }
  return out;
}

bool is_relation(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::kRelation:
    case ObjectKind::kTable:
    case ObjectKind::kView:
    case ObjectKind::kMaterializedView:
    case ObjectKind::kForeignTable:
    case ObjectKind::kIndex:
    case ObjectKind::kSequence:
      return true;
    default:
      return false;
  }
}

std::string_view words_of(UnknownReason reason) {
  switch (reason) {
    case UnknownReason::kFunction:
    case UnknownReason::kCascadeTruncate:
      return {};  // the catalog tells
    case UnknownReason::kPrepared:
      return "runs what was prepared";
    case UnknownReason::kCode:
      return "a body that is not read";
    case UnknownReason::kComputedText:
      return "runs text that it computes";
    case UnknownReason::kCascade:
      return "what CASCADE drops";
    case UnknownReason::kCommand:
      return "what the command goes on to do";
    case UnknownReason::kName:
      return "a name that is not known";
  }
  return {};
}

}  // namespace

ResolvedStatement Closure::run(const Statement& statement) {
  Work top{.code = &statement, .path = path(names_.search_path, names_.role)};
  if (names_.has_changed_schema) note_unknown("the transaction has changed the schema");
  visit_code(top, statement);
  drain();
  return std::move(out_);
}

void Closure::drain() {
  for (;;) {
    while (!queue_.empty()) {
      if (++visited_ > kReachedMax) {
        note_unknown("too much is reached");
        return;
      }
      const Work work = queue_.front();
      queue_.pop_front();
      if (work.code != nullptr)
        visit_code(work, *work.code);
      else
        visit_relation(work);
    }
    call_hidden();
    if (queue_.empty()) return;
  }
}

void Closure::visit_code(const Work& work, const Statement& statement) {
  note(without(statement.effects, kUnknownOnly), work.when);
  note(without(statement.deferred, kUnknownOnly), When::kLater);
  for (size_t i = 0; i < kUnknownReasons; ++i) {
    const auto reason = static_cast<UnknownReason>(i);
    const std::string_view words = words_of(reason);
    if (words.empty()) continue;
    if (statement.unknown.has(reason)) note_unknown(work.when, work.cause, words);
    if (statement.deferred_unknown.has(reason)) note_unknown(When::kLater, work.cause, words);
  }
  std::vector<std::vector<size_t>> places;
  places.reserve(statement.objects.size());
  for (size_t i = 0; i < statement.objects.size(); ++i) places.push_back(add_object(work, statement, i));
  add_columns(work, statement, places);
  for (const QualifiedName& type : statement.types)
    for (const CatalogType* found : paths_[work.path].types(type.schema, type.name))
      add_type(found->oid, work.when, work.path);
  for (const QualifiedName& name : statement.operators) operators_.insert(name.name);
  for (const Function& function : statement.functions) call_named(work, function);
  call_fields(work, statement);
  fire_event_triggers(work, statement);
}

Manner Closure::manner_of(const Statement& statement, size_t index, const CatalogRelation& relation) const {
  Manner manner;
  manner.cascades = statement.unknown.has(UnknownReason::kCascadeTruncate) ||
                    statement.deferred_unknown.has(UnknownReason::kCascadeTruncate);
  manner.restarts = std::ranges::find(statement.details, "restart identity") != statement.details.end();
  if (!relation.is_partitioned) return manner;
  // Partitions that are partitioned themselves may have other keys.
  const bool has_levels = std::ranges::any_of(relation.children, [&](Oid oid) {
    const CatalogRelation* child = catalog_.relation(oid);
    return child == nullptr || child->is_partitioned;
  });
  manner.moves = std::ranges::any_of(statement.columns, [&](const Column& column) {
    if (column.object != index || !column.uses.has(Effect::kUpdate)) return false;
    return has_levels || std::ranges::any_of(relation.columns, [&](const CatalogColumn& key) {
             return key.is_partition_key && key.name == column.name;
           });
  });
  return manner;
}

std::vector<size_t> Closure::add_object(const Work& work, const Statement& statement, size_t index) {
  const Object& object = statement.objects[index];
  if (is_relation(object.kind) && !object.name.empty()) return add_relations(work, statement, index);
  // VACUUM and ANALYZE of all: their expressions run.
  if (object.name.empty() && object.schema.empty() && object.uses.has(Effect::kMaintain))
    for (const CatalogRelation* relation : catalog_.with_expressions())
      reach(relation->oid, {Effect::kMaintain}, work, work.cause);
  return {add_other(work, object, object.schema)};
}

std::vector<size_t> Closure::add_relations(const Work& work, const Statement& statement, size_t index) {
  const Object& object = statement.objects[index];
  const bool is_temporary = object.schema == "pg_temp" || object.schema.starts_with("pg_temp_");
  const bool is_listed = std::ranges::find(names_.temporary_tables, object.name) != names_.temporary_tables.end();
  std::vector<size_t> places;
  if ((is_temporary || object.schema.empty()) && is_listed) places.push_back(add_other(work, object, "pg_temp"));
  if (object.schema.empty() && names_.has_other_temporaries)
    note_unknown(work.when, work.cause, "a temporary view may hide " + object.name);
  if (!is_temporary)
    for (const CatalogRelation* relation : paths_[work.path].relations(object.schema, object.name)) {
      places.push_back(object_of(*relation, work.cause));
      add_relation(work, statement, index, *relation);
    }
  if (!places.empty()) return places;
  Effects uses = object.uses;
  uses.add(object.deferred);
  if (uses.has(Effect::kCreate) && object.schema.empty())
    return {add_other(work, object, paths_[work.path].creation_schema())};
  if (!created_.contains(object.name) && !without(uses, kHarmlessOnUnknown).empty())
    note_unknown(
        object.uses.empty() ? When::kLater : work.when, work.cause,
        "relation " + (object.schema.empty() ? "" : object.schema + ".") + object.name + " is not in the catalog");
  return {add_other(work, object, object.schema)};
}

void Closure::add_relation(const Work& work, const Statement& statement, size_t index,
                           const CatalogRelation& relation) {
  const Object& object = statement.objects[index];
  if (work.cause == 0) {
    ResolvedObject& resolved = out_.objects[relations_.at(relation.oid).object];
    resolved.is_filtered = object.is_filtered && (resolved.is_filtered || !resolved.is_named);
    resolved.is_named = true;
    resolved.through.clear();
    if (resolved.alias.empty()) resolved.alias = object.alias;
  }
  Manner manner = manner_of(statement, index, relation);
  const auto add = [&](Effects uses, When when) {
    if (uses.empty()) return;
    // A view hands on what is done to its rows.
    if (uses.has(Effect::kRead) && !work.passed_on.empty()) {
      uses.add(work.passed_on);
      manner.moves = true;
    }
    queue_.push_back({.relation = relation.oid,
                      .uses = uses,
                      .manner = manner,
                      .when = when,
                      .path = work.path,
                      .cause = work.cause});
  };
  add(object.uses, work.when);
  add(object.deferred, When::kLater);
}

// What is known by its name only.
size_t Closure::add_other(const Work& work, const Object& object, std::string_view schema) {
  const std::string key = std::string(schema) + "." + object.name;
  const auto [found, is_new] = others_.try_emplace({std::string(to_string(object.kind)), key}, out_.objects.size());
  if (is_new)
    out_.objects.push_back({.schema = std::string(schema),
                            .name = object.name,
                            .alias = work.cause == 0 ? object.alias : std::string{},
                            .kind = object.kind,
                            .is_named = work.cause == 0,
                            .is_filtered = work.cause == 0 && object.is_filtered,
                            .through = through(work.cause)});
  ResolvedObject& other = out_.objects[found->second];
  (work.when == When::kNow ? other.uses : other.deferred).add(object.uses);
  other.deferred.add(object.deferred);
  return found->second;
}

void Closure::add_columns(const Work& work, const Statement& statement,
                          const std::vector<std::vector<size_t>>& places) {
  const bool is_top = work.cause == 0;
  for (const Column& column : statement.columns) {
    if (column.object != Column::kNotTold) {
      for (const size_t place : places[column.object]) add_columns_of(place, column.name, column.uses, is_top);
      continue;
    }
    // One of any table in sight that has it.
    bool is_found = false;
    for (const std::vector<size_t>& candidates : places)
      for (const size_t place : candidates) {
        const CatalogRelation* relation = catalog_.relation(out_.objects[place].oid);
        if (relation == nullptr) continue;
        const bool has = column.name == "*" || std::ranges::find(relation->columns, column.name,
                                                                 &CatalogColumn::name) != relation->columns.end();
        if (has) add_columns_of(place, column.name, column.uses, is_top);
        is_found = is_found || has;
      }
    if (!is_found && is_top) add_column(Column::kNotTold, column.name, column.uses, is_top);
  }
}

void Closure::add_columns_of(size_t object, std::string_view name, Effects uses, bool is_named) {
  const CatalogRelation* relation = catalog_.relation(out_.objects[object].oid);
  if (relation == nullptr || relation->columns.empty()) {
    add_column(object, name, uses, is_named);
    return;
  }
  for (const CatalogColumn& column : relation->columns)
    if (name == "*" || column.name == name) add_column(object, column.name, uses, is_named);
}

void Closure::add_column(size_t object, std::string_view name, Effects uses, bool is_named) {
  const auto [found, is_new] = columns_.try_emplace({object, name}, out_.columns.size());
  if (is_new) {
    if (out_.columns.size() == kColumnsReachedMax) {
      columns_.erase(found);
      note_unknown("too many columns are reached");
      return;
    }
    out_.columns.push_back({.object = object, .name = std::string(name)});
  }
  ResolvedColumn& column = out_.columns[found->second];
  column.uses.add(uses);
  column.is_named = column.is_named || is_named;
}

// Of all that defines something. Code runs statements whose tags are not kept.
void Closure::fire_event_triggers(const Work& work, const Statement& statement) {
  const auto fire = [&](Effects effects, When when) {
    if (!effects.has_any(kDefines)) return;
    for (const CatalogEventTrigger& trigger : catalog_.event_triggers()) {
      const bool is_meant = trigger.tags.empty() || statement.command.empty() ||
                            std::ranges::find(trigger.tags, statement.command) != trigger.tags.end();
      if (!is_meant) continue;
      const CatalogFunction* function = catalog_.function(trigger.function);
      const Cause why = cause(work.cause, "event trigger " + trigger.name);
      if (function != nullptr)
        call(*function, when, work.path, why, {});
      else
        note_unknown(when, why, "its function is not in the catalog");
    }
  };
  fire(statement.effects, work.when);
  fire(statement.deferred, When::kLater);
}

void Closure::note_unknown(std::string_view reason) {
  note_unknown(When::kNow, 0, reason);
}

void Closure::note_unknown(When when, Cause why, std::string_view reason) {
  note(kUnknownOnly, when);
  std::string text = through(why);
  if (!text.empty()) text += ": ";
  text += reason;
  auto& reasons = out_.unknown_reasons;
  if (reasons.size() < kReasonsMax && std::ranges::find(reasons, text) == reasons.end())
    reasons.push_back(std::move(text));
}

Closure::Cause Closure::cause(Cause parent, std::string label) {
  causes_.push_back({.parent = parent, .label = std::move(label)});
  return static_cast<Cause>(causes_.size() - 1);
}

std::string Closure::through(Cause at) const {
  std::vector<std::string_view> labels;
  for (; at != 0; at = causes_[at].parent) labels.push_back(causes_[at].label);
  std::string out;
  for (size_t i = labels.size(); i > 0; --i) {
    const size_t from_top = labels.size() - i;
    if (labels.size() > kLabelsMax && from_top >= kLabelsMax / 2 && i > kLabelsMax / 2) {
      if (from_top == kLabelsMax / 2) out += " > …";
      continue;
    }
    if (!out.empty()) out += " > ";
    out += labels[i - 1];
  }
  return out;
}

std::string Closure::qualified(Oid schema, std::string_view name) const {
  return std::string(catalog_.schema_name(schema)) + "." + std::string(name);
}

uint32_t Closure::path(const std::optional<std::string>& search_path, std::string_view role) {
  for (size_t i = 0; i < paths_.size(); ++i)
    if (paths_[i].search_path() == search_path && paths_[i].role() == role) return static_cast<uint32_t>(i);
  paths_.emplace_back(catalog_, search_path, role);
  return static_cast<uint32_t>(paths_.size() - 1);
}

}  // namespace gatehouse::sql
