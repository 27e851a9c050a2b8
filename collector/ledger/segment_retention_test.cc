// SPDX-License-Identifier: Apache-2.0
// Sealing and retention, and a crash between any two of their steps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "collector/ledger/log_check.h"
#include "collector/ledger/log_reader.h"
#include "collector/ledger/segment_files.h"
#include "collector/ledger/segment_log.h"
#include "collector/ledger/testing.h"
#include "common/clock.h"
#include "common/log.h"

namespace gatehouse::ledger {
namespace {

using Kind = AppendOutcome::Kind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kHourNs = 3600ULL * 1'000'000'000;

class RetentionTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { log::set_level(log::Level::kError); }

  std::unique_ptr<SegmentLog> open(Retention retention = {}, std::function<void(std::string_view)> at_step = {}) {
    auto log = SegmentLog::open({.folder = folder_.path(), .retention = retention, .at_step = std::move(at_step)});
    EXPECT_TRUE(log) << log.error().message();
    return *std::move(log);
  }
  static AppendOutcome append(SegmentLog& log, TestBatch batch) {
    const Batch view = batch.view();
    auto outcomes = log.append(std::span{&view, 1});
    EXPECT_TRUE(outcomes);
    return outcomes->at(0);
  }
  // `segments` sealed ones with ten events each, and as many in the open one.
  void fill(uint64_t segments) {
    const auto log = open();
    for (uint64_t i = 0; i <= segments; ++i) {
      append(*log, {.first = 10 * i + 1});
      if (i == segments) break;
      EXPECT_TRUE(log->seal());
    }
  }
  static std::vector<uint64_t> read_all(SegmentLog& log) {
    std::vector<uint64_t> all;
    LogReader reader(log);
    Record record;
    for (;;) {
      const auto outcome = reader.next(record);
      EXPECT_TRUE(outcome);
      if (*outcome != LogReader::Outcome::kRecord) return all;
      all.push_back(record.header.first_sequence);
    }
  }
  // Runs `use` on a log in a process that is gone when it comes to `step`. False: it never did.
  template <typename Use>
  bool dies_at(std::string_view step, const Retention& retention, const Use& use) {
    const pid_t child = ::fork();
    if (child == 0) {
      const auto log = open(retention, [&](std::string_view at) {
        if (at == step) ::_exit(9);
      });
      use(*log);
      ::_exit(0);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 9;
  }
  FolderCheck check() {
    auto result = check_folder(folder_.path());
    EXPECT_TRUE(result);
    return result ? *std::move(result) : FolderCheck{};
  }
  std::vector<uint64_t> files(std::string_view suffix) { return *list_segment_files(folder_.path(), suffix); }

  TemporaryFolder folder_;
};

TEST_F(RetentionTest, KeepsEverythingUnlessToldOtherwise) {
  fill(3);
  const auto log = open();
  EXPECT_EQ(log->remove_old(unix_ns() + 1000 * kHourNs)->segments, 0U);
  EXPECT_THAT(files(kSegmentSuffix), ElementsAre(1, 2, 3, 4));
}

TEST_F(RetentionTest, RemovesWhatIsOldAndNeverTheOpenSegment) {
  fill(3);
  const auto log = open({.age_ns_max = kHourNs});
  EXPECT_EQ(log->remove_old(unix_ns())->segments, 0U);
  const auto removed = log->remove_old(unix_ns() + 2 * kHourNs);
  ASSERT_TRUE(removed);
  EXPECT_EQ(removed->segments, 3U);
  EXPECT_EQ(removed->first_segment, 1U);
  EXPECT_EQ(removed->last_segment, 3U);
  EXPECT_EQ(removed->events, 30U);
  EXPECT_THAT(files(kSegmentSuffix), ElementsAre(4));
  EXPECT_THAT(files(kHeadsSuffix), ElementsAre(1, 2, 3));
  EXPECT_THAT(read_all(*log), ElementsAre(31));
  EXPECT_EQ(log->verify()->first_bad, "");
}

// Heads are written before anything goes, and there is no room for them but what was set aside.
TEST_F(RetentionTest, MakesRoomOnADiskWithoutAFreeByte) {
  constexpr size_t kDiskBytes = 2U << 20;
  for (const bool has_reserve : {true, false}) {
    SCOPED_TRACE(has_reserve);
    const auto outcome = test::on_small_disk(folder_.path(), kDiskBytes, [&] {
      fill(3);
      const auto log = SegmentLog::open(
          {.folder = folder_.path(), .segment_bytes_max = 256U << 10, .retention = {.age_ns_max = kHourNs}});
      if (!log) return 1;
      if (!has_reserve) std::filesystem::remove(folder_.path() + "/reserve");
      const std::string ballast = test::fill_disk(folder_.path());
      const uint64_t later_ns = unix_ns() + 2 * kHourNs;
      const auto removed = (*log)->remove_old(later_ns);
      if (!has_reserve) {
        // Nothing is lost, and it goes on when there is room.
        if (removed || files(kSegmentSuffix).size() != 4 || !files(kHeadsSuffix).empty()) return 2;
        if (!check().problems.empty()) return 3;
        std::filesystem::remove(ballast);
        if (const auto again = (*log)->remove_old(later_ns); !again || again->segments != 3) return 4;
      } else if (!removed || removed->segments != 3) {
        return 5;
      }
      if (files(kSegmentSuffix).size() != 1 || files(kHeadsSuffix).size() != 3) return 6;
      if (!check().problems.empty() || !(*log)->verify()->first_bad.empty()) return 7;
      if (!std::filesystem::exists(folder_.path() + "/reserve")) return 8;
      for (const auto& file : std::filesystem::directory_iterator(folder_.path()))
        if (file.path().extension() == ".tmp") return 9;
      return append(**log, {.first = 41}).kind == Kind::kAppended ? 0 : 10;
    });
    ASSERT_TRUE(outcome) << "this process may not mount a file system: run it as root";
    EXPECT_EQ(*outcome, 0);
  }
}

TEST_F(RetentionTest, RemovesTheOldestOfWhatIsTooMuch) {
  fill(3);
  uint64_t bytes = 0;
  {
    const auto log = open();
    for (const SegmentInfo& segment : log->segments()) bytes += segment.durable_bytes;
  }
  const auto log = open({.bytes_max = bytes - 1});
  EXPECT_EQ(log->remove_old(unix_ns())->segments, 1U);
  EXPECT_EQ(log->remove_old(unix_ns())->segments, 0U);
  EXPECT_EQ(log->first_segment(), 2U);
}

// Nothing of the chain is missing, and a batch of a removed segment is still known.
TEST_F(RetentionTest, WhatWasRemovedIsVouchedForAndKnown) {
  fill(3);
  EXPECT_EQ(open({.age_ns_max = kHourNs})->remove_old(unix_ns() + 2 * kHourNs)->segments, 3U);
  const auto log = open();
  EXPECT_TRUE(log->open_report().damaged_segments.empty());
  EXPECT_EQ(append(*log, {.first = 11}).kind, Kind::kDuplicate);
  EXPECT_EQ(append(*log, {.first = 11, .flavour = "y"}).kind, Kind::kChanged);
  EXPECT_EQ(append(*log, {.first = 41}).acknowledged_sequence, 50U);
  EXPECT_EQ(log->sources().at(0).missing, 0U);
  EXPECT_EQ(log->sources().at(0).events, 50U);
  const FolderCheck found = check();
  EXPECT_THAT(found.problems, IsEmpty());
  EXPECT_EQ(found.removed_segments, 3U);
  EXPECT_EQ(found.removed_events, 30U);
  EXPECT_EQ(found.sources.at(0).events, 50U);
}

TEST_F(RetentionTest, AReaderGoesOnWithWhatIsThere) {
  fill(3);
  const auto log = open({.age_ns_max = kHourNs});
  LogReader reader(*log);
  Record record;
  ASSERT_EQ(*reader.next(record), LogReader::Outcome::kRecord);
  EXPECT_EQ(record.header.first_sequence, 1U);
  ASSERT_TRUE(log->remove_old(unix_ns() + 2 * kHourNs));
  ASSERT_EQ(*reader.next(record), LogReader::Outcome::kRecord);
  EXPECT_EQ(record.header.first_sequence, 31U);
}

TEST_F(RetentionTest, ADamagedSegmentIsLeftForPeople) {
  fill(2);
  ASSERT_EQ(::truncate(segment_file(folder_.path(), 1, kSegmentSuffix).c_str(), 200), 0);
  log::set_level(log::Level(4));
  const auto log = open({.age_ns_max = kHourNs});
  EXPECT_FALSE(log->remove_old(unix_ns() + 2 * kHourNs));
  EXPECT_THAT(files(kSegmentSuffix), ElementsAre(1, 2, 3));
  log::set_level(log::Level::kError);
}

TEST_F(RetentionTest, ACrashBetweenAnyTwoStepsOfRemovingLosesNothing) {
  const Retention retention{.age_ns_max = kHourNs};
  const uint64_t later_ns = unix_ns() + 2 * kHourNs;
  fill(3);
  for (const std::string_view step : {"removing", "heads-written", "segment-removed"}) {
    SCOPED_TRACE(step);
    ASSERT_TRUE(dies_at(step, retention, [&](SegmentLog& log) { EXPECT_TRUE(log.remove_old(later_ns)); }));
    EXPECT_THAT(check().problems, IsEmpty());
    const auto log = open();
    EXPECT_TRUE(log->open_report().damaged_segments.empty());
    EXPECT_EQ(append(*log, {.first = 1}).kind, Kind::kDuplicate);
    EXPECT_EQ(log->sources().at(0).missing, 0U);
    EXPECT_EQ(log->sources().at(0).events, 40U);
  }
  EXPECT_THAT(files(kSegmentSuffix), ElementsAre(2, 3, 4));
  EXPECT_EQ(open(retention)->remove_old(later_ns)->segments, 2U);
  EXPECT_THAT(check().problems, IsEmpty());
  EXPECT_EQ(check().removed_segments, 3U);
}

TEST_F(RetentionTest, ACrashBetweenAnyTwoStepsOfSealingLosesNothing) {
  uint64_t next = 1;
  for (const std::string_view step : {"sealing", "footer-written", "sealed", "file-made", "header-written"}) {
    SCOPED_TRACE(step);
    // Made outside of what is to die, where opening makes it.
    append(*open(), {.first = next});
    next += 10;
    ASSERT_TRUE(dies_at(step, {}, [&](SegmentLog& log) {
      append(log, {.first = next});
      EXPECT_TRUE(log.seal());
    }));
    next += 10;
    EXPECT_THAT(check().problems, IsEmpty());
    const auto log = open();
    EXPECT_EQ(log->open_report().damaged_bytes, 0U);
    EXPECT_TRUE(log->open_report().damaged_segments.empty());
    EXPECT_EQ(log->sources().at(0).events, next - 1);
    EXPECT_EQ(read_all(*log).size(), (next - 1) / 10);
    EXPECT_EQ(log->verify()->first_bad, "");
  }
}

}  // namespace
}  // namespace gatehouse::ledger
