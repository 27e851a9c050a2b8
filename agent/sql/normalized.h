// SPDX-License-Identifier: Apache-2.0
// A text as people and statistics want it: the same for what differs in layout, case, values and numbers of values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/sql/lexer.h"

namespace gatehouse::sql {

// Literals and parameters are ?, brackets that hold nothing else are (?), rows of them one row; comments are gone;
// one blank between tokens; key words and plain identifiers are small.
std::string normalized_text(std::string_view text, LexicalMode mode);
// Stable between runs and versions.
uint64_t fingerprint_of(std::string_view normalized);

}  // namespace gatehouse::sql
