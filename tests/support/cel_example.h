// SPDX-License-Identifier: Apache-2.0
// A small schema such as rules have, for the tests, the fuzz target and the benchmark of CEL.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "rules/engine/cel_program.h"

namespace gatehouse::rules::cel::example {

struct Object {
  std::string schema;
  std::string name;
};

struct Statement {
  std::string verb = "DELETE";
  std::string text = "DELETE FROM payroll.salaries";
  bool filters_rows = false;
  std::vector<std::string> parameters = {"17", "x"};
  std::vector<Object> objects = {{"payroll", "salaries"}, {"public", "staff"}};
};

struct Database {
  std::string name = "shop";
  std::vector<std::pair<std::string, std::string>> labels = {{"env", "production"}, {"team", "billing"}};
};

struct Event {
  Statement statement{};
  Database database{};
  uint64_t rows = 50'001;
  int64_t duration_ns = 5'000'000;
  Instant time{.seconds = 1'795'568'523, .ns = 250'000'000};
};

inline constexpr Field kObjectFields[] = {
    {"schema", &kString, [](const void* it) { return Value::string(static_cast<const Object*>(it)->schema); },
     "the schema that it is in", "public"},
    {"name", &kString, [](const void* it) { return Value::string(static_cast<const Object*>(it)->name); }, "its name",
     "staff"},
};
inline constexpr RecordType kObject{"object", kObjectFields};
inline constexpr Type kObjectType = record_type(kObject);
inline constexpr Type kObjectsType = list_type(kObjectType);

inline Value value_of(const Object& object) {
  return Value::record(&kObject, &object);
}

inline const Statement& statement_of(const void* it) {
  return *static_cast<const Statement*>(it);
}
inline constexpr Field kStatementFields[] = {
    {"verb", &kString, [](const void* it) { return Value::string(statement_of(it).verb); }, "what it does", "DELETE"},
    {"text", &kString, [](const void* it) { return Value::string(statement_of(it).text); }, "as sent", "SELECT 1"},
    {"filters_rows", &kBool, [](const void* it) { return Value::boolean(statement_of(it).filters_rows); },
     "has a WHERE that means something", "true"},
    {"parameters", &kStrings, [](const void* it) { return strings_of(statement_of(it).parameters); }, "as text",
     "[\"17\"]"},
    {"objects", &kObjectsType, [](const void* it) { return list_of<value_of>(statement_of(it).objects); },
     "tables and the like", ""},
};
inline constexpr RecordType kStatement{"statement", kStatementFields};
inline constexpr Type kStatementType = record_type(kStatement);

inline constexpr Field kDatabaseFields[] = {
    {"name", &kString, [](const void* it) { return Value::string(static_cast<const Database*>(it)->name); }, "its name",
     "shop"},
    {"labels", &kLabels, [](const void* it) { return labels_of(static_cast<const Database*>(it)->labels); },
     "what the configuration says of it", "{\"env\": \"production\"}"},
};
inline constexpr RecordType kDatabase{"database", kDatabaseFields};
inline constexpr Type kDatabaseType = record_type(kDatabase);

inline constexpr Value kAdministratorNames[] = {Value::string("ada"), Value::string("grace"), Value::string("edsger")};
inline constexpr Value kAdministrators = Value::list(kAdministratorNames, std::size(kAdministratorNames));

inline constexpr Variable kVariables[] = {
    {"statement", &kStatementType, "what is to be run", ""},
    {"database", &kDatabaseType, "where", ""},
    {"result.rows", &kUint, "rows that were read or changed", "17"},
    {"duration", &kDuration, "how long it took", "5ms"},
    {"time", &kTimestamp, "when", "2026-11-25T01:02:03Z"},
    {"anything", &kDyn, "of any type", ""},
    {"lists.dba", &kStrings, "administrators", "", &kAdministrators},
};
inline constexpr Schema kSchema{kVariables};

// In the order of kVariables; borrows from `event`.
inline std::array<Value, std::size(kVariables)> values_of(const Event& event) {
  return {Value::record(&kStatement, &event.statement),
          Value::record(&kDatabase, &event.database),
          Value::uint(event.rows),
          Value::duration(event.duration_ns),
          Value::timestamp(event.time),
          strings_of(event.statement.parameters),
          Value()};
}

}  // namespace gatehouse::rules::cel::example
