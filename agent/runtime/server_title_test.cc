// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/server_title.h"

#include <gtest/gtest.h>

#include <string>

namespace gatehouse::runtime {
namespace {

using std::string_view_literals::operator""sv;

// Seen with `ps` of PostgreSQL 15 and 18 unless marked "made".
TEST(ServerTitle, WhatServersCallTheirProcesses) {
  struct Case {
    std::string_view title, want;
  };
  constexpr Case kCases[] = {
      {"postgres: app shop 127.0.0.1(51234) idle", "app|shop|51234|idle"},
      {"postgres: app shop [local] idle in transaction", "app|shop|0|idle in transaction"},
      {"postgres: main: app shop ::1(40000) SELECT", "app|shop|40000|SELECT"},
      {"postgres: app shop [local] idle\0\0\0"sv, "app|shop|0|idle"},
      {"postgres: app shop [local]", "app|shop|0|"},
      {"postgres: walsender repl 10.0.0.2(5000) streaming 0/3000148", "repl||5000|streaming 0/3000148"},
      {"postgres: walsender repl shop [local] idle", "repl|shop|0|idle"},
      {"postgres: my user shop [local] idle", "||0|idle"},  // made: where does the user's name end?
      {"postgres: app shop host.example(1234) idle", "app|shop|1234|idle"},
      {"postgres: checkpointer", "-"},
      {"postgres: main: background writer", "-"},
      {"/usr/lib/postgresql/15/bin/postgres\0-D\0/data", "-"},
      {"postgres: [local]", "-"},
      {"postgres: app shop 127.0.0.1(0) idle", "-"},
      {"postgres: app shop 127.0.0.1(99999) idle", "-"},
      {"psql", "-"},
      {"", "-"},
  };
  for (const Case& c : kCases) {
    const auto got = parse_server_title(c.title);
    const std::string text = !got ? "-"
                                  : std::string(got->user) + "|" + std::string(got->database) + "|" +
                                        std::to_string(got->client_port) + "|" + std::string(got->state);
    EXPECT_EQ(text, c.want) << c.title;
  }
}

}  // namespace
}  // namespace gatehouse::runtime
