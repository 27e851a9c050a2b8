// SPDX-License-Identifier: Apache-2.0
// CatalogBuilder: rows to a Catalog.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/sql/catalog.h"
#include "agent/sql/routine.h"

namespace gatehouse::sql {

class CatalogBuilder {
 public:
  explicit CatalogBuilder(CatalogRows rows) : rows_(std::move(rows)) {}
  std::shared_ptr<const Catalog> build();

 private:
  void add_names();
  void add_relations();
  void add_types();
  void add_expressions();
  void add_keys();
  void add_triggers();
  void add_rules();
  void add_functions();
  void add_function(CatalogRows::Function& row);
  void add_hidden();
  void index_names();
  void count_bytes();

  enum class Text : char {
    kStatements = 's',
    kExpression = 'e',
    kPlpgsql = 'p',
    kSqlBody = 'b',
    kRule = 'r',
    kWhen = 'w'
  };
  // Of the same text the same code; null: there is no text.
  const SqlCode* code(Text kind, const std::string& text);
  SqlCode read(Text kind, const std::string& text);
  CatalogRelation* relation(Oid oid);

  CatalogRows rows_;
  std::shared_ptr<Catalog> out_{new Catalog};
  RoutineReader reader_;
  std::unordered_map<std::string, const SqlCode*> codes_;
  std::unordered_map<Oid, std::vector<std::string>> row_types_;  // by pg_class.oid, of what is no relation
};

}  // namespace gatehouse::sql
