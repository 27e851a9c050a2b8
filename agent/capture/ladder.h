// SPDX-License-Identifier: Apache-2.0
// Ladder: what to leave out when records come faster than they are read, so that less is lost than if the rings ran
// over. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gatehouse::capture {

// From everything to next to nothing. What is left out is marked: bodies as cut, rows as counted.
enum class Rung : uint8_t {
  kFull,
  kShortAnswers,    // of an answer only the heads of messages; rows are counted, never kept
  kStatementHeads,  // of a statement its first bytes as well
  kMetadata,        // verb, names, sizes, outcome
};
inline constexpr size_t kRungs = 4;
std::string_view to_string(Rung rung);

// What the kernel side keeps on a rung.
struct RungLimits {
  uint32_t whole_bytes;          // reads and writes up to this long are kept as they are
  uint32_t request_keep_bytes;   // of one message's body; the configured limit stays in force
  uint32_t response_keep_bytes;  // of one message's body
};
RungLimits limits_of(Rung rung);

// Steps up at once, as far as the fill asks for, and down one rung at a time after a quiet while.
class Ladder {
 public:
  // Fill of the fullest ring, per cent, from which a rung is taken. Half: a reader that keeps up finds a few per cent.
  static constexpr std::array<uint32_t, kRungs> kEnterPercent{0, 50, 70, 85};
  // A rung is left when the fill has been below this for so long: far enough below that leaving does not bring it back.
  static constexpr uint32_t kLeavePercent = 20;
  static constexpr uint64_t kLeaveAfterNs = 1'000'000'000;

  // Returns whether the rung changed.
  bool observe(uint32_t fill_percent, uint64_t now_ns);
  [[nodiscard]] Rung rung() const { return rung_; }
  // Times that a rung above kFull was taken from a lower one.
  [[nodiscard]] uint64_t steps_up() const { return steps_up_; }

 private:
  Rung rung_ = Rung::kFull;
  uint64_t quiet_since_ns_ = 0;  // 0: not quiet
  uint64_t steps_up_ = 0;
};

}  // namespace gatehouse::capture
