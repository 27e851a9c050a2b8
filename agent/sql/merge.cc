// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/merge.h"

#include <algorithm>
#include <string>
#include <vector>

namespace gatehouse::sql {
namespace {

template <typename T>
void add_each(const std::vector<T>& from, std::vector<T>& to) {
  for (const T& item : from)
    if (std::ranges::find(to, item) == to.end()) to.push_back(item);
}

constexpr Effects kLook{Effect::kRead, Effect::kUpdate, Effect::kDelete};

bool looks(const Object& object) {
  return object.uses.has_any(kLook) || object.deferred.has_any(kLook);
}

size_t add_object(const Object& object, bool is_later, Statement& into) {
  auto found = std::ranges::find_if(into.objects, [&](const Object& other) {
    return other.name == object.name && other.schema == object.schema && other.alias == object.alias &&
           other.kind == object.kind;
  });
  if (found == into.objects.end()) {
    into.objects.push_back(object);
    found = into.objects.end() - 1;
    found->uses = found->deferred = {};
  } else if (looks(object)) {
    found->is_filtered = object.is_filtered && (found->is_filtered || !looks(*found));
  }
  found->deferred.add(object.deferred);
  (is_later ? found->deferred : found->uses).add(object.uses);
  return static_cast<size_t>(found - into.objects.begin());
}

void add_column(Column column, Statement& into) {
  const auto found = std::ranges::find_if(
      into.columns, [&](const Column& other) { return other.object == column.object && other.name == column.name; });
  if (found == into.columns.end())
    into.columns.push_back(std::move(column));
  else
    found->uses.add(column.uses);
}

void add_function(Function function, bool is_later, Statement& into) {
  function.is_deferred = function.is_deferred || is_later;
  const bool is_there = std::ranges::any_of(into.functions, [&](const Function& other) {
    return other.name == function.name && other.schema == function.schema &&
           other.argument_count == function.argument_count && other.is_deferred == function.is_deferred;
  });
  if (!is_there) into.functions.push_back(std::move(function));
}

}  // namespace

void merge(const Statement& part, MergeAs as, Statement& into) {
  const bool is_later = as == MergeAs::kLater;
  (is_later ? into.deferred : into.effects).add(part.effects);
  (is_later ? into.deferred_unknown : into.unknown).add(part.unknown);
  into.deferred.add(part.deferred);
  into.deferred_unknown.add(part.deferred_unknown);
  std::vector<size_t> places;
  places.reserve(part.objects.size());
  for (const Object& object : part.objects) places.push_back(add_object(object, is_later, into));
  for (Column column : part.columns) {
    if (column.object != Column::kNotTold) column.object = places[column.object];
    add_column(std::move(column), into);
  }
  for (const Function& function : part.functions) add_function(function, is_later, into);
  if (as == MergeAs::kStatement) {
    add_each(part.verbs, into.verbs);
    add_each(part.details, into.details);
    add_each(part.settings, into.settings);
    into.filters_rows = into.filters_rows && part.filters_rows;
  }
  add_each(part.types, into.types);
  add_each(part.operators, into.operators);
  add_each(part.fields, into.fields);
  if (is_later) return;
  for (const SessionChange& change : part.session_changes) into.session_changes.push_back(change);
  for (const Access& access : part.accesses) into.accesses.push_back(access);
}

}  // namespace gatehouse::sql
