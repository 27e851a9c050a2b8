// SPDX-License-Identifier: Apache-2.0
// Statements other than queries that need more than the table in utilities.h says.
#include <algorithm>
#include <utility>

#include "agent/sql/walk.h"

namespace gatehouse::sql {
namespace {

std::string_view first_word(std::string_view command) {
  return command.substr(0, command.find(' '));
}

// As the server keeps a name in a list of names.
std::string quoted_name(const std::string& name) {
  const auto is_plain = [](char c) { return (c >= 'a' && c <= 'z') || c == '_' || (c >= '0' && c <= '9'); };
  if (!name.empty() && (name[0] < '0' || name[0] > '9') && std::ranges::all_of(name, is_plain)) return name;
  std::string out = "\"";
  for (const char c : name) {
    out += c;
    if (c == '"') out += c;
  }
  return out + "\"";
}

bool is_query(Key type) {
  return type == Key::k_SelectStmt || type == Key::k_InsertStmt || type == Key::k_UpdateStmt ||
         type == Key::k_DeleteStmt || type == Key::k_MergeStmt;
}

}  // namespace

Statement Walk::run(const TreeNode& node) {
  visit_statement(node);
  out_.filters_rows = has_write_ ? !has_unfiltered_write_ : query_filters_;
  return std::move(out_);
}

void Walk::name_command(std::string_view command) {
  if (out_.command.empty()) {
    out_.command = command;
    out_.verb = first_word(command);
  }
  note_verb(first_word(command));
}

void Walk::visit_statement(const TreeNode& node) {
  if (is_query(node.type)) {
    if (out_.command.empty()) {
      out_.command = node.type == Key::k_SelectStmt && tree_.has(node, Key::k_intoClause) ? "SELECT INTO"
                     : node.type == Key::k_SelectStmt                                     ? "SELECT"
                     : node.type == Key::k_InsertStmt                                     ? "INSERT"
                     : node.type == Key::k_UpdateStmt                                     ? "UPDATE"
                     : node.type == Key::k_DeleteStmt                                     ? "DELETE"
                                                                                          : "MERGE";
      out_.verb = first_word(out_.command);
    }
    query_filters_ = visit_query(node) && query_filters_;
    return;
  }
  consulted_.all();  // names and options are literals without a place in the tree
  if (!visit_special(node)) visit_by_table(node);
}

bool Walk::visit_special(const TreeNode& node) {
  struct Special {
    Key type;
    void (Walk::*visit)(const TreeNode&);
  };
  static constexpr Special kSpecials[] = {
      {Key::k_ExplainStmt, &Walk::visit_explain},
      {Key::k_PrepareStmt, &Walk::visit_prepare},
      {Key::k_DeclareCursorStmt, &Walk::visit_declare},
      {Key::k_ExecuteStmt, &Walk::visit_execute},
      {Key::k_FetchStmt, &Walk::visit_fetch},
      {Key::k_CreateTableAsStmt, &Walk::visit_create_table_as},
      {Key::k_CopyStmt, &Walk::visit_copy},
      {Key::k_DoStmt, &Walk::visit_do},
      {Key::k_CallStmt, &Walk::visit_call_statement},
      {Key::k_TransactionStmt, &Walk::visit_transaction},
      {Key::k_DiscardStmt, &Walk::visit_discard},
      {Key::k_VariableSetStmt, &Walk::visit_set},
      {Key::k_DropStmt, &Walk::visit_drop},
      {Key::k_GrantStmt, &Walk::visit_grant},
      {Key::k_GrantRoleStmt, &Walk::visit_grant_role},
      {Key::k_RenameStmt, &Walk::visit_named_object},
      {Key::k_AlterOwnerStmt, &Walk::visit_named_object},
      {Key::k_AlterObjectSchemaStmt, &Walk::visit_named_object},
      {Key::k_AlterObjectDependsStmt, &Walk::visit_named_object},
      {Key::k_CommentStmt, &Walk::visit_named_object},
      {Key::k_SecLabelStmt, &Walk::visit_named_object},
      {Key::k_AlterTableStmt, &Walk::visit_named_object},
      {Key::k_DefineStmt, &Walk::visit_named_object},
      {Key::k_CreateFunctionStmt, &Walk::visit_create_function},
      {Key::k_ViewStmt, &Walk::visit_view},
      {Key::k_RuleStmt, &Walk::visit_rule},
      {Key::k_CreateTrigStmt, &Walk::visit_trigger},
      {Key::k_VacuumStmt, &Walk::visit_vacuum},
      {Key::k_CreateStmt, &Walk::visit_create_table},
      {Key::k_CreateForeignTableStmt, &Walk::visit_create_table},
      {Key::k_CreateSchemaStmt, &Walk::visit_create_schema},
      {Key::k_TruncateStmt, &Walk::visit_truncate},
      {Key::k_LockStmt, &Walk::visit_lock},
  };
  const auto* found = std::ranges::find(kSpecials, node.type, &Special::type);
  if (found == std::end(kSpecials)) return false;
  (this->*found->visit)(node);
  return true;
}

// Of EXPLAIN, VACUUM and their like: without a value it is on.
bool Walk::is_on(const TreeNode& option) const {
  const TreeNode* value = tree_.child(option, Key::k_arg);
  if (value == nullptr) return true;
  if (value->type == Key::k_Integer) return tree_.has(*value, Key::k_ival);
  const std::string word = tree_.text(*value, Key::k_sval);
  return word != "false" && word != "off";
}

// EXPLAIN plans, which may run functions; with ANALYZE it runs the statement. The last of several options counts.
void Walk::visit_explain(const TreeNode& node) {
  name_command("EXPLAIN");
  bool runs = false;
  for (const TreeNode& option : tree_.items(node, Key::k_options)) {
    if (tree_.text(option, Key::k_defname) == "analyze") runs = is_on(option);
  }
  const TreeNode* query = tree_.child(node, Key::k_query);
  if (query == nullptr) return;
  if (runs) {
    visit_statement(*query);
    return;
  }
  const Deferred deferred(*this, Deferred::How::kPlanned);
  visit_statement(*query);
}

void Walk::visit_prepare(const TreeNode& node) {
  name_command("PREPARE");
  note(Effect::kPrepare);
  out_.handle = name_at(node, Key::k_name);
  const Deferred deferred(*this, Deferred::How::kPlanned);
  if (const TreeNode* query = tree_.child(node, Key::k_query)) visit_statement(*query);
}

// Its plan is begun at once, and FETCH takes rows from it: the tables are read by the two together.
void Walk::visit_declare(const TreeNode& node) {
  name_command("DECLARE CURSOR");
  note(Effect::kPrepare);
  out_.handle = name_at(node, Key::k_portalname);
  if (const TreeNode* query = tree_.child(node, Key::k_query)) visit_statement(*query);
}

void Walk::visit_execute(const TreeNode& node) {
  name_command("EXECUTE");
  note(Effect::kRunPrepared);
  note_unknown(UnknownReason::kPrepared);
  out_.handle = name_at(node, Key::k_name);
  visit_children(node);
}

void Walk::visit_fetch(const TreeNode& node) {
  name_command(tree_.has(node, Key::k_ismove) ? "MOVE" : "FETCH");
  note(Effect::kRunPrepared);
  note_unknown(UnknownReason::kPrepared);
  out_.handle = name_at(node, Key::k_portalname);
}

void Walk::visit_create_table_as(const TreeNode& node) {
  const bool is_view = tree_.raw_text(node, Key::k_objtype) == "OBJECT_MATVIEW";
  name_command(is_view ? "CREATE MATERIALIZED VIEW" : "CREATE TABLE AS");
  const TreeNode* into = tree_.child(node, Key::k_into);
  const TreeNode* relation = into == nullptr ? nullptr : tree_.child(*into, Key::k_rel);
  if (relation != nullptr)
    add_relation(*relation, {Effect::kCreate, Effect::kInsert},
                 is_view ? ObjectKind::kMaterializedView : ObjectKind::kTable, true);
  if (const TreeNode* query = tree_.child(node, Key::k_query)) visit_statement(*query);
}

void Walk::visit_copy(const TreeNode& node) {
  name_command("COPY");
  const bool is_from = tree_.has(node, Key::k_is_from);
  if (const TreeNode* query = tree_.child(node, Key::k_query)) visit_statement(*query);
  if (const TreeNode* relation = tree_.child(node, Key::k_relation)) {
    const Effect effect = is_from ? Effect::kInsert : Effect::kRead;
    const bool filters = is_from;
    query_filters_ = query_filters_ && filters;
    const size_t object = add_relation(*relation, {effect}, ObjectKind::kRelation, filters);
    for (const TreeNode& column : tree_.items(node, Key::k_attlist))
      add_column(object, name_at(column, Key::k_sval), {effect});
    if (!tree_.has(node, Key::k_attlist)) add_column(object, "*", {effect});
  }
  const TreeNode* file = tree_.child(node, Key::k_filename);
  if (file != nullptr) {
    const Effect effect = tree_.has(node, Key::k_is_program) ? Effect::kProgram
                          : is_from                          ? Effect::kFileRead
                                                             : Effect::kFileWrite;
    note(effect);
    out_.accesses.push_back({.effect = effect, .target = name_at(node, Key::k_filename)});
  }
  visit_child(node, Key::k_whereClause);
}

void Walk::visit_do(const TreeNode& node) {
  name_command("DO");
  std::string language = note_language(node, Key::k_args);
  if (language.empty()) {
    language = "plpgsql";
    out_.details.emplace_back("language plpgsql");
  }
  note(Effect::kRunCode);
  read_routine(node, Key::k_args, language, MergeAs::kStatement);
}

void Walk::visit_call_statement(const TreeNode& node) {
  name_command("CALL");
  note(Effect::kRunCode);
  note_unknown(UnknownReason::kFunction);
  visit_children(node);
  // PostgreSQL's own are functions, which CALL does not take.
  if (out_.functions.empty()) return;
  out_.functions[0].function_class = FunctionClass::kUnknown;
  out_.functions[0].is_presumed_builtin = false;
}

void Walk::visit_transaction(const TreeNode& node) {
  struct Entry {
    std::string_view kind, command;
  };
  static constexpr Entry kEntries[] = {
      {"TRANS_STMT_BEGIN", "BEGIN"},
      {"TRANS_STMT_START", "START TRANSACTION"},
      {"TRANS_STMT_COMMIT", "COMMIT"},
      {"TRANS_STMT_ROLLBACK", "ROLLBACK"},
      {"TRANS_STMT_SAVEPOINT", "SAVEPOINT"},
      {"TRANS_STMT_RELEASE", "RELEASE"},
      {"TRANS_STMT_ROLLBACK_TO", "ROLLBACK TO"},
      {"TRANS_STMT_PREPARE", "PREPARE TRANSACTION"},
      {"TRANS_STMT_COMMIT_PREPARED", "COMMIT PREPARED"},
      {"TRANS_STMT_ROLLBACK_PREPARED", "ROLLBACK PREPARED"},
  };
  const auto* found = std::ranges::find(kEntries, tree_.raw_text(node, Key::k_kind), &Entry::kind);
  name_command(found == std::end(kEntries) ? "BEGIN" : found->command);
  note(Effect::kTransaction);
  out_.handle = tree_.has(node, Key::k_gid) ? name_at(node, Key::k_gid) : name_at(node, Key::k_savepoint_name);
}

void Walk::visit_discard(const TreeNode& node) {
  struct Entry {
    std::string_view target, command, name;
  };
  static constexpr Entry kEntries[] = {{"DISCARD_ALL", "DISCARD ALL", "all"},
                                       {"DISCARD_PLANS", "DISCARD PLANS", "plans"},
                                       {"DISCARD_SEQUENCES", "DISCARD SEQUENCES", "sequences"},
                                       {"DISCARD_TEMP", "DISCARD TEMP", "temp"}};
  const auto* found = std::ranges::find(kEntries, tree_.raw_text(node, Key::k_target), &Entry::target);
  if (found == std::end(kEntries)) found = &kEntries[0];
  name_command(found->command);
  note(Effect::kSession);
  if (found->name == "all" || found->name == "temp") note(Effect::kDrop);
  out_.session_changes.push_back({.kind = SessionChange::Kind::kDiscard, .name = std::string(found->name)});
}

void Walk::visit_set(const TreeNode& node) {
  name_command(tree_.raw_text(node, Key::k_kind).starts_with("VAR_RESET") ? "RESET" : "SET");
  note(Effect::kSession);
  for (SessionChange& change : changes_of(node)) out_.session_changes.push_back(std::move(change));
}

// What SET or RESET says, wherever it stands.
std::vector<SessionChange> Walk::changes_of(const TreeNode& node) {
  std::vector<SessionChange> changes;
  const std::string_view kind = tree_.raw_text(node, Key::k_kind);
  const bool is_local = tree_.has(node, Key::k_is_local);
  const bool is_default = kind == "VAR_RESET" || kind == "VAR_RESET_ALL" || kind == "VAR_SET_DEFAULT";
  SessionChange change{.kind = kind == "VAR_RESET_ALL"  ? SessionChange::Kind::kResetAll
                               : is_default && is_local ? SessionChange::Kind::kResetLocal
                               : is_default             ? SessionChange::Kind::kReset
                               : is_local               ? SessionChange::Kind::kSetLocal
                                                        : SessionChange::Kind::kSet,
                       .name = name_at(node, Key::k_name)};
  std::ranges::transform(change.name, change.name.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
  if (kind == "VAR_SET_CURRENT") change.is_value_known = false;
  for (const TreeNode& item : tree_.items(node, Key::k_args)) {
    if (kind == "VAR_SET_MULTI") {
      SessionChange part{.kind = change.name == "transaction" ? SessionChange::Kind::kSetLocal : change.kind,
                         .name = name_at(item, Key::k_defname)};
      const TreeNode* value = tree_.child(item, Key::k_arg);
      part.is_value_known = value != nullptr && constant_text(*value, part.value);
      changes.push_back(std::move(part));
      continue;
    }
    std::string value;
    change.is_value_known = constant_text(item, value) && change.is_value_known;
    if (change.name == "search_path") value = quoted_name(value);
    if (!change.value.empty()) change.value += ", ";
    change.value += value;
  }
  if (kind != "VAR_SET_MULTI") changes.push_back(std::move(change));
  return changes;
}

// False: it is no constant.
bool Walk::constant_text(const TreeNode& node, std::string& out) {
  if (node.type != Key::k_A_Const) return false;
  for (const Key key : {Key::k_sval, Key::k_fval, Key::k_ival, Key::k_boolval})
    if (const TreeNode* value = tree_.child(node, key)) {
      out = exact(tree_.text(*value, key));
      if (out.empty() && key == Key::k_ival) out = "0";
      if (out.empty() && key == Key::k_boolval) out = "false";
      return true;
    }
  return false;
}

void Walk::visit_relations(const TreeNode& node, Key list, Effects uses, ObjectKind kind) {
  for (const TreeNode& relation : tree_.items(node, list)) add_relation(relation, uses, kind, false);
}

void Walk::visit_truncate(const TreeNode& node) {
  name_command("TRUNCATE TABLE");
  has_write_ = has_unfiltered_write_ = true;
  visit_relations(node, Key::k_relations, {Effect::kTruncate}, ObjectKind::kRelation);
  if (tree_.has(node, Key::k_restart_seqs)) out_.details.emplace_back("restart identity");
  // Which tables CASCADE takes along only a catalog can tell.
  if (tree_.raw_text(node, Key::k_behavior) == "DROP_CASCADE") note_unknown(UnknownReason::kCascadeTruncate);
  note_cascade(node);
}

void Walk::visit_lock(const TreeNode& node) {
  name_command("LOCK TABLE");
  visit_relations(node, Key::k_relations, {Effect::kLock}, ObjectKind::kRelation);
}

void Walk::visit_vacuum(const TreeNode& node) {
  name_command(tree_.has(node, Key::k_is_vacuumcmd) ? "VACUUM" : "ANALYZE");
  default_uses_ = {Effect::kMaintain};
  if (!tree_.has(node, Key::k_rels)) add_object({.kind = ObjectKind::kRelation}, default_uses_);
  note_flags(node, Key::k_options);
  visit_children(node);
}

}  // namespace gatehouse::sql
