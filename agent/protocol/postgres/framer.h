// SPDX-License-Identifier: Apache-2.0
// Framer: one direction of a PostgreSQL connection, from bytes to frames. Never allocates, never copies a body.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "agent/protocol/framer.h"
#include "agent/protocol/postgres/wire.h"
#include "agent/stream/records.h"

namespace gatehouse::postgres {

// How the next bytes are read. The session decides; a framer only changes mode by itself when the answer byte has
// come (kAnswer becomes kRegular) and when it is poisoned.
enum class Mode : uint8_t {
  kStartup,  // untagged frame: StartupMessage, SSLRequest, GSSENCRequest, CancelRequest
  kAnswer,   // the single byte after SSLRequest or GSSENCRequest; an 'E' begins an ErrorResponse instead
  kRegular,  // tag, length, body
  kOpaque,   // for ever
};

// What stands at the head of `in`, where a frame begins: kHeader once its header is whole, else kMore with how many
// bytes are missing, or kDesync. Takes nothing. `mode` is kStartup or kRegular.
inline Step read_header(std::span<const std::byte> in, Mode mode, const BodyBounds& bounds) {
  const bool is_tagged = mode != Mode::kStartup;
  const size_t header_size = is_tagged ? kHeaderSize : kStartupHeaderSize;
  Step step{.kind = Step::Kind::kDesync, .frame = {.header_size = static_cast<uint32_t>(header_size)}};
  uint32_t body_bytes_max = kStartupFrameBytesMax - kStartupHeaderSize;
  if (is_tagged && !in.empty()) {
    step.frame.tag = std::to_integer<uint8_t>(in[0]);
    body_bytes_max = bounds[step.frame.tag];
    // Known from the first byte, so said at the first byte: garbage must not wait for more garbage.
    if (body_bytes_max == kNoSuchTag) {
      step.reason = Reason::kUnknownTag;
      return step;
    }
  }
  if (in.size() < header_size) {
    step.kind = Step::Kind::kMore;
    step.hint = header_size - in.size();
    return step;
  }
  uint32_t wire_length = 0;  // counts itself but not the tag
  for (const std::byte b : in.subspan(header_size - sizeof(wire_length), sizeof(wire_length)))
    wire_length = wire_length << 8 | std::to_integer<uint32_t>(b);
  if (wire_length < sizeof(wire_length) || wire_length - sizeof(wire_length) > body_bytes_max) {
    step.reason = wire_length < sizeof(wire_length) ? Reason::kLengthTooSmall : Reason::kLengthTooLarge;
    return step;
  }
  step.kind = Step::Kind::kHeader;
  step.frame.body_size = wire_length - static_cast<uint32_t>(sizeof(wire_length));
  step.end = step.frame.body_size == 0;
  return step;
}

class Framer {
 public:
  Framer(Direction direction, Mode mode)
      : mode_(mode), bounds_(direction == Direction::kRequest ? &kRequestBodyBounds : &kResponseBodyBounds) {}

  // Takes bytes from the head of `in`, which must not be empty. The answer byte comes as a frame without a body
  // whose tag is the byte and whose header_size is 1.
  Step push(std::span<const std::byte> in);

  // Bytes that exist but will not come: lost, or cut from a long body. Inside a body the next frame boundary is
  // still known, so only this frame is damaged; anywhere else the framer is poisoned.
  Step skip_gap(uint64_t gap_bytes);

  // Whole row frames (tag `row_tag`) were left out after what was pushed: finishes the frame that is under way, if
  // it is one of them, and stands at a frame boundary. The step's `end` says whether there was one; `consumed` is then
  // how many bytes of its header were pushed before, `hint` how many of its body; body_size is only valid after a
  // whole header.
  Step skip_rows(uint8_t row_tag);

  // Only between frames. kOpaque is for ever.
  void set_mode(Mode mode);
  [[nodiscard]] Mode mode() const { return mode_; }
  [[nodiscard]] bool is_poisoned() const { return state_ == State::kDesync; }
  [[nodiscard]] bool at_boundary() const { return state_ == State::kHeader && header_fill_ == 0; }
  [[nodiscard]] bool in_body() const { return state_ == State::kBody; }
  [[nodiscard]] uint64_t body_left() const { return body_left_; }
  [[nodiscard]] const Frame& frame() const { return frame_; }
  // Poisons from outside: the session found that what was framed cannot be.
  Step poison(Reason reason);

 private:
  enum class State : uint8_t { kHeader, kBody, kDesync };

  // A whole message with a body, as nearly all are. False: what is at the head of `in` is none, or makes no sense.
  bool push_whole(std::span<const std::byte> in, Step& step);
  Step push_header(std::span<const std::byte> in);
  Step push_body(std::span<const std::byte> in);
  Step push_answer(std::span<const std::byte> in);

  State state_ = State::kHeader;
  Mode mode_;
  Reason reason_ = Reason::kNone;
  uint8_t header_fill_ = 0;
  std::array<std::byte, kHeaderSize> header_{};
  uint32_t body_left_ = 0;
  Frame frame_{};
  const BodyBounds* bounds_;
};

}  // namespace gatehouse::postgres
