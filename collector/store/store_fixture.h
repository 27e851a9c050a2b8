// SPDX-License-Identifier: Apache-2.0
// For tests of the store: one on a log in a folder of its own, and what it answers.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "collector/ledger/testing.h"
#include "collector/store/schema.h"
#include "collector/store/store.h"
#include "collector/store/testing.h"
#include "common/log.h"

namespace gatehouse::store {

// count(*), count(distinct id)
inline std::pair<uint64_t, uint64_t> counts_of(Store& store) {
  std::pair<uint64_t, uint64_t> found;
  const Status status = store.values({.part = "SELECT id FROM {table}",
                                      .whole = "SELECT count(*)::VARCHAR, count(DISTINCT id)::VARCHAR FROM {parts}",
                                      .parameters = {}},
                                     [&](std::vector<std::string>&& values) {
                                       found = {std::stoull(values[0]), std::stoull(values[1])};
                                       return true;
                                     });
  EXPECT_TRUE(status) << status.error().message();
  return found;
}

class StoreTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { log::set_level(log::Level::kError); }

  void open_log(uint64_t segment_bytes_max = 1U << 20, ledger::Retention retention = {}) {
    store_.reset();
    log_.reset();
    auto log = ledger::SegmentLog::open(
        {.folder = folder_.path() + "/ledger", .segment_bytes_max = segment_bytes_max, .retention = retention});
    ASSERT_TRUE(log) << log.error().message();
    log_ = *std::move(log);
  }
  void open(uint64_t segment_bytes_max = 1U << 20, ledger::Retention retention = {},
            std::function<void(std::string_view)> at_step = {}) {
    open_log(segment_bytes_max, retention);
    if (log_ == nullptr) return;
    auto store = Store::open({.folder = store_folder(), .at_step = std::move(at_step)}, *log_);
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

  void wait_indexed() { ASSERT_TRUE(store_->wait_indexed(log_->end(), std::chrono::seconds(20))); }
  void wait_loaded(uint64_t segments) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (store_->counters().segments_loaded < segments && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
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
  std::pair<uint64_t, uint64_t> counts() { return counts_of(*store_); }

  ledger::TemporaryFolder folder_;
  std::unique_ptr<ledger::SegmentLog> log_;
  std::unique_ptr<Store> store_;
};

}  // namespace gatehouse::store
