// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/backlog.h"

#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "bpf/gatehouse_abi.h"
#include "common/file.h"

namespace gatehouse::capture {
namespace {

constexpr size_t kRingBytes = 1U << 20;
constexpr size_t kLaneBytes = 64U << 10;
constexpr size_t kLaneCount = 2;

// Times of what is delivered.
class Log final : public RecordSink {
 public:
  void on_socket_opened(const SocketOpened&) override {}
  void on_chunk(const Chunk& r) override { times.push_back(r.time_ns); }
  void on_socket_opaque(const SocketOpaque&) override {}
  void on_socket_closed(const SocketClosed&) override {}
  void on_process_exec(const ProcessExec&) override {}
  void on_process_fork(const ProcessFork& r) override { times.push_back(r.time_ns); }
  void on_process_exit(const ProcessExit&) override {}

  std::vector<uint64_t> times;
};

// Memory as the kernel maps it: a page of the reader's, one of the writer's, and the data.
class Mapped {
 public:
  explicit Mapped(size_t bytes) : fd_(memfd_create("ring", MFD_CLOEXEC)), bytes_(bytes) {
    EXPECT_EQ(ftruncate(fd_.get(), static_cast<off_t>(bytes)), 0);
    void* const map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    EXPECT_NE(map, MAP_FAILED);
    start_ = static_cast<std::byte*>(map);
  }
  ~Mapped() { munmap(start_, bytes_); }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::byte* at(size_t offset) const { return start_ + offset; }

 private:
  UniqueFd fd_;
  size_t bytes_;
  std::byte* start_;
};

// Writes as bpf_ringbuf_reserve() and bpf_ringbuf_submit() do. Never comes round: the second mapping is not there.
class RingWriter {
 public:
  RingWriter() : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))), memory_(2 * page_ + 2 * kRingBytes) {}
  Ring map() const {
    auto ring = Ring::map(memory_.fd(), kRingBytes, "test");
    EXPECT_TRUE(ring.has_value());
    return ring ? std::move(*ring) : Ring();
  }
  // Returns what submit() takes.
  size_t reserve(uint64_t time_ns) {
    abi::gh_fork record{};
    record.head = {
        .time_ns = time_ns, .socket = 0, .kind = abi::GH_RECORD_FORK, .flags = 0, .record_bytes = sizeof(record)};
    const size_t at = 2 * page_ + produced_;
    header(at) = sizeof(record) | BPF_RINGBUF_BUSY_BIT;
    std::memcpy(memory_.at(at + BPF_RINGBUF_HDR_SZ), &record, sizeof(record));
    produced_ += BPF_RINGBUF_HDR_SZ + sizeof(record);
    EXPECT_LT(produced_, kRingBytes);
    std::memcpy(memory_.at(page_), &produced_, sizeof(produced_));
    return at;
  }
  void submit(size_t at) { header(at) &= ~BPF_RINGBUF_BUSY_BIT; }
  void write(uint64_t time_ns) { submit(reserve(time_ns)); }

 private:
  uint32_t& header(size_t at) { return *reinterpret_cast<uint32_t*>(memory_.at(at)); }

  size_t page_;
  Mapped memory_;
  uint64_t produced_ = 0;
};

class BacklogTest : public ::testing::Test {
 protected:
  BacklogTest() : lanes_memory_((kLaneCount + 1) * (kLaneBytes + (8U << 10))) {
    auto lanes = Lanes::map(lanes_memory_.fd(), kLaneCount, kLaneBytes);
    EXPECT_TRUE(lanes.has_value());
    std::array<Ring, Backlog::kRings> rings;
    for (size_t i = 0; i < rings.size(); ++i) rings[i] = writers[i].map();
    if (lanes) backlog = Backlog(std::move(rings), std::move(*lanes));
  }

  void write_lane(size_t index, uint64_t time_ns) {
    struct Small {
      abi::gh_chunk chunk;
      abi::gh_piece piece;
      char data[8];
    } record{};
    record.chunk.head = {
        .time_ns = time_ns, .socket = 7, .kind = abi::GH_RECORD_CHUNK, .flags = 0, .record_bytes = sizeof(record)};
    record.chunk.piece_count = 1;
    record.piece = {.bytes = sizeof(record.data), .rows = 0, .kind = abi::GH_PIECE_DATA};
    std::byte* const head = lanes_memory_.at(index * Lanes::value_bytes(kLaneBytes));
    auto& lane = *reinterpret_cast<abi::gh_lane*>(head);
    ASSERT_LT(lane.produced - lane.consumed + sizeof(record), kLaneBytes);
    std::memcpy(head + sizeof(lane) + lane.produced % kLaneBytes, &record, sizeof(record));
    lane.produced += sizeof(record);
  }

