// SPDX-License-Identifier: Apache-2.0
#include "rules/schema/event.h"

namespace gatehouse::rules {
namespace {

using sql::Effect;
using sql::Effects;

constexpr Effects kWrites{Effect::kInsert, Effect::kUpdate, Effect::kDelete, Effect::kTruncate};

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

void write_hexadecimal(uint64_t number, std::array<char, 16>& out) {
  for (size_t i = out.size(); i-- > 0; number >>= 4) out[i] = "0123456789abcdef"[number & 15];
}

// The relations' names, as rules write them.
void name_relations(StatementView& view) {
  view.reads.clear();
  view.writes.clear();
  // Their texts must not move while they are borrowed.
  const std::vector<sql::Object>& objects = view.statement->objects;
  if (view.names.size() < objects.size()) view.names.resize(objects.size());
  for (size_t i = 0; i < objects.size(); ++i) {
    const sql::Object& object = objects[i];
    const bool is_read = object.uses.has(Effect::kRead);
    const bool is_written = object.uses.has_any(kWrites);
    if (!is_read && !is_written) continue;
    std::string_view name = object.name;
    if (!object.schema.empty()) {
      view.names[i].assign(object.schema).append(1, '.').append(object.name);
      name = view.names[i];
    }
    if (is_read) view.reads.push_back(name);
    if (is_written) view.writes.push_back(name);
  }
}

}  // namespace

size_t statements_of(const sql::Facts* facts) {
  return facts == nullptr || facts->statements.empty() ? 1 : facts->statements.size();
}

void set_facts(StatementView& view, const sql::Facts* facts, size_t index, std::string_view verb) {
  view.facts = facts;
  view.statement = &statement_at(facts, index);
  view.verb = view.statement->verb.empty() ? verb : view.statement->verb;
  if (facts != nullptr && facts->parsed) write_hexadecimal(facts->fingerprint, view.fingerprint);
  name_relations(view);
  view.columns.clear();
  const std::vector<sql::Object>& objects = view.statement->objects;
  for (const sql::Column& column : view.statement->columns)
    view.columns.push_back(
        {.table = column.object < objects.size() ? std::string_view(objects[column.object].name) : std::string_view(),
         .column = &column});
}

}  // namespace gatehouse::rules
