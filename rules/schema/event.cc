// SPDX-License-Identifier: Apache-2.0
#include "rules/schema/event.h"

namespace gatehouse::rules {
namespace {

using sql::Effect;
using sql::Effects;

// What is not known to be harmless is not.
const sql::Statement& unknown_statement() {
  static const sql::Statement statement = [] {
    sql::Statement unknown;
    unknown.effects.add(Effect::kUnknown);
    unknown.filters_rows = false;
    return unknown;
  }();
  return statement;
}
// A text without a statement in it: blanks and comments.
const sql::Statement& empty_statement() {
  static const sql::Statement statement;
  return statement;
}

const sql::Statement& statement_at(const sql::Facts* facts, size_t index) {
  if (facts == nullptr || !facts->parsed) return unknown_statement();
  if (facts->statements.empty()) return empty_statement();
  return facts->statements[index];
}

template <typename ObjectT>
ObjectView object_view(const ObjectT& object) {
  return {.schema = object.schema,
          .name = object.name,
          .kind = to_string(object.kind),
          .alias = object.alias,
          .uses = object.uses,
          .deferred = object.deferred,
          .is_filtered = object.is_filtered};
}
template <typename FunctionT>
FunctionView function_view(const FunctionT& function) {
  return {.schema = function.schema,
          .name = function.name,
          .function_class = to_string(function.function_class),
          .is_deferred = function.is_deferred};
}

void view_facts(StatementView& view) {
  const sql::Statement& statement = *view.statement;
  view.effects = statement.effects;
  view.deferred = statement.deferred;
  for (const sql::Object& object : statement.objects) view.objects.push_back(object_view(object));
  for (const sql::Function& function : statement.functions)
    view.functions.emplace_back(function_view(function)).reason = function.reason;
}

void view_resolved(StatementView& view, const sql::ResolvedStatement& statement) {
  view.effects = statement.effects;
  view.deferred = statement.deferred;
  for (const sql::ResolvedObject& object : statement.objects)
    view.objects.emplace_back(object_view(object)).through = object.through;
  for (const sql::ResolvedFunction& function : statement.functions) {
    FunctionView& seen = view.functions.emplace_back(function_view(function));
    seen.language = function.language;
    seen.owner = function.owner;
    seen.is_security_definer = function.is_security_definer;
    seen.through = function.through;
  }
  for (const std::string& reason : statement.unknown_reasons) view.unknowns.push_back(reason);
}

template <typename ColumnT>
void view_columns(StatementView& view, const std::vector<ColumnT>& columns) {
  for (const ColumnT& column : columns) {
    const bool is_told = column.object < view.objects.size();
    view.columns.push_back({.schema = is_told ? view.objects[column.object].schema : std::string_view(),
                            .table = is_told ? view.objects[column.object].name : std::string_view(),
                            .name = column.name,
                            .uses = column.uses});
  }
}

// The relations, as rules write them: each by its name, and by schema and name where that is known. Whether it is
// depends on the text and on a catalog, and a rule must not.
void name_relations(StatementView& view) {
  // Their texts must not move while they are borrowed.
  if (view.names.size() < view.objects.size()) view.names.resize(view.objects.size());
  for (size_t i = 0; i < view.objects.size(); ++i) {
    const ObjectView& object = view.objects[i];
    const bool is_read = object.uses.has(Effect::kRead);
    const bool is_written = object.uses.has_any(kWrites);
    if (!is_read && !is_written) continue;
    if (is_read) view.reads.push_back(object.name);
    if (is_written) view.writes.push_back(object.name);
    if (object.schema.empty()) continue;
    view.names[i].assign(object.schema).append(1, '.').append(object.name);
    if (is_read) view.reads.push_back(view.names[i]);
    if (is_written) view.writes.push_back(view.names[i]);
  }
}

}  // namespace

cel::Timestamp instant_of(int64_t unix_ns) {
  constexpr int64_t kSecond = 1'000'000'000;
  int64_t seconds = unix_ns / kSecond;
  int64_t ns = unix_ns % kSecond;
  if (ns < 0) {
    ns += kSecond;
    --seconds;
  }
  return {.seconds = seconds, .ns = static_cast<uint32_t>(ns)};
}

std::string_view base_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

size_t statements_of(const sql::Facts* facts) {
  return facts == nullptr || facts->statements.empty() ? 1 : facts->statements.size();
}

void set_facts(StatementView& view, const Analyzed& analyzed, size_t index, std::string_view verb) {
  view.objects.clear();
  view.columns.clear();
  view.functions.clear();
  view.reads.clear();
  view.writes.clear();
  view.unknowns.clear();
  const sql::Facts* const facts = analyzed.facts;
  const bool is_parsed = facts != nullptr && facts->parsed;
  view.facts = facts;
  view.refusal = facts == nullptr ? analyzed.refusal : is_parsed ? std::string_view() : to_string(facts->refusal);
  view.statement = &statement_at(facts, index);
  view.verb = view.statement->verb.empty() ? verb : view.statement->verb;
  if (is_parsed) view.fingerprint = hex_digits(facts->fingerprint);
  if (analyzed.resolved != nullptr && index < analyzed.resolved->statements.size()) {
    const sql::ResolvedStatement& resolved = analyzed.resolved->statements[index];
    view_resolved(view, resolved);
    view_columns(view, resolved.columns);
  } else {
    view_facts(view);
    view_columns(view, view.statement->columns);
  }
  name_relations(view);
}

}  // namespace gatehouse::rules
