// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/catalog_builder.h"

#include <algorithm>
#include <utility>

#include "agent/sql/functions.h"

namespace gatehouse::sql {
namespace {

// pg_trigger.tgtype.
constexpr uint16_t kTriggerRow = 1 << 0, kTriggerBefore = 1 << 1, kTriggerInsert = 1 << 2, kTriggerDelete = 1 << 3,
                   kTriggerUpdate = 1 << 4, kTriggerTruncate = 1 << 5, kTriggerInstead = 1 << 6;

ObjectKind kind_of(char relkind) {
  switch (relkind) {
    case 'v':
      return ObjectKind::kView;
    case 'm':
      return ObjectKind::kMaterializedView;
    case 'f':
      return ObjectKind::kForeignTable;
    case 'i':
    case 'I':
      return ObjectKind::kIndex;
    case 'S':
      return ObjectKind::kSequence;
    default:
      return ObjectKind::kTable;
  }
}

// What a statement that is kept calls, once it runs.
void take_calls(Statement& definition, SqlCode& code) {
  for (Function& function : definition.functions) {
    function.is_deferred = false;
    code.functions.push_back(std::move(function));
  }
  code.types = std::move(definition.types);
  code.operators = std::move(definition.operators);
  code.fields = std::move(definition.fields);
}

// CREATE RULE tells what its actions do as what comes later.
SqlCode happening_now(Statement definition) {
  SqlCode code;
  code.effects = definition.deferred;
  code.unknown = definition.deferred_unknown;
  std::vector<size_t> places(definition.objects.size(), Column::kNotTold);
  for (size_t i = 0; i < definition.objects.size(); ++i) {
    Object& object = definition.objects[i];
    if (object.deferred.empty()) continue;
    object.uses = std::exchange(object.deferred, {});
    places[i] = code.objects.size();
    code.objects.push_back(std::move(object));
  }
  for (Column& column : definition.columns) {
    if (column.object != Column::kNotTold) column.object = places[column.object];
    code.columns.push_back(std::move(column));
  }
  take_calls(definition, code);
  return code;
}

// Of CREATE TRIGGER only what its WHEN calls; it cannot ask tables.
SqlCode condition_of(Statement definition) {
  SqlCode code;
  take_calls(definition, code);
  return code;
}

size_t bytes_of(const Statement& statement) {
  size_t bytes = sizeof(statement);
  bytes += statement.objects.capacity() * sizeof(Object) + statement.columns.capacity() * sizeof(Column);
  bytes += statement.functions.capacity() * sizeof(Function);
  bytes += (statement.types.capacity() + statement.operators.capacity()) * sizeof(QualifiedName);
  bytes += statement.fields.capacity() * sizeof(std::string);
  return bytes;
}

}  // namespace

std::shared_ptr<const Catalog> Catalog::build(CatalogRows rows) {
  return CatalogBuilder(std::move(rows)).build();
}

std::shared_ptr<const Catalog> CatalogBuilder::build() {
  add_names();
  add_relations();
  add_types();
  add_expressions();
  add_keys();
  add_triggers();
  add_rules();
  add_functions();
  add_hidden();
  index_names();
  count_bytes();
  return std::move(out_);
}

SqlCode CatalogBuilder::read(Text kind, const std::string& text) {
  SqlCode out;
  switch (kind) {
    case Text::kStatements:
      reader_.read_statements(text, out);
      return out;
    case Text::kExpression:
      reader_.read_expression(text, out);
      return out;
    case Text::kPlpgsql:
      reader_.read("plpgsql", text, out);
      return out;
    case Text::kSqlBody:
      reader_.read_sql_body(text, out);
      return out;
    case Text::kRule:
      reader_.read_statements(text, out);
      return happening_now(std::move(out));
    case Text::kWhen:
      reader_.read_statements(text, out);
      return condition_of(std::move(out));
  }
  return out;
}

const SqlCode* CatalogBuilder::code(Text kind, const std::string& text) {
  if (text.empty()) return nullptr;
  std::string key(1, static_cast<char>(kind));
  key += text;
  const auto found = codes_.find(key);
  if (found != codes_.end()) return found->second;
  SqlCode& made = out_->codes_.emplace_back(read(kind, text));
  made.verbs.clear();
  return codes_[std::move(key)] = &made;
}

CatalogRelation* CatalogBuilder::relation(Oid oid) {
  const auto found = out_->relations_.find(oid);
  return found == out_->relations_.end() ? nullptr : &found->second;
}

void CatalogBuilder::add_names() {
  out_->version_ = rows_.version;
  out_->database_ = std::move(rows_.database);
  out_->missing_ = std::move(rows_.missing);
  out_->settings_ = std::move(rows_.settings);
  for (CatalogRows::Role& row : rows_.roles) out_->roles_[row.oid] = std::move(row.name);
  for (CatalogRows::Schema& row : rows_.schemas)
    out_->schemas_[row.oid] = {
        .name = std::move(row.name), .owner = row.owner, .is_usable_by_all = row.is_usable_by_all};
  for (const auto& [oid, schema] : out_->schemas_) out_->schema_oids_[schema.name] = oid;
}

void CatalogBuilder::add_relations() {
  out_->relations_.reserve(rows_.relations.size());
  for (CatalogRows::Relation& row : rows_.relations) {
    const std::string_view schema = out_->schema_name(row.schema);
    CatalogRelation& made = out_->relations_[row.oid];
    made.oid = row.oid;
    made.schema = row.schema;
    made.owner = row.owner;
    made.name = std::move(row.name);
    made.kind = kind_of(row.kind);
    made.is_partitioned = row.kind == 'p';
    made.is_system = schema == "pg_catalog" || schema == "information_schema" || schema == "pg_toast";
    made.is_temporary = row.is_temporary;
    made.foreign_wrapper = std::move(row.foreign_wrapper);
    made.definition = code(Text::kStatements, row.definition);
    made.query = std::move(row.definition);
  }
  for (CatalogRows::Column& row : rows_.columns) {
    CatalogRelation* found = relation(row.relation);
    if (found == nullptr) {
      row_types_[row.relation].push_back(std::move(row.name));
      continue;
    }
    const auto next = static_cast<int16_t>(found->columns.size() + 1);
    found->columns.push_back({.name = std::move(row.name),
                              .type = row.type,
                              .is_partition_key = row.is_partition_key,
                              .attribute = row.attribute == 0 ? next : row.attribute,
                              .is_generated = row.is_generated,
                              .expression = std::move(row.expression)});
  }
  for (const CatalogRows::Inheritance& row : rows_.inheritance) {
    if (CatalogRelation* child = relation(row.child)) child->parents.push_back(row.parent);
    CatalogRelation* parent = relation(row.parent);
    const CatalogRelation* child = relation(row.child);
    if (parent != nullptr && (child == nullptr || child->kind != ObjectKind::kIndex))
      parent->children.push_back(row.child);
  }
  for (const CatalogRows::OwnedSequence& row : rows_.sequences)
    if (CatalogRelation* found = relation(row.relation)) found->sequences.push_back(row.sequence);
}

void CatalogBuilder::add_types() {
  for (CatalogRows::Type& row : rows_.types)
    out_->types_[row.oid] = {.oid = row.oid,
                             .schema = row.schema,
                             .name = std::move(row.name),
                             .base = row.base != kNoOid ? row.base : row.element,
                             .relation = row.relation,
                             .columns = std::move(row_types_[row.relation]),
                             .checks = {}};
}

void CatalogBuilder::add_expressions() {
  for (const CatalogRows::Expression& row : rows_.expressions) {
    const SqlCode* made = code(Text::kExpression, row.text);
    if (made == nullptr) continue;
    if (row.kind == CatalogRows::Expression::Kind::kDomain) {
      if (const auto found = out_->types_.find(row.owner); found != out_->types_.end())
        found->second.checks.push_back(made);
      continue;
    }
    CatalogRelation* found = relation(row.owner);
    if (found == nullptr) continue;
    auto& list = row.kind == CatalogRows::Expression::Kind::kPolicy ? found->on_access : found->on_change;
    if (std::ranges::find(list, made) == list.end()) list.push_back(made);
  }
}

void CatalogBuilder::add_keys() {
  for (const CatalogRows::ForeignKey& row : rows_.foreign_keys) {
    if (CatalogRelation* from = relation(row.from))
      from->references.push_back({.relation = row.to, .on_update = row.on_update, .on_delete = row.on_delete});
    if (CatalogRelation* to = relation(row.to))
      to->referenced_by.push_back({.relation = row.from, .on_update = row.on_update, .on_delete = row.on_delete});
  }
}

void CatalogBuilder::add_triggers() {
  for (CatalogRows::Trigger& row : rows_.triggers) {
    CatalogRelation* found = relation(row.relation);
    if (found == nullptr) continue;
    CatalogTrigger made{.name = std::move(row.name),
                        .events = {},
                        .is_instead = (row.type & kTriggerInstead) != 0,
                        .changes_row = (row.type & kTriggerInstead) != 0 ||
                                       ((row.type & kTriggerRow) != 0 && (row.type & kTriggerBefore) != 0),
                        .function = row.function,
                        .condition = code(Text::kWhen, row.definition)};
    if ((row.type & kTriggerInsert) != 0) made.events.add(Effect::kInsert);
    if ((row.type & kTriggerDelete) != 0) made.events.add(Effect::kDelete);
    if ((row.type & kTriggerUpdate) != 0) made.events.add(Effect::kUpdate);
    if ((row.type & kTriggerTruncate) != 0) made.events.add(Effect::kTruncate);
    found->triggers.push_back(std::move(made));
  }
  for (CatalogRows::EventTrigger& row : rows_.event_triggers)
    out_->event_triggers_.push_back(
        {.name = std::move(row.name), .function = row.function, .tags = std::move(row.tags)});
}

void CatalogBuilder::add_rules() {
  for (CatalogRows::Rule& row : rows_.rules) {
    CatalogRelation* found = relation(row.relation);
    if (found == nullptr) continue;
    const Effect event = row.event == '3' ? Effect::kInsert : row.event == '4' ? Effect::kDelete : Effect::kUpdate;
    found->rules.push_back({.name = std::move(row.name),
                            .event = event,
                            .is_instead = row.is_instead && !row.has_condition,
                            .code = code(Text::kRule, row.definition)});
  }
}

void CatalogBuilder::add_functions() {
  out_->functions_.reserve(rows_.functions.size());
  for (CatalogRows::Function& row : rows_.functions) add_function(row);
}

void CatalogBuilder::add_function(CatalogRows::Function& row) {
  CatalogFunction& made = out_->functions_[row.oid];
  made.oid = row.oid;
  made.schema = row.schema;
  made.owner = row.owner;
  made.name = std::move(row.name);
  made.language = std::move(row.language);
  made.volatility = row.volatility;
  made.is_builtin = row.oid < kFirstUserOid;
  made.is_aggregate = row.kind == 'a';
  made.returns_set = row.returns_set;
  made.result = row.result;
  for (size_t i = 0; i < row.argument_names.size(); ++i) {
    const char mode = i < row.argument_modes.size() ? row.argument_modes[i] : 'i';
    if (mode == 'o' || mode == 'b' || mode == 't') made.outputs.push_back(row.argument_names[i]);
    if (mode == 'i' || mode == 'b' || mode == 'v') made.inputs.push_back(std::move(row.argument_names[i]));
  }
  made.is_security_definer = row.is_security_definer;
  made.is_of_extension = row.is_of_extension;
  made.arguments_min = static_cast<uint16_t>(row.argument_count - std::min(row.default_count, row.argument_count));
  made.arguments_max = row.argument_count;
  if (row.is_variadic) {
    made.arguments_min = 0;
    made.arguments_max = UINT16_MAX;
  }
  if (made.is_builtin) return;
  made.types = std::move(row.argument_types);
  made.types.push_back(row.result);
  made.search_path = std::move(row.search_path);
  made.calls = std::move(row.supports);
  made.defaults = code(Text::kExpression, row.defaults);
  if (row.source.empty()) return;
  if (row.is_sql_body)
    made.body = code(Text::kSqlBody, row.source);
  else if (made.language == "sql")
    made.body = code(Text::kStatements, row.source);
  else if (made.language == "plpgsql")
    made.body = code(Text::kPlpgsql, row.source);
  if (!row.is_sql_body && made.language != "sql") return;
  made.is_sql_body = row.is_sql_body;
  made.source = std::move(row.source);
}

void CatalogBuilder::add_hidden() {
  const auto add = [](const CatalogRows::Hidden& row, std::vector<CatalogHidden>& to) {
    to.push_back({.function = row.function, .left = row.left, .right = row.right});
  };
  for (const CatalogRows::Hidden& row : rows_.casts) add(row, out_->casts_);
  for (const CatalogRows::Hidden& row : rows_.orders) add(row, out_->orders_);
  for (CatalogRows::Operator& row : rows_.operators) {
    auto found = out_->operators_.find(row.name);
    if (found == out_->operators_.end())
      found =
          out_->operators_.emplace(out_->names_.emplace_back(std::move(row.name)), std::vector<CatalogHidden>{}).first;
    found->second.push_back({.function = row.function, .left = row.left, .right = row.right});
  }
}

void CatalogBuilder::index_names() {
  for (const auto& [oid, relation] : out_->relations_) {
    out_->relations_by_name_[relation.name].push_back(&relation);
    if (!relation.on_change.empty()) out_->with_expressions_.push_back(&relation);
  }
  for (const auto& [oid, function] : out_->functions_) out_->functions_by_name_[function.name].push_back(&function);
  for (const auto& [oid, type] : out_->types_) out_->types_by_name_[type.name].push_back(&type);
}

void CatalogBuilder::count_bytes() {
  constexpr size_t kEntry = 64;  // of a table by OID and one by name
  size_t bytes = 0;
  for (const SqlCode& made : out_->codes_) bytes += bytes_of(made);
  for (const auto& [oid, relation] : out_->relations_)
    bytes += sizeof(relation) + kEntry + relation.columns.capacity() * sizeof(CatalogColumn) +
             relation.triggers.capacity() * sizeof(CatalogTrigger) + relation.query.size();
  for (const auto& [oid, function] : out_->functions_) bytes += sizeof(function) + kEntry + function.source.size();
  bytes += out_->types_.size() * (sizeof(CatalogType) + kEntry);
  out_->bytes_ = bytes;
}

}  // namespace gatehouse::sql
