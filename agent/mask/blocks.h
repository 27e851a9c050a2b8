// SPDX-License-Identifier: Apache-2.0
// The first look at text: where anything sensitive might begin, 64 bytes at a time. Text without such places costs
// this look and nothing more.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gatehouse::mask {

// One bit per byte, the first byte lowest. Many are made and few are read, so they begin with no value.
struct Block {
  uint64_t digit;
  uint64_t separator;  // what stands between groups of digits: blank - . /
  uint64_t at;         // @
  uint64_t colon;
  uint64_t upper;    // A to Z
  uint64_t literal;  // three bytes from here may begin one of the words and keys that are known by their beginning
};
inline constexpr size_t kBlockBytes = 64;
// Bytes behind the last block that are read.
inline constexpr size_t kLookAhead = 2;

enum class Instructions : uint8_t { kPortable, kSse2, kAvx2 };
// What this processor has.
Instructions instructions();

// `text`: blocks * 64 + kLookAhead bytes. All instructions give the same bits but for `literal`, where the vector ones
// may have more.
using Classify = void (*)(const char* text, size_t blocks, Block* out);
Classify classify_by(Instructions instructions);

// Where a look is worth it.
struct Triggers {
  uint64_t run = 0;  // seven digits and separators begin
  uint64_t at = 0;   // @
  uint64_t literal = 0;
  uint64_t colons = 0;      // :: or three colons near each other
  uint64_t mixed = 0;       // letters and digits in the order of identity numbers
  bool run_at_end = false;  // run's last bit belongs to a run that goes on: carried to the next block

  [[nodiscard]] uint64_t any() const { return run | at | literal | colons | mixed; }
};
// Of `block`, with its neighbours.
Triggers triggers_of(const Block& before, const Block& block, const Block& after);

}  // namespace gatehouse::mask
