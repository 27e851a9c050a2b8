// SPDX-License-Identifier: Apache-2.0
// What runs when functions are called, by name or by what stands for them.
#include <algorithm>

#include "agent/sql/closure.h"
#include "agent/sql/functions.h"

namespace gatehouse::sql {
namespace {

constexpr Oid kRecord = 2249;  // pg_type.dat: record

bool takes(const CatalogFunction& function, uint16_t count) {
  if (function.is_builtin || count == Function::kNotTold) return true;
  return function.arguments_min <= count && count <= function.arguments_max;
}

}  // namespace

void Closure::call_named(const Work& work, const Function& function) {
  const When when = function.is_deferred ? When::kLater : work.when;
  const bool is_top = work.cause == 0;
  bool is_found = false;
  for (const CatalogFunction* candidate : paths_[work.path].functions(function.schema, function.name)) {
    if (!takes(*candidate, function.argument_count)) continue;
    is_found = true;
    call(*candidate, when, work.path, work.cause, {.is_named = is_top});
  }
  if (is_found) return;
  // A type's name calls its cast.
  const auto types = paths_[work.path].types(function.schema, function.name);
  for (const CatalogType* type : types) add_type(type->oid, when, work.path);
  if (!types.empty()) return;
  const std::string name = (function.schema.empty() ? "" : function.schema + ".") + function.name;
  // What is known by its name does that wherever it is.
  const Effects known = effects_of(function.function_class);
  note(known, when);
  if (known.has(Effect::kUnknown)) note_unknown(when, work.cause, "function " + name + "() is not in the catalog");
  if (is_top)
    out_.functions.push_back({.schema = function.schema,
                              .name = function.name,
                              .function_class = function.function_class,
                              .is_named = true,
                              .is_deferred = function.is_deferred});
}

// x.f and (x).f are f(x) if f is no column of x, and x may be a row.
void Closure::call_fields(const Work& work, const Statement& statement) {
  for (const std::string& field : statement.fields)
    for (const CatalogFunction* candidate : paths_[work.path].functions({}, field)) {
      if (candidate->is_builtin || candidate->types.empty() || !takes(*candidate, 1)) continue;
      const Oid argument = candidate->types.front();
      const CatalogType* type = catalog_.type(argument);
      const bool takes_row = argument == kRecord || (type != nullptr && type->relation != kNoOid);
      if (takes_row || type == nullptr) call(*candidate, work.when, work.path, work.cause, {});
    }
}

void Closure::call_oid(Oid function, const Work& from, Cause why) {
  const CatalogFunction* found = catalog_.function(function);
  if (found != nullptr)
    call(*found, from.when, from.path, why, {});
  else
    note_unknown(from.when, why, "a function that is not in the catalog");
}

void Closure::record(const CatalogFunction& function, When when, Cause why, bool is_named) {
  const std::string_view schema = catalog_.schema_name(function.schema);
  const FunctionClass known =
      function.is_builtin ? known_function(function.name).function_class : FunctionClass::kUnknown;
  const bool is_later = when == When::kLater;
  auto found = std::ranges::find_if(out_.functions, [&](const ResolvedFunction& other) {
    // Overloads of PostgreSQL's own are one.
    return other.oid == function.oid || (function.is_builtin && other.name == function.name && other.schema == schema);
  });
  if (found == out_.functions.end()) {
    out_.functions.push_back({.oid = function.oid,
                              .schema = std::string(schema),
                              .name = function.name,
                              .language = function.language,
                              .owner = std::string(catalog_.role_name(function.owner)),
                              .volatility = function.is_builtin ? '\0' : function.volatility,
                              .is_security_definer = function.is_security_definer,
                              .function_class = known,
                              .is_named = is_named,
                              .is_deferred = is_later,
                              .through = is_named ? std::string{} : through(why)});
    return;
  }
  found->is_deferred = found->is_deferred && is_later;
  if (!is_named) return;
  found->is_named = true;
  found->through.clear();
}

void Closure::call(const CatalogFunction& function, When when, uint32_t from, Cause why, Call how) {
  if (function.is_builtin) {
    const KnownFunction known = known_function(function.name);
    if (how.is_named || known.function_class != FunctionClass::kHarmless) {
      if (!how.is_hidden) record(function, when, why, how.is_named);
    }
    const Effects effects = effects_of(known.function_class);
    note(effects, when);
    if (effects.has(Effect::kUnknown))
      note_unknown(when, why,
                   "function " + function.name +
                       "(): " + std::string(known.reason.empty() ? "what it does is not known" : known.reason));
    return;
  }
  if (!how.is_hidden) record(function, when, why, how.is_named);
  if (!called_.insert({function.oid, from, when}).second) return;
  for (const Oid type : function.types) add_type(type, when, from);
  const std::string name = qualified(function.schema, function.name);
  const Cause inner = cause(why, "function " + name + "()");
  const std::string role =
      function.is_security_definer ? std::string(catalog_.role_name(function.owner)) : paths_[from].role();
  const uint32_t inside = path(function.search_path ? function.search_path : paths_[from].search_path(), role);
  const Work work{.when = when, .path = inside, .cause = inner};
  run_code(work, function.defaults, inner);
  for (const Oid support : function.calls) call_oid(support, work, inner);
  if (function.is_aggregate) return;
  if (function.body != nullptr) {
    run_code(work, function.body, inner);
    return;
  }
  // An extension's functions are known by their names in any schema.
  const KnownFunction known = known_function(function.name);
  if (known.function_class != FunctionClass::kUnknown && known.function_class != FunctionClass::kHarmless) {
    const Effects effects = effects_of(known.function_class);
    note(effects, when);
    if (effects.has(Effect::kUnknown)) note_unknown(when, inner, known.reason);
    return;
  }
  if (function.language == "sql" || function.language == "plpgsql") return;  // an empty body
  // Who may install C code may do anything; what an extension declares immutable, or hides in operators, is believed.
  const bool is_believed =
      function.language == "c" && function.is_of_extension && (function.volatility == 'i' || how.is_hidden);
  if (!is_believed) note_unknown(when, inner, "language " + function.language);
}

// Domains check what becomes one; rows have columns.
void Closure::add_type(Oid oid, When when, uint32_t from) {
  std::vector<Oid> todo{oid};
  while (!todo.empty()) {
    const Oid next = todo.back();
    todo.pop_back();
    if (next < kFirstUserOid || !types_.insert(next).second) continue;
    const CatalogType* type = catalog_.type(next);
    if (type == nullptr) continue;
    todo.push_back(type->base);
    if (const CatalogRelation* row = catalog_.relation(type->relation))
      for (const CatalogColumn& column : row->columns) todo.push_back(column.type);
    if (type->checks.empty()) continue;
    const Work work{.when = when, .path = from};
    run_codes(work, type->checks, cause(0, "domain " + qualified(type->schema, type->name)));
  }
}

// Operators, casts and the orders of types call functions without naming them: those of types that are there.
void Closure::call_hidden() {
  for (const std::string& name : operators_) call_hidden_of(catalog_.operators(name), "operator");
  call_hidden_of(catalog_.casts(), "cast");
  call_hidden_of(catalog_.orders(), "operator class");
}

void Closure::call_hidden_of(std::span<const CatalogHidden> list, std::string_view what) {
  for (const CatalogHidden& hidden : list) {
    if (!is_present(hidden.left) || !is_present(hidden.right) || !hidden_.insert(hidden.function).second) continue;
    const CatalogFunction* function = catalog_.function(hidden.function);
    const Cause why = cause(0, std::string(what));
    if (function != nullptr)
      call(*function, When::kNow, 0, why, {.is_hidden = true});
    else
      note_unknown(When::kNow, why, "its function is not in the catalog");
  }
}

}  // namespace gatehouse::sql