  std::vector<uint64_t> read(uint64_t before_ns, size_t records_max = SIZE_MAX) {
    const size_t count = backlog.read(delivery, log, records_max, before_ns);
    EXPECT_EQ(count, log.times.size());
    return std::exchange(log.times, {});
  }

  std::array<RingWriter, Backlog::kRings> writers;
  Backlog backlog;
  Delivery delivery;
  Log log;

 private:
  Mapped lanes_memory_;
};

using Times = std::vector<uint64_t>;
constexpr uint64_t kMs = Backlog::kWritingNsMax;

TEST_F(BacklogTest, OneRowOfRecords) {
  EXPECT_TRUE(backlog.empty());
  writers[Backlog::kControl].write(30);
  writers[Backlog::kRequests].write(10);
  writers[Backlog::kResponses].write(50);
  write_lane(0, 20);
  write_lane(1, 40);
  write_lane(1, 60);
  EXPECT_FALSE(backlog.empty());
  EXPECT_EQ(read(100, 2), (Times{10, 20}));
  EXPECT_FALSE(backlog.is_drained());
  EXPECT_EQ(read(60), (Times{30, 40, 50}));
  EXPECT_TRUE(backlog.is_drained());
  EXPECT_EQ(read(61), (Times{60}));
  EXPECT_TRUE(backlog.empty());
}

// A record that is not whole yet may be older than all that is: nothing is said of the time since.
TEST_F(BacklogTest, AHalfWrittenRecordEndsTheTurn) {
  EXPECT_EQ(backlog.read_to_ns(), 0U);
  EXPECT_EQ(read(1 * kMs), Times{});
  EXPECT_EQ(read(2 * kMs), Times{});
  EXPECT_EQ(backlog.read_to_ns(), 1 * kMs);
  const size_t busy = writers[Backlog::kRequests].reserve(2 * kMs + 1);
  write_lane(0, 2 * kMs + 2);
  for (uint64_t turn = 3; turn < 10; ++turn) {
    EXPECT_EQ(read(turn * kMs), Times{});
    EXPECT_FALSE(backlog.is_drained());
    EXPECT_EQ(backlog.read_to_ns(), 1 * kMs);
  }
  writers[Backlog::kRequests].submit(busy);
  EXPECT_EQ(read(10 * kMs), (Times{2 * kMs + 1, 2 * kMs + 2}));
  EXPECT_TRUE(backlog.is_drained());
  EXPECT_EQ(backlog.read_to_ns(), 2 * kMs);
}

// Whenever the turns come, and however long, up to the bound, a program takes from its time to its record. In a ring a
// record may then stand behind a younger one of another CPU.
TEST_F(BacklogTest, NothingIsOlderThanWhatWasSaidToBeRead) {
  std::mt19937_64 random(20261130);  // NOLINT: the same at each run
  constexpr size_t kCpus = 4;        // two with lanes, two that write to a ring
  struct Written {
    uint64_t visible_ns, time_ns;
    size_t cpu;
  };
  std::vector<Written> pending;
  std::array<uint64_t, kCpus> free_ns{};
  uint64_t now_ns = kMs, told = 0, written = 0;
  for (int turn = 0; turn < 20000; ++turn) {
    for (uint64_t i = random() % 3; i > 0 && written < 10000; --i, ++written) {
      const size_t cpu = random() % kCpus;
      const uint64_t time_ns = std::max(now_ns, free_ns[cpu]);
      free_ns[cpu] = time_ns + random() % kMs;
      pending.push_back({.visible_ns = free_ns[cpu], .time_ns = time_ns, .cpu = cpu});
    }
    now_ns += random() % (random() % 8 == 0 ? 3 * kMs : kMs / 8);
    std::ranges::sort(pending, {}, &Written::visible_ns);
    std::erase_if(pending, [&](const Written& one) {
      if (one.visible_ns > now_ns) return false;
      if (one.cpu < kLaneCount)
        write_lane(one.cpu, one.time_ns);
      else
        writers[Backlog::kControl].write(one.time_ns);
      return true;
    });
    const uint64_t read_to_ns = backlog.read_to_ns();
    const Times times = read(now_ns, random() % 4 == 0 ? 1 : SIZE_MAX);
    for (const uint64_t time_ns : times) ASSERT_GE(time_ns, read_to_ns);
    ASSERT_GE(backlog.read_to_ns(), read_to_ns);
    told += times.size();
  }
  EXPECT_EQ(told, 10000U);
  EXPECT_GT(backlog.read_to_ns() + 100 * kMs, now_ns);
}

}  // namespace
}  // namespace gatehouse::capture
