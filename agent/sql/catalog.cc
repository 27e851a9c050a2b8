// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/catalog.h"

#include <algorithm>

namespace gatehouse::sql {
namespace {

template <typename Map>
const typename Map::mapped_type* find_in(const Map& map, Oid oid) {
  const auto found = map.find(oid);
  return found == map.end() ? nullptr : &found->second;
}

template <typename T, typename Map>
std::span<const T> find_all(const Map& map, std::string_view name) {
  const auto found = map.find(name);
  if (found == map.end()) return {};
  return found->second;
}

}  // namespace

const CatalogRelation* Catalog::relation(Oid oid) const {
  return find_in(relations_, oid);
}
const CatalogFunction* Catalog::function(Oid oid) const {
  return find_in(functions_, oid);
}
const CatalogType* Catalog::type(Oid oid) const {
  return find_in(types_, oid);
}

std::string_view Catalog::schema_name(Oid oid) const {
  const Schema* found = find_in(schemas_, oid);
  return found == nullptr ? std::string_view{} : found->name;
}

std::string_view Catalog::role_name(Oid oid) const {
  const std::string* found = find_in(roles_, oid);
  return found == nullptr ? std::string_view{} : *found;
}

Oid Catalog::schema(std::string_view name) const {
  const auto found = schema_oids_.find(name);
  return found == schema_oids_.end() ? kNoOid : found->second;
}

// What is granted to whom is not in the catalog, only whether it is granted to all.
bool Catalog::is_usable(Oid schema, std::string_view role) const {
  const Schema* found = find_in(schemas_, schema);
  return found != nullptr && (found->is_usable_by_all || (!role.empty() && role_name(found->owner) == role));
}

std::span<const CatalogRelation* const> Catalog::relations(std::string_view name) const {
  return find_all<const CatalogRelation*>(relations_by_name_, name);
}
std::span<const CatalogFunction* const> Catalog::functions(std::string_view name) const {
  return find_all<const CatalogFunction*>(functions_by_name_, name);
}
std::span<const CatalogType* const> Catalog::types(std::string_view name) const {
  return find_all<const CatalogType*>(types_by_name_, name);
}
std::span<const CatalogHidden> Catalog::operators(std::string_view name) const {
  return find_all<CatalogHidden>(operators_, name);
}

// As the server does: of the role in this database, of the role, of the database, of all.
std::optional<std::string> Catalog::default_setting(std::string_view role, std::string_view name) const {
  const CatalogRows::Setting* best = nullptr;
  const auto rank = [](const CatalogRows::Setting& setting) {
    return (setting.role != kNoOid ? 2 : 0) + (setting.is_of_database ? 1 : 0);
  };
  for (const CatalogRows::Setting& setting : settings_) {
    if (setting.name != name || (setting.role != kNoOid && role_name(setting.role) != role)) continue;
    if (best == nullptr || rank(setting) > rank(*best)) best = &setting;
  }
  if (best == nullptr) return std::nullopt;
  return best->value;
}

}  // namespace gatehouse::sql
