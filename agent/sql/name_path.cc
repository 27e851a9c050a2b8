// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/name_path.h"

#include <algorithm>

namespace gatehouse::sql {
namespace {

constexpr std::string_view kBlanks = " \t\n\v\f\r";

char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

}  // namespace

std::vector<std::string> search_path_items(std::string_view text) {
  std::vector<std::string> items;
  size_t at = 0;
  while (at < text.size()) {
    at = text.find_first_not_of(kBlanks, at);
    if (at == text.npos) break;
    std::string item;
    if (text[at] == '"') {
      for (++at; at < text.size(); ++at) {
        if (text[at] == '"') {
          if (at + 1 == text.size() || text[at + 1] != '"') break;
          ++at;
        }
        item += text[at];
      }
    } else {
      while (at < text.size() && text[at] != ',' && kBlanks.find(text[at]) == kBlanks.npos)
        item += to_lower(text[at++]);
    }
    if (!item.empty()) items.push_back(std::move(item));
    at = text.find(',', at);
    if (at == text.npos) break;
    ++at;
  }
  return items;
}

NamePath::NamePath(const Catalog& catalog, const std::optional<std::string>& search_path, std::string_view role)
    : catalog_(catalog), search_path_(search_path), role_(role) {
  if (!search_path_) return;
  const Oid builtin = catalog.schema("pg_catalog");
  for (const std::string& item : search_path_items(*search_path_)) {
    const Oid schema = catalog.schema(item == "$user" ? std::string_view(role_) : std::string_view(item));
    if (schema == kNoOid || std::ranges::find(schemas_, schema) != schemas_.end()) continue;
    schemas_.push_back(schema);
    if (creation_schema_ == kNoOid) creation_schema_ = schema;
  }
  // It is searched first, unless the path says where.
  if (std::ranges::find(schemas_, builtin) == schemas_.end()) schemas_.insert(schemas_.begin(), builtin);
}

std::string_view NamePath::creation_schema() const {
  return catalog_.schema_name(creation_schema_);
}

template <typename T>
std::vector<const T*> NamePath::in_schemas(std::span<const T* const> candidates, std::string_view schema,
                                           bool only_first) const {
  std::vector<const T*> out;
  if (!schema.empty()) {
    const Oid wanted = catalog_.schema(schema);
    for (const T* candidate : candidates)
      if (wanted != kNoOid && candidate->schema == wanted) out.push_back(candidate);
    return out;
  }
  if (!search_path_) return {candidates.begin(), candidates.end()};
  for (const Oid searched : schemas_) {
    const size_t before = out.size();
    for (const T* candidate : candidates)
      if (candidate->schema == searched) out.push_back(candidate);
    // The server passes over a schema that the role may not use.
    if (only_first && out.size() > before && catalog_.is_usable(searched, role_)) break;
  }
  return out;
}

std::vector<const CatalogRelation*> NamePath::relations(std::string_view schema, std::string_view name) const {
  return in_schemas(catalog_.relations(name), schema, true);
}
std::vector<const CatalogFunction*> NamePath::functions(std::string_view schema, std::string_view name) const {
  return in_schemas(catalog_.functions(name), schema, false);
}
std::vector<const CatalogType*> NamePath::types(std::string_view schema, std::string_view name) const {
  return in_schemas(catalog_.types(name), schema, true);
}

}  // namespace gatehouse::sql
