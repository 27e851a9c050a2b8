// SPDX-License-Identifier: Apache-2.0
// Reads pg_catalog of PostgreSQL 13 and later, in one read-only transaction, so that what is read is of one moment.
// It needs no privilege but to connect: pg_catalog, function bodies included, is readable by all. Where a server's
// administrator has revoked that, the error says which table.
#pragma once

#include <string>

#include "agent/catalog/connection.h"
#include "agent/sql/catalog_rows.h"
#include "common/result.h"

namespace gatehouse::catalog {

Result<sql::CatalogRows> read_catalog(Connection& connection);

// A text that changes whenever something in the catalogs does that read_catalog would see: some milliseconds.
Result<std::string> change_mark(Connection& connection);

}  // namespace gatehouse::catalog
