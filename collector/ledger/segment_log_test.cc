// SPDX-License-Identifier: Apache-2.0
#include "collector/ledger/segment_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "collector/ledger/log_reader.h"
#include "collector/ledger/testing.h"
#include "common/log.h"

namespace gatehouse::ledger {
namespace {

using Kind = AppendOutcome::Kind;

class SegmentLogTest : public ::testing::Test {
 protected:
  // Hundreds of torn tails are the point here, not news.
  static void SetUpTestSuite() { log::set_level(log::Level::kError); }
  void open(uint64_t segment_bytes_max = 1U << 20) {
    log_.reset();
    auto log = SegmentLog::open({.folder = folder_.path(), .segment_bytes_max = segment_bytes_max});
    ASSERT_TRUE(log) << log.error().message();
    log_ = *std::move(log);
  }
  AppendOutcome append(TestBatch batch) {
    const Batch view = batch.view();
    auto outcomes = log_->append(std::span{&view, 1});
    EXPECT_TRUE(outcomes);
    return outcomes->at(0);
  }
  // "agent/boot:first+count", in log order.
  std::vector<std::string> read_all() {
    std::vector<std::string> all;
    LogReader reader(*log_);
    Record record;
    for (;;) {
      const auto outcome = reader.next(record);
      EXPECT_TRUE(outcome);
      if (*outcome == LogReader::Outcome::kDamaged) all.push_back("damaged");
      if (*outcome == LogReader::Outcome::kEnd) return all;
      if (*outcome == LogReader::Outcome::kRecord) all.push_back(name_of(record.header));
    }
  }
  static std::string name_of(const RecordHeader& header) {
    return std::string(header.agent_id) + "/" + std::string(header.boot_id) + ":" +
           std::to_string(header.first_sequence) + "+" + std::to_string(header.event_count);
  }
  SourceInfo source(size_t index = 0) { return log_->sources().at(index); }
  std::string segment_path(size_t index = 0) { return log_->segments().at(index).path; }
  std::string first_bad() { return log_->verify()->first_bad; }

  TemporaryFolder folder_;
  std::unique_ptr<SegmentLog> log_;
};

TEST_F(SegmentLogTest, AppendedIsReadBackAlsoAfterReopening) {
  open();
  EXPECT_EQ(append({.first = 1}).kind, Kind::kAppended);
  EXPECT_EQ(append({.first = 11}).acknowledged_sequence, 20U);
  EXPECT_EQ(append({.agent = "db2", .first = 1, .count = 3}).acknowledged_sequence, 3U);
  const std::vector<std::string> want{"db1/b0:1+10", "db1/b0:11+10", "db2/b0:1+3"};
  EXPECT_EQ(read_all(), want);
  open();
  EXPECT_EQ(read_all(), want);
  EXPECT_EQ(log_->open_report().events, 23U);
  EXPECT_EQ(log_->open_report().torn_bytes, 0U);
  EXPECT_EQ(source().acknowledged_sequence, 20U);
  EXPECT_EQ(first_bad(), "");
}

TEST_F(SegmentLogTest, RedeliveryIsRecognisedFromFootersAndFromTheOpenSegment) {
  open();
  append({.first = 1});
  ASSERT_TRUE(log_->seal());
  append({.first = 11});
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(append({.first = 1}).kind, Kind::kDuplicate);
    EXPECT_EQ(append({.first = 11}).acknowledged_sequence, 20U);
    EXPECT_EQ(append({.first = 1, .flavour = "other"}).kind, Kind::kChanged);
    EXPECT_EQ(append({.first = 11, .flavour = "other"}).kind, Kind::kChanged);
    EXPECT_EQ(append({.first = 5}).kind, Kind::kOverlap);
    EXPECT_EQ(append({.first = 1, .count = 4}).kind, Kind::kOverlap);
    EXPECT_EQ(append({.first = 20, .count = 2}).kind, Kind::kOverlap);
    EXPECT_EQ(source().changed, 2U);
    EXPECT_EQ(read_all().size(), 2U);
    open();
  }
}

TEST_F(SegmentLogTest, MalformedIsRefused) {
  open();
  EXPECT_EQ(append({.first = 0}).kind, Kind::kMalformed);
  EXPECT_EQ(append({.first = 1, .count = 0}).kind, Kind::kMalformed);
  EXPECT_EQ(append({.first = UINT64_MAX, .count = 2}).kind, Kind::kMalformed);
  EXPECT_EQ(append({.boot = "", .first = 1}).kind, Kind::kMalformed);
  EXPECT_EQ(append({.boot = "a/b", .first = 1}).kind, Kind::kMalformed);
  EXPECT_EQ(append({.boot = "a\nb", .first = 1}).kind, Kind::kMalformed);
  EXPECT_EQ(append({.agent = std::string(kNameBytesMax + 1, 'a'), .first = 1}).kind, Kind::kMalformed);
  EXPECT_EQ(append({.first = 1, .previous = "short"}).kind, Kind::kMalformed);
  EXPECT_TRUE(read_all().empty());
  EXPECT_TRUE(log_->sources().empty());
}

TEST_F(SegmentLogTest, JumpsAreMissingUntilTheyCome) {
  open();
  append({.first = 1});
  append({.first = 31});
  EXPECT_EQ(source().missing, 20U);
  EXPECT_EQ(append({.first = 11}).acknowledged_sequence, 40U);
  EXPECT_EQ(source().missing, 10U);
  open();
  EXPECT_EQ(source().missing, 10U);
  EXPECT_EQ(source().events, 30U);
}

TEST_F(SegmentLogTest, BrokenAgentChainIsCounted) {
  open();
  TestBatch first{.first = 1};
  const Digest sum = first.view().payload_sha256;
  append(first);
  append({.first = 11, .previous = std::string(reinterpret_cast<const char*>(sum.data()), sum.size())});
  EXPECT_EQ(source().unchained, 0U);
  append({.first = 21, .previous = std::string(32, 'z')});
  EXPECT_EQ(source().unchained, 1U);
}

TEST_F(SegmentLogTest, SegmentsAreSealedBySizeAndChained) {
  open(1000);
  for (uint64_t i = 0; i < 20; ++i) append({.first = 1 + i * 10});
  EXPECT_GT(log_->segments().size(), 3U);
  EXPECT_EQ(first_bad(), "");
  const auto before = read_all();
  EXPECT_EQ(before.size(), 20U);
  open(1000);
  EXPECT_EQ(read_all(), before);
  EXPECT_EQ(source().events, 200U);
  EXPECT_EQ(first_bad(), "");
}

TEST_F(SegmentLogTest, AnotherProcessIsRefusedByName) {
  open();
  const auto second = SegmentLog::open({.folder = folder_.path()});
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message(), ::testing::HasSubstr("held by another running process"));
}

