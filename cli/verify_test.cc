// SPDX-License-Identifier: Apache-2.0
#include "cli/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gatehouse::cli {
namespace {

using ::testing::HasSubstr;

ledger::FolderCheck found() {
  ledger::FolderCheck check{.segments = 2, .records = 3, .events = 1500, .bytes = 9000, .is_open = true};
  check.sources.push_back(
      {.agent_id = "db1", .boot_id = "b0", .first_sequence = 1, .last_sequence = 1500, .batches = 3, .events = 1500});
  return check;
}

TEST(Verify, WholeIsSaidLast) {
  const std::string text = render_check(found(), {});
  EXPECT_THAT(text, HasSubstr("segments    2, the last one open; 3 records, 1500 events, 9000 bytes\n"));
  EXPECT_THAT(text, HasSubstr("agent"));
  EXPECT_TRUE(text.ends_with("\nwhole: every hash holds, and no event is missing\n")) << text;
}

TEST(Verify, WhatIsWrongIsListedAndHarmless) {
  ledger::FolderCheck check = found();
  check.removed_segments = 1;
  check.tail_bytes = 7;
  check.problems = {"segment 3 is missing", "agent \x1b[2J, boot b0: sequences 1 to 2 never came"};
  const std::string text = render_check(check, {});
  EXPECT_THAT(text, HasSubstr("removed     1 segment by retention"));
  EXPECT_THAT(text, HasSubstr("unfinished  7 bytes behind the last record"));
  EXPECT_THAT(text, HasSubstr("wrong       segment 3 is missing\nwrong       agent \\x1b[2J, boot b0:"));
  EXPECT_TRUE(text.ends_with("\nnot whole\n")) << text;
}

TEST(Verify, Json) {
  ledger::FolderCheck check = found();
  check.problems = {"segment 3 is missing"};
  EXPECT_EQ(to_json(check),
            "{\"whole\":false,\"segments\":2,\"records\":3,\"events\":1500,\"bytes\":9000,\"chain_head\":\"" +
                std::string(64, '0') +
                "\",\"tail_bytes\":0,\"removed\":{\"segments\":0,\"records\":0,\"events\":0},\"sources\":[{\"agent\":"
                "\"db1\",\"boot\":\"b0\",\"first_sequence\":1,\"last_sequence\":1500,\"batches\":3,\"events\":1500,"
                "\"missing\":0,\"unchained\":0}],\"problems\":[\"segment 3 is missing\"]}\n");
}

}  // namespace
}  // namespace gatehouse::cli
