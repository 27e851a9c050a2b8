// SPDX-License-Identifier: Apache-2.0
#include "agent/protocol/postgres/framer.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "common/check.h"

namespace gatehouse::postgres {

Step Framer::push(std::span<const std::byte> in) {
  GH_CHECK(!in.empty());
  if (mode_ == Mode::kOpaque) return {.kind = Step::Kind::kOpaque, .consumed = in.size(), .body = in};
  switch (state_) {
    case State::kHeader:
      if (Step whole; push_whole(in, whole)) return whole;
      return mode_ == Mode::kAnswer ? push_answer(in) : push_header(in);
    case State::kBody:
      return push_body(in);
    case State::kDesync:
      return {.kind = Step::Kind::kDesync, .reason = reason_, .consumed = in.size()};
  }
  __builtin_trap();
}

bool Framer::push_whole(std::span<const std::byte> in, Step& step) {
  if (mode_ != Mode::kRegular || header_fill_ != 0 || in.size() <= kHeaderSize) return false;
  const auto tag = std::to_integer<uint8_t>(in[0]);
  const uint32_t body_bytes_max = (*bounds_)[tag];
  uint32_t wire_length = 0;
  std::memcpy(&wire_length, in.data() + 1, sizeof(wire_length));
  wire_length = ntohl(wire_length);
  if (body_bytes_max == kNoSuchTag || wire_length <= 4 || wire_length - 4 > body_bytes_max) return false;
  const uint32_t body_bytes = wire_length - 4;
  if (body_bytes > in.size() - kHeaderSize) return false;
  frame_ = {.tag = tag, .body_size = body_bytes, .header_size = kHeaderSize};
  step.kind = Step::Kind::kBody;
  step.end = true;
  step.frame = frame_;
  step.consumed = kHeaderSize + body_bytes;
  step.body = in.subspan(kHeaderSize, body_bytes);
  return true;
}

Step Framer::push_header(std::span<const std::byte> in) {
  const size_t header_size = mode_ == Mode::kStartup ? kStartupHeaderSize : kHeaderSize;
  const size_t take = std::min(in.size(), header_size - header_fill_);
  std::memcpy(header_.data() + header_fill_, in.data(), take);
  header_fill_ = static_cast<uint8_t>(header_fill_ + take);

  Step step = read_header(std::span{header_}.first(header_fill_), mode_, *bounds_);
  step.consumed = take;
  frame_ = step.frame;
  if (step.kind == Step::Kind::kDesync) {
    poison(step.reason);
  } else if (step.kind == Step::Kind::kHeader) {
    header_fill_ = 0;
    body_left_ = frame_.body_size;
    if (body_left_ > 0) state_ = State::kBody;
  }
  return step;
}

Step Framer::push_body(std::span<const std::byte> in) {
  const auto body = in.first(std::min<size_t>(in.size(), body_left_));
  body_left_ -= static_cast<uint32_t>(body.size());
  if (body_left_ == 0) state_ = State::kHeader;
  return {.kind = Step::Kind::kBody, .end = body_left_ == 0, .frame = frame_, .consumed = body.size(), .body = body};
}

// 'S' yes, 'G' yes, 'N' no; a server older than the request answers with a whole ErrorResponse.
Step Framer::push_answer(std::span<const std::byte> in) {
  const auto answer = std::to_integer<uint8_t>(in[0]);
  mode_ = Mode::kRegular;
  if (answer == static_cast<uint8_t>(ResponseTag::kErrorResponse)) return push_header(in);
  if (answer != 'S' && answer != 'G' && answer != 'N') {
    Step step = poison(Reason::kUnexpectedAnswer);
    step.consumed = 1;
    return step;
  }
  frame_ = {.tag = answer, .header_size = 1};
  return {.kind = Step::Kind::kHeader, .end = true, .frame = frame_, .consumed = 1};
}

Step Framer::skip_gap(uint64_t gap_bytes) {
  if (mode_ == Mode::kOpaque) return {.kind = Step::Kind::kOpaque};
  if (state_ == State::kDesync) return {.kind = Step::Kind::kDesync, .reason = reason_};
  if (state_ != State::kBody || gap_bytes > body_left_) return poison(Reason::kGapInHeader);
  body_left_ -= static_cast<uint32_t>(gap_bytes);
  if (body_left_ == 0) state_ = State::kHeader;
  return {.kind = Step::Kind::kBody, .end = body_left_ == 0, .frame = frame_};
}

Step Framer::skip_rows(uint8_t row_tag) {
  if (mode_ == Mode::kOpaque) return {.kind = Step::Kind::kOpaque};
  if (state_ == State::kDesync) return {.kind = Step::Kind::kDesync, .reason = reason_};
  if (mode_ != Mode::kRegular) return poison(Reason::kElision);
  if (at_boundary()) return {.kind = Step::Kind::kBody};
  if (frame_.tag != row_tag) return poison(Reason::kElision);
  const size_t header_bytes = state_ == State::kBody ? kHeaderSize : header_fill_;
  const size_t body_bytes = state_ == State::kBody ? frame_.body_size - body_left_ : 0;
  state_ = State::kHeader;
  header_fill_ = 0;
  body_left_ = 0;
  return {.kind = Step::Kind::kBody, .end = true, .frame = frame_, .consumed = header_bytes, .hint = body_bytes};
}

void Framer::set_mode(Mode mode) {
  if (mode_ == Mode::kOpaque) return;
  GH_CHECK(mode == Mode::kOpaque || at_boundary() || is_poisoned());
  mode_ = mode;
}

Step Framer::poison(Reason reason) {
  state_ = State::kDesync;
  reason_ = reason;
  body_left_ = 0;
  return {.kind = Step::Kind::kDesync, .reason = reason};
}

}  // namespace gatehouse::postgres
