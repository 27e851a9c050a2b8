// SPDX-License-Identifier: Apache-2.0
// Tables of the statements that are no queries, and of the kinds of object that they name.
#pragma once

#include <string_view>

#include "agent/sql/facts.h"
#include "agent/sql/tree.h"

namespace gatehouse::sql {

struct Utility {
  std::string_view node;     // its type in the tree
  std::string_view command;  // its command tag
  Effects effects;
  ObjectKind kind = ObjectKind::kOther;       // of what `name` names
  Effects object_uses;                        // empty, with kOther: a name that is no object
  Key name = Key::kNone;                      // the field with its name
  Effects relation_uses{Effect::kReference};  // of relations elsewhere in it
  Key target = Key::kNone;                    // the field with a file or a connection
};
// For a statement that is not in the table: kUnknown.
Utility utility_of(std::string_view node);

struct ObjectType {
  std::string_view name;  // OBJECT_…
  ObjectKind kind = ObjectKind::kOther;
  std::string_view create, alter, drop;
  bool is_part_of_table = false;
};
ObjectType object_type(std::string_view name);

// CURRENT_USER and the like, where a role is meant by one.
std::string_view role_keyword(std::string_view roletype);

}  // namespace gatehouse::sql
