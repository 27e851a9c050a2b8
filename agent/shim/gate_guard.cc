// SPDX-License-Identifier: Apache-2.0
// Answers that pass through a guard, and those that are cut off.
#include <algorithm>
#include <utility>

#include "agent/protocol/postgres/response_messages.h"
#include "agent/shim/gate_impl.h"

namespace gatehouse::shim {

using postgres::RequestTag;
using postgres::ResponseTag;

namespace {

bool is_row(ResponseTag tag) {
  return tag == ResponseTag::kDataRow || tag == ResponseTag::kCopyData;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}

// Longer than what is held of one message.
Ruling too_long() {
  return {.kind = Ruling::Kind::kTerminate,
          .rule = "gatehouse.row-too-long",
          .sqlstate = "54000",
          .message = "a row is longer than what can be masked",
          .hint = "Ask for fewer or shorter columns."};
}

}  // namespace

void Gate::Impl::guard_answer(const Ruling& ruling, RequestTag tag, std::string_view portal) {
  const bool is_described = tag == RequestTag::kExecute && ruling.guard->wants_description();
  guarded_.push_back({.offset = side(Direction::kRequest).offset,
                      .tag = tag,
                      .awaits_description = is_described,
                      .guard = ruling.guard});
  if (is_described) send(Direction::kRequest, bytes_of(describe_request(portal)));
}

Gate::Impl::Guarded* Gate::Impl::guarded() {
  if (guarded_.empty() || session_.answers_next() != guarded_.front().offset) return nullptr;
  return &guarded_.front();
}

bool Gate::Impl::holds_requests() const {
  if (cut_) return true;
  return !guarded_.empty() && guarded_.back().guard->may_cut() && session_.is_pending(guarded_.back().offset) &&
         !session_.is_copying_in();
}

void Gate::Impl::forget_answered() {
  while (!guarded_.empty() && !session_.is_pending(guarded_.front().offset)) guarded_.erase(guarded_.begin());
}

// Neither end gets to know of it.
void Gate::Impl::drop_frame(Run& run, const Frame& frame) {
  Side& s = side(Direction::kResponse);
  s.frame_left = frame.wire_bytes();
  s.keep_left = 0;
  s.is_row = false;
  s.is_dropped = s.is_silent = true;
  move_frame(Direction::kResponse, run);
}

bool Gate::Impl::take_guarded(Run& run, const Frame& frame, Guarded& guarded) {
  constexpr auto kHere = Direction::kResponse;
  const auto tag = static_cast<ResponseTag>(frame.tag);
  const uint64_t wire = frame.wire_bytes();
  if (wire > limits_.guarded_bytes_max) return end_by_guard(run, guarded.offset, too_long());
  if (run.rest().size() < wire) {
    side(kHere).needs = wire;
    return false;
  }
  const auto body = run.rest().subspan(frame.header_size, frame.body_size);
  if (guarded.awaits_description && (tag == ResponseTag::kRowDescription || tag == ResponseTag::kNoData)) {
    guarded.awaits_description = false;
    guarded.guard->on_description(body);
    drop_frame(run, frame);
    return true;
  }
  changed_.clear();
  switch (guarded.guard->on_message(tag, body, changed_)) {
    case Passage::kAsIs:
      if (!is_row(tag)) return begin_response(run, frame);
      record_rows(kHere, 1, wire);
      run.at += wire;
      return true;
    case Passage::kChanged:
      break;
    case Passage::kCut:
      cut(run, frame, guarded);
      return true;
    case Passage::kEnd:
      return end_by_guard(run, guarded.offset, guarded.guard->why());
  }
  send_run(kHere, run);
  run.at += wire;
  run.sent_from = run.at;
  if (changed_.empty()) return true;
  if (is_row(tag)) {
    record_rows(kHere, 1, changed_.size());
    send(kHere, bytes_of(changed_));
    return true;
  }
  tell_client(changed_);
  after_response(run, tag);
  return !end_;
}

void Gate::Impl::cut(Run& run, const Frame& frame, Guarded& guarded) {
  const Ruling ruling = guarded.guard->why();
  ++counters_.cut;
  send_run(Direction::kResponse, run);
  host_.on_refused(guarded.offset, ruling);
  cut_ = {.tag = guarded.tag};
  // What the client has sent behind it is passed over, as it would be after an error of the server's.
  is_absorbing_ = is_segment_open_ = guarded.tag == RequestTag::kExecute;
  tell_client(error_response(
      {.sqlstate = ruling.sqlstate, .message = ruling.message, .detail = ruling.detail, .hint = ruling.hint},
      is_unicode()));
  forget_answered();
  drop_frame(run, frame);
}

// To the server's error, or to where it would have been one. A server that finished the statement is given one that
// fails, so that its transaction is failed as the client's is.
bool Gate::Impl::take_cut(Run& run, const Frame& frame) {
  const auto tag = static_cast<ResponseTag>(frame.tag);
  const bool is_query = cut_->tag != RequestTag::kExecute;
  if (tag == ResponseTag::kParameterStatus || tag == ResponseTag::kNotificationResponse)
    return begin_response(run, frame);
  if (tag != ResponseTag::kErrorResponse && tag != ResponseTag::kReadyForQuery) {
    const bool is_end = tag == ResponseTag::kCommandComplete || tag == ResponseTag::kEmptyQueryResponse ||
                        tag == ResponseTag::kPortalSuspended;
    drop_frame(run, frame);
    if (is_end && !is_query && !std::exchange(cut_->is_poisoned, true)) {
      send(Direction::kRequest, failing_request(RequestTag::kParse, false));
      send(Direction::kRequest, flush_request());
    }
    return true;
  }
  if (run.rest().size() < frame.wire_bytes() && frame.wire_bytes() <= limits_.guarded_bytes_max) {
    side(Direction::kResponse).needs = frame.wire_bytes();
    return false;
  }
  const auto body = run.rest().subspan(frame.header_size, std::min<size_t>(frame.body_size, run.rest().size() - 5));
  if (tag == ResponseTag::kErrorResponse) {
    const auto fields =
        postgres::decode_error(body, body.size() < frame.body_size ? postgres::Body::kHead : postgres::Body::kWhole);
    if (!fields || fields->is_fatal()) {
      cut_.reset();
      return begin_response(run, frame);
    }
    cut_->has_failed = true;
    drop_frame(run, frame);
    if (!is_query) cut_.reset();  // it passes over what comes until a Sync, as the client thinks that it does
    return true;
  }
  const bool is_open = !body.empty() && body[0] == std::byte{'T'};
  if (is_query && is_open && !cut_->has_failed && !std::exchange(cut_->is_poisoned, true)) {
    drop_frame(run, frame);
    send(Direction::kRequest, failing_request(RequestTag::kQuery, false));
    return true;
  }
  cut_.reset();
  return begin_response(run, frame);
}

bool Gate::Impl::end_by_guard(Run& run, uint64_t offset, const Ruling& ruling) {
  send_run(Direction::kResponse, run);
  host_.on_refused(offset, ruling);
  ++counters_.cut;
  end_with_error(End::kGuard, {.severity = "FATAL",
                               .sqlstate = ruling.sqlstate,
                               .message = ruling.message,
                               .detail = ruling.detail,
                               .hint = ruling.hint});
  send(Direction::kRequest, terminate_request());
  return false;
}

}  // namespace gatehouse::shim
