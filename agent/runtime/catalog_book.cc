// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/catalog_book.h"

#include <algorithm>
#include <iterator>

namespace gatehouse::runtime {

catalog::CatalogSource catalog_source(const AgentConfig::Catalog& catalog) {
  return {.connection = catalog.connection,
          .password_file = catalog.password_file,
          .databases = catalog.databases,
          .refresh = catalog.refresh};
}

CatalogBook::CatalogBook(std::span<const AgentConfig::Database> databases) {
  for (const AgentConfig::Database& database : databases)
    if (database.catalog)
      keepers_.push_back({.label = database.name,
                          .keeper = std::make_unique<catalog::CatalogKeeper>(catalog_source(*database.catalog))});
}

catalog::CatalogKeeper* CatalogBook::find(std::string_view label) const {
  const auto found = std::ranges::find(keepers_, label, &Entry::label);
  return found == keepers_.end() ? nullptr : found->keeper.get();
}

void CatalogBook::turn_to(CatalogPage& page, std::string_view label, std::string_view database) const {
  if (keepers_.empty()) return;
  const catalog::CatalogKeeper* const keeper = find(label);
  if (keeper == nullptr) return;
  const uint64_t version = keeper->version();
  if (page.version == version && page.database == database) return;
  page.version = version;
  page.database = database;
  const auto catalogs = keeper->current();
  const auto found = catalogs->find(database);
  page.catalog = found == catalogs->end() ? nullptr : found->second;
}

uint64_t CatalogBook::on_schema_changed(std::string_view label, std::string_view database) {
  catalog::CatalogKeeper* const keeper = find(label);
  return keeper == nullptr ? 0 : keeper->ask_refresh(database);
}

bool CatalogBook::has_looked(std::string_view label, std::string_view database, uint64_t asking) const {
  const catalog::CatalogKeeper* const keeper = find(label);
  return keeper == nullptr || keeper->has_looked(database, asking);
}

std::vector<catalog::CatalogStatus> CatalogBook::status() const {
  std::vector<catalog::CatalogStatus> all;
  for (const Entry& entry : keepers_) std::ranges::move(entry.keeper->status(), std::back_inserter(all));
  return all;
}

}  // namespace gatehouse::runtime
