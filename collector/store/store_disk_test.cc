// SPDX-License-Identifier: Apache-2.0
// A disk that is full while segments are loaded: no answer changes, and the index goes on when there is room.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <optional>
#include <thread>

#include "collector/store/store_fixture.h"

namespace gatehouse::store {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr uint64_t kSegmentBytes = 8'000;
class StoreDiskTest : public StoreTest {
 protected:
  // Loads with a checkpoint after each segment.
  void open_store() {
    auto store = Store::open({.folder = store_folder(),
                              .wal_bytes_max = 0,
                              .at_step =
                                  [this](std::string_view step) {
                                    if (step == "reopening") ++reopened_;
                                    if (step == "loading") ++tried_;
                                  }},
                             *log_);
    ASSERT_TRUE(store) << store.error().message();
    store_ = *std::move(store);
  }
  // A question may come just when the engine has failed; the next one is answered.
  std::optional<uint64_t> count() {
    std::optional<uint64_t> count;
    const Status status = store_->values(
        {.part = "SELECT id FROM {table}", .whole = "SELECT count(*)::VARCHAR FROM {parts}", .parameters = {}},
        [&](std::vector<std::string>&& values) {
          count = std::stoull(values[0]);
          return true;
        });
    return status ? count : std::nullopt;
  }

  std::atomic<int> reopened_ = 0;
  std::atomic<int> tried_ = 0;
};

TEST_F(StoreDiskTest, NothingIsDoubledOrLost) {
  open_log(kSegmentBytes);
  for (uint64_t i = 0; i < 40; ++i) append(1 + i * 50, 50);
  const uint64_t sealed = log_->segments().size() - 1;
  ASSERT_GT(sealed, 2U);
  open_store();
  wait_loaded(sealed);
  const auto truth = all_rows();
  ASSERT_EQ(truth.size(), 2000U);
  EXPECT_EQ(reopened_, 0);

  // Room for a new index only: no segment can be committed. Room for some write-ahead log, not for a block of rows:
  // checkpoints fail.
  for (const rlim_t file_bytes : {13'000, 250'000}) {
    SCOPED_TRACE(file_bytes);
    store_.reset();
    std::filesystem::remove_all(store_folder());
    reopened_ = tried_ = 0;
    test::limit_files(file_bytes);
    open_store();
    uint64_t seen = 0;
    const auto until = steady_clock::now() + seconds(30);
    while ((tried_ < 2 || reopened_ < 1) && steady_clock::now() < until) {
      if (const auto now = count()) {
        EXPECT_GE(*now, seen);
        EXPECT_LE(*now, truth.size());
        seen = *now;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    EXPECT_GE(reopened_, 1);
    test::limit_files(RLIM_INFINITY);
    wait_loaded(sealed);
    wait_indexed();
    EXPECT_TRUE(all_rows() == truth);
    store_.reset();
    open_store();
    EXPECT_FALSE(store_->counters().rebuilt);
    wait_indexed();
    EXPECT_TRUE(all_rows() == truth);
  }
}

}  // namespace
}  // namespace gatehouse::store
