// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/publisher.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <thread>

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
