// SPDX-License-Identifier: Apache-2.0
// How much of a connection was seen, in one word. The agent judges what has ended, the command what is still open; both
// by this. Pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace gatehouse {

// Ordered: a later one knows less.
enum class CoverageVerdict : uint8_t {
  kFull,       // every byte was decoded, or counted and left out on purpose
  kTruncated,  // … but for the rest of messages that are longer than what is kept
  kGaps,       // bytes are missing, each with its reason; or what came before the watching began
  kBlind,      // the client spoke, and nothing of it could be read
  kOpaque,     // encrypted, or not the protocol
};

struct CoverageFacts {
  bool opaque = false;
  bool joined = false;           // was open before it was watched
  uint64_t request_bytes = 0;    // that moved while it was watched
  uint64_t request_read = 0;     // of which were decoded or left out on purpose
  uint64_t lost_bytes = 0;       // both directions
  uint64_t truncated_bytes = 0;  // both directions
};

constexpr CoverageVerdict judge_coverage(const CoverageFacts& facts) {
  if (facts.opaque) return CoverageVerdict::kOpaque;
  if (facts.request_bytes > 0 && facts.request_read == 0) return CoverageVerdict::kBlind;
  if (facts.joined || facts.lost_bytes > 0) return CoverageVerdict::kGaps;
  return facts.truncated_bytes > 0 ? CoverageVerdict::kTruncated : CoverageVerdict::kFull;
}

constexpr std::string_view to_text(CoverageVerdict verdict) {
  switch (verdict) {
    case CoverageVerdict::kFull:
      return "full";
    case CoverageVerdict::kTruncated:
      return "truncated";
    case CoverageVerdict::kGaps:
      return "gaps";
    case CoverageVerdict::kBlind:
      return "blind";
    case CoverageVerdict::kOpaque:
      return "opaque";
  }
  __builtin_trap();
}

}  // namespace gatehouse
