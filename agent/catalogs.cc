// SPDX-License-Identifier: Apache-2.0
#include "agent/catalogs.h"

#include "agent/runtime/catalog_book.h"

namespace gatehouse::agent {

std::vector<catalog::CatalogStatus> try_catalogs(const AgentConfig& config) {
  std::vector<catalog::CatalogStatus> out;
  for (const AgentConfig::Database& database : config.databases) {
    if (!database.catalog) continue;
    for (const std::string& name : database.catalog->databases)
      out.push_back(catalog::try_catalog(runtime::catalog_source(*database.catalog), name));
  }
  return out;
}

}  // namespace gatehouse::agent
