// SPDX-License-Identifier: Apache-2.0
#include "cli/tail_cursor.h"

#include <algorithm>

namespace gatehouse::cli {

bool TailCursor::admit(const std::string& id, uint64_t time_ns) {
  if (!ids_.insert(id).second) return false;
  seen_.push_back({id, time_ns});
  newest_ns_ = std::max(newest_ns_, time_ns);
  if (seen_.size() > kTailIdsMax) {
    forgotten_ns_ = std::max(forgotten_ns_, seen_.front().time_ns);
    ids_.erase(seen_.front().id);
    seen_.pop_front();
  }
  return true;
}

uint64_t TailCursor::resume_ns() const {
  if (newest_ns_ == 0) return since_ns_ != 0 ? since_ns_ : started_ns_;
  const uint64_t overlap = newest_ns_ - std::min(newest_ns_, kTailOverlapNs);
  // Never before what the tail began with, nor into times whose rows would come twice.
  const uint64_t begin = since_ns_ != 0 ? since_ns_ : std::min(started_ns_, newest_ns_);
  return std::max({overlap, begin, forgotten_ns_ == 0 ? 0 : forgotten_ns_ + 1});
}

}  // namespace gatehouse::cli
