// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/ladder.h"

#include <gtest/gtest.h>

namespace gatehouse::capture {
namespace {

constexpr uint64_t kMs = 1'000'000;

TEST(Ladder, StepsUpAtOnceAndAsFarAsTheFillAsks) {
  struct Case {
    uint32_t fill;
    Rung want;
  };
  for (const Case& c : {Case{0, Rung::kFull}, Case{49, Rung::kFull}, Case{50, Rung::kShortAnswers},
                        Case{70, Rung::kStatementHeads}, Case{85, Rung::kMetadata}, Case{100, Rung::kMetadata}}) {
    Ladder ladder;
    EXPECT_EQ(ladder.observe(c.fill, kMs), c.want != Rung::kFull) << c.fill;
    EXPECT_EQ(ladder.rung(), c.want) << c.fill;
  }
}

TEST(Ladder, StepsDownOneRungAtATimeAfterAQuietWhile) {
  Ladder ladder;
  ladder.observe(90, kMs);
  uint64_t now = 10 * kMs;
  for (const Rung want : {Rung::kStatementHeads, Rung::kShortAnswers, Rung::kFull}) {
    EXPECT_FALSE(ladder.observe(5, now));
    EXPECT_FALSE(ladder.observe(5, now + Ladder::kLeaveAfterNs - 1));
    EXPECT_TRUE(ladder.observe(5, now + Ladder::kLeaveAfterNs));
    EXPECT_EQ(ladder.rung(), want);
    now += Ladder::kLeaveAfterNs;
  }
  EXPECT_EQ(ladder.steps_up(), 1U);
}

TEST(Ladder, StaysWhileTheFillIsBetweenTheMarks) {
  Ladder ladder;
  ladder.observe(60, kMs);
  for (uint64_t now = kMs; now < 10 * Ladder::kLeaveAfterNs; now += 100 * kMs)
    EXPECT_FALSE(ladder.observe(Ladder::kLeavePercent, now));
  // A moment of quiet does not count when it is over.
  ladder.observe(0, 20 * Ladder::kLeaveAfterNs);
  ladder.observe(30, 20 * Ladder::kLeaveAfterNs + 500 * kMs);
  EXPECT_FALSE(ladder.observe(0, 21 * Ladder::kLeaveAfterNs));
  EXPECT_EQ(ladder.rung(), Rung::kShortAnswers);
}

TEST(Ladder, EveryRungKeepsLess) {
  for (size_t i = 1; i < kRungs; ++i) {
    const RungLimits above = limits_of(static_cast<Rung>(i - 1)), here = limits_of(static_cast<Rung>(i));
    EXPECT_LE(here.whole_bytes, above.whole_bytes);
    EXPECT_LE(here.request_keep_bytes, above.request_keep_bytes);
    EXPECT_LE(here.response_keep_bytes, above.response_keep_bytes);
  }
}

}  // namespace
}  // namespace gatehouse::capture
