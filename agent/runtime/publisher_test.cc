// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/publisher.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "common/testing.h"

namespace gatehouse::runtime {
namespace {

constexpr std::string_view kBoot = "0123456789abcdef0123456789abcdef";

class PublisherTest : public ::testing::Test {
 protected:
  WatchMark mark() {
    auto opened = WatchMark::open(folder_.path() + "/watched");
    EXPECT_TRUE(opened);
    return std::move(*opened);
  }
  // As a next start would find it.
  std::optional<Watched> left() { return mark().before(); }
  // `bytes` do not compress.
  EncodedBatch batch(size_t bytes) {
    EncodedBatch made{.first_sequence = next_, .event_count = 10};
    made.seen_to_unix_ns = 1000 * next_;
    while (made.bytes.size() < bytes) made.bytes += static_cast<char>(random_());
    next_ += 10;
    return made;
  }

  test::TemporaryFolder folder_;
  uint64_t next_ = 1;
  std::minstd_rand random_{7};
};

// Until what the spool refused is told by a batch that it took, the mark stays.
TEST_F(PublisherTest, MarkNeverPassesALossThatIsNotTold) {
  auto spool =
      spool::Spool::open({.folder = folder_.path() + "/spool", .bytes_max = 256 << 10, .segment_bytes = 64 << 10});
  ASSERT_TRUE(spool);
  Publisher publisher(**spool, std::string(kBoot), mark());
  publisher.push(batch(100));
  publisher.drain();
  EXPECT_EQ(left(), (Watched{.until_unix_ns = 1000}));

  publisher.push(batch(100 << 10));
  publisher.push(batch(100 << 10));
  publisher.drain();
  EXPECT_EQ(left(), (Watched{.until_unix_ns = 21'000}));
  publisher.push(batch(100 << 10));  // no room
  publisher.drain();
  publisher.seen(50'000);
  EXPECT_EQ(left(), (Watched{.until_unix_ns = 21'000}));
  publisher.push(batch(100));  // there is for this one, but it tells nothing of the one before
  publisher.drain();
  EXPECT_EQ(left(), (Watched{.until_unix_ns = 21'000}));

  while ((*spool)->next()) continue;
  (*spool)->acknowledge(kBoot, next_);
  std::optional<spool::Dropped> dropped;
  while (!(dropped = publisher.take_dropped())) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(dropped->events, 10U);
  EncodedBatch telling = batch(100);
  telling.carries = dropped;
  publisher.push(std::move(telling));
  publisher.drain();
  EXPECT_EQ(left(), (Watched{.until_unix_ns = 51'000}));
}

// Large batches fill it long before their number does; whoever pushes waits, and nothing is lost here.
TEST_F(PublisherTest, TheQueueIsBoundedByBytes) {
  auto spool = spool::Spool::open({.folder = folder_.path() + "/spool"});
  ASSERT_TRUE(spool);
  Publisher publisher(**spool, std::string(kBoot), mark());
  constexpr size_t kBatches = 40;
  std::vector<EncodedBatch> batches;
  for (size_t i = 0; i < kBatches; ++i) batches.push_back(batch(3U << 20));
  ASSERT_GT(kBatches * (3U << 20), 4 * Publisher::kQueueBytesMax);
  for (EncodedBatch& one : batches) publisher.push(std::move(one));
  publisher.drain();
  EXPECT_GT(publisher.queued_bytes_peak(), 3U << 20) << "was never behind";
  EXPECT_LE(publisher.queued_bytes_peak(), Publisher::kQueueBytesMax);
  EXPECT_FALSE(publisher.take_dropped());
  size_t events = 0;
  while (const auto stored = (*spool)->next()) events += stored->event_count;
  EXPECT_EQ(events, kBatches * 10);
}

// One that is larger than the bound must not wait for ever.
TEST_F(PublisherTest, ABatchOfAnySizeIsTaken) {
  auto spool = spool::Spool::open({.folder = folder_.path() + "/spool"});
  ASSERT_TRUE(spool);
  Publisher publisher(**spool, std::string(kBoot), mark());
  for (int i = 0; i < 2; ++i) {
    EncodedBatch large = batch(100);
    large.bytes.resize(Publisher::kQueueBytesMax + 1);
    publisher.push(std::move(large));
  }
  publisher.drain();
  EXPECT_EQ(left(), (Watched{.until_unix_ns = 11'000}));
}

TEST_F(PublisherTest, EndOfItsOwnAccordIsMarked) {
  auto spool = spool::Spool::open({.folder = folder_.path() + "/spool"});
  ASSERT_TRUE(spool);
  {
    Publisher publisher(**spool, std::string(kBoot), mark());
    publisher.push(batch(100));
    publisher.drain();
    publisher.end(70'000);
  }
  EXPECT_EQ(left(), (Watched{.until_unix_ns = 70'000, .is_ended = true}));
}

}  // namespace
}  // namespace gatehouse::runtime
