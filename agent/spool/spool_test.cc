// SPDX-License-Identifier: Apache-2.0
#include "agent/spool/spool.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <thread>

namespace gatehouse::spool {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr std::string_view kBoot = "0123456789abcdef0123456789abcdef";

class SpoolTest : public ::testing::Test {
 protected:
  SpoolTest() {
    // In memory where there is such a folder: these tests stop processes, not the machine, and sync a thousand times.
    const fs::path parent = fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path();
    std::string pattern = parent / "spool_test.XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~SpoolTest() override { fs::remove_all(folder_); }

  std::unique_ptr<Spool> open(uint64_t bytes_max = 64 << 20, uint64_t segment_bytes = 1 << 20) {
    auto spool = Spool::open({.folder = folder_, .bytes_max = bytes_max, .segment_bytes = segment_bytes});
    EXPECT_TRUE(spool) << spool.error().message();
    return std::move(*spool);
  }
  // Batch `i` of `boot`: two events, a payload that depends on both.
  static SealedBatch batch(uint64_t i, size_t payload_bytes = 100, std::string_view boot = kBoot) {
    SealedBatch made{.boot_id = std::string(boot), .first_sequence = 2 * i + 1, .event_count = 2};
    std::minstd_rand random(static_cast<unsigned>(i + boot.front()));
    for (size_t b = 0; b < payload_bytes; ++b) made.payload_zstd += static_cast<char>(random());
    made.payload_sha256 = sha256(as_bytes(made.payload_zstd));
    return made;
  }
  std::vector<std::string> segment_files() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_))
      if (entry.path().extension() == ".spool") found.push_back(entry.path());
    std::ranges::sort(found);
    return found;
  }
  static std::vector<SealedBatch> drain(Spool& spool) {
    std::vector<SealedBatch> got;
    while (auto next = spool.next()) got.push_back(std::move(*next));
    return got;
  }

  std::string folder_;
};

