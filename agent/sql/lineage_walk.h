// SPDX-License-Identifier: Apache-2.0
// LineageWalk: the columns of the statements of one text, as the server's own analysis would find them: names by
// nested scopes (parse_relation.c), columns of joins (parse_clause.c), names of outputs (parse_target.c).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/sql/lineage_context.h"
#include "agent/sql/lineage_flow.h"
#include "agent/sql/tree.h"

namespace gatehouse::sql {

class LineageWalk {
 public:
  using PathId = LineageContext::PathId;
  LineageWalk(LineageContext& context, const Tree& tree, PathId path) : context_(context), tree_(tree), path_(path) {}

  // Arguments of the function whose body the text is: by number, and by name where it has one.
  void give_arguments(std::string function, std::vector<NamedFlow> arguments);
  // A relation whose columns are in sight.
  void give_row(std::string name, std::shared_ptr<const Row> row);

  // SELECT, VALUES, INSERT, …: what it gives; nothing without RETURNING.
  Row query(const TreeNode& node);
  Flow expression(const TreeNode& node);
  // Of a node that is below "stmt"; not a query.
  Lineage utility(const TreeNode& node);
  Lineage statement(const TreeNode& node);

 private:
  struct FromItem {
    std::string name;    // that columns are qualified with
    std::string schema;  // of a relation without an alias
    std::shared_ptr<const Row> row;
    bool is_named = true;      // name.column finds it
    bool has_columns = true;   // column, and *, find what is in it
    bool is_relation = false;  // it has system columns
    bool is_scalar = false;    // the name alone is its first column: a function's
    // The relation is not in the catalog: any column's name is taken as written.
    bool is_nameless = false;
    std::string relation_schema, relation;    // if is_nameless
    const CatalogRelation* target = nullptr;  // of INSERT, UPDATE, …, if it is known
  };
  struct Level {
    std::vector<FromItem> items;
    Level* outer = nullptr;
    std::optional<Flow> windows;  // what WINDOW clauses look at
  };
  struct CommonTable {
    enum class Stage : uint8_t { kNew, kOpen, kDone };
    std::string name;
    const TreeNode* node = nullptr;
    Stage stage = Stage::kNew;
    bool is_recursive = false;  // it may refer to itself
    bool is_referred = false;   // it does
    Row row;
  };
  struct CommonTables {
    std::vector<std::unique_ptr<CommonTable>> tables;
    CommonTables* outer = nullptr;
    Level* level = nullptr;
  };
  class LevelScope;
  class WithScope;
  class DepthScope;

  // lineage_query.cc
  Row select(const TreeNode& node);
  Row select_body(const TreeNode& node);
  Row set_operation(const TreeNode& node);
  Row values(const TreeNode& node);
  Row targets(const TreeNode& node, Key list);
  void add_star(const TreeNode& fields, Row& out);
  void add_row_star(const TreeNode& value, Row& out);
  void note_order(const TreeNode& node, Key list, const Row& outputs);
  void note_condition(const TreeNode& node, Key key);
  Flow named_output(const TreeNode& expression, const Row& outputs, bool& is_found);
  std::string output_name(const TreeNode& value, int& strength) const;
  std::string last_name(const TreeNode& node, Key list) const;
  void push_tables(const TreeNode& with, CommonTables& tables);
  void evaluate(CommonTable& table, CommonTables& tables);
  Row recursive(CommonTable& table, const TreeNode& body);
  void add_search_columns(const TreeNode& node, Row& row);
  const Row* common_table(const std::string& name);

  // lineage_from.cc
  void from(const TreeNode& node, Key list);
  void from_item(const TreeNode& item);
  void from_relation(const TreeNode& relation);
  FromItem relation_item(const TreeNode& relation);
  std::shared_ptr<const Row> relation_row(const std::string& schema, const std::string& name, bool only,
                                          FromItem& item);
  void from_query(const TreeNode& item);
  void from_functions(const TreeNode& item);
  void from_xml(const TreeNode& item);
  void from_join(const TreeNode& join);
  Row joined(const Row& left, const Row& right, std::vector<std::string> shared, bool is_natural, Row* merged);
  void add_item(FromItem item, const TreeNode* alias);
  Row row_of_definitions(const TreeNode& list, const Flow& flow) const;

  // lineage_names.cc
  Flow column(const TreeNode& reference);
  Flow column(const std::string& name);
  Flow column_of(const std::string& schema, const std::string& relation, const std::string& name);
  static Flow whole(const FromItem& item);
  Flow open_column(const FromItem& item, const std::string& name);
  std::optional<Flow> find_in(const FromItem& item, const std::string& name);
  Flow not_found(const std::string& name);
  std::vector<std::string> names_of(const TreeNode& node, Key list) const;

