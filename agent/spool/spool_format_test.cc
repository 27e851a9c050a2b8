// SPDX-License-Identifier: Apache-2.0
#include "agent/spool/spool_format.h"

#include <gtest/gtest.h>

#include "common/file.h"

namespace gatehouse::spool {
namespace {

SealedBatch sample(std::string payload, bool has_previous = true) {
  SealedBatch batch{.boot_id = "0123456789abcdef0123456789abcdef",
                    .first_sequence = 41,
                    .event_count = 2,
                    .payload_zstd = std::move(payload)};
  batch.payload_sha256 = sha256(as_bytes(batch.payload_zstd));
  if (has_previous) batch.previous_sha256 = sha256(as_bytes("before"));
  return batch;
}

std::string record_of(const SealedBatch& batch) {
  std::string record;
  append_record(record, batch);
  return record;
}

TEST(SpoolFormat, RecordComesBack) {
  for (const SealedBatch& batch : {sample("payload"), sample(""), sample("x", false)}) {
    const std::string record = record_of(batch) + "more";
    SealedBatch got;
    size_t record_bytes = 0;
    ASSERT_EQ(decode_record(as_bytes(record), got, record_bytes), RecordFault::kNone);
    EXPECT_EQ(record_bytes, record.size() - 4);
    EXPECT_EQ(got, batch);
  }
}

TEST(SpoolFormat, EveryTruncationIsShort) {
  const std::string record = record_of(sample("payload"));
  for (size_t bytes = 0; bytes < record.size(); ++bytes) {
    SealedBatch got;
    size_t record_bytes = 0;
    EXPECT_EQ(decode_record(as_bytes(record).first(bytes), got, record_bytes), RecordFault::kShort) << bytes;
  }
}

TEST(SpoolFormat, EveryFlippedBitIsFound) {
  const std::string record = record_of(sample("payload"));
  for (size_t bit = 0; bit < record.size() * 8; ++bit) {
    std::string flipped = record;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    SealedBatch got;
    size_t record_bytes = 0;
    EXPECT_NE(decode_record(as_bytes(flipped), got, record_bytes), RecordFault::kNone) << bit;
  }
}

TEST(SpoolFormat, SegmentHeader) {
  std::string header;
  append_segment_header(header, 77);
  ASSERT_EQ(header.size(), kSegmentHeaderBytes);
  EXPECT_EQ(decode_segment_header(as_bytes(header)), 77U);
  EXPECT_FALSE(decode_segment_header(as_bytes(header).first(23)));
  for (size_t byte = 0; byte < header.size(); ++byte) {
    std::string flipped = header;
    flipped[byte] = static_cast<char>(flipped[byte] ^ 0x10);
    EXPECT_FALSE(decode_segment_header(as_bytes(flipped))) << byte;
  }
}

TEST(SpoolFormat, AcknowledgedFile) {
  const SpoolPosition position{.segment = 12, .offset = 3456};
  const std::string content = format_acknowledged(position);
  EXPECT_EQ(parse_acknowledged(content), position);
  EXPECT_FALSE(parse_acknowledged(""));
  EXPECT_FALSE(parse_acknowledged(content.substr(0, content.size() - 1)));
  EXPECT_FALSE(parse_acknowledged(content + "\n"));
  std::string changed = content;
  changed[content.find("3456")] = '9';
  EXPECT_FALSE(parse_acknowledged(changed));
}

TEST(Sealer, ChainsWhatWasStored) {
  Sealer sealer("b");
  const SealedBatch first = sealer.seal("one", 1, 1);
  EXPECT_FALSE(first.previous_sha256);
  EXPECT_EQ(first.payload_sha256, sha256(as_bytes(first.payload_zstd)));
  sealer.chain(first);
  const SealedBatch refused = sealer.seal("two", 2, 3);
  const SealedBatch third = sealer.seal("three", 5, 1);
  EXPECT_EQ(refused.last_sequence(), 4U);
  EXPECT_EQ(third.previous_sha256, first.payload_sha256);
}

}  // namespace
}  // namespace gatehouse::spool
