// SPDX-License-Identifier: Apache-2.0
// Statements that make, change, drop or grant objects.
#include <algorithm>
#include <utility>
#include <vector>

#include "agent/sql/utilities.h"
#include "agent/sql/walk.h"

namespace gatehouse::sql {

void Walk::visit_drop(const TreeNode& node) {
  const ObjectType type = object_type(tree_.raw_text(node, Key::k_removeType));
  name_command(type.drop);
  note(Effect::kDrop);
  for (const TreeNode& object : tree_.items(node, Key::k_objects)) add_named(object, {Effect::kDrop}, type.kind);
  if (tree_.raw_text(node, Key::k_behavior) == "DROP_CASCADE") note_unknown(UnknownReason::kCascade);
  if (tree_.has(node, Key::k_concurrent)) add_detail("concurrently");
  note_cascade(node);
}

void Walk::add_detail(std::string_view detail) {
  if (std::ranges::find(out_.details, detail) == out_.details.end()) out_.details.emplace_back(detail);
}

void Walk::note_cascade(const TreeNode& node) {
  if (tree_.raw_text(node, Key::k_behavior) == "DROP_CASCADE") add_detail("cascade");
}

// Options that are on, by their names.
void Walk::note_flags(const TreeNode& node, Key options) {
  for (const TreeNode& option : tree_.items(node, options))
    if (is_on(option)) add_detail(tree_.text(option, Key::k_defname));
}

// A list's last identifier is the name, the one before it the schema; of what belongs to a table (triggers, rules,
// policies) the one before it is the table.
void Walk::add_named(const TreeNode& node, Effects uses, ObjectKind kind) {
  if (is_relation(node)) {
    add_relation(node, uses, kind, true);
    return;
  }
  if (node.type == Key::k_RoleSpec || tree_.has(node, Key::k_roletype)) {
    Object role{.name = name_at(node, Key::k_rolename), .kind = ObjectKind::kRole};
    if (role.name.empty()) role.name = role_keyword(tree_.raw_text(node, Key::k_roletype));
    add_object(std::move(role), uses);
    return;
  }
  std::vector<std::string> parts;
  const auto add_part = [&](const TreeNode& part) {
    if (part.type == Key::k_String) parts.push_back(name_at(part, Key::k_sval));
  };
  if (node.type == Key::k_String) add_part(node);
  for (const Key list : {Key::k_items, Key::k_objname, Key::k_names})
    for (const TreeNode& part : tree_.items(node, list)) {
      if (part.type == Key::k_TypeName)
        visit_type(part);
      else
        add_part(part);
    }
  if (node.kind == TreeNode::Kind::kList)
    for (const TreeNode& part : tree_.children(node)) add_part(part);
  if (parts.empty()) return;
  Object object{.name = parts.back(), .kind = kind};
  parts.pop_back();
  if (kind == ObjectKind::kTrigger || kind == ObjectKind::kRule || kind == ObjectKind::kPolicy) {
    Object table{.kind = ObjectKind::kRelation};
    if (!parts.empty()) table.name = parts.back();
    if (parts.size() > 1) table.schema = parts[parts.size() - 2];
    add_object(std::move(table), {Effect::kAlter});
  } else if (!parts.empty()) {
    object.schema = parts.back();
  }
  add_object(std::move(object), uses);
}

void Walk::visit_grant(const TreeNode& node) {
  const bool is_grant = tree_.has(node, Key::k_is_grant);
  name_command(is_grant ? "GRANT" : "REVOKE");
  const Effects uses{is_grant ? Effect::kGrant : Effect::kRevoke};
  const ObjectType type = object_type(tree_.raw_text(node, Key::k_objtype));
  const bool is_all = tree_.raw_text(node, Key::k_targtype) == "ACL_TARGET_ALL_IN_SCHEMA";
  for (const TreeNode& object : tree_.items(node, Key::k_objects)) {
    if (is_all)
      add_object({.schema = name_at(object, Key::k_sval), .kind = type.kind}, uses);
    else
      add_named(object, uses, type.kind);
  }
  note_grant(node);
}

// To whom, and what: of GRANT and of ALTER DEFAULT PRIVILEGES.
void Walk::note_grant(const TreeNode& node) {
  const Effects uses{tree_.has(node, Key::k_is_grant) ? Effect::kGrant : Effect::kRevoke};
  note(uses);
  for (const TreeNode& role : tree_.items(node, Key::k_grantees)) add_named(role, uses, ObjectKind::kRole);
  for (const TreeNode& privilege : tree_.items(node, Key::k_privileges))
    out_.details.push_back(name_at(privilege, Key::k_priv_name));
  if (!tree_.has(node, Key::k_privileges)) out_.details.emplace_back("all");
  if (tree_.has(node, Key::k_grant_option)) out_.details.emplace_back("grant option");
  note_cascade(node);
}

void Walk::visit_grant_role(const TreeNode& node) {
  const bool is_grant = tree_.has(node, Key::k_is_grant);
  name_command(is_grant ? "GRANT ROLE" : "REVOKE ROLE");
  const Effects uses{is_grant ? Effect::kGrant : Effect::kRevoke};
  for (const TreeNode& role : tree_.items(node, Key::k_granted_roles))
    add_object({.name = name_at(role, Key::k_priv_name), .kind = ObjectKind::kRole}, uses);
  for (const TreeNode& role : tree_.items(node, Key::k_grantee_roles)) add_named(role, uses, ObjectKind::kRole);
  note_cascade(node);
}

void Walk::visit_named_object(const TreeNode& node) {
  std::string_view type_text;
  for (const Key key : {Key::k_renameType, Key::k_objectType, Key::k_objtype, Key::k_kind})
    if (type_text.empty()) type_text = tree_.raw_text(node, key);
  ObjectType type = object_type(type_text);
  // A column, a constraint: the table is what changes.
  if (const std::string_view owner = tree_.raw_text(node, Key::k_relationType);
      type.kind == ObjectKind::kOther && tree_.has(node, Key::k_relation) && !owner.empty())
    type.alter = object_type(owner).alter;
  const bool defines = node.type == Key::k_DefineStmt;
  const bool describes = node.type == Key::k_CommentStmt || node.type == Key::k_SecLabelStmt;
  const Effects uses{defines ? Effect::kCreate : describes ? Effect::kReference : Effect::kAlter};
  name_command(defines                            ? type.create
               : node.type == Key::k_CommentStmt  ? "COMMENT"
               : node.type == Key::k_SecLabelStmt ? "SECURITY LABEL"
                                                  : type.alter);
  note(describes ? Effects{Effect::kAlter} : uses);
  if (const TreeNode* relation = tree_.child(node, Key::k_relation)) {
    const bool is_own = node.type == Key::k_AlterTableStmt || type.kind != ObjectKind::kOther;
    add_relation(*relation, {Effect::kAlter}, is_own ? type.kind : ObjectKind::kRelation, true);
  }
  if (const TreeNode* object = tree_.child(node, Key::k_object)) {
    if (type.is_part_of_table)
      add_part_of_table(*object, uses);
    else
      add_named(*object, uses, type.kind);
  }
  if (const TreeNode* names = tree_.child(node, Key::k_defnames)) add_named(*names, uses, type.kind);
  if (!tree_.has(node, Key::k_relation) && tree_.has(node, Key::k_subname))
    add_object({.name = name_at(node, Key::k_subname), .kind = type.kind}, uses);
  note_alter_table(node);
  note_cascade(node);
  default_uses_ = {Effect::kAlter};
  for (const TreeNode& child : tree_.children(node))
    if (child.key != Key::k_relation && child.key != Key::k_object && child.key != Key::k_defnames) visit(child);
}

// AT_DisableRowSecurity.
void Walk::note_alter_table(const TreeNode& node) {
  for (const TreeNode& command : tree_.items(node, Key::k_cmds)) {
    std::string_view name = tree_.raw_text(command, Key::k_subtype);
    name.remove_prefix(std::min<size_t>(name.size(), 3));
    std::string detail;
    for (const char c : name) {
      const bool is_capital = c >= 'A' && c <= 'Z';
      if (is_capital && !detail.empty()) detail += ' ';
      detail += is_capital ? static_cast<char>(c + ('a' - 'A')) : c;
    }
    out_.details.push_back(std::move(detail));
    if (tree_.raw_text(command, Key::k_behavior) != "DROP_CASCADE") continue;
    note_unknown(UnknownReason::kCascade);
    note_cascade(command);
  }
}

std::string Walk::note_language(const TreeNode& node, Key options) {
  std::string language;
  for (const TreeNode& option : tree_.items(node, options)) {
    const std::string name = tree_.text(option, Key::k_defname);
    const TreeNode* value = tree_.child(option, Key::k_arg);
    if (value == nullptr) continue;
    if (name == "language") {
      language = name_at(*value, Key::k_sval);
      out_.details.push_back("language " + language);
    }
    if (name == "security" && tree_.has(*value, Key::k_boolval)) out_.details.emplace_back("security definer");
  }
  return language;
}

// A body that is a string is read by its language.
void Walk::read_routine(const TreeNode& node, Key options, const std::string& language, MergeAs as) {
  std::string body;
  size_t parts = 0;
  for (const TreeNode& option : tree_.items(node, options)) {
    const TreeNode* value = tree_.child(option, Key::k_arg);
    if (value == nullptr || tree_.text(option, Key::k_defname) != "as") continue;
    if (value->type == Key::k_String) {
      body = tree_.text(*value, Key::k_sval);
      ++parts;
    }
    for (const TreeNode& part : tree_.items(*value, Key::k_items)) {
      body = tree_.text(part, Key::k_sval);
      ++parts;
    }
  }
  Statement routine;
  if (parts != 1 || !routines_.read(language, body, routine)) {
    note_unknown(UnknownReason::kCode);
    return;
  }
  // Characters that were masked may be names'.
  if (!has_exact_names_ && body.find('?') != body.npos) note_unknown(UnknownReason::kName);
  merge(routine, as, out_);
  if (as != MergeAs::kLater && !routine.filters_rows) has_write_ = has_unfiltered_write_ = true;
}

// SET and RESET among the options of a function.
void Walk::note_settings(const TreeNode& node, Key options) {
  for (const TreeNode& option : tree_.items(node, options)) {
    const TreeNode* set = tree_.child(option, Key::k_arg);
    if (set == nullptr || tree_.text(option, Key::k_defname) != "set") continue;
    for (SessionChange& change : changes_of(*set)) out_.settings.push_back(std::move(change));
  }
}

// IN ROLE, ROLE and ADMIN of CREATE ROLE, and ADD and DROP USER of ALTER GROUP, are GRANT and REVOKE.
void Walk::note_members(const TreeNode& node) {
  const bool is_revoke = tree_.raw_text(node, Key::k_action) == "-1";
  const Effects uses{is_revoke ? Effect::kRevoke : Effect::kGrant};
  for (const TreeNode& option : tree_.items(node, Key::k_options)) {
    const std::string name = tree_.text(option, Key::k_defname);
    const bool is_membership = name == "addroleto";
    if (!is_membership && name != "rolemembers" && name != "adminmembers") continue;
    const TreeNode* roles = tree_.child(option, Key::k_arg);
    if (roles == nullptr) continue;
    note(uses);
    for (const TreeNode& role : tree_.items(*roles, Key::k_items)) add_named(role, uses, ObjectKind::kRole);
    if (is_membership) continue;
    const TreeNode* own = tree_.child(node, Key::k_role);
    if (own != nullptr && own->kind == TreeNode::Kind::kString)
      add_object({.name = exact(tree_.text(*own)), .kind = ObjectKind::kRole}, uses);
    else if (own != nullptr)
      add_named(*own, uses, ObjectKind::kRole);
  }
}

// Options of roles, functions and others, and the setting that ALTER SYSTEM, ROLE or DATABASE sets.
void Walk::note_options(const TreeNode& node) {
  if (const TreeNode* set = tree_.child(node, Key::k_setstmt)) {
    const bool is_reset = tree_.raw_text(*set, Key::k_kind).starts_with("VAR_RESET");
    const std::string name = name_at(*set, Key::k_name);
    out_.details.push_back((is_reset ? "reset " : "set ") + (name.empty() ? "all" : name));
    for (SessionChange& change : changes_of(*set)) out_.settings.push_back(std::move(change));
  }
  note_cascade(node);
  note_flags(node, Key::k_params);  // of REINDEX
  if (tree_.has(node, Key::k_concurrent)) add_detail("concurrently");
  if (node.type == Key::k_AlterFunctionStmt) {
    note_language(node, Key::k_actions);
    note_settings(node, Key::k_actions);
  }
  // ALTER ROLE has an action as well: a number.
  const TreeNode* grant = tree_.child(node, Key::k_action);
  if (grant != nullptr && node.type_name == "AlterDefaultPrivilegesStmt") note_grant(*grant);
  if (node.type != Key::k_CreateRoleStmt && node.type != Key::k_AlterRoleStmt) return;
  for (const TreeNode& option : tree_.items(node, Key::k_options)) {
    const TreeNode* value = tree_.child(option, Key::k_arg);
    const bool is_off = value != nullptr && value->type_name == "Boolean" && !tree_.has(*value, Key::k_boolval);
    std::string name = tree_.text(option, Key::k_defname);
    if (name == "canlogin") name = "login";
    if (name == "isreplication") name = "replication";
    out_.details.push_back((is_off ? "no " : "") + name);
  }
  note_members(node);
}

// [schema.]table.column or .constraint.
void Walk::add_part_of_table(const TreeNode& node, Effects uses) {
  std::vector<std::string> parts;
  for (const TreeNode& part : tree_.items(node, Key::k_items)) parts.push_back(name_at(part, Key::k_sval));
  if (parts.size() < 2) return;
  Object table{.name = parts[parts.size() - 2], .kind = ObjectKind::kRelation};
  if (parts.size() > 2) table.schema = parts[parts.size() - 3];
  add_object(std::move(table), uses);
}

void Walk::visit_create_function(const TreeNode& node) {
  name_command(tree_.has(node, Key::k_is_procedure) ? "CREATE PROCEDURE" : "CREATE FUNCTION");
  if (const TreeNode* name = tree_.child(node, Key::k_funcname))
    add_named(*name, {Effect::kCreate}, ObjectKind::kFunction);
  std::string language = note_language(node, Key::k_options);
  note_settings(node, Key::k_options);
  const Deferred deferred(*this, Deferred::How::kBody);
  if (language.empty()) language = "sql";  // also of a body that is not a string
  if (!tree_.has(node, Key::k_sql_body)) read_routine(node, Key::k_options, language, MergeAs::kLater);
  for (const TreeNode& child : tree_.children(node))
    if (child.key != Key::k_funcname && child.key != Key::k_options) visit(child);
}

void Walk::visit_view(const TreeNode& node) {
  name_command("CREATE VIEW");
  if (const TreeNode* view = tree_.child(node, Key::k_view))
    add_relation(*view, {Effect::kCreate}, ObjectKind::kView, true);
  const Deferred deferred(*this, Deferred::How::kBody);
  if (const TreeNode* query = tree_.child(node, Key::k_query)) visit_query(*query);
}

void Walk::visit_rule(const TreeNode& node) {
  name_command("CREATE RULE");
  add_object({.name = name_at(node, Key::k_rulename), .kind = ObjectKind::kRule}, {Effect::kCreate});
  if (const TreeNode* relation = tree_.child(node, Key::k_relation))
    add_relation(*relation, {Effect::kAlter}, ObjectKind::kRelation, true);
  const Deferred deferred(*this, Deferred::How::kBody);
  visit_child(node, Key::k_whereClause);
  for (const TreeNode& action : tree_.items(node, Key::k_actions)) visit(action);
}

void Walk::visit_trigger(const TreeNode& node) {
  name_command("CREATE TRIGGER");
  add_object({.name = name_at(node, Key::k_trigname), .kind = ObjectKind::kTrigger}, {Effect::kCreate});
  default_uses_ = {Effect::kAlter};
  for (const TreeNode& child : tree_.children(node)) {
    if (child.key == Key::k_funcname) continue;
    visit(child);
  }
  const Deferred deferred(*this, Deferred::How::kBody);
  add_function(node, false);
}

// What it inherits from or is a partition of changes as well.
void Walk::visit_create_table(const TreeNode& node) {
  const bool is_foreign = node.type == Key::k_CreateForeignTableStmt;
  name_command(is_foreign ? "CREATE FOREIGN TABLE" : "CREATE TABLE");
  const TreeNode* table = is_foreign ? tree_.child(node, Key::k_base) : &node;
  if (table == nullptr) return;
  for (const TreeNode& child : tree_.children(*table)) {
    default_uses_ = {Effect::kReference};
    if (child.key == Key::k_relation) {
      add_relation(child, {Effect::kCreate}, is_foreign ? ObjectKind::kForeignTable : ObjectKind::kTable, true);
      continue;
    }
    if (child.key == Key::k_inhRelations) default_uses_ = {Effect::kAlter};
    visit(child);
  }
  default_uses_ = {Effect::kReference};
}

void Walk::visit_create_schema(const TreeNode& node) {
  name_command("CREATE SCHEMA");
  Object schema{.name = name_at(node, Key::k_schemaname), .kind = ObjectKind::kSchema};
  if (const TreeNode* role = tree_.child(node, Key::k_authrole); role != nullptr && schema.name.empty())
    schema.name = name_at(*role, Key::k_rolename);
  add_object(std::move(schema), {Effect::kCreate});
  for (const TreeNode& element : tree_.items(node, Key::k_schemaElts)) visit_statement(element);
}

// A string; one object; a list of identifiers, which is one name; or a list of objects.
void Walk::add_named_by_table(const TreeNode& named, const Utility& utility) {
  if (named.kind == TreeNode::Kind::kString) {
    std::string name = exact(tree_.text(named));
    if (utility.kind == ObjectKind::kOther && utility.object_uses.empty())
      out_.handle = std::move(name);
    else
      add_object({.name = std::move(name), .kind = utility.kind}, utility.object_uses);
    return;
  }
  const Tree::Children items = tree_.children(named);
  const bool is_list_of_objects =
      named.kind == TreeNode::Kind::kList && !items.empty() && (*items.begin()).type != Key::k_String;
  if (!is_list_of_objects) {
    add_named(named, utility.object_uses, utility.kind);
    return;
  }
  for (const TreeNode& item : items) add_named(item, utility.object_uses, utility.kind);
}

void Walk::visit_by_table(const TreeNode& node) {
  const Utility utility = utility_of(node.type_name);
  name_command(utility.command);
  note(utility.effects);
  if (utility.effects.has(Effect::kUnknown)) note_unknown(UnknownReason::kCommand);
  note_options(node);
  default_uses_ = utility.relation_uses;
  const TreeNode* named = tree_.child(node, utility.name);
  if (named != nullptr) add_named_by_table(*named, utility);
  if (utility.target != Key::kNone && tree_.has(node, utility.target)) {
    const Effect effect = utility.effects.has(Effect::kNetwork)     ? Effect::kNetwork
                          : utility.effects.has(Effect::kFileWrite) ? Effect::kFileWrite
                                                                    : Effect::kFileRead;
    out_.accesses.push_back({.effect = effect, .target = name_at(node, utility.target)});
  }
  if (tree_.has(node, Key::k_funcname)) add_function(node, false);
  // What options say of functions is noted; a SET among them is none of the session's.
  const Key noted = node.type == Key::k_AlterFunctionStmt ? Key::k_actions : Key::k_action;
  for (const TreeNode& child : tree_.children(node))
    if (&child != named && child.key != noted && child.key != Key::k_setstmt) visit(child);
}

}  // namespace gatehouse::sql
