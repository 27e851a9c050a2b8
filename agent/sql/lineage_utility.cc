// SPDX-License-Identifier: Apache-2.0
// Whole statements: those that give rows, those that prepare such, COPY, and what makes a table of a query.
#include <algorithm>
#include <utility>

#include "agent/sql/lineage_walk.h"

namespace gatehouse::sql {
namespace {

OutputColumn output_of(const SourceTable& sources, std::string name, const Flow& flow) {
  return {.name = std::move(name),
          .sources = flow.sources.in(sources),
          .conditions = flow.conditions.in(sources),
          .derivation = flow.is_derived && flow.tells_something() ? OutputColumn::Derivation::kDerived
                                                                  : OutputColumn::Derivation::kCopied,
          .is_unknown = flow.is_unknown};
}

}  // namespace

void LineageWalk::give(Row row, Lineage& out) {
  const Flow all = row.all();
  out.every = output_of(context_.sources, {}, all);
  out.are_columns_known = !row.is_open;
  out.columns.clear();
  if (row.is_open) return;
  for (NamedFlow& column : row.columns)
    out.columns.push_back(output_of(context_.sources, std::move(column.name), column.flow));
}

// SELECT INTO; of a UNION it stands in the first part.
const TreeNode* LineageWalk::into_of(const TreeNode& select) const {
  const TreeNode* first = &select;
  while (const TreeNode* left = tree_.child(*first, Key::k_larg)) first = left;
  return tree_.child(*first, Key::k_intoClause);
}

Lineage LineageWalk::statement(const TreeNode& node) {
  Lineage out;
  switch (node.type) {
    case Key::k_SelectStmt: {
      Row row = query(node);
      if (const TreeNode* into = into_of(node)) {
        copy_into(*into, row, {});
      } else {
        out.has_rows = true;
        give(std::move(row), out);
      }
      break;
    }
    case Key::k_InsertStmt:
    case Key::k_UpdateStmt:
    case Key::k_DeleteStmt:
    case Key::k_MergeStmt:
      out.has_rows = tree_.has(node, Key::k_returningList);
      give(query(node), out);
      break;
    default:
      out = utility(node);
  }
  for (const TracedCopy& copy : context_.copies)
    out.copies.push_back(
        {.place = copy.place,
         .target = copy.target,
         .sources = copy.flow.sources.in(context_.sources),
         .derivation = copy.flow.is_derived ? OutputColumn::Derivation::kDerived : OutputColumn::Derivation::kCopied,
         .is_unknown = copy.flow.is_unknown});
  out.predicates = context_.predicates.in(context_.sources);
  out.touched = context_.touched.in(context_.sources);
  out.may_touch_unknown = context_.touches_unknown;
  out.unknown_reasons = context_.reasons;
  return out;
}

Lineage LineageWalk::utility(const TreeNode& node) {
  Lineage out;
  switch (node.type) {
    case Key::k_ExplainStmt:
      explain(node, out);
      break;
    case Key::k_PrepareStmt:
    case Key::k_DeclareCursorStmt:
      out.is_for_later = true;
      if (const TreeNode* prepared = tree_.child(node, Key::k_query)) {
        const bool has_rows = prepared->type == Key::k_SelectStmt || tree_.has(*prepared, Key::k_returningList);
        Row row = query(*prepared);
        if (has_rows) give(std::move(row), out);
      }
      break;
    case Key::k_ExecuteStmt:
    case Key::k_FetchStmt:
      if (tree_.has(node, Key::k_ismove)) break;
      out.has_rows = true;
      out.is_of_handle = true;
      if (const TreeNode* values = tree_.child(node, Key::k_params)) context_.touch(children(*values));
      give(open_row(unknown_flow()), out);
      break;
    case Key::k_CopyStmt:
      copy_out(node, out);
      break;
    case Key::k_CreateTableAsStmt:
      create_as(node, out);
      break;
    case Key::k_CallStmt:
      // OUT arguments come back as a row.
      out.has_rows = true;
      if (const TreeNode* called = tree_.child(node, Key::k_funccall)) {
        bool is_scalar = false;
        Row row = call(call_of(*called), is_scalar);
        row.open({});
        give(std::move(row), out);
      }
      break;
    case Key::k_VariableShowStmt: {
      // What set_config put into a parameter of one's own may be anything; those have a point in their names.
      out.has_rows = true;
      Row row;
      const std::string name = text_of(node, Key::k_name);
      row.columns.push_back({.name = name, .flow = {}});
      if (name.find('.') != std::string::npos) row.columns.front().flow = unknown_flow();
      if (name == "all") row = open_row({.is_derived = true});
      give(std::move(row), out);
      break;
    }
    default:
      // No rows that are known. If any come, nothing is known of them.
      give(open_row(unknown_flow()), out);
  }
  return out;
}

// A plan shows the text's own constants, and what functions gave that the planner ran.
void LineageWalk::explain(const TreeNode& node, Lineage& out) {
  out.has_rows = true;
  const TreeNode* query_node = tree_.child(node, Key::k_query);
  if (query_node == nullptr) return;
  switch (query_node->type) {
    case Key::k_SelectStmt:
    case Key::k_InsertStmt:
    case Key::k_UpdateStmt:
    case Key::k_DeleteStmt:
    case Key::k_MergeStmt:
      query(*query_node);
      break;
    case Key::k_ExecuteStmt:
      out.is_of_handle = true;
      context_.foldable = unknown_flow();
      break;
    default:
      if (const TreeNode* inner = tree_.child(*query_node, Key::k_query))
        query(*inner);
      else
        context_.foldable = unknown_flow();
  }
  Row row;
  row.columns.push_back({.name = "QUERY PLAN", .flow = context_.foldable});
  row.columns.front().flow.is_derived = true;
  // Without ANALYZE nothing is copied.
  bool is_run = false;
  for (const TreeNode& option : tree_.items(node, Key::k_options))
    is_run = is_run || tree_.text(option, Key::k_defname) == "analyze";
  if (!is_run) context_.copies.clear();
  give(std::move(row), out);
}

// Of COPY table TO: the columns that it names, or all that are not generated.
Row LineageWalk::copied_columns(const TreeNode& node) {
  const TreeNode* relation = tree_.child(node, Key::k_relation);
  if (relation == nullptr) return open_row(unknown_flow());
  FromItem item{.name = text_of(*relation, Key::k_relname), .schema = text_of(*relation, Key::k_schemaname)};
  const std::string schema = item.schema;
  // COPY gives the table's own rows, and those of its partitions where it may name such (18).
  item.row = relation_row(schema, item.name, false, item);
  const CatalogRelation* known = target_relation(*relation);
  const std::vector<std::string> names = names_of(node, Key::k_attlist);
  Row out;
  if (!names.empty()) {
    for (const std::string& name : names) {
      std::optional<Flow> flow = find_in(item, name);
      out.columns.push_back({.name = name, .flow = flow ? *std::move(flow) : unknown_flow()});
    }
    return out;
  }
  if (item.row->is_open || known == nullptr) {
    out = open_row(open_column(item, "*"));
    out.rest.take(item.row->all());
    return out;
  }
  for (size_t i = 0; i < item.row->columns.size(); ++i) {
    if (i < known->columns.size() && known->columns[i].is_generated) continue;
    context_.touch(item.row->columns[i].flow);
    out.columns.push_back(item.row->columns[i]);
  }
  return out;
}

void LineageWalk::copy_out(const TreeNode& node, Lineage& out) {
  if (tree_.has(node, Key::k_is_from)) {
    note_condition(node, Key::k_whereClause);
    return;
  }
  context_.depends_on_text = true;
  copy_format(node, out);
  Row row;
  if (const TreeNode* query_node = tree_.child(node, Key::k_query))
    row = query(*query_node);
  else
    row = copied_columns(node);
  out.has_rows = out.copy->to == CopyFormat::To::kClient;
  if (!out.has_rows && row.all().tells_something())
    context_.copy(out.copy->to == CopyFormat::To::kFile ? ColumnCopy::Place::kFile : ColumnCopy::Place::kProgram, {},
                  row.all());
  give(std::move(row), out);
}

void LineageWalk::copy_format(const TreeNode& node, Lineage& out) {
  CopyFormat format;
  if (tree_.has(node, Key::k_filename))
    format.to = tree_.has(node, Key::k_is_program) ? CopyFormat::To::kProgram : CopyFormat::To::kFile;
  std::optional<std::string> delimiter, null, quote, escape;
  for (const TreeNode& option : tree_.items(node, Key::k_options)) {
    const std::string name = text_of(option, Key::k_defname);
    const TreeNode* arg = tree_.child(option, Key::k_arg);
    std::string text = arg == nullptr ? std::string{} : tree_.text(*arg, Key::k_sval);
    if (name == "format") {
      if (text == "csv") format.kind = CopyFormat::Kind::kCsv;
      if (text == "binary") format.kind = CopyFormat::Kind::kBinary;
    } else if (name == "header") {
      const bool is_off = text == "false" || text == "off" || text == "0" ||
                          (arg != nullptr && arg->type == Key::k_Boolean && !tree_.has(*arg, Key::k_boolval)) ||
                          (arg != nullptr && arg->type == Key::k_Integer && tree_.number(*arg, Key::k_ival) == 0);
      format.has_header = !is_off;
    } else if (name == "delimiter") {
      delimiter = std::move(text);
    } else if (name == "null") {
      null = std::move(text);
    } else if (name == "quote") {
      quote = std::move(text);
    } else if (name == "escape") {
      escape = std::move(text);
    } else if (name == "encoding") {
      format.encoding = std::move(text);
    } else if (name == "force_quote") {
      format.forces_all_quotes = arg != nullptr && arg->type == Key::k_A_Star;
      if (arg != nullptr) format.forces_quotes = names_of(*arg, Key::k_items);
    }
  }
  const bool is_csv = format.kind == CopyFormat::Kind::kCsv;
  const auto first = [](const std::optional<std::string>& given, char other) {
    return given && !given->empty() ? given->front() : other;
  };
  format.delimiter = first(delimiter, is_csv ? ',' : '\t');
  format.quote = first(quote, '"');
  format.escape = is_csv ? first(escape, format.quote) : '\\';
  format.null = null.value_or(is_csv ? "" : "\\N");
  out.copy = std::move(format);
}

// CREATE TABLE AS, SELECT INTO. Of a materialized view the catalog keeps what it shows.
void LineageWalk::create_as(const TreeNode& node, Lineage& out) {
  const TreeNode* into = tree_.child(node, Key::k_into);
  const TreeNode* query_node = tree_.child(node, Key::k_query);
  if (into == nullptr || query_node == nullptr) return;
  Row row;
  if (query_node->type == Key::k_ExecuteStmt) {
    out.is_of_handle = true;
    row = open_row(unknown_flow());
  } else {
    row = query(*query_node);
  }
  if (tree_.raw_text(node, Key::k_objtype) != "OBJECT_MATVIEW") copy_into(*into, row, names_of(*into, Key::k_colNames));
}

void LineageWalk::copy_into(const TreeNode& into, const Row& row, const std::vector<std::string>& names) {
  const TreeNode* relation = tree_.child(into, Key::k_rel);
  if (relation == nullptr) return;
  Row renamed = row;
  renamed.rename(names);
  ColumnSource target{.schema = text_of(*relation, Key::k_schemaname), .relation = text_of(*relation, Key::k_relname)};
  if (tree_.raw_text(*relation, Key::k_relpersistence) == "t") target.schema = "pg_temp";
  const auto add = [&](const std::string& name, const Flow& flow) {
    if (!flow.tells_something()) return;
    ColumnSource to = target;
    to.column = name;
    context_.copy(ColumnCopy::Place::kRelation, std::move(to), flow);
  };
  if (renamed.is_open) {
    add("*", renamed.all());
    return;
  }
  for (const NamedFlow& column : renamed.columns) add(column.name, column.flow);
}

}  // namespace gatehouse::sql