TEST_F(SegmentLogTest, MissingSegmentIsNamed) {
  open(500);
  for (uint64_t i = 0; i < 20; ++i) append({.first = 1 + i * 10});
  const std::string second = segment_path(1);
  log_.reset();
  std::filesystem::remove(second);
  const auto log = SegmentLog::open({.folder = folder_.path()});
  ASSERT_FALSE(log);
  EXPECT_THAT(log.error().message(), ::testing::HasSubstr(second));
}

// Whatever length a crash leaves the file with: whole records stay, the rest goes, appending continues.
TEST_F(SegmentLogTest, TailTornAtEveryByte) {
  open();
  for (uint64_t i = 0; i < 3; ++i) append({.first = 1 + i * 10});
  const std::string path = segment_path();
  const SegmentScan scan = scan_segment(as_bytes(*read_file(path, SIZE_MAX - 1)));
  ASSERT_EQ(scan.records.size(), 3U);
  const uint64_t second = scan.records[1].offset;
  const uint64_t third = scan.records[2].offset;
  const std::string content = *read_file(path, SIZE_MAX - 1);
  for (size_t bytes = 0; bytes <= content.size(); ++bytes) {
    log_.reset();
    ASSERT_TRUE(write_file_atomically(path, std::string_view(content).substr(0, bytes)));
    open();
    const size_t want = bytes == content.size() ? 3U : bytes >= third ? 2U : bytes >= second ? 1U : 0U;
    ASSERT_EQ(read_all().size(), want) << bytes;
    ASSERT_EQ(log_->open_report().damaged_bytes, 0U) << bytes;
    ASSERT_EQ(append({.first = 1 + want * 10}).kind, Kind::kAppended) << bytes;
    ASSERT_EQ(first_bad(), "") << bytes;
  }
}

TEST_F(SegmentLogTest, FooterTornAtEveryByte) {
  open();
  for (uint64_t i = 0; i < 3; ++i) append({.first = 1 + i * 10});
  const std::string path = segment_path();
  const size_t records_end = log_->end().offset;
  ASSERT_TRUE(log_->seal());
  const std::string next = segment_path(1);
  const std::string content = *read_file(path, SIZE_MAX - 1);
  for (size_t bytes = records_end; bytes <= content.size(); ++bytes) {
    log_.reset();
    std::filesystem::remove(next);
    ASSERT_TRUE(write_file_atomically(path, std::string_view(content).substr(0, bytes)));
    open();
    ASSERT_EQ(read_all().size(), 3U) << bytes;
    ASSERT_EQ(log_->segments().size(), bytes == content.size() ? 2U : 1U);
    ASSERT_EQ(append({.first = 1}).kind, Kind::kDuplicate);
  }
}

