// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/lane.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>

#include "bpf/gatehouse_abi.h"
#include "common/file.h"

namespace gatehouse::capture {
namespace {

constexpr size_t kBytes = 4096;
constexpr size_t kCount = 3;

// Writes as the programs of one CPU do (bpf/lane.h).
class Writer {
 public:
  Writer(std::byte* map, size_t lane) : head_(map + lane * Lanes::value_bytes(kBytes)) {}

  bool write(uint32_t record_bytes, uint8_t fill) {
    auto& lane = *reinterpret_cast<abi::gh_lane*>(head_);
    const uint64_t stride = (record_bytes + 7) / 8 * 8;
    if (lane.produced - lane.consumed + stride > kBytes) return false;
    std::byte* const at = head_ + sizeof(lane) + lane.produced % kBytes;
    std::memset(at, fill, record_bytes);
    reinterpret_cast<abi::gh_head*>(at)->record_bytes = record_bytes;
    lane.produced += stride;
    return true;
  }

 private:
  std::byte* const head_;
};

class LanesTest : public ::testing::Test {
 protected:
  LanesTest() : fd_(memfd_create("lanes", MFD_CLOEXEC)) {
    EXPECT_EQ(ftruncate(fd_.get(), static_cast<off_t>(kMapBytes)), 0);
    void* const map = mmap(nullptr, kMapBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    EXPECT_NE(map, MAP_FAILED);
    map_ = static_cast<std::byte*>(map);
    auto lanes = Lanes::map(fd_.get(), kCount, kBytes);
    EXPECT_TRUE(lanes.has_value());
    if (lanes) lanes_ = std::move(*lanes);
  }
  ~LanesTest() override { munmap(map_, kMapBytes); }

  static constexpr size_t kMapBytes = 1U << 16;
  UniqueFd fd_;
  std::byte* map_ = nullptr;
  Lanes lanes_;
};

// Records of every length go round and round; each comes once, whole, in its order, also the one over the lane's end.
TEST_F(LanesTest, EachRecordOnce) {
  constexpr uint32_t kLeast = sizeof(abi::gh_chunk), kMost = sizeof(abi::gh_small_record);
  for (size_t i = 0; i < kCount; ++i) {
    Writer writer(map_, i);
    Lane& lane = lanes_.all()[i];
    uint32_t written = 0, read = 0;
    const auto length = [](uint32_t number) { return kLeast + number * 37 % (kMost - kLeast + 1); };
    for (int turn = 0; turn < 2000; ++turn) {
      while (writer.write(length(written), static_cast<uint8_t>(written))) ++written;
      lane.take_snapshot();
      std::span<const std::byte> record;
      while (lane.front(record)) {
        ASSERT_EQ(record.size(), length(read));
        ASSERT_EQ(record.front(), static_cast<std::byte>(read));
        ASSERT_EQ(record.back(), static_cast<std::byte>(read));
        lane.pop();
        ++read;
      }
      ASSERT_EQ(read, written);
      EXPECT_GT(lane.fill_bytes(), 0U);
      lane.release();
      EXPECT_EQ(lane.fill_bytes(), 0U);
    }
    EXPECT_GT(read, 2000U);
  }
}

TEST_F(LanesTest, WhatComesAfterTheSnapshotWaits) {
  Writer writer(map_, 0);
  Lane& lane = lanes_.all()[0];
  std::span<const std::byte> record;
  EXPECT_FALSE(lane.front(record));
  ASSERT_TRUE(writer.write(100, 1));
  EXPECT_FALSE(lane.front(record));
  lane.take_snapshot();
  ASSERT_TRUE(writer.write(100, 2));
  EXPECT_TRUE(lane.front(record));
  lane.pop();
  EXPECT_FALSE(lane.front(record));
}

// A length that cannot be: nothing tells where the next record begins, so the rest of the snapshot is given up.
TEST_F(LanesTest, ALengthThatCannotBe) {
  Writer writer(map_, 0);
  Lane& lane = lanes_.all()[0];
  std::span<const std::byte> record;
  uint64_t malformed = 0;
  for (const uint32_t bytes : {0U, 71U, 1105U, UINT32_MAX}) {
    ASSERT_TRUE(writer.write(200, 1));
    ASSERT_TRUE(writer.write(200, 2));
    lane.take_snapshot();
    ASSERT_TRUE(lane.front(record));
    std::memcpy(const_cast<std::byte*>(record.data()) + offsetof(abi::gh_head, record_bytes), &bytes, sizeof(bytes));
    EXPECT_FALSE(lane.front(record));
    EXPECT_EQ(lane.malformed(), ++malformed);
    lane.release();
    EXPECT_EQ(lane.fill_bytes(), 0U);
    ASSERT_TRUE(writer.write(100, 3));
    lane.take_snapshot();
    EXPECT_TRUE(lane.front(record));
    lane.pop();
    lane.release();
  }
}

}  // namespace
}  // namespace gatehouse::capture
