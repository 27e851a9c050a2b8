// SPDX-License-Identifier: Apache-2.0
// LogReader: the durable records of a SegmentLog, in order, from any position on, while others append.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "collector/ledger/segment_log.h"
#include "common/file.h"

namespace gatehouse::ledger {

struct Record {
  Position position{};
  RecordHeader header{};  // names and payload are valid until the next call of the reader
  std::span<const std::byte> payload{};
};

// Not thread-safe; each thread has its own. The log must outlive it.
class LogReader {
 public:
  enum class Outcome : uint8_t {
    kRecord,
    kEnd,      // nothing durable beyond position() now
    kDamaged,  // what stands here is not what was written; the rest of its segment is skipped
  };

  explicit LogReader(SegmentLog& log, Position from = {});

  // Moves position() to where the next record stands, if it is past a sealed segment's last. False if there is none
  // now.
  Result<bool> settle();

  // Reads the record at position() and steps over it. An Error is a failed read; the position stays.
  Result<Outcome> next(Record& record);
  // What next() will read; comparable with SegmentLog::end().
  [[nodiscard]] const Position& position() const { return position_; }
  // After kDamaged: what is wrong and where.
  [[nodiscard]] const std::string& damage() const { return damage_; }

 private:
  Status fill(uint64_t bytes);

  SegmentLog* log_;
  Position position_;
  SegmentInfo segment_{};  // as of the last look
  UniqueFd file_;
  uint64_t open_segment_ = 0;
  std::vector<std::byte> buffer_;
  uint64_t buffer_offset_ = 0;
  std::string damage_;
};

}  // namespace gatehouse::ledger