TEST_F(SegmentLogTest, VerifyFindsEveryFlippedByte) {
  open(1000);
  for (uint64_t i = 0; i < 8; ++i) append({.first = 1 + i * 10});
  ASSERT_GE(log_->segments().size(), 2U);
  const std::string path = segment_path();
  const std::string content = *read_file(path, SIZE_MAX - 1);
  for (size_t at = 0; at < content.size(); ++at) {
    std::string changed = content;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    const UniqueFd file = *open_file(path, O_WRONLY);
    ASSERT_EQ(::pwrite(file.get(), changed.data() + at, 1, static_cast<off_t>(at)), 1);
    ASSERT_THAT(first_bad(), ::testing::StartsWith("segment 1")) << at;
    ASSERT_EQ(::pwrite(file.get(), content.data() + at, 1, static_cast<off_t>(at)), 1);
  }
  EXPECT_EQ(first_bad(), "");
}

TEST_F(SegmentLogTest, DamageInSealedSegmentKeepsTheRestReadable) {
  open(1000);
  for (uint64_t i = 0; i < 8; ++i) append({.first = 1 + i * 10});
  const std::string path = segment_path();
  const auto all = read_all();
  const uint32_t records = log_->segments()[0].records;
  ASSERT_GE(records, 2U);
  {
    const UniqueFd file = *open_file(path, O_WRONLY);
    ASSERT_EQ(::pwrite(file.get(), "?", 1, kSegmentHeaderBytes + 50), 1);
  }
  std::vector<std::string> want(all.begin() + records, all.end());
  want.insert(want.begin(), "damaged");
  EXPECT_EQ(read_all(), want);
}

TEST_F(SegmentLogTest, DamageBeforeWholeRecordsIsSetAsideNotThrownAway) {
  open();
  for (uint64_t i = 0; i < 5; ++i) append({.first = 1 + i * 10});
  const std::string path = segment_path();
  const std::string content = *read_file(path, SIZE_MAX - 1);
  const uint64_t second = scan_segment(as_bytes(content)).records[1].offset;
  log_.reset();
  std::string changed = content;
  changed[second + 20] = static_cast<char>(changed[second + 20] ^ 1);
  ASSERT_TRUE(write_file_atomically(path, changed));
  open();
  EXPECT_EQ(read_all().size(), 1U);
  EXPECT_EQ(log_->open_report().damaged_bytes, content.size() - second);
  EXPECT_EQ(*read_file(log_->open_report().damaged_path, SIZE_MAX - 1), changed.substr(second));
  EXPECT_EQ(append({.first = 11}).kind, Kind::kAppended);
}

TEST_F(SegmentLogTest, ConcurrentCallersShareCommitsAndNothingIsLostOrDoubled) {
  open(20000);
  constexpr int kThreads = 6;
  constexpr uint64_t kBatches = 60;
  std::atomic<int> running = kThreads;
  std::vector<std::thread> writers;
  for (int t = 0; t < kThreads; ++t) {
    writers.emplace_back([&, t] {
      // Each agent has two connections that send the same, as after a reconnect.
      for (uint64_t i = 0; i < kBatches; ++i) {
        TestBatch batch{.agent = "a" + std::to_string(t / 2), .first = 1 + i * 10};
        const Batch view = batch.view();
        const auto outcomes = log_->append(std::span{&view, 1});
        EXPECT_TRUE(outcomes);
        EXPECT_TRUE(outcomes->at(0).kind == Kind::kAppended || outcomes->at(0).kind == Kind::kDuplicate);
        EXPECT_GE(outcomes->at(0).acknowledged_sequence, batch.first + 9);
      }
      --running;
    });
  }
  // A reader that follows sees each record once, in order.
  std::vector<std::string> seen;
  LogReader reader(*log_);
  Record record;
  for (;;) {
    const bool was_running = running > 0;
    const auto outcome = *reader.next(record);
    ASSERT_NE(outcome, LogReader::Outcome::kDamaged);
    if (outcome == LogReader::Outcome::kRecord) seen.push_back(name_of(record.header));
    if (outcome == LogReader::Outcome::kEnd && !was_running) break;
    if (outcome == LogReader::Outcome::kEnd) log_->wait_beyond(reader.position(), 10);
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(seen.size(), kBatches * kThreads / 2);
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), seen.size());
  EXPECT_EQ(seen, read_all());
  EXPECT_EQ(first_bad(), "");
}

