// SPDX-License-Identifier: Apache-2.0
#include "collector/ledger/log_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace gatehouse::ledger {
namespace {

constexpr uint64_t kReadAheadBytes = 1U << 20;

}  // namespace

LogReader::LogReader(SegmentLog& log, Position from) : log_(&log), position_(from) {}

Result<bool> LogReader::settle() {
  for (;;) {
    if (segment_.number != position_.segment || position_.offset >= segment_.durable_bytes) {
      const auto found = log_->segment_at(position_.segment);
      if (!found) return false;
      if (found->number != position_.segment) position_ = {found->number, 0, kSegmentHeaderBytes};
      if (position_.offset < kSegmentHeaderBytes) position_.offset = kSegmentHeaderBytes;
      segment_ = *found;
    }
    if (position_.offset < segment_.durable_bytes) break;
    if (!segment_.is_sealed) return false;
    position_ = {position_.segment + 1, 0, kSegmentHeaderBytes};
  }
  if (open_segment_ != position_.segment) {
    auto file = open_file(segment_.path, O_RDONLY);
    if (!file && position_.segment < log_->first_segment()) {
      // Removed by retention just now.
      segment_ = {};
      return settle();
    }
    if (!file) return std::move(file).error();
    file_ = *std::move(file);
    open_segment_ = position_.segment;
    buffer_.clear();
    buffer_offset_ = 0;
  }
  return true;
}

// Makes `bytes` bytes at position_ available, and some more while at it.
Status LogReader::fill(uint64_t bytes) {
  const uint64_t have_end = buffer_offset_ + buffer_.size();
  if (position_.offset >= buffer_offset_ && position_.offset + bytes <= have_end) return {};
  const uint64_t want = std::min(std::max(bytes, kReadAheadBytes), segment_.durable_bytes - position_.offset);
  buffer_.resize(want);
  buffer_offset_ = position_.offset;
  size_t got = 0;
  while (got < want) {
    const ssize_t n = ::pread(file_.get(), buffer_.data() + got, want - got, static_cast<off_t>(buffer_offset_ + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      buffer_.clear();
      return Error::system(segment_.path);
    }
    if (n == 0) break;  // shorter than the log says: decoding will call it damage
    got += static_cast<size_t>(n);
  }
  buffer_.resize(got);
  return {};
}

Result<LogReader::Outcome> LogReader::next(Record& record) {
  GH_ASSIGN(const bool has_more, settle());
  if (!has_more) return Outcome::kEnd;
  const uint64_t left = segment_.durable_bytes - position_.offset;
  GH_TRY(fill(std::min<uint64_t>(left, kRecordFixedBytes + 2 * kNameBytesMax + sizeof(Digest))));
  auto here = std::span<const std::byte>(buffer_).subspan(position_.offset - buffer_offset_);
  FormatFault fault = decode_record_header(here, record.header);
  if (fault == FormatFault::kShort && record.header.header_bytes != 0 && record.header.record_bytes() <= left) {
    GH_TRY(fill(record.header.record_bytes()));
    here = std::span<const std::byte>(buffer_).subspan(position_.offset - buffer_offset_);
    fault = decode_record_header(here, record.header);
  }
  if (fault == FormatFault::kNone) {
    record.payload = here.subspan(record.header.header_bytes, record.header.payload_bytes);
    if (sha256(record.payload) != record.header.payload_sha256) fault = FormatFault::kHash;
  }
  if (fault != FormatFault::kNone) {
    damage_ = "segment " + std::to_string(position_.segment) + ", record " + std::to_string(position_.record) +
              " at byte " + std::to_string(position_.offset) + ": " + std::string(to_string(fault));
    position_ = {position_.segment + 1, 0, kSegmentHeaderBytes};
    return Outcome::kDamaged;
  }
  record.position = position_;
  position_.offset += record.header.record_bytes();
  ++position_.record;
  return Outcome::kRecord;
}

}  // namespace gatehouse::ledger
