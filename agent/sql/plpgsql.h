// SPDX-License-Identifier: Apache-2.0
// The statements of a PL/pgSQL body, by its own key words (src/pl/plpgsql/src/pl_gram.y).
#pragma once

#include <string_view>

#include "agent/sql/facts.h"
#include "agent/sql/lexer.h"
#include "agent/sql/routine.h"

namespace gatehouse::sql {

// Adds what it does to `into`; all branches count. False: it is not understood as a whole.
bool read_plpgsql(std::string_view body, LexicalMode mode, RoutineReader& reader, Statement& into);

}  // namespace gatehouse::sql
