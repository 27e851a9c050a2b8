// SPDX-License-Identifier: Apache-2.0
// Walk: from the tree of one statement to its facts. It visits every node: what has no handler of its own is searched
// for relations, columns, functions and statements all the same.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/sql/consulted.h"
#include "agent/sql/facts.h"
#include "agent/sql/merge.h"
#include "agent/sql/routine.h"
#include "agent/sql/tree.h"
#include "agent/sql/utilities.h"

namespace gatehouse::sql {

class Walk {
 public:
  // `has_exact_names`: identifiers are UTF-8.
  Walk(const Tree& tree, Consulted& consulted, RoutineReader& routines, bool has_exact_names)
      : tree_(tree), consulted_(consulted), routines_(routines), has_exact_names_(has_exact_names) {}

  // `node`: what stands below "stmt". The range is the caller's.
  Statement run(const TreeNode& node);

 private:
  // What FROM names, for telling whose column it is.
  struct Source {
    static constexpr size_t kNoObject = SIZE_MAX;
    std::string name;           // that columns are qualified with
    size_t object = kNoObject;  // kNoObject: a query, a function, a WITH
  };
  struct CommonTable {
    std::string name;
    bool filters = true;
  };
  class Scope;     // sources and common tables of one query, until its end
  class Deferred;  // what is visited meanwhile does not happen now

  // walk_query.cc
  bool visit_query(const TreeNode& node);  // any of the following; true: it filters rows
  bool visit_select(const TreeNode& node);
  void note_union(const TreeNode& select, const TreeNode& added);
  bool is_constant(const TreeNode& value) const;
  bool is_constants(const TreeNode& select) const;
  bool visit_select_body(const TreeNode& node);
  bool visit_insert(const TreeNode& node);
  void visit_update(const TreeNode& node);
  void visit_delete(const TreeNode& node);
  void visit_merge(const TreeNode& node);
  void visit_with(const TreeNode& query);
  bool visit_from(const TreeNode& item);  // true: what it gives is filtered
  std::string sampling_method(const TreeNode& sample) const;
  bool visit_from_relation(const TreeNode& relation);
  bool visit_join(const TreeNode& join);
  void push_source(const TreeNode& item, std::optional<size_t> object);
  void visit_locking(const TreeNode& select, size_t first_source);
  void visit_into(const TreeNode& select);
  void visit_assignments(const TreeNode& query, Key list, size_t target, Effect effect);
  size_t add_target(const TreeNode& relation, Effects uses, bool filters);
  bool has_filter(const TreeNode& query, Key key);
  void note_limit(const TreeNode& select);
  const CommonTable* common_table(const TreeNode& relation) const;

  // walk_expression.cc
  void visit(const TreeNode& node);
  void visit_children(const TreeNode& node);
  void visit_list(const TreeNode& node, Key list);
  void visit_child(const TreeNode& node, Key key);
  void visit_column(const TreeNode& node);
  void visit_type(const TreeNode& node);
  void visit_call(const TreeNode& node);
  void note_set_config(const TreeNode& call);
  void note_sequence(const TreeNode& call, const std::string& function);
  void add_column(size_t object, std::string name, Effects uses);
  void add_column_of_any(const std::string& name);
  bool mark_sources_read();
  void add_function(const TreeNode& node, bool is_called, uint16_t argument_count = Function::kNotTold);
  void add_function(Function function, bool is_called);
  [[nodiscard]] uint16_t argument_count(const TreeNode& call) const;
  // The text of a literal argument; empty optional: it is none.
  bool literal_text(const TreeNode& node, std::string& out);

