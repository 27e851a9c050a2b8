// SPDX-License-Identifier: Apache-2.0
// What runs or changes when something is done to a relation.
#include <algorithm>

#include "agent/sql/closure.h"

namespace gatehouse::sql {
namespace {

constexpr Effects kTouchesRows{Effect::kRead, Effect::kInsert, Effect::kUpdate, Effect::kDelete};
// Checks, defaults and expressions of indexes run when rows come, and when what there is is written or looked at anew.
constexpr Effects kRunsExpressions{Effect::kInsert, Effect::kUpdate, Effect::kAlter, Effect::kMaintain};

// How a foreign key is checked.
constexpr Effects kCheck{Effect::kRead, Effect::kLock};

constexpr Effects common(Effects a, Effects b) {
  Effects out;
  for (size_t i = 0; i < kEffects; ++i)
    if (a.has(static_cast<Effect>(i)) && b.has(static_cast<Effect>(i))) out.add(static_cast<Effect>(i));
  return out;
}

}  // namespace

size_t Closure::object_of(const CatalogRelation& relation, Cause why) {
  const auto [found, is_new] = relations_.try_emplace(relation.oid);
  if (!is_new) return found->second.object;
  found->second.object = out_.objects.size();
  out_.objects.push_back({.oid = relation.oid,
                          .schema = std::string(catalog_.schema_name(relation.schema)),
                          .name = relation.name,
                          .kind = relation.kind,
                          .through = through(why)});
  return found->second.object;
}

void Closure::reach(Oid relation, Effects uses, const Work& from, Cause why, Manner manner) {
  if (uses.empty()) return;
  queue_.push_back(
      {.relation = relation, .uses = uses, .manner = manner, .when = from.when, .path = from.path, .cause = why});
}

void Closure::run_code(const Work& work, const SqlCode* code, Cause why, Effects passed_on) {
  if (code == nullptr || !run_.insert({code, work.path, work.when, passed_on.bits()}).second) return;
  queue_.push_back({.code = code, .when = work.when, .path = work.path, .cause = why, .passed_on = passed_on});
}

void Closure::run_codes(const Work& work, const std::vector<const SqlCode*>& codes, Cause why) {
  for (const SqlCode* code : codes) run_code(work, code, why);
}

void Closure::visit_relation(const Work& work) {
  const CatalogRelation* relation = catalog_.relation(work.relation);
  if (relation == nullptr) {
    note_unknown(work.when, work.cause, "a relation that is not in the catalog");
    return;
  }
  ResolvedObject& object = out_.objects[object_of(*relation, work.cause)];
  Reached& seen = relations_.at(work.relation);
  Effects& done = work.when == When::kNow ? seen.now : seen.later;
  const bool is_covered = done.has_all(work.uses) && seen.manner.covers(work.manner);
  done.add(work.uses);
  seen.manner.moves |= work.manner.moves;
  seen.manner.cascades |= work.manner.cascades;
  seen.manner.restarts |= work.manner.restarts;
  (work.when == When::kNow ? object.uses : object.deferred).add(work.uses);
  note(work.uses, work.when);
  if (is_covered) return;
  const Effects fresh = work.uses;
  if (relation->is_system) {
    visit_system_relation(work, *relation, fresh);
    return;
  }
  for (const CatalogColumn& column : relation->columns) add_type(column.type, work.when, work.path);
  if (relation->kind == ObjectKind::kForeignTable && fresh.has_any(kTouchesRows)) visit_foreign(work, *relation);
  if (relation->definition != nullptr) visit_view(work, *relation, fresh);
  if (fresh.has_any(kTouchesRows) && !relation->on_access.empty())
    run_codes(work, relation->on_access, cause(work.cause, "policy of " + qualified(relation->schema, relation->name)));
  if (fresh.has_any(kRunsExpressions) && !relation->on_change.empty())
    run_codes(work, relation->on_change,
              cause(work.cause, "expressions of " + qualified(relation->schema, relation->name)));
  fire_triggers(work, *relation, fresh);
  follow_keys(work, *relation, fresh);
  follow_children(work, *relation, fresh);
  follow_sequences(work, *relation, fresh);
}

// UPDATE pg_settings is SET, by a rule of PostgreSQL's own.
void Closure::visit_system_relation(const Work& work, const CatalogRelation& relation, Effects fresh) {
  if (relation.name == "pg_settings" && fresh.has(Effect::kUpdate)) note({Effect::kSession}, work.when);
}

void Closure::visit_foreign(const Work& work, const CatalogRelation& relation) {
  const Cause why = cause(work.cause, "foreign table " + qualified(relation.schema, relation.name));
  if (relation.foreign_wrapper == "file_fdw") {
    note({Effect::kFileRead, Effect::kProgram}, work.when);
    return;
  }
  note({Effect::kNetwork}, work.when);
  note_unknown(work.when, why, "what " + relation.foreign_wrapper + " reaches");
}

void Closure::visit_view(const Work& work, const CatalogRelation& relation, Effects fresh) {
  const bool is_stored = relation.kind == ObjectKind::kMaterializedView;
  const Cause why =
      cause(work.cause, std::string(to_string(relation.kind)) + " " + qualified(relation.schema, relation.name));
  if (is_stored) {
    if (fresh.has(Effect::kMaintain)) run_code(work, relation.definition, why);
    return;
  }
  Effects passed_on = common(fresh, {Effect::kInsert, Effect::kUpdate, Effect::kDelete, Effect::kLock});
  // Where the view says what happens instead, nothing else does.
  const auto is_replaced = [&](Effect event) {
    return std::ranges::any_of(relation.triggers,
                               [&](const CatalogTrigger& t) { return t.is_instead && t.events.has(event); }) ||
           std::ranges::any_of(relation.rules, [&](const CatalogRule& r) { return r.is_instead && r.event == event; });
  };
  Effects left;
  for (const Effect effect : {Effect::kInsert, Effect::kUpdate, Effect::kDelete, Effect::kLock})
    if (passed_on.has(effect) && !is_replaced(effect)) left.add(effect);
  if (fresh.has_any(kTouchesRows) || fresh.has(Effect::kLock)) run_code(work, relation.definition, why, left);
}

void Closure::fire_triggers(const Work& work, const CatalogRelation& relation, Effects fresh) {
  const std::string name = qualified(relation.schema, relation.name);
  for (const CatalogTrigger& trigger : relation.triggers) {
    if (!trigger.events.has_any(fresh)) continue;
    const Cause why = cause(work.cause, "trigger " + trigger.name + " of " + name);
    run_code(work, trigger.condition, why);
    call_oid(trigger.function, work, why);
  }
  for (const CatalogRule& rule : relation.rules)
    if (fresh.has(rule.event)) run_code(work, rule.code, cause(work.cause, "rule " + rule.name + " of " + name));
}

void Closure::follow_keys(const Work& work, const CatalogRelation& relation, Effects fresh) {
  using Action = CatalogRows::KeyAction;
  const auto why = [&] { return cause(work.cause, "foreign key of " + qualified(relation.schema, relation.name)); };
  for (const ForeignKey& key : relation.references) {
    if (fresh.has_any({Effect::kInsert, Effect::kUpdate, Effect::kAlter})) reach(key.relation, kCheck, work, why());
    if (fresh.has(Effect::kDrop)) reach(key.relation, {Effect::kLock}, work, why());
  }
  const auto uses_of = [](Action action, Effect cascade) {
    Effects uses = kCheck;
    if (action == Action::kCascade) uses.add(cascade);
    if (action == Action::kSet) uses.add(Effect::kUpdate);
    return uses;
  };
  for (const ForeignKey& key : relation.referenced_by) {
    if (fresh.has(Effect::kDelete))
      reach(key.relation, uses_of(key.on_delete, Effect::kDelete), work, why(), {.moves = true});
    if (fresh.has(Effect::kUpdate))
      reach(key.relation, uses_of(key.on_update, Effect::kUpdate), work, why(), {.moves = true});
    if (fresh.has(Effect::kTruncate) && work.manner.cascades)
      reach(key.relation, {Effect::kTruncate}, work, why(), work.manner);
  }
}

void Closure::follow_children(const Work& work, const CatalogRelation& relation, Effects fresh) {
  if (relation.kind == ObjectKind::kIndex) {
    for (const Oid table : relation.parents) reach(table, common(fresh, {Effect::kMaintain}), work, work.cause);
    return;
  }
  Effects down = common(fresh, {Effect::kRead, Effect::kUpdate, Effect::kDelete, Effect::kTruncate, Effect::kLock,
                                Effect::kAlter, Effect::kMaintain});
  if (relation.is_partitioned) {
    down.add(common(fresh, {Effect::kInsert, Effect::kDrop}));
    if (fresh.has(Effect::kUpdate) && work.manner.moves) down.add({Effect::kInsert, Effect::kDelete});
  }
  if (!down.empty() && !relation.children.empty()) {
    const Cause why = cause(work.cause, "part of " + qualified(relation.schema, relation.name));
    for (const Oid child : relation.children) reach(child, down, work, why, work.manner);
  }
  // A partition that goes changes what it was part of.
  if (!fresh.has(Effect::kDrop)) return;
  for (const Oid parent : relation.parents) reach(parent, {Effect::kLock}, work, work.cause);
}

void Closure::follow_sequences(const Work& work, const CatalogRelation& relation, Effects fresh) {
  Effects uses = common(fresh, {Effect::kDrop});
  if (fresh.has(Effect::kInsert) || (fresh.has(Effect::kTruncate) && work.manner.restarts)) uses.add(Effect::kUpdate);
  if (uses.empty()) return;
  for (const Oid sequence : relation.sequences)
    reach(sequence, uses, work, cause(work.cause, "sequence of " + qualified(relation.schema, relation.name)));
}

}  // namespace gatehouse::sql
