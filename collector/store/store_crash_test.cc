// SPDX-License-Identifier: Apache-2.0
// A crash between any two steps of loading, forgetting and compacting; and what retention takes out of the index.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "collector/ledger/log_check.h"
#include "collector/store/store_fixture.h"
#include "common/clock.h"

namespace gatehouse::store {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kSegmentBytes = 8'000;
constexpr ledger::Retention kOneHour{.age_ns_max = 3600ULL * 1'000'000'000};
constexpr uint64_t kLaterNs = 2 * kOneHour.age_ns_max;

class StoreCrashTest : public StoreTest {
 protected:
  // 2000 events in several sealed segments and an open one, and what an index that nothing happened to answers of them.
  void fill() {
    open(kSegmentBytes);
    for (uint64_t i = 0; i < 40; ++i) append(1 + i * 50, 50);
    wait_indexed();
    truth_ = all_rows();
    ASSERT_EQ(truth_.size(), 2000U);
    sealed_ = log_->segments().size() - 1;
    ASSERT_GT(sealed_, 2U);
    close();
    std::filesystem::remove_all(store_folder());
  }
  void close() {
    store_.reset();
    log_.reset();
  }
  // Opens in a process that is gone when it comes to `step`. False: it did not within 20 seconds.
  bool dies_at(const std::string& step) {
    const pid_t child = ::fork();
    if (child == 0) {
      // The engine does not outlive a fork: this program anew, which runs the test Child below.
      ::setenv("GH_CRASH_FOLDER", folder_.path().c_str(), 1);
      ::setenv("GH_CRASH_STEP", step.c_str(), 1);
      ::execl("/proc/self/exe", "store_crash_test", "--gtest_filter=StoreCrash.DISABLED_Child",
              "--gtest_also_run_disabled_tests", "--gtest_brief=1", nullptr);
      ::_exit(1);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 9;
  }
  void wait_settled(uint64_t first_segment) {
    wait_indexed();
    const auto until = std::chrono::steady_clock::now() + seconds(20);
    const auto is_settled = [&] {
      const Store::Counters counters = store_->counters();
      return counters.segments_loaded - counters.segments_forgotten == sealed_ + 1 - first_segment;
    };
    while (!is_settled() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(milliseconds(5));
    ASSERT_TRUE(is_settled());
  }
  void expect_whole() {
    const auto found = ledger::check_folder(folder_.path() + "/ledger");
    ASSERT_TRUE(found);
    EXPECT_TRUE(found->is_whole());
  }
  // Rows of the segments that are there: retention takes from the front.
  void expect_rows_from(uint64_t first_event) {
    const auto rows = all_rows();
    EXPECT_TRUE(rows ==
                std::vector<std::string>(truth_.begin() + static_cast<std::ptrdiff_t>(first_event - 1), truth_.end()))
        << rows.size();
  }

  std::vector<std::string> truth_;
  uint64_t sealed_ = 0;
};

// Not a test: the process that dies_at() makes.
TEST(StoreCrash, DISABLED_Child) {
  const char* const folder = std::getenv("GH_CRASH_FOLDER");
  const char* const step = std::getenv("GH_CRASH_STEP");
  ASSERT_TRUE(folder != nullptr && step != nullptr);
  const std::string path = folder;
  auto log = ledger::SegmentLog::open({.folder = path + "/ledger", .segment_bytes_max = kSegmentBytes});
  ASSERT_TRUE(log);
  const auto store = Store::open({.folder = path + "/store",
                                  .at_step =
                                      [&](std::string_view at) {
                                        if (at == step) ::_exit(9);
                                      }},
                                 **log);
  ASSERT_TRUE(store);
  std::this_thread::sleep_for(seconds(20));
}

TEST_F(StoreCrashTest, ACrashBetweenAnyTwoStepsOfLoadingChangesNoAnswer) {
  fill();
  for (const std::string step : {"loading", "rows-loaded", "sums-added", "segment-noted", "committed"}) {
    SCOPED_TRACE(step);
    ASSERT_TRUE(dies_at(step));
    open(kSegmentBytes);
    EXPECT_FALSE(store_->counters().rebuilt);
    wait_indexed();
    expect_rows_from(1);
    wait_settled(1);
    expect_rows_from(1);
    EXPECT_EQ(store_->counters().rows_loaded + store_->counters().rows_fresh, 2000U);
    close();
    expect_whole();
    std::filesystem::remove_all(store_folder());
  }
}

TEST_F(StoreCrashTest, ACrashBetweenAnyTwoStepsOfForgettingChangesNoAnswer) {
  fill();
  open(kSegmentBytes);
  wait_settled(1);
  close();
  open_log(kSegmentBytes, {.bytes_max = 1});
  const uint64_t kept_from = log_->segments()[2].number;
  uint64_t gone = 0;
  for (const ledger::SegmentInfo& segment : log_->segments()) gone += segment.number < kept_from ? segment.events : 0;
  uint64_t bytes = 0;
  for (const ledger::SegmentInfo& segment : log_->segments()) bytes += segment.durable_bytes;
  // So much that two go.
  const ledger::Retention two{.bytes_max = bytes - log_->segments()[0].durable_bytes - 1};
  open_log(kSegmentBytes, two);
  ASSERT_EQ(log_->remove_old(unix_ns())->segments, 2U);
  close();
  const std::string before = folder_.path() + "/before";
  std::filesystem::copy(store_folder(), before, std::filesystem::copy_options::recursive);
  for (const std::string step : {"forgetting", "rows-deleted", "forgotten", "compacted"}) {
    SCOPED_TRACE(step);
    std::filesystem::remove_all(store_folder());
    std::filesystem::copy(before, store_folder(), std::filesystem::copy_options::recursive);
    ASSERT_TRUE(dies_at(step));
    open(kSegmentBytes);
    EXPECT_FALSE(store_->counters().rebuilt);
    wait_settled(kept_from);
    expect_rows_from(gone + 1);
    close();
    expect_whole();
  }
}

TEST_F(StoreCrashTest, WhatRetentionRemovesGoesOutOfTheIndex) {
  fill();
  open(kSegmentBytes, kOneHour);
  wait_settled(1);
  expect_rows_from(1);
  const uint64_t gone = log_->remove_old(unix_ns() + kLaterNs)->events;
  EXPECT_EQ(gone + log_->segments().back().events, 2000U);
  wait_settled(sealed_ + 1);
  expect_rows_from(gone + 1);
  EXPECT_EQ(store_->counters().rows_loaded, 0U);
  append(2001, 50);
  wait_indexed();
  EXPECT_EQ(counts(), (std::pair<uint64_t, uint64_t>(2050 - gone, 2050 - gone)));
  close();
  expect_whole();
}

// The index is built anew while retention takes away what it is built from.
TEST_F(StoreCrashTest, SegmentsMayGoBeforeTheyAreLoaded) {
  fill();
  open(kSegmentBytes, kOneHour);
  const uint64_t gone = log_->remove_old(unix_ns() + kLaterNs)->events;
  wait_indexed();
  const auto until = std::chrono::steady_clock::now() + seconds(20);
  while (counts().first != 2000 - gone && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(milliseconds(5));
  expect_rows_from(gone + 1);
  close();
  open(kSegmentBytes, kOneHour);
  wait_indexed();
  EXPECT_FALSE(store_->counters().rebuilt);
  expect_rows_from(gone + 1);
}

}  // namespace
}  // namespace gatehouse::store
