// SPDX-License-Identifier: Apache-2.0
// From the client to the server: what is judged, and what becomes of it.
#include <algorithm>

#include "agent/shim/gate_impl.h"
#include "common/limits.h"

namespace gatehouse::shim {
namespace {

using postgres::Phase;
using postgres::RequestTag;
using Foresight = postgres::Session::Foresight;

// Beyond these the client's requests wait for answers, as they do before the server when its own buffers are full: the
// session remembers each until it is answered.
constexpr size_t kPendingMax = kPipelineDepthMax / 4;
constexpr size_t kPendingBytesMax = kSessionBytesMax / 4;
constexpr size_t kRefusedMax = 64;

bool is_judged(RequestTag tag) {
  return tag == RequestTag::kQuery || tag == RequestTag::kParse || tag == RequestTag::kExecute ||
         tag == RequestTag::kFunctionCall;
}

// What a server reads while it takes the rows of a COPY without giving that up.
bool belongs_to_copy(RequestTag tag) {
  return tag == RequestTag::kCopyData || tag == RequestTag::kCopyDone || tag == RequestTag::kCopyFail ||
         tag == RequestTag::kSync || tag == RequestTag::kFlush || tag == RequestTag::kTerminate;
}

}  // namespace

void Gate::Impl::take_requests(Run& run) {
  constexpr auto kHere = Direction::kRequest;
  while (run.at < run.bytes.size() && !end_ && !terminating_ && !has_terminated_) {
    if (side(kHere).frame_left > 0) {
      move_frame(kHere, run);
    } else {
      const auto mode = session_.phase() == Phase::kStartup ? postgres::Mode::kStartup : postgres::Mode::kRegular;
      const Step step = postgres::read_header(run.rest(), mode, postgres::kRequestBodyBounds);
      if (step.kind == Step::Kind::kDesync) {
        send_run(kHere, run);
        return end_on_client_desync();
      }
      const bool is_taken =
          step.kind == Step::Kind::kMore ? need(run.rest().size() + step.hint) : begin_request(run, step.frame);
      if (!is_taken) break;
    }
    if (session_.is_unsynced(kHere) || session_.is_opaque()) {
      send_run(kHere, run);
      return end_on_client_desync();
    }
  }
  // What nobody will complete is not for the server.
  if (side(kHere).is_closed && side(kHere).needs > run.rest().size()) {
    send_run(kHere, run);
    run.at = run.sent_from = run.bytes.size();
  }
}

bool Gate::Impl::need(size_t bytes) {
  side(Direction::kRequest).needs = bytes;
  return false;
}

bool Gate::Impl::wait_for_answer(Run& run) {
  awaits_answer_ = true;
  flush_if_needed(run);
  return false;
}

// It may take long: the client gets what was answered before.
bool Gate::Impl::wait_for_ruling(Run& run) {
  awaits_ruling_ = true;
  ++counters_.waits;
  flush_if_needed(run);
  return false;
}

// A server keeps its answers until it has written a buffer's worth, or is told to.
void Gate::Impl::flush_if_needed(Run& run) {
  if (!needs_flush_) return;
  send_run(Direction::kRequest, run);
  send(Direction::kRequest, flush_request());
  needs_flush_ = false;
}

bool Gate::Impl::is_full() const {
  const bool is_over = session_.pending_count() >= kPendingMax || session_.pending_bytes() >= kPendingBytesMax ||
                       refused_.size() >= kRefusedMax;
  return is_over && session_.owes_before(UINT64_MAX);
}

bool Gate::Impl::begin_request(Run& run, const Frame& frame) {
  if (session_.phase() == Phase::kStartup) return begin_startup(run, frame);
  const auto tag = static_cast<RequestTag>(frame.tag);
  const bool belongs_to_login = tag == RequestTag::kPassword || tag == RequestTag::kTerminate;
  if (session_.phase() == Phase::kAuthenticate && !belongs_to_login) return wait_for_answer(run);
  if (session_.is_copying_in() && !belongs_to_copy(tag)) {
    send_run(Direction::kRequest, run);
    end_on_client_desync();
    return false;
  }
  if (holds_requests() && tag != RequestTag::kTerminate) return wait_for_answer(run);
  if (is_absorbing_ && tag != RequestTag::kSync && tag != RequestTag::kTerminate) {
    if (tag != RequestTag::kCopyData && is_full()) return wait_for_answer(run);
    take_frame(run, frame, true);
    return true;
  }
  if (is_judged(tag)) return judge_request(run, frame);
  switch (tag) {
    case RequestTag::kBind:
    case RequestTag::kDescribe:
    case RequestTag::kClose:
      if (is_full()) return wait_for_answer(run);
      is_segment_open_ = needs_flush_ = true;
      break;
    case RequestTag::kSync:
      if (is_full()) return wait_for_answer(run);
      is_absorbing_ = is_segment_open_ = needs_flush_ = false;
      break;
    case RequestTag::kFlush:
      needs_flush_ = false;
      break;
    case RequestTag::kTerminate:
      has_terminated_ = true;
      is_absorbing_ = false;
      break;
    default:
      break;
  }
  take_frame(run, frame, false);
  return true;
}

void Gate::Impl::take_frame(Run& run, const Frame& frame, bool is_dropped) {
  constexpr auto kHere = Direction::kRequest;
  const auto tag = static_cast<RequestTag>(frame.tag);
  if (session_.phase() != Phase::kStartup && tag == RequestTag::kCopyData) return move_rows(kHere, run, is_dropped);
  Side& s = side(kHere);
  s.frame_left = frame.wire_bytes();
  // A password, or what stands for one, is never kept.
  const bool is_secret = session_.phase() != Phase::kStartup && tag == RequestTag::kPassword;
  s.keep_left = frame.header_size + (is_secret ? 0 : std::min<uint64_t>(frame.body_size, kRequestBytesMax));
  s.is_row = s.is_silent = false;
  s.is_dropped = is_dropped;
  move_frame(kHere, run);
}

bool Gate::Impl::begin_startup(Run& run, const Frame& frame) {
  if (run.rest().size() < frame.wire_bytes()) return need(frame.wire_bytes());
  Activity request{.start_ns = time_ns_, .end_ns = time_ns_, .request_offset = side(Direction::kRequest).offset};
  request.request_bytes = frame.wire_bytes();
  const auto body = run.rest().subspan(frame.header_size, frame.body_size);
  if (session_.foresee_startup(body, request) == Foresight::kMalformed) {
    end_on_client_desync();
    return false;
  }
  const Ruling ruling = host_.judge(request, Purpose::kRun);
  if (ruling.kind == Ruling::Kind::kWait) {
    awaits_ruling_ = true;
    ++counters_.waits;
    return false;
  }
  ++counters_.judged;
  if (ruling.kind == Ruling::Kind::kRelease) {
    ++counters_.released;
    take_frame(run, frame, false);
  } else {
    terminate(run, frame, ruling);
  }
  return true;
}

bool Gate::Impl::judge_request(Run& run, const Frame& frame) {
  if (is_full()) return wait_for_answer(run);
  const auto tag = static_cast<RequestTag>(frame.tag);
  if (frame.wire_bytes() > limits_.statement_bytes_max) {
    ++counters_.judged;
    const std::string limit =
        "statement is longer than the limit of " + std::to_string(limits_.statement_bytes_max) + " bytes";
    refuse(
        run, frame,
        {.kind = Ruling::Kind::kRefuse, .rule = "gatehouse.statement-too-long", .sqlstate = "54000", .message = limit});
    return true;
  }
  if (run.rest().size() < frame.wire_bytes()) return need(frame.wire_bytes());
  if (is_state_pending_) {
    if (session_.owes_before(UINT64_MAX)) return wait_for_answer(run);
    // The judge must know of it before it judges what follows. What has failed has changed nothing.
    if (!session_.is_skipping()) session_.tell_answered();
    is_state_pending_ = false;
  }
  Activity request{.start_ns = time_ns_, .end_ns = time_ns_, .request_offset = side(Direction::kRequest).offset};
  request.request_bytes = frame.wire_bytes();
  switch (session_.foresee(tag, run.rest().subspan(frame.header_size, frame.body_size), request)) {
    case Foresight::kUnsettled:
      if (session_.owes_before(UINT64_MAX)) return wait_for_answer(run);
      [[fallthrough]];  // nothing would ever settle it
    case Foresight::kMalformed:
      ++counters_.judged;
      refuse(run, frame,
             {.kind = Ruling::Kind::kRefuse,
              .rule = "gatehouse.malformed",
              .sqlstate = "08P01",
              .message = "invalid message format"});
      return true;
    case Foresight::kKnown:
      break;
  }
  const Ruling ruling = host_.judge(request, tag == RequestTag::kParse ? Purpose::kPrepare : Purpose::kRun);
  if (ruling.kind == Ruling::Kind::kWait) return wait_for_ruling(run);
  ++counters_.judged;
  if (ruling.kind == Ruling::Kind::kRefuse) {
    refuse(run, frame, ruling);
  } else if (ruling.kind == Ruling::Kind::kTerminate) {
    terminate(run, frame, ruling);
  } else {
    // What is only prepared changes nothing yet.
    is_state_pending_ = ruling.changes_state && tag != RequestTag::kParse;
    if (ruling.guard != nullptr && tag != RequestTag::kParse) {
      send_run(Direction::kRequest, run);
      guard_answer(ruling, tag, request.portal_name);
    }
    release(run, frame);
  }
  return true;
}

void Gate::Impl::release(Run& run, const Frame& frame) {
  const auto tag = static_cast<RequestTag>(frame.tag);
  is_segment_open_ = needs_flush_ = tag == RequestTag::kParse || tag == RequestTag::kExecute;
  ++counters_.released;
  take_frame(run, frame, false);
}

void Gate::Impl::refuse(Run& run, const Frame& frame, const Ruling& ruling) {
  const auto tag = static_cast<RequestTag>(frame.tag);
  const uint64_t offset = side(Direction::kRequest).offset;
  ++counters_.refused;
  host_.on_refused(offset, ruling);
  refused_.push_back(
      {offset,
       error_response(
           {.sqlstate = ruling.sqlstate, .message = ruling.message, .detail = ruling.detail, .hint = ruling.hint},
           is_unicode())});
  send_run(Direction::kRequest, run);
  const bool is_unnamed = tag == RequestTag::kParse && run.rest().size() > frame.header_size &&
                          run.rest()[frame.header_size] == std::byte{0};
  send(Direction::kRequest, failing_request(tag, is_unnamed));
  const bool is_extended = tag == RequestTag::kParse || tag == RequestTag::kExecute;
  is_absorbing_ = is_segment_open_ = needs_flush_ = is_extended;
  take_frame(run, frame, true);
}

void Gate::Impl::terminate(Run& run, const Frame& frame, const Ruling& ruling) {
  const uint64_t offset = side(Direction::kRequest).offset;
  ++counters_.refused;
  host_.on_refused(offset, ruling);
  terminating_ = {offset, error_response({.severity = "FATAL",
                                          .sqlstate = ruling.sqlstate,
                                          .message = ruling.message,
                                          .detail = ruling.detail,
                                          .hint = ruling.hint},
                                         is_unicode())};
  send_run(Direction::kRequest, run);
  take_frame(run, frame, true);
  if (!session_.owes_before(offset)) return finish_termination();
  if (needs_flush_) send(Direction::kRequest, flush_request());
}

}  // namespace gatehouse::shim