  // lineage_expression.cc
  Flow operation(const TreeNode& node);
  Flow indirection(const TreeNode& node);
  Flow field(const Flow& value, const std::string& name);
  Flow cast(const TreeNode& node);
  Flow case_of(const TreeNode& node);
  Flow sub_query(const TreeNode& node);
  Flow row_of(const TreeNode& node, Key list);
  Flow alternatives(const TreeNode& node, Key list);
  Flow children(const TreeNode& node);
  Flow list(const TreeNode& node, Key key);
  Flow is_null(Flow flow);
  void add_operator(const TreeNode& node, Key list, Flow& out);
  Oid named_type(const TreeNode& type, bool& is_own) const;
  Flow decided(const TreeNode& node);  // of a condition; noted as a predicate
  Flow window(const TreeNode& over);

  // lineage_function.cc
  struct Call {
    std::string schema, name;
    std::vector<NamedFlow> arguments;   // with names where the call gives them
    bool has_fixed_count = true;        // false: VARIADIC
    bool has_constant_setting = false;  // its first argument is a literal that names a parameter of the server
  };
  // What it gives as a table; `is_scalar`: as one value.
  Row call(const Call& call, bool& is_scalar);
  Flow call_value(const TreeNode& node);
  Call call_of(const TreeNode& node);
  Row call_named(const Call& call, bool& is_scalar);
  Row call_builtin(const Call& call, std::span<const CatalogFunction* const> overloads, bool& is_scalar);
  Flow call_known(const Call& call);
  std::optional<Flow> call_bounded(const Call& call, bool by_name_only);
  void note_stores(const Call& call);
  Row call_user(const CatalogFunction& function, const Call& call, bool& is_scalar);
  std::optional<Row> follow(const CatalogFunction& function, const Call& call);
  std::vector<NamedFlow> bind(const CatalogFunction& function, const Call& call);
  Row shaped(const CatalogFunction& function, Row given, bool& is_scalar) const;
  Flow all_of(const Call& call) const;

  // lineage_change.cc
  Row insert(const TreeNode& node);
  Row update(const TreeNode& node);
  Row erase(const TreeNode& node);
  Row merge(const TreeNode& node);
  FromItem target_item(const TreeNode& relation, Effects effects);
  Flow added_by_triggers(const CatalogRelation& target, Effects effects);
  void assign(const FromItem& target, const TreeNode& node, Key list, Row& changed, bool is_insert);
  void note_copy(const FromItem& target, const std::string& column, const Flow& flow, Row& changed);
  Row returning(const TreeNode& node, FromItem target, Row changed);
  const CatalogRelation* target_relation(const TreeNode& relation) const;

  // lineage_utility.cc
  void explain(const TreeNode& node, Lineage& out);
  void copy_out(const TreeNode& node, Lineage& out);
  Row copied_columns(const TreeNode& node);
  void create_as(const TreeNode& node, Lineage& out);
  const TreeNode* into_of(const TreeNode& select) const;
  void copy_into(const TreeNode& into, const Row& row, const std::vector<std::string>& names);
  void copy_format(const TreeNode& node, Lineage& out);
  void give(Row row, Lineage& out);

  std::string text_of(const TreeNode& node, Key key) const { return tree_.text(node, key); }

  LineageContext& context_;
  const Tree& tree_;
  PathId path_;
  Level arguments_;  // the outermost scope
  std::vector<NamedFlow> numbered_;
  bool is_body_ = false;
  Level* level_ = &arguments_;
  CommonTables* tables_ = nullptr;
};

class LineageWalk::LevelScope {
 public:
  LevelScope(LineageWalk& walk, Level* level) : walk_(walk), before_(walk.level_) { walk.level_ = level; }
  ~LevelScope() { walk_.level_ = before_; }
  LevelScope(const LevelScope&) = delete;
  LevelScope& operator=(const LevelScope&) = delete;

 private:
  LineageWalk& walk_;
  Level* before_;
};

// The WITH of a query, until its end.
class LineageWalk::WithScope {
 public:
  WithScope(LineageWalk& walk, const TreeNode& query) : walk_(walk), before_(walk.tables_) {
    const TreeNode* with = walk.tree_.child(query, Key::k_withClause);
    if (with == nullptr) return;
    tables_.outer = before_;
    tables_.level = walk.level_;
    walk.tables_ = &tables_;
    walk.push_tables(*with, tables_);
  }
  ~WithScope() { walk_.tables_ = before_; }
  WithScope(const WithScope&) = delete;
  WithScope& operator=(const WithScope&) = delete;

 private:
  LineageWalk& walk_;
  CommonTables* before_;
  CommonTables tables_;
};

// False: too deep, or too much work.
class LineageWalk::DepthScope {
 public:
  explicit DepthScope(LineageContext& context) : context_(context) { ++context.depth; }
  ~DepthScope() { --context_.depth; }
  DepthScope(const DepthScope&) = delete;
  DepthScope& operator=(const DepthScope&) = delete;
  [[nodiscard]] bool is_allowed() const { return context_.depth <= kLineageDepthMax && context_.spend(1); }

 private:
  LineageContext& context_;
};

}  // namespace gatehouse::sql
