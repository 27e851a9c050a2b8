// SPDX-License-Identifier: Apache-2.0
// From the server to the client: all of it, but for the errors that stand for a refusal.
#include <algorithm>
#include <utility>

#include "agent/protocol/postgres/response_messages.h"
#include "agent/shim/gate_impl.h"
#include "common/limits.h"

namespace gatehouse::shim {
namespace {

using postgres::Phase;
using postgres::ResponseTag;

bool is_asynchronous(ResponseTag tag) {
  return tag == ResponseTag::kNoticeResponse || tag == ResponseTag::kNotificationResponse ||
         tag == ResponseTag::kParameterStatus;
}

}  // namespace

void Gate::Impl::take_responses(Run& run) {
  constexpr auto kHere = Direction::kResponse;
  Side& s = side(kHere);
  while (run.at < run.bytes.size() && !end_) {
    if (s.frame_left > 0) {
      move_frame(kHere, run);
      continue;
    }
    if (!notice_.empty()) {
      send_run(kHere, run);
      tell_notice();
    }
    const Step step = postgres::read_header(run.rest(), postgres::Mode::kRegular, postgres::kResponseBodyBounds);
    if (step.kind == Step::Kind::kDesync) {
      send_run(kHere, run);
      return end_on_server_desync();
    }
    if (step.kind == Step::Kind::kMore) {
      s.needs = run.rest().size() + step.hint;
      return;
    }
    if (cut_) {
      if (!take_cut(run, step.frame)) return;
      continue;
    }
    if (Guarded* const guarded = this->guarded()) {
      if (!take_guarded(run, step.frame, *guarded)) return;
      continue;
    }
    const auto tag = static_cast<ResponseTag>(step.frame.tag);
    if (tag == ResponseTag::kDataRow || tag == ResponseTag::kCopyData) {
      move_rows(kHere, run, false);
    } else if (!begin_response(run, step.frame)) {
      return;
    }
  }
}

// Whether an error is the server's answer to what was sent in a refused request's place.
bool Gate::Impl::is_ours(const Frame& frame, std::span<const std::byte> body) const {
  if (refused_.empty() || session_.answers_next() != refused_.front().offset || session_.has_failed()) return false;
  const auto fields =
      postgres::decode_error(body, body.size() < frame.body_size ? postgres::Body::kHead : postgres::Body::kWhole);
  return !fields || !fields->is_fatal();
}

bool Gate::Impl::begin_response(Run& run, const Frame& frame) {
  constexpr auto kHere = Direction::kResponse;
  Side& s = side(kHere);
  const auto tag = static_cast<ResponseTag>(frame.tag);
  // What is decoded of it is decoded at once.
  const bool is_message = tag == ResponseTag::kErrorResponse || tag == ResponseTag::kNoticeResponse;
  const bool is_redacted = is_message && host_.redacts() && !guarded();
  const size_t wanted = is_redacted ? limits_.guarded_bytes_max : kResponseBodyBytesMax;
  const size_t kept = frame.header_size + std::min<size_t>(frame.body_size, wanted);
  if (run.rest().size() < kept) {
    s.needs = kept;
    return false;
  }
  if (tag == ResponseTag::kBackendKeyData) {
    const auto key = run.rest().first(kept).subspan(frame.header_size);
    cancel_key_.assign(key.begin(), key.end());
  }
  const bool is_error = tag == ResponseTag::kErrorResponse;
  s.frame_left = frame.wire_bytes();
  s.keep_left = kept;
  s.is_row = false;
  s.is_dropped = s.is_silent = is_error && is_ours(frame, run.rest().first(kept).subspan(frame.header_size));
  if (s.is_silent) {
    send_run(kHere, run);
    std::string answer = std::move(refused_.front().answer);
    refused_.erase(refused_.begin());
    tell_client(std::move(answer));
  } else if (is_redacted && redact(run, frame)) {
    after_response(run, tag);
    return !end_;
  } else if (!is_error && !is_asynchronous(tag) && !refused_.empty() &&
             session_.answers_next() == refused_.front().offset) {
    // What cannot but fail has not.
    s.frame_left = 0;
    send_run(kHere, run);
    end_on_server_desync();
    return false;
  }
  move_frame(kHere, run);
  if (session_.is_unsynced(Direction::kRequest) || session_.is_unsynced(kHere) || session_.is_opaque()) {
    send_run(kHere, run);
    end_on_server_desync();
    return false;
  }
  after_response(run, tag);
  return !end_;
}

// False: it goes on as it came.
bool Gate::Impl::redact(Run& run, const Frame& frame) {
  const auto body = run.rest().subspan(frame.header_size, std::min<size_t>(frame.body_size, limits_.guarded_bytes_max));
  changed_.clear();
  if (!host_.redact(static_cast<ResponseTag>(frame.tag), body, changed_)) return false;
  drop_frame(run, frame);
  tell_client(changed_);
  return true;
}

void Gate::Impl::after_response(Run& run, ResponseTag tag) {
  // Requests that the server skipped, or whose error came after others, are not waited for any longer.
  while (!refused_.empty() && !session_.is_pending(refused_.front().offset)) refused_.erase(refused_.begin());
  forget_answered();
  const bool begins_copy = tag == ResponseTag::kCopyInResponse || tag == ResponseTag::kCopyBothResponse;
  if (begins_copy && session_.is_copy_confused()) {
    // The server will take requests for rows. Which of them it reads as what can no longer be told.
    send_run(Direction::kResponse, run);
    end_on_client_desync();
  } else if (terminating_ && side(Direction::kResponse).frame_left == 0 &&
             !session_.owes_before(terminating_->offset)) {
    send_run(Direction::kResponse, run);
    finish_termination();
  }
}

}  // namespace gatehouse::shim
