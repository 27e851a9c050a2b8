// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/hearing.h"

namespace gatehouse::capture {

// Attached before it is relied on, and left alone before it is detached: where both ways are at work nothing is told
// twice.
void Hearing::turn(size_t sessions, uint64_t now_ns) {
  if (sessions > 0) {
    since_ns_ = now_ns;
    if (!is_attached_) is_attached_ = attach_();
    if (is_attached_) *hears_ = 1;
    return;
  }
  if (!is_attached_ || now_ns < since_ns_ + kRestNs) return;
  since_ns_ = now_ns;
  if (*hears_ != 0) {
    *hears_ = 0;
    return;
  }
  detach_();
  is_attached_ = false;
}

}  // namespace gatehouse::capture
