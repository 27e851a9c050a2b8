// SPDX-License-Identifier: Apache-2.0
// Keeps docs/config.md true to the tables. For tests.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "common/config.h"
#include "common/result.h"

namespace gatehouse::config {

// Compares markdown(schema) with what stands in the file between "<!-- begin NAME -->" and "<!-- end NAME -->".
// With GH_UPDATE_DOCS=1 in the environment it writes the table there instead.
Status check_document(const std::string& path, std::string_view name, std::span<const Key> schema);
// The same of any text that is made.
Status check_document(const std::string& path, std::string_view name, std::string_view want);

}  // namespace gatehouse::config
