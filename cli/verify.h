// SPDX-License-Identifier: Apache-2.0
// What `gatehouse verify` found, for people and for scripts. Pure.
#pragma once

#include <string>

#include "cli/table.h"
#include "collector/ledger/log_check.h"

namespace gatehouse::cli {

std::string render_check(const ledger::FolderCheck& check, const TableStyle& style);
// One line with its newline.
std::string to_json(const ledger::FolderCheck& check);

}  // namespace gatehouse::cli
