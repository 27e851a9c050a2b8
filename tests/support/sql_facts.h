// SPDX-License-Identifier: Apache-2.0
// Facts in words, all of them: for tables of tests, and to compare.
#pragma once

#include <string>
#include <string_view>

#include "agent/sql/analyzer.h"

namespace gatehouse::test {

inline std::string describe(const sql::Object& object) {
  std::string out = std::string(to_string(object.kind)) + " ";
  if (!object.schema.empty()) out += object.schema + ".";
  out += object.name.empty() ? "*" : object.name;
  if (!object.alias.empty()) out += " as " + object.alias;
  if (!object.uses.empty()) out += " [" + to_string(object.uses) + "]";
  if (!object.deferred.empty()) out += " later [" + to_string(object.deferred) + "]";
  if (object.is_filtered && (object.uses.has_any({sql::Effect::kRead, sql::Effect::kUpdate, sql::Effect::kDelete}) ||
                             object.deferred.has_any({sql::Effect::kRead, sql::Effect::kUpdate, sql::Effect::kDelete})))
    out += " filtered";
  return out;
}

inline std::string describe(const sql::Statement& statement, const sql::Column& column) {
  std::string out;
  if (column.object == sql::Column::kNotTold) {
    out = "?";
  } else {
    const sql::Object& object = statement.objects[column.object];
    out = object.alias.empty() ? object.name : object.alias;
  }
  return out + "." + column.name + " [" + to_string(column.uses) + "]";
}

inline std::string describe(const sql::Function& function) {
  std::string out = function.schema.empty() ? function.name : function.schema + "." + function.name;
  out += "(" + std::string(to_string(function.function_class)) + ")";
  return function.is_deferred ? out + " later" : out;
}

inline std::string describe(const sql::SessionChange& change) {
  static constexpr std::string_view kWords[] = {"set", "set local", "reset", "reset all", "discard", "reset local"};
  std::string out = std::string(kWords[static_cast<size_t>(change.kind)]) + " " + change.name;
  if (!change.is_value_known) return out + " = ?";
  return change.value.empty() ? out : out + " = " + change.value;
}

// "VERB(S): effects; later: effects; …", with what is empty left out.
inline std::string describe(const sql::Statement& statement) {
  std::string out(statement.command);
  if (statement.verbs.size() > 1) {
    out += " (";
    for (const std::string_view verb : statement.verbs)
      out += std::string(verb) + (verb == statement.verbs.back() ? ")" : " ");
  }
  const auto add = [&out](std::string_view word, const std::string& text) {
    if (!text.empty()) out += "; " + std::string(word) + text;
  };
  add("", to_string(statement.effects));
  add("later: ", to_string(statement.deferred));
  for (const std::string& detail : statement.details) add("", detail);
  add("handle ", statement.handle);
  for (const sql::Object& object : statement.objects) add("", describe(object));
  for (const sql::Column& column : statement.columns) add("", describe(statement, column));
  for (const sql::Function& function : statement.functions) add("", describe(function));
  for (const sql::SessionChange& change : statement.session_changes) add("", describe(change));
  for (const sql::SessionChange& setting : statement.settings) add("from then on ", describe(setting));
  for (const sql::Access& access : statement.accesses) add(to_string(access.effect), " " + access.target);
  if (!statement.filters_rows) add("", "all rows");
  if (statement.has_limit) add("limit ", statement.limit ? std::to_string(*statement.limit) : "?");
  return out;
}

inline std::string describe(const sql::Facts& facts) {
  if (!facts.parsed) return "refused: " + std::string(to_string(facts.refusal));
  std::string out;
  for (const sql::Statement& statement : facts.statements) out += (out.empty() ? "" : " | ") + describe(statement);
  return out;
}

}  // namespace gatehouse::test
