// SPDX-License-Identifier: Apache-2.0
// Tables behind which a lot happens, and texts about them.
#pragma once

#include <cstdint>
#include <string>

#include "tests/sql/server.h"
#include "tests/support/sql_statements.h"

namespace gatehouse::test {

// To what make_fixture makes, adds views, triggers, rules, functions, …
void make_reaching_fixture(Server& server);

class ReachMaker {
 public:
  explicit ReachMaker(uint64_t seed) : dice_(seed) {}
  std::string statement();

 private:
  std::string table();
  std::string value();
  std::string condition();
  std::string change();
  std::string query();

  Dice dice_;
};

}  // namespace gatehouse::test