// Runs `body` in a process of its own, since the limit is the process's; 0 or the number of the step that failed.
int in_child(const std::function<int()>& body) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// A full disk: the caller is told, nothing of it is there, and the log goes on when there is room again.
TEST_F(SegmentLogTest, FailedWriteLeavesTheLogAsItWas) {
  open();
  append({.first = 1});
  const auto end = log_->end();
  TestBatch large{.first = 11, .payload = std::string(100'000, 'p')};
  log_.reset();
  EXPECT_EQ(in_child([&] {
              auto log = SegmentLog::open({.folder = folder_.path()});
              if (!log) return 1;
              test::limit_files(50'000);
              const Batch view = large.view();
              if ((*log)->append(std::span{&view, 1})) return 2;
              if ((*log)->end() != end) return 3;
              test::limit_files(RLIM_INFINITY);
              const auto again = (*log)->append(std::span{&view, 1});
              return again && again->at(0).kind == Kind::kAppended && (*log)->verify()->first_bad.empty() ? 0 : 4;
            }),
            0);
  open();
  EXPECT_EQ(read_all().size(), 2U);
}

// A disk without room for the next segment's header, with and without a file that an earlier try has left.
TEST_F(SegmentLogTest, OpensWhereNoSegmentCanBeMadeAndGoesOnWhenThereIsRoom) {
  for (const bool has_empty_file : {false, true}) {
    SCOPED_TRACE(has_empty_file);
    open();
    const uint64_t first = has_empty_file ? 21 : 1;
    append({.first = first});
    ASSERT_TRUE(log_->seal());
    const size_t sealed = log_->segments().size() - 1;
    const std::string next = segment_path(sealed);
    const auto before = read_all();
    log_.reset();
    std::filesystem::remove(next);
    if (has_empty_file) {
      ASSERT_TRUE(open_file(next, O_WRONLY | O_CREAT));
    }
    EXPECT_EQ(in_child([&] {
                test::limit_files(0);
                auto opened = SegmentLog::open({.folder = folder_.path()});
                if (!opened) return 1;
                log_ = *std::move(opened);
                if (read_all() != before || log_->segments().size() != sealed || !first_bad().empty()) return 2;
                if (std::filesystem::exists(next)) return 3;
                TestBatch batch{.first = first + 10};
                const Batch view = batch.view();
                if (log_->append(std::span{&view, 1}) || !log_->seal_if_due()) return 4;
                if (append({.first = first}).kind != Kind::kDuplicate) return 5;
                test::limit_files(RLIM_INFINITY);
                const auto again = log_->append(std::span{&view, 1});
                return again && again->at(0).kind == Kind::kAppended && first_bad().empty() ? 0 : 6;
              }),
              0);
    open();
    EXPECT_EQ(read_all().size(), before.size() + 1);
    EXPECT_EQ(first_bad(), "");
  }
}

// The child appends and tells each acknowledgement through a pipe; it is killed at a random moment.
TEST_F(SegmentLogTest, KilledWriterLosesNothingAcknowledgedAndDoublesNothing) {
  std::mt19937 random(20240229);
  uint64_t next = 1;
  uint64_t acknowledged = 0;
  for (int round = 0; round < 20; ++round) {
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto log = SegmentLog::open({.folder = folder_.path(), .segment_bytes_max = 3000});
      if (!log) ::_exit(1);
      for (uint64_t first = next;; first += 10) {
        TestBatch batch{.first = first};
        const Batch view = batch.view();
        const auto outcome = (*log)->append(std::span{&view, 1});
        if (!outcome) ::_exit(1);
        const uint64_t sequence = outcome->at(0).acknowledged_sequence;
        if (::write(pipe_fds[1], &sequence, sizeof sequence) != sizeof sequence) ::_exit(1);
      }
    }
    ::close(pipe_fds[1]);
    uint64_t sequence = 0;
    // Every other child gets to say something first, on however slow a machine; the rest die anywhere.
    for (int told = 0; round % 2 == 1 && told < 3 && ::read(pipe_fds[0], &sequence, sizeof sequence) == sizeof sequence;
         ++told)
      acknowledged = sequence;
    ::usleep(static_cast<useconds_t>(std::uniform_int_distribution(500, 30'000)(random)));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    while (::read(pipe_fds[0], &sequence, sizeof sequence) == sizeof sequence) acknowledged = sequence;
    ::close(pipe_fds[0]);

    open(3000);
    ASSERT_EQ(first_bad(), "");
    const auto found = read_all();
    ASSERT_EQ(std::set<std::string>(found.begin(), found.end()).size(), found.size());
    ASSERT_GE(found.size() * 10, acknowledged);
    ASSERT_EQ(found.empty() ? 0 : source().missing, 0U);
    ASSERT_EQ(found.empty() ? 0 : source().acknowledged_sequence, found.size() * 10);
    // Redelivers the last acknowledged one, as an agent does that did not get the acknowledgement.
    next = acknowledged == 0 ? 1 : acknowledged - 9;
    log_.reset();
  }
  EXPECT_GT(acknowledged, 100U);
}

}  // namespace
}  // namespace gatehouse::ledger
