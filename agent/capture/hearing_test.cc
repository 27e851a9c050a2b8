// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/hearing.h"

#include <gtest/gtest.h>

#include <string>

namespace gatehouse::capture {
namespace {

constexpr uint64_t kRest = Hearing::kRestNs;

struct Kernel {
  volatile uint32_t hears = 0;
  bool is_attached = false;
  bool refuses = false;
  Hearing hearing{&hears,
                  [this] {
                    EXPECT_FALSE(is_attached);
                    EXPECT_EQ(hears, 0U) << "relied on before it is there";
                    return is_attached = !refuses;
                  },
                  [this] {
                    EXPECT_TRUE(is_attached);
                    EXPECT_EQ(hears, 0U) << "taken away while it is relied on";
                    is_attached = false;
                  }};

  // "-": not attached; "a": attached; "A": and relied on.
  std::string turn(size_t sessions, uint64_t now_ns) {
    hearing.turn(sessions, now_ns);
    EXPECT_TRUE(is_attached || hears == 0);
    return hears != 0 ? "A" : is_attached ? "a" : "-";
  }
};

TEST(Hearing, AttachesWithTheFirstSessionAndGoesInTwoStepsAfterTheLast) {
  Kernel kernel;
  EXPECT_EQ(kernel.turn(0, 1), "-");
  EXPECT_EQ(kernel.turn(1, 2), "A");
  EXPECT_EQ(kernel.turn(2, 100 * kRest), "A");
  EXPECT_EQ(kernel.turn(0, 101 * kRest - 1), "A");
  EXPECT_EQ(kernel.turn(0, 101 * kRest), "a");
  EXPECT_EQ(kernel.turn(0, 102 * kRest - 1), "a");
  EXPECT_EQ(kernel.turn(0, 102 * kRest), "-");
  EXPECT_EQ(kernel.turn(0, 200 * kRest), "-");
  EXPECT_EQ(kernel.turn(1, 300 * kRest), "A");
}

TEST(Hearing, ASessionBetweenTheStepsKeepsIt) {
  Kernel kernel;
  kernel.turn(1, 0);
  EXPECT_EQ(kernel.turn(0, kRest), "a");
  EXPECT_EQ(kernel.turn(1, kRest + 1), "A");
  EXPECT_EQ(kernel.turn(0, 2 * kRest), "A");
}

TEST(Hearing, WhatCannotBeAttachedIsTriedAgain) {
  Kernel kernel;
  kernel.refuses = true;
  EXPECT_EQ(kernel.turn(1, 0), "-");
  kernel.refuses = false;
  EXPECT_EQ(kernel.turn(1, 1), "A");
}

}  // namespace
}  // namespace gatehouse::capture
