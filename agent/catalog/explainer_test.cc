// SPDX-License-Identifier: Apache-2.0
#include "agent/catalog/explainer.h"

#include <gtest/gtest.h>

namespace gatehouse::catalog {
namespace {

// As PostgreSQL 15 prints them.
TEST(Explainer, RowsOfPlans) {
  EXPECT_EQ(estimated_rows("Seq Scan on t  (cost=0.00..35.50 rows=2550 width=4)\n"), 2550U);
  EXPECT_EQ(estimated_rows("Delete on t  (cost=0.00..41.88 rows=0 width=0)\n"
                           "  ->  Seq Scan on t  (cost=0.00..41.88 rows=13 width=6)\n"
                           "        Filter: (a = 1)\n"),
            13U);
  EXPECT_EQ(estimated_rows("Utility Statement"), std::nullopt);
  EXPECT_EQ(estimated_rows(""), std::nullopt);
  EXPECT_EQ(estimated_rows("x  (cost=0.00..0.01 rows="), std::nullopt);
}

TEST(Explainer, WithoutASourceThereIsNoPlan) {
  std::mutex mutex;
  std::condition_variable changed;
  bool is_told = false;
  Explainer explainer({});
  explainer.ask({.label = "x", .database = "d", .search_path = {}, .text = "SELECT 1"}, [&](const Plan& plan) {
    EXPECT_EQ(plan.text, "");
    const std::lock_guard lock(mutex);
    is_told = true;
    changed.notify_all();
  });
  std::unique_lock lock(mutex);
  EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return is_told; }));
}

}  // namespace
}  // namespace gatehouse::catalog
