// SPDX-License-Identifier: Apache-2.0
#include "agent/catalogs.h"

namespace gatehouse::agent {

catalog::CatalogSource catalog_source(const AgentConfig::Catalog& catalog) {
  return {.connection = catalog.connection,
          .password_file = catalog.password_file,
          .databases = catalog.databases,
          .refresh = catalog.refresh};
}

std::vector<catalog::CatalogStatus> try_catalogs(const AgentConfig& config) {
  std::vector<catalog::CatalogStatus> out;
  for (const AgentConfig::Database& database : config.databases) {
    if (!database.catalog) continue;
    for (const std::string& name : database.catalog->databases)
      out.push_back(catalog::try_catalog(catalog_source(*database.catalog), name));
  }
  return out;
}

}  // namespace gatehouse::agent
