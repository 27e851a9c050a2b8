// SPDX-License-Identifier: Apache-2.0
// Removing what retention does not keep: heads first, then the segment, one at a time and oldest first. A crash between
// any two steps leaves a whole segment, or its heads, or both.
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "collector/ledger/segment_files.h"
#include "collector/ledger/segment_log_state.h"

namespace gatehouse::ledger {

// An entry in a footer takes 64 bytes, and the smallest records some four times that. Where heads are larger all the
// same, they are written only if the disk has room.
uint64_t SegmentLog::State::reserve_bytes(const Options& options) {
  constexpr uint64_t kBytesMin = 64U << 10;
  const Retention& keep = options.retention;
  return keep.age_ns_max == 0 && keep.bytes_max == 0 ? 0 : std::max(options.segment_bytes_max / 4, kBytesMin);
}

// The oldest segment, if it is to go.
std::optional<SegmentInfo> SegmentLog::State::next_to_remove(uint64_t now_ns) const {
  const Retention& keep = options_.retention;
  const std::lock_guard lock(mutex_);
  const SegmentInfo& oldest = segments_.front();
  if (segments_.size() < 2 || !oldest.is_sealed) return std::nullopt;
  uint64_t bytes = 0;
  for (const SegmentInfo& segment : segments_) bytes += segment.durable_bytes;
  const bool is_old =
      keep.age_ns_max > 0 && now_ns > keep.age_ns_max && oldest.last_received_ns < now_ns - keep.age_ns_max;
  const bool is_too_much = keep.bytes_max > 0 && bytes > keep.bytes_max;
  return is_old || is_too_much ? std::optional(oldest) : std::nullopt;
}

Status SegmentLog::State::remove_oldest(const SegmentInfo& segment) {
  GH_ASSIGN(const std::string content, read_file(segment.path, SIZE_MAX - 1));
  std::string heads;
  if (!append_heads(heads, as_bytes(content)))
    return Error(segment.path + ": does not verify, so retention leaves it; see gatehouse verify");
  at_step("removing");
  GH_TRY(reserve_.write_file(segment_file(options_.folder, segment.number, kHeadsSuffix), heads));
  at_step("heads-written");
  {
    // Nobody looks for the file after it is gone.
    const std::lock_guard lock(mutex_);
    segments_.erase(segments_.begin());
  }
  if (::unlink(segment.path.c_str()) != 0 && errno != ENOENT) return Error::system(segment.path);
  at_step("segment-removed");
  GH_TRY(sync_directory(options_.folder));
  reserve_.refill();
  return {};
}

Result<Removed> SegmentLog::State::remove_old(uint64_t now_ns) {
  Removed removed;
  while (const auto segment = next_to_remove(now_ns)) {
    GH_TRY(remove_oldest(*segment));
    if (removed.segments++ == 0) removed.first_segment = segment->number;
    removed.last_segment = segment->number;
    removed.events += segment->events;
    removed.bytes += segment->durable_bytes;
  }
  return removed;
}

}  // namespace gatehouse::ledger
