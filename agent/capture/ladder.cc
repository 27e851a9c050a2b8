// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/ladder.h"

#include "bpf/gatehouse_abi.h"

namespace gatehouse::capture {
namespace {

struct Step {
  std::string_view name;
  RungLimits limits;
};

// The least that is kept of a message holds the names in Parse, Bind and Execute as clients choose them, and the tag of
// CommandComplete, whose limit is 64 bytes in the server.
constexpr uint32_t kNamesBytes = 64;
constexpr uint32_t kHeadBytes = 256;  // most statements show their verb and first table in it
constexpr std::array<Step, kRungs> kSteps{{
    {"full", {GH_SMALL_BYTES_MAX, UINT32_MAX, GH_RESPONSE_BODY_BYTES_MAX}},
    {"short-answers", {kHeadBytes, UINT32_MAX, kHeadBytes}},
    {"statement-heads", {kHeadBytes, kHeadBytes, kHeadBytes}},
    {"metadata", {kNamesBytes, kNamesBytes, kNamesBytes}},
}};

}  // namespace

std::string_view to_string(Rung rung) {
  return kSteps[static_cast<size_t>(rung)].name;
}

RungLimits limits_of(Rung rung) {
  return kSteps[static_cast<size_t>(rung)].limits;
}

bool Ladder::observe(uint32_t fill_percent, uint64_t now_ns) {
  auto wanted = static_cast<size_t>(rung_);
  while (wanted + 1 < kRungs && fill_percent >= kEnterPercent[wanted + 1]) ++wanted;
  if (wanted > static_cast<size_t>(rung_)) {
    rung_ = static_cast<Rung>(wanted);
    quiet_since_ns_ = 0;
    ++steps_up_;
    return true;
  }
  if (rung_ == Rung::kFull) return false;
  if (fill_percent >= kLeavePercent) {
    quiet_since_ns_ = 0;
    return false;
  }
  if (quiet_since_ns_ == 0) quiet_since_ns_ = now_ns;
  if (now_ns - quiet_since_ns_ < kLeaveAfterNs) return false;
  rung_ = static_cast<Rung>(static_cast<size_t>(rung_) - 1);
  quiet_since_ns_ = now_ns;  // the next rung waits anew
  return true;
}

}  // namespace gatehouse::capture