  // walk_utility.cc
  void visit_statement(const TreeNode& node);
  bool visit_special(const TreeNode& node);
  void visit_explain(const TreeNode& node);
  void visit_prepare(const TreeNode& node);
  void visit_declare(const TreeNode& node);
  void visit_execute(const TreeNode& node);
  void visit_fetch(const TreeNode& node);
  void visit_create_table_as(const TreeNode& node);
  void visit_copy(const TreeNode& node);
  void visit_do(const TreeNode& node);
  void visit_call_statement(const TreeNode& node);
  void visit_transaction(const TreeNode& node);
  void visit_discard(const TreeNode& node);
  void visit_set(const TreeNode& node);
  void visit_drop(const TreeNode& node);
  void visit_grant(const TreeNode& node);
  void visit_grant_role(const TreeNode& node);
  void visit_named_object(const TreeNode& node);  // RENAME, OWNER TO, SET SCHEMA, COMMENT, SECURITY LABEL
  void visit_create_function(const TreeNode& node);
  void visit_view(const TreeNode& node);
  void visit_rule(const TreeNode& node);
  void visit_trigger(const TreeNode& node);
  void visit_vacuum(const TreeNode& node);
  void visit_relations(const TreeNode& node, Key list, Effects uses, ObjectKind kind);
  void visit_create_table(const TreeNode& node);
  void visit_create_schema(const TreeNode& node);
  void visit_truncate(const TreeNode& node);
  void visit_lock(const TreeNode& node);
  void visit_by_table(const TreeNode& node);
  void add_named_by_table(const TreeNode& named, const Utility& utility);
  void add_part_of_table(const TreeNode& node, Effects uses);
  void note_alter_table(const TreeNode& node);
  std::string note_language(const TreeNode& node, Key options);
  void read_routine(const TreeNode& node, Key options, const std::string& language, MergeAs as);
  void note_options(const TreeNode& node);
  void note_flags(const TreeNode& node, Key options);
  void note_cascade(const TreeNode& node);
  void note_members(const TreeNode& node);
  void note_settings(const TreeNode& node, Key options);
  std::vector<SessionChange> changes_of(const TreeNode& set);
  void add_detail(std::string_view detail);
  bool is_on(const TreeNode& option) const;
  void note_grant(const TreeNode& node);
  bool constant_text(const TreeNode& node, std::string& out);
  // An object named by a list of identifiers, an ObjectWithArgs, a TypeName or a String.
  void add_named(const TreeNode& node, Effects uses, ObjectKind kind);
  void name_command(std::string_view command);

  // Shared.
  size_t add_relation(const TreeNode& relation, Effects uses, ObjectKind kind, bool filters);
  size_t add_object(Object object, Effects uses);
  void note(Effects effects);
  void note(Effect effect) { note(Effects{effect}); }
  void note_unknown(UnknownReason reason);
  void note_operator(const TreeNode& node, Key list);
  void note_field(std::string name);
  void note_verb(std::string_view verb);
  std::string exact(std::string name);
  std::string name_at(const TreeNode& node, Key key) { return exact(tree_.text(node, key)); }
  bool is_relation(const TreeNode& node) const { return tree_.has(node, Key::k_relname); }

  const Tree& tree_;
  Consulted& consulted_;
  RoutineReader& routines_;
  bool has_exact_names_;
  Statement out_;
  std::vector<Source> sources_;
  std::vector<CommonTable> common_tables_;
  bool is_deferred_ = false;  // explained, prepared or put into a body
  bool is_body_ = false;      // not even planned: functions in it are not called now
  bool is_filtered_ = false;  // by a condition above what is being visited
  bool has_unfiltered_write_ = false;
  bool query_filters_ = true;
  bool has_write_ = false;                    // UPDATE, DELETE, TRUNCATE, MERGE
  Effects default_uses_{Effect::kReference};  // of a relation that no handler expects
  size_t query_depth_ = 0;
};

class Walk::Scope {
 public:
  explicit Scope(Walk& walk) : walk_(walk), sources_(walk.sources_.size()), common_tables_(walk.common_tables_.size()) {
    ++walk.query_depth_;
  }
  ~Scope() {
    --walk_.query_depth_;
    walk_.sources_.resize(sources_);
    walk_.common_tables_.resize(common_tables_);
  }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  Walk& walk_;
  size_t sources_, common_tables_;
};

class Walk::Deferred {
 public:
  enum class How : bool { kPlanned, kBody };
  Deferred(Walk& walk, How how) : walk_(walk), deferred_before_(walk.is_deferred_), body_before_(walk.is_body_) {
    walk.is_deferred_ = true;
    walk.is_body_ = walk.is_body_ || how == How::kBody;
  }
  ~Deferred() {
    walk_.is_deferred_ = deferred_before_;
    walk_.is_body_ = body_before_;
  }
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;

 private:
  Walk& walk_;
  bool deferred_before_, body_before_;
};

}  // namespace gatehouse::sql
