// SPDX-License-Identifier: Apache-2.0
// Several statements as one that does what all of them do: the body of a routine.
#pragma once

#include "agent/sql/facts.h"

namespace gatehouse::sql {

enum class MergeAs : uint8_t {
  kStatement,   // with its verbs, and whether it filters
  kExpression,  // SELECT is only how it is read
  kLater,       // all that it does is deferred
};
void merge(const Statement& part, MergeAs as, Statement& into);

}  // namespace gatehouse::sql
