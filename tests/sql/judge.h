// SPDX-License-Identifier: Apache-2.0
// What was said of a text against what it did: more may be said, never less.
#pragma once

#include <string>
#include <vector>

#include "agent/sql/facts.h"
#include "tests/sql/observed.h"

namespace gatehouse::test {

// All of what a text is said to do.
struct Told {
  struct Object {
    std::string schema, name;  // no name: all of the schema; neither: all
    sql::Effects uses, deferred;
    std::string stands_for;  // another of the schema, which what is said is said of as well
  };
  sql::Effects effects;
  std::vector<Object> objects;

  [[nodiscard]] sql::Effects uses_of(const std::string& schema, const std::string& name, bool with_deferred) const;
  [[nodiscard]] bool creates(const std::string& name) const;
  [[nodiscard]] bool says(sql::Effect effect) const { return effects.has(effect); }
};

// What is left out; empty: nothing. An unknown effect excuses what the text does not show.
std::string missing_of(const Observed& observed, const Told& told);

}  // namespace gatehouse::test
