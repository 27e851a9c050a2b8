// SPDX-License-Identifier: Apache-2.0
// What every protocol's framer says about the bytes it was given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace gatehouse {

// One wire message. `tag` is the protocol's own type byte; 0 where the message has none.
struct Frame {
  uint8_t tag = 0;
  uint32_t body_size = 0;  // bytes after the header
  uint32_t header_size = 0;
  [[nodiscard]] uint64_t wire_bytes() const { return uint64_t{header_size} + body_size; }
};

// Why a framer no longer knows where messages begin.
enum class Reason : uint8_t {
  kNone,
  kLengthTooSmall,    // a length that does not even cover itself
  kLengthTooLarge,    // above what the protocol, or the message's type, allows
  kUnknownTag,        // no message of this direction has this type
  kUnexpectedAnswer,  // the single byte after an encryption request is none of the allowed ones
  kGapInHeader,       // bytes were lost where a header stood or might have stood
  kElision,           // rows were said to be left out where no row can be
};
inline constexpr size_t kReasons = 7;

// What one push() did. `consumed` is exact: the inline shim forwards or holds precisely those bytes; the passive
// path drops them from its window.
//
//   kind     | frame | body          | next call
//   ---------|-------|---------------|-----------------------------------------
//   kMore    |  -    |  -            | needs at least `hint` more bytes
//   kHeader  | valid |  -            | body follows, unless `end`
//   kBody    | valid | borrows `in`  | more of this body, unless `end`; a message that is whole in `in` is one step,
//            |       |               | without a kHeader before it
//   kOpaque  |  -    | borrows `in`  | never leaves kOpaque
//   kDesync  |  -    |  -            | never leaves kDesync; see `reason`
struct Step {
  enum class Kind : uint8_t { kMore, kHeader, kBody, kOpaque, kDesync };
  Kind kind = Kind::kMore;
  bool end = false;
  Reason reason = Reason::kNone;
  Frame frame{};
  size_t consumed = 0, hint = 0;
  std::span<const std::byte> body{};
};

}  // namespace gatehouse
