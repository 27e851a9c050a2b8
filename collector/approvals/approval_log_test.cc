// SPDX-License-Identifier: Apache-2.0
#include "collector/approvals/approval_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace gatehouse::approvals {
namespace {

class ApprovalLogTest : public ::testing::Test {
 protected:
  ApprovalLogTest() {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~ApprovalLogTest() override { std::filesystem::remove_all(folder_); }
  static v1::ApprovalRecord record(const std::string& id) {
    v1::ApprovalRecord out;
    out.mutable_change()->set_id(id);
    return out;
  }
  std::string content() {
    std::ifstream file(folder_ + "/log", std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void put(const std::string& bytes) { std::ofstream(folder_ + "/log", std::ios::binary) << bytes; }
  std::vector<std::string> ids(const ApprovalLog::Opened& opened) {
    std::vector<std::string> out;
    for (const v1::ApprovalRecord& each : opened.records) out.push_back(each.change().id());
    return out;
  }

  std::string folder_ = ::testing::TempDir() + "approval_log_" + std::to_string(::getpid());
};

TEST_F(ApprovalLogTest, WhatWasAppendedIsThere) {
  std::string id;
  {
    auto opened = ApprovalLog::open(folder_);
    ASSERT_TRUE(opened.has_value()) << opened.error().message();
    id = opened->log->id();
    EXPECT_EQ(id.size(), 32U);
    std::vector<v1::ApprovalRecord> two{record("a"), record("b")};
    ASSERT_TRUE(opened->log->append(two));
    EXPECT_EQ(two[1].sequence(), 3U);
    std::vector<v1::ApprovalRecord> one{record("c")};
    ASSERT_TRUE(opened->log->append(one));
  }
  auto again = ApprovalLog::open(folder_);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->log->id(), id);
  EXPECT_EQ(ids(*again), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(again->log->next_sequence(), 5U);
}

// Cut anywhere, as by a crash: the whole entries before the cut, and it goes on.
TEST_F(ApprovalLogTest, EveryTornEndIsCutOff) {
  {
    auto opened = ApprovalLog::open(folder_);
    std::vector<v1::ApprovalRecord> records{record("a"), record("bb"), record("ccc")};
    ASSERT_TRUE(opened->log->append(records));
  }
  const std::string whole = content();
  std::vector<size_t> ends;
  for (size_t at = 0; at < whole.size();) ends.push_back(at += decode_entry(std::string_view(whole).substr(at)).bytes);
  ASSERT_EQ(ends.size(), 4U);
  for (size_t cut = ends[0]; cut < whole.size(); ++cut) {
    put(whole.substr(0, cut));
    auto opened = ApprovalLog::open(folder_);
    ASSERT_TRUE(opened.has_value());
    ASSERT_NE(opened->log, nullptr) << cut;
    size_t complete = 0;
    while (ends[complete] <= cut) ++complete;
    EXPECT_EQ(opened->records.size(), complete - 1) << cut;
    EXPECT_EQ(opened->torn_bytes, cut - ends[complete - 1]) << cut;
    std::vector<v1::ApprovalRecord> more{record("d")};
    ASSERT_TRUE(opened->log->append(more));
    opened->log.reset();
    EXPECT_EQ(ApprovalLog::open(folder_)->records.size(), complete) << cut;
  }
}

// A flipped bit with entries behind it is damage, and nothing behind it counts.
TEST_F(ApprovalLogTest, EveryDamageIsSeen) {
  {
    auto opened = ApprovalLog::open(folder_);
    std::vector<v1::ApprovalRecord> records{record("a"), record("bb"), record("ccc")};
    ASSERT_TRUE(opened->log->append(records));
  }
  const std::string whole = content();
  const size_t first = decode_entry(whole).bytes;
  const size_t second = first + decode_entry(std::string_view(whole).substr(first)).bytes;
  for (size_t at = first + 4; at < second; ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    put(damaged);
    auto opened = ApprovalLog::open(folder_);
    ASSERT_TRUE(opened.has_value());
    EXPECT_EQ(opened->log, nullptr) << at;
    EXPECT_EQ(opened->records.size(), 0U);
    EXPECT_GT(opened->damaged_bytes, 0U);
    EXPECT_TRUE(std::filesystem::exists(opened->damaged_path));
    std::filesystem::remove(opened->damaged_path);
  }
}

TEST_F(ApprovalLogTest, AReplacedLogHasAnotherId) {
  auto opened = ApprovalLog::open(folder_);
  v1::ApprovalView kept;
  kept.mutable_request()->set_id("x");
  auto replaced = ApprovalLog::replace(folder_, {kept}, 7);
  ASSERT_TRUE(replaced.has_value());
  EXPECT_NE(replaced->log->id(), opened->log->id());
  const auto again = ApprovalLog::open(folder_);
  ASSERT_EQ(again->records.size(), 1U);
  EXPECT_EQ(again->records[0].kept().request().id(), "x");
}

}  // namespace
}  // namespace gatehouse::approvals
