// SPDX-License-Identifier: Apache-2.0
#include "tests/sql/judge.h"

#include <algorithm>

namespace gatehouse::test {
namespace {

using sql::Effect;
using sql::Effects;

constexpr int kRowShare = 2, kRowExclusive = 3, kAccessExclusive = 8;
constexpr Effects kChanges{Effect::kAlter, Effect::kDrop, Effect::kCreate, Effect::kMaintain, Effect::kTruncate};

// What is said leaves out; empty: nothing.
std::string missing_of(const Change& change, const Told& told) {
  const Effects now = told.uses_of(change.schema, change.name, false);
  const Effects ever = told.uses_of(change.schema, change.name, true);
  const std::string table = change.schema + "." + change.name;
  const auto lacks = [&](Effect effect) { return !now.has(effect) && !now.has_any(kChanges); };
  if (change.inserted > 0 && lacks(Effect::kInsert)) return "inserted into " + table;
  if (change.updated > 0 && lacks(Effect::kUpdate)) return "updated " + table;
  if (change.deleted > 0 && lacks(Effect::kDelete)) return "deleted from " + table;
  constexpr Effects kLook{Effect::kRead, Effect::kUpdate, Effect::kDelete, Effect::kLock, Effect::kReference};
  if (change.scanned > 0 && !now.has_any(kLook) && !now.has_any(kChanges)) return "read " + table;
  // The planner looks up the ends of an index for what is only explained or prepared.
  if (change.index_scanned > 0 && !ever.has_any(kLook) && !ever.has_any(kChanges)) return "read an index of " + table;
  if (change.lock_strength == 0) return {};
  if (ever.empty()) return "locked " + table;
  if (change.is_sequence) return {};
  if (change.lock_strength == kAccessExclusive && !now.has_any(kChanges) && !now.has(Effect::kLock))
    return "locked all of " + table;
  constexpr Effects kWrite{Effect::kInsert, Effect::kUpdate, Effect::kDelete, Effect::kLock, Effect::kReference};
  if (change.lock_strength >= kRowExclusive && !ever.has_any(kWrite) && !ever.has_any(kChanges))
    return "locked for writing " + table;
  if (change.lock_strength == kRowShare && !ever.has(Effect::kLock) && !ever.has_any(kWrite) && !ever.has_any(kChanges))
    return "locked rows of " + table;
  return {};
}

}  // namespace

Effects Told::uses_of(const std::string& schema, const std::string& name, bool with_deferred) const {
  Effects out;
  for (const Object& object : objects) {
    const bool is_all = object.schema.empty() && object.name.empty();
    const bool is_meant =
        object.schema == schema && (object.name == name || object.name.empty() || object.stands_for == name);
    if (!is_all && !is_meant) continue;
    out.add(object.uses);
    if (with_deferred) out.add(object.deferred);
  }
  return out;
}

bool Told::creates(const std::string& name) const {
  return std::ranges::any_of(
      objects, [&](const Object& object) { return object.name == name && object.uses.has(Effect::kCreate); });
}

std::string missing_of(const Observed& observed, const Told& told) {
  // Advisory locks and settings have effects of their own, which unknown does not excuse where the text shows them.
  if (observed.has_handle && !told.says(Effect::kPrepare) && !told.says(Effect::kUnknown)) return "left a handle";
  if (told.says(Effect::kUnknown)) return {};
  for (const auto& [name, change] : observed.tables)
    if (std::string missing = missing_of(change, told); !missing.empty()) return missing;
  for (const std::string& name : observed.created)
    if (!told.creates(name)) return "created " + name;
  for (const auto& [schema, name] : observed.dropped)
    if (!told.uses_of(schema, name, false).has(Effect::kDrop)) return "dropped " + name;
  if (observed.has_advisory_lock && !told.says(Effect::kLock)) return "took an advisory lock";
  if (observed.has_setting && !told.says(Effect::kSession)) return "changed a setting";
  return {};
}

}  // namespace gatehouse::test
