// SPDX-License-Identifier: Apache-2.0
#include "collector/store/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "collector/ledger/testing.h"
#include "collector/store/flatten.h"
#include "collector/store/schema.h"
#include "collector/store/testing.h"
#include "common/log.h"

namespace gatehouse::store {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;

class StoreTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { log::set_level(log::Level::kError); }

  void open(uint64_t segment_bytes_max = 1U << 20) {
    store_.reset();
    log_.reset();
    auto log = ledger::SegmentLog::open({.folder = folder_.path() + "/ledger", .segment_bytes_max = segment_bytes_max});
    ASSERT_TRUE(log) << log.error().message();
    log_ = *std::move(log);
    auto store = Store::open({.folder = store_folder()}, *log_);
    ASSERT_TRUE(store) << store.error().message();
    store_ = *std::move(store);
  }
  [[nodiscard]] std::string store_folder() const { return folder_.path() + "/store"; }

  void append_request(const std::string& agent, const v1::PublishRequest& request) {
    const ledger::Batch batch{.agent_id = agent,
                              .boot_id = request.boot_id(),
                              .first_sequence = request.first_sequence(),
                              .event_count = request.event_count(),
                              .payload_zstd = request.payload_zstd(),
                              .payload_sha256 = sha256(as_bytes(request.payload_zstd())),
                              .previous_sha256 = {}};
    const auto outcomes = log_->append(std::span{&batch, 1});
    ASSERT_TRUE(outcomes);
    ASSERT_EQ(outcomes->at(0).kind, ledger::AppendOutcome::Kind::kAppended);
  }
  void append(uint64_t first, uint32_t count) { append_request("db1", sealed(statement_batch(first, count))); }

  void wait_indexed() { ASSERT_TRUE(store_->wait_indexed(log_->end(), seconds(20))); }
  void wait_loaded(uint64_t segments) {
    const auto until = steady_clock::now() + seconds(20);
    while (store_->counters().segments_loaded < segments && steady_clock::now() < until)
      std::this_thread::sleep_for(milliseconds(5));
    ASSERT_GE(store_->counters().segments_loaded, segments);
  }

  // Every row, serialized, in order of arrival.
  std::vector<std::string> all_rows() {
    std::vector<std::string> rows;
    const std::string order =
        std::string(kSegmentColumn) + ", " + std::string(kRecordColumn) + ", " + std::string(kSequenceColumn);
    const Status status = store_->rows({.part = "SELECT " + row_columns() + ", " + order + " FROM {table}",
                                        .whole = "SELECT " + row_columns() + " FROM {parts} ORDER BY " + order,
                                        .parameters = {}},
                                       [&](v1::Row&& row) {
                                         rows.push_back(row.SerializeAsString());
                                         return true;
                                       });
    EXPECT_TRUE(status) << status.error().message();
    return rows;
  }
  // count(*), count(distinct id)
  std::pair<uint64_t, uint64_t> counts() {
    std::pair<uint64_t, uint64_t> found;
    const Status status = store_->values({.part = "SELECT id FROM {table}",
                                          .whole = "SELECT count(*)::VARCHAR, count(DISTINCT id)::VARCHAR FROM {parts}",
                                          .parameters = {}},
                                         [&](std::vector<std::string>&& values) {
                                           found = {std::stoull(values[0]), std::stoull(values[1])};
                                           return true;
                                         });
    EXPECT_TRUE(status) << status.error().message();
    return found;
  }

  ledger::TemporaryFolder folder_;
  std::unique_ptr<ledger::SegmentLog> log_;
  std::unique_ptr<Store> store_;
};

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
