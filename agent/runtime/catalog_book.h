// SPDX-License-Identifier: Apache-2.0
// CatalogBook: the catalogs of the configured databases, each kept fresh by a keeper of its own. Who asks never waits.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/catalog/keeper.h"
#include "agent/config/agent_config.h"

namespace gatehouse::runtime {

catalog::CatalogSource catalog_source(const AgentConfig::Catalog& catalog);

// What a session knows of its database's catalog: looked up again when it changes. Null: there is none, or not yet.
struct CatalogPage {
  std::shared_ptr<const sql::Catalog> catalog;
  std::string database;
  uint64_t version = 0;  // of the book, when it was looked up
};

// One thread, but for the keepers' own.
class CatalogBook {
 public:
  // Begins to read those that `databases` ask for.
  explicit CatalogBook(std::span<const AgentConfig::Database> databases);

  // `label`: of a databases[] entry. `database`: what the session is connected to.
  void turn_to(CatalogPage& page, std::string_view label, std::string_view database) const;
  // A statement has changed what it tells.
  // Any thread. Its number, for has_looked(); 0: it is nobody's catalog.
  uint64_t on_schema_changed(std::string_view label, std::string_view database);
  [[nodiscard]] bool has_looked(std::string_view label, std::string_view database, uint64_t asking) const;
  [[nodiscard]] bool empty() const { return keepers_.empty(); }
  [[nodiscard]] std::vector<catalog::CatalogStatus> status() const;

 private:
  struct Entry {
    std::string label;
    std::unique_ptr<catalog::CatalogKeeper> keeper;
  };
  [[nodiscard]] catalog::CatalogKeeper* find(std::string_view label) const;

  std::vector<Entry> keepers_;
};

}  // namespace gatehouse::runtime
