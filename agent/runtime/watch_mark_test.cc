// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/watch_mark.h"

#include <gtest/gtest.h>

#include "common/testing.h"

namespace gatehouse::runtime {
namespace {

TEST(WatchMark, LineIsReadBackAndNothingElseIs) {
  for (const Watched& watched : {Watched{}, Watched{1'764'439'117'123'456'789, false}, Watched{UINT64_MAX, true}}) {
    const std::string line = format_watched(watched);
    EXPECT_EQ(parse_watched(line), watched);
    for (size_t size = 0; size < line.size(); ++size)
      EXPECT_FALSE(parse_watched(std::string_view(line).substr(0, size))) << size;
    for (size_t at = 0; at < line.size(); ++at) {
      std::string changed = line;
      changed[at] = static_cast<char>(changed[at] ^ 1);
      EXPECT_FALSE(parse_watched(changed)) << at;
    }
    EXPECT_FALSE(parse_watched(line + "x"));
  }
}

TEST(WatchMark, NextStartReadsWhatTheRunBeforeLeft) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path() + "/watched";
  {
    auto first = WatchMark::open(path);
    ASSERT_TRUE(first) << first.error().message();
    EXPECT_FALSE(first->before());
  }
  {
    auto second = WatchMark::open(path);
    ASSERT_TRUE(second) << second.error().message();
    EXPECT_FALSE(second->before());  // a run that saw nothing
    second->write({.until_unix_ns = 50});
    second->write({.until_unix_ns = 40});
  }
  {
    auto third = WatchMark::open(path);
    ASSERT_TRUE(third) << third.error().message();
    EXPECT_EQ(third->before(), (Watched{.until_unix_ns = 50, .is_ended = false}));
    // The clock was set back: this run's own marks count.
    third->write({.until_unix_ns = 45, .is_ended = true});
  }
  auto fourth = WatchMark::open(path);
  ASSERT_TRUE(fourth) << fourth.error().message();
  EXPECT_EQ(fourth->before(), (Watched{.until_unix_ns = 45, .is_ended = true}));
}

}  // namespace
}  // namespace gatehouse::runtime
