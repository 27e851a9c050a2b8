// SPDX-License-Identifier: Apache-2.0
#include "collector/store/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "collector/store/flatten.h"
#include "collector/store/schema.h"
#include "collector/store/store_fixture.h"

namespace gatehouse::store {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;

TEST_F(StoreTest, RowIsVisibleSoonAfterItIsDurable) {
  open();
  append(1, 1);
  wait_indexed();  // the engine is warm
  for (uint64_t i = 0; i < 10; ++i) {
    const auto start = steady_clock::now();
    append(2 + i, 1);
    while (counts().first < 2 + i) ASSERT_LT(steady_clock::now() - start, seconds(2));
  }
}

TEST_F(StoreTest, RowIsWhatTheBatchSays) {
  open();
  append(20, 1);
  wait_indexed();
  const auto rows = all_rows();
  ASSERT_EQ(rows.size(), 1U);
  v1::Row want;
  Flattener(statement_batch(20, 1), {.agent_id = "db1", .boot_id = "b0", .first_sequence = 20}).flatten(0, want);
  v1::Row got;
  got.ParseFromString(rows[0]);
  EXPECT_EQ(got.DebugString(), want.DebugString());
  ASSERT_TRUE(log_->seal());
  wait_loaded(1);
  EXPECT_EQ(all_rows(), rows);
}

TEST_F(StoreTest, ExactlyOnceAtAnyMoment) {
  open(40'000);
  std::atomic<uint64_t> appended = 0;
  std::thread writer([&] {
    for (uint64_t i = 0; i < 150; ++i) {
      append(1 + i * 100, 100);
      appended = (i + 1) * 100;
    }
  });
  uint64_t seen = 0;
  while (seen < 15'000) {
    const auto [rows, distinct] = counts();
    ASSERT_EQ(rows, distinct);
    ASSERT_GE(rows, seen);
    ASSERT_EQ(rows % 100, 0U);
    seen = rows;
  }
  writer.join();
  ASSERT_TRUE(log_->seal());
  wait_loaded(log_->segments().size() - 1);
  EXPECT_EQ(counts().first, 15'000U);
  EXPECT_EQ(store_->counters().rows_fresh, 0U);
  EXPECT_GT(store_->counters().segments_loaded, 3U);
}

TEST_F(StoreTest, RestartedOrRebuiltItAnswersTheSame) {
  open(20'000);
  for (uint64_t i = 0; i < 40; ++i) append(1 + i * 50, 50);
  wait_indexed();
  const auto before = all_rows();
  ASSERT_EQ(before.size(), 2000U);
  open(20'000);
  wait_indexed();
  EXPECT_FALSE(store_->counters().rebuilt);
  EXPECT_TRUE(all_rows() == before);
  store_.reset();
  std::filesystem::remove_all(store_folder());
  open(20'000);
  wait_indexed();
  EXPECT_TRUE(store_->counters().rebuilt);
  EXPECT_TRUE(all_rows() == before);
}

TEST_F(StoreTest, UnusableFilesAreRebuilt) {
  open(20'000);
  for (uint64_t i = 0; i < 40; ++i) append(1 + i * 50, 50);
  wait_loaded(2);
  wait_indexed();
  const auto before = all_rows();
  store_.reset();
  std::ofstream(store_folder() + "/events.duckdb", std::ios::binary) << "not a database";
  open(20'000);
  wait_indexed();
  EXPECT_TRUE(store_->counters().rebuilt);
  EXPECT_TRUE(all_rows() == before);
}

TEST_F(StoreTest, IndexOfAnotherLogIsRebuilt) {
  open(20'000);
  for (uint64_t i = 0; i < 40; ++i) append(1 + i * 50, 50);
  wait_loaded(2);
  store_.reset();
  log_.reset();
  std::filesystem::remove_all(folder_.path() + "/ledger");
  open(20'000);
  append(1, 3);
  wait_indexed();
  EXPECT_TRUE(store_->counters().rebuilt);
  EXPECT_EQ(counts().first, 3U);
}

TEST_F(StoreTest, UnreadableBatchIsOneGapRow) {
  open();
  v1::PublishRequest request = sealed(statement_batch(1, 10));
  request.set_payload_zstd("this is not zstd");
  append_request("db1", request);
  request = sealed(statement_batch(11, 10));
  request.set_event_count(9);
  append_request("db1", request);
  wait_indexed();
  const auto rows = all_rows();
  ASSERT_EQ(rows.size(), 2U);
  v1::Row row;
  row.ParseFromString(rows[0]);
  EXPECT_EQ(row.kind(), "gap");
  EXPECT_EQ(row.id(), "db1/b0/1");
  EXPECT_EQ(row.detail(), "unreadable-batch events=10 not zstd");
  EXPECT_EQ(store_->counters().batches_unreadable, 2U);
}

TEST_F(StoreTest, IdentityIsTheLedgersNotTheBatchs) {
  open();
  append_request("honest", sealed(statement_batch(1, 1, "liar")));
  wait_indexed();
  v1::Row row;
  row.ParseFromString(all_rows().at(0));
  EXPECT_EQ(row.agent_id(), "honest");
  EXPECT_EQ(row.id(), "honest/b0/1");
}

TEST_F(StoreTest, QueryErrorIsReportedAndCancelledQueryEnds) {
  open();
  append(1, 100);
  wait_indexed();
  const Status bad = store_->rows({.part = "SELECT nothing FROM {table}", .whole = "SELECT * FROM {parts}"},
                                  [](v1::Row&&) { return true; });
  ASSERT_FALSE(bad);
  const Status cancelled = store_->rows(
      {.part = "SELECT " + row_columns() + " FROM {table}", .whole = "SELECT * FROM {parts}"},
      [](v1::Row&&) { return true; }, [] { return true; });
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().message(), "cancelled");
}

TEST_F(StoreTest, OutsideFilesAndExtensionsAreOutOfReach) {
  open();
  for (const std::string table : {"read_csv('/etc/passwd')", "'/etc/passwd'", "read_text('/etc/passwd')"}) {
    const Status status = store_->values({.part = "SELECT id FROM {table}", .whole = "SELECT * FROM " + table},
                                         [](std::vector<std::string>&&) { return true; });
    EXPECT_FALSE(status) << table;
  }
}

}  // namespace
}  // namespace gatehouse::store