TEST_F(SpoolTest, DeliversInOrderOverSegmentsAndForgetsWhatIsAcknowledged) {
  const auto spool = open(64 << 20, 64 << 10);
  for (uint64_t i = 0; i < 100; ++i) ASSERT_EQ(spool->append(batch(i, 10'000)), AppendOutcome::kStored);
  EXPECT_GT(segment_files().size(), 10U);
  const auto got = drain(*spool);
  ASSERT_EQ(got.size(), 100U);
  for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(got[i], batch(i, 10'000));
  EXPECT_GT(spool->counters().bytes_pending, 1'000'000U);
  spool->acknowledge(kBoot, 199);  // half of the last
  EXPECT_EQ(spool->counters().batches_acknowledged, 99U);
  EXPECT_GT(spool->counters().bytes_pending, 10'000U);
  spool->acknowledge(kBoot, 200);
  EXPECT_EQ(spool->counters().bytes_pending, 0U);
  EXPECT_EQ(spool->counters().batches_acknowledged, 100U);
  EXPECT_EQ(segment_files().size(), 1U);  // the open one
  EXPECT_FALSE(spool->next());
}

TEST_F(SpoolTest, RewindStartsAtFirstUnacknowledged) {
  const auto spool = open();
  for (uint64_t i = 0; i < 10; ++i) spool->append(batch(i));
  drain(*spool);
  spool->acknowledge(kBoot, 6);  // batches 0 to 2
  spool->acknowledge(kBoot, 7);  // half of batch 3: not all of it
  spool->rewind();
  EXPECT_EQ(spool->next(), batch(3));
  // The collector knows more than this connection has sent: what it has is not sent again.
  spool->acknowledge(kBoot, 16);
  EXPECT_EQ(spool->next(), batch(8));
}

TEST_F(SpoolTest, OlderBootsComeFirstAfterReopen) {
  for (const std::string_view boot : {"a", "b", "c"}) {
    const auto spool = open();
    for (uint64_t i = 0; i < 3; ++i) ASSERT_EQ(spool->append(batch(i, 50, boot)), AppendOutcome::kStored);
  }
  const auto spool = open();
  const auto got = drain(*spool);
  ASSERT_EQ(got.size(), 9U);
  EXPECT_EQ(got[0].boot_id, "a");
  EXPECT_EQ(got[3].boot_id, "b");
  EXPECT_EQ(got[8], batch(2, 50, "c"));
  spool->acknowledge("a", 6);
  spool->acknowledge("b", 2);
  spool->rewind();
  EXPECT_EQ(spool->next(), batch(1, 50, "b"));
}

TEST_F(SpoolTest, ReopenRemembersAcknowledgement) {
  {
    const auto spool = open();
    for (uint64_t i = 0; i < 10; ++i) spool->append(batch(i));
    drain(*spool);
    spool->acknowledge(kBoot, 8);
  }
  {
    const auto spool = open();
    EXPECT_EQ(spool->next(), batch(4));
  }
  fs::remove(folder_ + "/acknowledged");  // lost: everything comes again
  const auto spool = open();
  EXPECT_EQ(drain(*spool).size(), 10U);
}

TEST_F(SpoolTest, TornTailAtEveryByteIsCut) {
  {
    const auto spool = open();
    for (uint64_t i = 0; i < 3; ++i) spool->append(batch(i, 40));
  }
  const std::string file = segment_files().front();
  const std::string whole = *read_file(file, 1 << 20);
  const size_t record_bytes = (whole.size() - kSegmentHeaderBytes) / 3;
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    fs::remove_all(folder_);
    fs::create_directory(folder_);
    ASSERT_TRUE(write_file_atomically(file, whole.substr(0, bytes)));
    const size_t want = bytes < kSegmentHeaderBytes ? 0 : (bytes - kSegmentHeaderBytes) / record_bytes;
    {
      const auto spool = open();
      const auto got = drain(*spool);
      ASSERT_EQ(got.size(), want) << bytes;
      for (size_t i = 0; i < want; ++i) ASSERT_EQ(got[i], batch(i, 40));
      EXPECT_EQ(spool->counters().bytes_damaged, 0U);
      ASSERT_EQ(spool->append(batch(9, 40)), AppendOutcome::kStored);
    }
    EXPECT_EQ(drain(*open()).size(), want + 1) << bytes;
  }
}

TEST_F(SpoolTest, FlippedBytesAreReportedAndTheRestIsDelivered) {
  {
    const auto spool = open();
    for (uint64_t i = 0; i < 3; ++i) spool->append(batch(i, 40));
  }
  {
    EXPECT_EQ(open()->append(batch(3, 40)), AppendOutcome::kStored);
  }
  const std::string file = segment_files().front();  // not the newest: its end is not torn
  const std::string whole = *read_file(file, 1 << 20);
  for (size_t byte = 0; byte < whole.size(); ++byte) {
    std::string flipped = whole;
    flipped[byte] = static_cast<char>(flipped[byte] ^ 0x40);
    ASSERT_TRUE(write_file_atomically(file, flipped));
    const auto spool = open();
    const auto got = drain(*spool);
    ASSERT_FALSE(got.empty()) << byte;
    EXPECT_EQ(got.back(), batch(3, 40)) << byte;
    for (size_t i = 1; i < got.size(); ++i) EXPECT_LT(got[i - 1].first_sequence, got[i].first_sequence);
    for (const SealedBatch& one : got) EXPECT_EQ(one, batch((one.first_sequence - 1) / 2, 40)) << byte;
    EXPECT_LT(got.size(), 4U) << byte;
    const uint64_t damaged = spool->counters().bytes_damaged;
    EXPECT_GT(damaged, 0U) << byte;
    spool->rewind();
    drain(*spool);
    EXPECT_EQ(spool->counters().bytes_damaged, damaged) << "counted twice";
  }
}

TEST_F(SpoolTest, DamageDoesNotBlockAcknowledgement) {
  {
    const auto spool = open();
    for (uint64_t i = 0; i < 3; ++i) spool->append(batch(i, 40));
  }
  {
    open()->append(batch(3, 40));
  }
  const std::string file = segment_files().front();
  std::string content = *read_file(file, 1 << 20);
  content[content.size() - 1] = static_cast<char>(content.back() ^ 1);  // payload of the third
  ASSERT_TRUE(write_file_atomically(file, content));
  const auto spool = open();
  EXPECT_EQ(drain(*spool).size(), 3U);
  spool->acknowledge(kBoot, 4);
  EXPECT_FALSE(fs::exists(file));
  spool->acknowledge(kBoot, 8);
  EXPECT_TRUE(segment_files().empty());
}

TEST_F(SpoolTest, FullRefusesTheNewestAndSaysSo) {
  const auto spool = open(256 << 10, 64 << 10);
  uint64_t stored = 0;
  while (spool->append(batch(stored, 10'000)) == AppendOutcome::kStored) ++stored;
  EXPECT_GT(stored, 20U);
  EXPECT_EQ(spool->append(batch(stored + 1, 10'000)), AppendOutcome::kFull);
  EXPECT_LE(spool->counters().bytes_on_disk, 256U << 10);
  EXPECT_EQ(spool->counters().events_dropped, 4U);
  EXPECT_FALSE(spool->take_dropped()) << "no room to tell";

  EXPECT_EQ(spool->next(), batch(0, 10'000));  // the oldest is still there
  drain(*spool);
  spool->acknowledge(kBoot, 2 * stored);
  auto dropped = spool->take_dropped();
  ASSERT_TRUE(dropped);
  EXPECT_EQ(dropped->first_sequence, 2 * stored + 1);
  EXPECT_EQ(dropped->last_sequence, 2 * stored + 4);
  EXPECT_EQ(dropped->events, 4U);
  EXPECT_EQ(dropped->batches, 2U);
  EXPECT_FALSE(spool->take_dropped());
  EXPECT_EQ(spool->append(batch(stored + 2, 10'000)), AppendOutcome::kStored);
  EXPECT_FALSE(spool->take_dropped());
  EXPECT_EQ(spool->next(), batch(stored + 2, 10'000));
}

TEST_F(SpoolTest, AReportThatIsRefusedItselfIsMadeAgain) {
  const auto spool = open(256 << 10, 64 << 10);
  uint64_t stored = 0;
  while (spool->append(batch(stored, 10'000)) == AppendOutcome::kStored) ++stored;
  drain(*spool);
  spool->acknowledge(kBoot, 2 * stored);
  const auto first = spool->take_dropped();
  ASSERT_TRUE(first);
  // The report waits in a later batch: that others are refused before it does not make it told twice.
  EXPECT_EQ(spool->append(batch(stored + 1, 5 << 20)), AppendOutcome::kTooLarge);
  EXPECT_EQ(spool->append(batch(stored + 2, 5 << 20), &*first), AppendOutcome::kTooLarge);
  const auto again = spool->take_dropped();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->first_sequence, 2 * stored + 1);
  EXPECT_EQ(again->last_sequence, 2 * stored + 6);
  EXPECT_EQ(again->events, 6U);
  EXPECT_EQ(spool->append(batch(stored + 3), &*again), AppendOutcome::kStored);
  EXPECT_FALSE(spool->take_dropped());
}

TEST_F(SpoolTest, DiskErrorIsADropAndRecovers) {
  const auto spool = open();
  ASSERT_EQ(spool->append(batch(0)), AppendOutcome::kStored);
  // A file size limit fails a write half-way, as a full disk does.
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit tight{.rlim_cur = fs::file_size(segment_files().front()) + 50, .rlim_max = before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &tight);
  EXPECT_EQ(spool->append(batch(1)), AppendOutcome::kDiskError);
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_FALSE(spool->take_dropped()) << "not while the disk refuses";
  EXPECT_EQ(spool->append(batch(2)), AppendOutcome::kStored);
  const auto dropped = spool->take_dropped();
  ASSERT_TRUE(dropped);
  EXPECT_EQ(dropped->why, AppendOutcome::kDiskError);
  EXPECT_EQ(dropped->events, 2U);
  const auto got = drain(*spool);
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[1], batch(2));
  EXPECT_EQ(spool->counters().bytes_damaged, 0U);
}

TEST_F(SpoolTest, DiscardFirstGivesUpOne) {
  const auto spool = open();
  EXPECT_FALSE(spool->discard_first());
  for (uint64_t i = 0; i < 3; ++i) spool->append(batch(i));
  drain(*spool);
  EXPECT_TRUE(spool->discard_first());
  spool->rewind();
  EXPECT_EQ(drain(*spool).size(), 2U);
  EXPECT_EQ(spool->counters().batches_discarded, 1U);
}

TEST_F(SpoolTest, SecondProcessIsRefusedByName) {
  const auto spool = open();
  const auto second = Spool::open({.folder = folder_});
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message().find(folder_), std::string::npos);
}

TEST_F(SpoolTest, WriterAndReaderAtOnce) {
  constexpr uint64_t kBatches = 400;
  const auto spool = open(1 << 20, 64 << 10);
  std::jthread writer([&] {
    for (uint64_t i = 0; i < kBatches; ++i) {
      while (spool->append(batch(i, 2000)) == AppendOutcome::kFull) std::this_thread::sleep_for(milliseconds(1));
    }
  });
  uint64_t got = 0;
  while (got < kBatches) {
    const auto next = spool->next();
    if (!next) {
      spool->wait(milliseconds(1000));
      continue;
    }
    ASSERT_EQ(*next, batch(got, 2000));
    ++got;
    if (got % 7 == 0) spool->acknowledge(kBoot, next->last_sequence());
  }
}

// A child appends and says what was stored; it dies at a random moment. All it said must be there.
TEST_F(SpoolTest, KillLosesNothingThatWasStored) {
  std::mt19937 random(20);
  uint64_t next_sequence = 0;
  std::vector<uint64_t> promised;
  for (int round = 0; round < 12; ++round) {
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(pipe_fds[0]);
      auto spool = Spool::open({.folder = folder_, .bytes_max = 1 << 30, .segment_bytes = 64 << 10});
      if (!spool) ::_exit(1);
      for (uint64_t i = next_sequence;; ++i) {
        if ((*spool)->append(batch(i, 300 + i * 37 % 3000)) != AppendOutcome::kStored) ::_exit(2);
        if (::write(pipe_fds[1], &i, sizeof i) != sizeof i) ::_exit(3);
      }
    }
    ::close(pipe_fds[1]);
    uint64_t i = 0;
    // Every other child gets to say something first, on however slow a machine; the rest die anywhere.
    for (int told = 0; round % 2 == 1 && told < 10 && ::read(pipe_fds[0], &i, sizeof i) == sizeof i; ++told)
      promised.push_back(i);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 60'000));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
    while (::read(pipe_fds[0], &i, sizeof i) == sizeof i) promised.push_back(i);
    ::close(pipe_fds[0]);
    if (!promised.empty()) next_sequence = promised.back() + 2;  // the one after may be stored without having been told
  }
  EXPECT_GT(promised.size(), 50U);
  const auto spool = open(1 << 30, 64 << 10);
  std::vector<uint64_t> stored;
  for (const SealedBatch& one : drain(*spool)) {
    const uint64_t i = (one.first_sequence - 1) / 2;
    ASSERT_EQ(one, batch(i, 300 + i * 37 % 3000));
    stored.push_back(i);
  }
  EXPECT_TRUE(std::ranges::is_sorted(stored));
  EXPECT_TRUE(std::ranges::includes(stored, promised));
  EXPECT_EQ(spool->counters().bytes_damaged, 0U);
}

// Only what the collector is slow to acknowledge costs the disk a sync.
TEST_F(SpoolTest, WhatIsAcknowledgedInTimeIsNotSynced) {
  const auto spool = open();
  const auto look = [&] {
    std::this_thread::sleep_for(Spool::kSyncEvery + milliseconds(1));
    spool->sync_if_due();
    return spool->counters().syncs;
  };
  spool->append(batch(0));
  EXPECT_EQ(look(), 0U);  // it may be acknowledged any moment
  ASSERT_TRUE(spool->next());
  spool->acknowledge(kBoot, batch(0).last_sequence());
  EXPECT_EQ(look(), 0U);
  spool->append(batch(1));
  spool->sync_if_due();
  EXPECT_EQ(look(), 0U);
  EXPECT_EQ(look(), 1U);  // it waited from one look to the next
  EXPECT_EQ(look(), 1U);  // once is enough
  spool->append(batch(2));
  look();
  EXPECT_EQ(look(), 2U);
}

// A segment that is closed is not looked after any more.
TEST_F(SpoolTest, AClosedSegmentIsSyncedUnlessItIsNotNeeded) {
  const auto spool = open(64 << 20, 64 << 10);
  spool->append(batch(0, 40'000));
  spool->append(batch(1, 40'000));
  EXPECT_EQ(spool->counters().syncs, 1U);
}

}  // namespace
}  // namespace gatehouse::spool
