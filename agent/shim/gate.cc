// SPDX-License-Identifier: Apache-2.0
#include "agent/shim/gate.h"

#include <algorithm>
#include <utility>

#include "agent/shim/gate_impl.h"

namespace gatehouse::shim {

using postgres::Phase;
using postgres::RequestTag;
using postgres::ResponseTag;

Gate::Gate(GateHost& host, const GateLimits& limits) : impl_(std::make_unique<Impl>(host, limits)) {}
Gate::~Gate() = default;
size_t Gate::on_bytes(Direction direction, std::span<const std::byte> bytes, uint64_t time_ns) {
  return impl_->on_bytes(direction, bytes, time_ns);
}
void Gate::resume() {
  impl_->resume();
}
void Gate::notice(std::string_view text, uint64_t time_ns) {
  impl_->notice(text, time_ns);
}
std::span<const std::byte> Gate::cancel_key() const {
  return impl_->cancel_key();
}
void Gate::on_closed(Direction direction, uint64_t time_ns) {
  impl_->on_closed(direction, time_ns);
}
size_t Gate::needs(Direction direction) const {
  return impl_->needs(direction);
}
bool Gate::is_waiting() const {
  return impl_->is_waiting();
}
bool Gate::is_idle() const {
  return impl_->is_idle();
}
bool Gate::is_ended() const {
  return impl_->is_ended();
}
bool Gate::is_terminated() const {
  return impl_->is_terminated();
}
const Gate::Counters& Gate::counters() const {
  return impl_->counters();
}
size_t Gate::memory_bytes() const {
  return sizeof(*this) + impl_->memory_bytes();
}

size_t Gate::Impl::on_bytes(Direction direction, std::span<const std::byte> bytes, uint64_t time_ns) {
  if (end_ || bytes.empty()) return 0;
  time_ns_ = time_ns;
  side(direction).needs = 1;
  Run run{.bytes = bytes};
  if (direction == Direction::kResponse) {
    if (is_over_) return bytes.size();
    take_responses(run);
  } else {
    // Nobody is there any more who would read it.
    if (is_over_ || has_terminated_) return bytes.size();
    awaits_answer_ = false;
    if (is_waiting()) return 0;
    take_requests(run);
  }
  send_run(direction, run);
  if (!notice_.empty()) tell_notice();
  finish_call();
  return run.at;
}

void Gate::Impl::notice(std::string_view text, uint64_t time_ns) {
  if (end_ || is_over_ || session_.phase() != Phase::kActive) return;
  time_ns_ = time_ns;
  notice_ = notice_response(text, is_unicode());
  tell_notice();
  finish_call();
}

void Gate::Impl::tell_notice() {
  if (notice_.empty() || end_ || side(Direction::kResponse).frame_left > 0) return;
  tell_client(std::exchange(notice_, {}));
}

void Gate::Impl::on_closed(Direction direction, uint64_t time_ns) {
  if (end_ || is_over_) return;
  time_ns_ = time_ns;
  side(direction).is_closed = true;
  if (direction == Direction::kRequest) return;
  if (terminating_) {
    finish_termination();
  } else {
    is_over_ = true;
    session_.on_closed(time_ns);
  }
  finish_call();
}

bool Gate::Impl::is_idle() const {
  return session_.phase() == Phase::kActive && session_.transaction() == TransactionState::kIdle &&
         !session_.owes_before(UINT64_MAX) && !is_segment_open_ && !is_waiting() && !end_ &&
         std::ranges::all_of(sides_, [](const Side& s) { return s.frame_left == 0 && s.needs == 1; });
}

size_t Gate::Impl::memory_bytes() const {
  size_t bytes = sizeof(*this) + session_.memory_bytes() + refused_.capacity() * sizeof(Refused);
  for (const Refused& refused : refused_) bytes += refused.answer.capacity();
  for (const Side& s : sides_) bytes += s.pieces.capacity() * sizeof(Piece);
  return bytes;
}

bool Gate::Impl::is_unicode() const {
  return session_.client_encoding().empty() || session_.client_encoding() == "UTF8";
}

void Gate::Impl::send(Direction direction, std::span<const std::byte> bytes) {
  if (!bytes.empty()) host_.send(direction, bytes);
}

void Gate::Impl::send_run(Direction direction, Run& run) {
  send(direction, run.bytes.subspan(run.sent_from, run.at - run.sent_from));
  run.sent_from = run.at;
}

void Gate::Impl::add_piece(Direction direction, Piece::Kind kind, uint64_t bytes, uint64_t rows,
                           std::span<const std::byte> data) {
  Side& s = side(direction);
  if (s.pieces.empty()) s.moved_from = s.offset;
  s.offset += bytes;
  const auto piece_bytes = static_cast<uint32_t>(bytes);
  const auto piece_rows = static_cast<uint32_t>(rows);
  if (!s.pieces.empty() && s.pieces.back().kind == kind) {
    Piece& last = s.pieces.back();
    const bool joins = kind != Piece::Kind::kData || last.data.data() + last.data.size() == data.data();
    if (joins && last.bytes <= UINT32_MAX - piece_bytes) {
      last.bytes += piece_bytes;
      last.rows += piece_rows;
      if (kind == Piece::Kind::kData) last.data = {last.data.data(), last.bytes};
      return;
    }
  }
  s.pieces.push_back({.kind = kind, .bytes = piece_bytes, .rows = piece_rows, .data = data});
}

void Gate::Impl::record_data(Direction direction, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  session_.on_bytes(direction, bytes, context(direction));
  add_piece(direction, Piece::Kind::kData, bytes.size(), 0, bytes);
}

void Gate::Impl::record_rows(Direction direction, uint64_t rows, uint64_t bytes) {
  session_.on_rows(direction, rows, bytes, context(direction));
  add_piece(direction, Piece::Kind::kRows, bytes, rows, {});
}

void Gate::Impl::record_cut(Direction direction, uint64_t bytes) {
  if (bytes == 0) return;
  session_.on_cut(direction, bytes, context(direction));
  add_piece(direction, Piece::Kind::kCut, bytes, 0, {});
}

void Gate::Impl::move_frame(Direction direction, Run& run) {
  Side& s = side(direction);
  const auto head = run.rest().first(std::min<uint64_t>(s.frame_left, run.rest().size()));
  if (s.is_dropped) send_run(direction, run);
  if (s.is_silent) {
    // Neither end gets to know of it.
  } else if (s.is_row) {
    record_rows(direction, 0, head.size());
  } else {
    const auto kept = head.first(std::min<uint64_t>(s.keep_left, head.size()));
    s.keep_left -= kept.size();
    record_data(direction, kept);
    record_cut(direction, head.size() - kept.size());
  }
  s.frame_left -= head.size();
  run.at += head.size();
  if (s.is_dropped) run.sent_from = run.at;
}

void Gate::Impl::move_rows(Direction direction, Run& run, bool is_dropped) {
  Side& s = side(direction);
  const bool is_response = direction == Direction::kResponse;
  const auto& bounds = is_response ? postgres::kResponseBodyBounds : postgres::kRequestBodyBounds;
  const auto bytes = run.rest();
  uint64_t rows = 0;
  size_t at = 0;
  s.frame_left = 0;
  while (at < bytes.size()) {
    const Step step = postgres::read_header(bytes.subspan(at), postgres::Mode::kRegular, bounds);
    const bool is_row = step.frame.tag == static_cast<uint8_t>(RequestTag::kCopyData) ||
                        (is_response && step.frame.tag == static_cast<uint8_t>(ResponseTag::kDataRow));
    if (step.kind != Step::Kind::kHeader || !is_row) break;
    ++rows;
    const uint64_t there = std::min<uint64_t>(step.frame.wire_bytes(), bytes.size() - at);
    at += there;
    s.frame_left = step.frame.wire_bytes() - there;
  }
  s.is_row = true;
  s.is_dropped = is_dropped;
  s.is_silent = false;
  if (is_dropped) send_run(direction, run);
  record_rows(direction, rows, at);
  run.at += at;
  if (is_dropped) run.sent_from = run.at;
}

void Gate::Impl::tell_client(std::string message) {
  spent_.push_back(std::move(message));
  const auto bytes = std::as_bytes(std::span{spent_.back().data(), spent_.back().size()});
  record_data(Direction::kResponse, bytes);
  send(Direction::kResponse, bytes);
}

void Gate::Impl::tell_moved() {
  constexpr size_t kIdlePiecesMax = 16;
  for (const Direction direction : {Direction::kRequest, Direction::kResponse}) {
    Side& s = side(direction);
    if (s.pieces.empty()) continue;
    host_.on_moved(direction, s.moved_from, s.pieces);
    s.pieces.clear();
    if (s.pieces.capacity() > kIdlePiecesMax) std::vector<Piece>().swap(s.pieces);
  }
  spent_.clear();
}

void Gate::Impl::finish_call() {
  tell_moved();
  if (!end_ || is_end_told_) return;
  is_end_told_ = true;
  if (!std::exchange(is_over_, true)) session_.on_closed(time_ns_);
  host_.on_end(*end_);
}

void Gate::Impl::end(End end) {
  if (!end_) end_ = end;
}

// The client gets to know why, unless it is in the middle of a message.
void Gate::Impl::end_with_error(End why, const ErrorText& text) {
  if (end_) return;
  if (side(Direction::kResponse).frame_left == 0) tell_client(error_response(text, true));
  end(why);
}

void Gate::Impl::finish_termination() {
  tell_client(std::move(terminating_->answer));
  send(Direction::kRequest, terminate_request());
  end(End::kTerminated);
}

}  // namespace gatehouse::shim
