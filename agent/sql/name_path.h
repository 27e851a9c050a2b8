// SPDX-License-Identifier: Apache-2.0
// NamePath: a search path as the schemas of one catalog in which a name is looked up, in order.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/sql/catalog.h"

namespace gatehouse::sql {

// The parameter's text as the names in it, unquoted and folded.
std::vector<std::string> search_path_items(std::string_view search_path);

class NamePath {
 public:
  // No search path: any schema may be meant.
  NamePath(const Catalog& catalog, const std::optional<std::string>& search_path, std::string_view role);

  [[nodiscard]] const std::string& role() const { return role_; }
  [[nodiscard]] const std::optional<std::string>& search_path() const { return search_path_; }
  // What an unqualified or (`schema` given) qualified name may mean; several, if it depends on who may use a schema.
  [[nodiscard]] std::vector<const CatalogRelation*> relations(std::string_view schema, std::string_view name) const;
  // Overloads: all of them.
  [[nodiscard]] std::vector<const CatalogFunction*> functions(std::string_view schema, std::string_view name) const;
  [[nodiscard]] std::vector<const CatalogType*> types(std::string_view schema, std::string_view name) const;
  // Where CREATE puts what has no schema; empty: not known.
  [[nodiscard]] std::string_view creation_schema() const;

 private:
  template <typename T>
  std::vector<const T*> in_schemas(std::span<const T* const> candidates, std::string_view schema,
                                   bool only_first) const;

  const Catalog& catalog_;
  std::optional<std::string> search_path_;
  std::string role_;
  std::vector<Oid> schemas_;
  Oid creation_schema_ = kNoOid;
};

}  // namespace gatehouse::sql
