// SPDX-License-Identifier: Apache-2.0
#include "collector/ledger/log_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "collector/ledger/testing.h"
#include "common/log.h"

namespace gatehouse::ledger {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A log of three segments of two batches each, the last one open; closed, so that its files can be touched.
class LogCheckTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { log::set_level(log::Level::kError); }
  void SetUp() override { fill(); }

  void fill() {
    auto log = SegmentLog::open({.folder = folder_.path()});
    ASSERT_TRUE(log);
    for (uint64_t segment = 0; segment < 3; ++segment) {
      append(**log, {.first = 20 * segment + 1});
      append(**log, {.first = 20 * segment + 11});
      if (segment < 2) {
        EXPECT_TRUE((*log)->seal());
      }
    }
  }
  static void append(SegmentLog& log, TestBatch batch) {
    const Batch view = batch.view();
    ASSERT_TRUE(log.append(std::span{&view, 1}));
  }
  FolderCheck check() {
    auto result = check_folder(folder_.path());
    EXPECT_TRUE(result) << (result ? "" : result.error().message());
    return result ? *std::move(result) : FolderCheck{};
  }
  std::string path(int number, const std::string& suffix = ".segment") {
    return folder_.path() + "/00000000000" + std::to_string(number) + suffix;
  }
  // Turns one byte round.
  void damage(const std::string& file, std::streamoff at) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(at);
    const char byte = static_cast<char>(stream.get() ^ 1);
    stream.seekp(at);
    stream.put(byte);
  }
  // As retention leaves it.
  void remove(int number) {
    const auto content = read_file(path(number), SIZE_MAX - 1);
    ASSERT_TRUE(content);
    std::string heads;
    ASSERT_TRUE(append_heads(heads, as_bytes(*content)));
    ASSERT_TRUE(write_file_atomically(path(number, ".heads"), heads));
    std::filesystem::remove(path(number));
  }

  TemporaryFolder folder_;
};

TEST_F(LogCheckTest, AWholeLog) {
  const FolderCheck got = check();
  EXPECT_THAT(got.problems, IsEmpty());
  EXPECT_EQ(got.segments, 3U);
  EXPECT_EQ(got.records, 6U);
  EXPECT_EQ(got.events, 60U);
  EXPECT_TRUE(got.is_open);
  EXPECT_EQ(got.tail_bytes, 0U);
  ASSERT_EQ(got.sources.size(), 1U);
  EXPECT_EQ(got.sources[0].last_sequence, 60U);
  EXPECT_EQ(got.sources[0].missing, 0U);
}

TEST_F(LogCheckTest, EveryByteOfASealedSegmentCounts) {
  const auto size = static_cast<std::streamoff>(std::filesystem::file_size(path(1)));
  for (std::streamoff at = 0; at < size; at += 7) {
    damage(path(1), at);
    EXPECT_FALSE(check().is_whole()) << at;
    damage(path(1), at);
  }
  EXPECT_TRUE(check().is_whole());
}

TEST_F(LogCheckTest, SegmentsThatAreGoneOrExchanged) {
  std::filesystem::rename(path(2), path(2) + ".away");
  EXPECT_THAT(check().problems, ElementsAre("segment 2 is missing", HasSubstr("sequences 21 to 40 never came")));
  std::filesystem::copy_file(path(1), path(2));
  EXPECT_THAT(check().problems, ::testing::Contains("segment 2: says of itself that it is segment 1"));
}

TEST_F(LogCheckTest, ATornTailIsNoDamage) {
  std::ofstream(path(3), std::ios::app | std::ios::binary) << "GHR1 half a record";
  const FolderCheck got = check();
  EXPECT_TRUE(got.is_whole());
  EXPECT_EQ(got.tail_bytes, 18U);
  // But one with whole records behind it is.
  damage(path(3), 64 + 50);
  EXPECT_THAT(check().problems, ::testing::Contains(HasSubstr("segment 3, record 0 at byte 64")));
}

TEST_F(LogCheckTest, RemovedSegmentsAreVouchedForByTheirHeads) {
  remove(1);
  const FolderCheck got = check();
  EXPECT_THAT(got.problems, IsEmpty());
  EXPECT_EQ(got.removed_segments, 1U);
  EXPECT_EQ(got.removed_events, 20U);
  EXPECT_EQ(got.segments, 2U);
  EXPECT_EQ(got.sources.at(0).events, 60U);
  damage(path(1, ".heads"), 100);
  EXPECT_THAT(check().problems, ::testing::Contains("segment 1: was removed, and what was kept of it is wrong"));
  damage(path(1, ".heads"), 100);
  std::filesystem::remove(path(1, ".heads"));
  EXPECT_THAT(check().problems, ::testing::Contains("segment 1 is missing"));
}

TEST_F(LogCheckTest, SequencesThatNeverCame) {
  auto log = SegmentLog::open({.folder = folder_.path()});
  ASSERT_TRUE(log);
  append(**log, {.first = 71});
  append(**log, {.agent = "db2", .first = 1, .previous = std::string(32, 'p')});
  append(**log, {.agent = "db2", .first = 11, .previous = std::string(32, 'q')});
  EXPECT_THAT(check().problems,
              ElementsAre("agent db1, boot b0: sequences 61 to 70 never came",
                          "agent db2, boot b0: the batch at sequence 11 was sent after another one than is here"));
}

TEST_F(LogCheckTest, NoLogIsAnError) {
  EXPECT_FALSE(check_folder(folder_.path() + "/nothing"));
  const TemporaryFolder empty;
  EXPECT_FALSE(check_folder(empty.path()));
}

}  // namespace
}  // namespace gatehouse::ledger
