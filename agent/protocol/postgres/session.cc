// SPDX-License-Identifier: Apache-2.0
// Bytes to frames, for both directions.
#include "agent/protocol/postgres/session.h"

#include <algorithm>

#include "common/check.h"

namespace gatehouse::postgres {
namespace {

// From (row) to (column) in the order of Phase. Laws below.
constexpr bool kAllowed[kPhases][kPhases] = {
    //              startup answer auth   active cancel opaque closed
    /* startup */ {false, true, true, true, true, true, true},
    /* answer  */ {true, false, false, true, false, true, true},
    /* auth    */ {false, false, false, true, false, true, true},
    /* active  */ {false, false, false, false, false, true, true},
    /* cancel  */ {false, false, false, false, false, false, true},
    /* opaque  */ {false, false, false, false, false, false, true},
    /* closed  */ {false, false, false, false, false, false, false},
};

constexpr std::byte kTlsHandshake{0x16};

constexpr bool only_leads_to_closed(Phase from) {
  for (size_t to = 0; to < kPhases; ++to)
    if (kAllowed[static_cast<size_t>(from)][to] && to != static_cast<size_t>(Phase::kClosed)) return false;
  return true;
}
constexpr bool leads_nowhere(Phase from) {
  for (size_t to = 0; to < kPhases; ++to)
    if (kAllowed[static_cast<size_t>(from)][to]) return false;
  return true;
}
static_assert(only_leads_to_closed(Phase::kOpaque), "once opaque, always opaque");
static_assert(only_leads_to_closed(Phase::kCancel), "a cancel connection carries nothing else");
static_assert(leads_nowhere(Phase::kClosed), "closed is the end");
static_assert(!kAllowed[static_cast<size_t>(Phase::kActive)][static_cast<size_t>(Phase::kStartup)],
              "a session starts once");

}  // namespace

Session::Session(ActivitySink& sink, const Options& options)
    : sink_(sink),
      options_(options),
      request_{.framer = {Direction::kRequest, Mode::kStartup}, .body = {}},
      response_{.framer = {Direction::kResponse, Mode::kRegular}, .body = {}} {
  if (!options_.joined) return;
  enter(Phase::kActive);
  request_.is_lost = response_.is_lost = true;
  is_startup_known_ = is_escape_mode_known_ = is_charset_known_ = are_names_known_ = false;
  mark_unknown_requests();
}

void Session::enter(Phase phase) {
  if (phase == phase_) return;
  GH_CHECK(kAllowed[static_cast<size_t>(phase_)][static_cast<size_t>(phase)]);
  phase_ = phase;
}

size_t Session::memory_bytes() const {
  return request_.body.capacity() + response_.body.capacity() + early_.capacity() + fifo_.heap_bytes() +
         queue_.heap_bytes() + statements_.heap_bytes() + portals_.heap_bytes() + shadow_statements_.heap_bytes() +
         shadow_portals_.heap_bytes() + texts_.idle_bytes() + portal_pool_.idle_bytes() +
         parts_.capacity() * sizeof(Part) + (ranges_.capacity() + other_ranges_.capacity()) * sizeof(sql::TextRange) +
         parameters_.capacity() * sizeof(Parameter) + user_.capacity() + database_.capacity() +
         application_name_.capacity() + server_version_.capacity() + client_encoding_.capacity() +
         foreseen_resolved_.capacity() + foreseen_settings_.capacity() * sizeof(Setting);
}

void Session::on_bytes(Direction direction, std::span<const std::byte> bytes, const ByteContext& context) {
  if (is_deaf() || bytes.empty()) return;
  if (direction == Direction::kRequest) {
    if (phase_ == Phase::kAnswer) {
      // Not to be believed before the server's answer says what it is.
      if (early_.empty()) early_context_ = context;
      if (early_.size() + bytes.size() > kRequestBytesMax) return become_opaque("not-postgresql", context.time_ns);
      early_.insert(early_.end(), bytes.begin(), bytes.end());
      return;
    }
    // A ClientHello: TLS from the first byte. As a length it is far above any start-up frame's.
    if (phase_ == Phase::kStartup && request_.framer.at_boundary() && bytes[0] == kTlsHandshake) {
      request_.start = context;
      return become_opaque("tls", context.time_ns);
    }
    if (is_lost()) {
      if (looks_like_tls(direction, bytes)) return become_opaque("tls", context.time_ns);
      take_safe_point(bytes, context);
      if (request_.is_lost) return;
    }
    is_idle_candidate_ = false;
    push_frames(direction, bytes, context);
    return;
  }
  if (response_.is_lost) {
    if (looks_like_tls(direction, bytes)) return become_opaque("tls", context.time_ns);
    note_idle_candidate(bytes, context);
    return;
  }
  is_idle_candidate_ = false;
  push_frames(direction, bytes, context);
}

void Session::push_frames(Direction direction, std::span<const std::byte> bytes, const ByteContext& context) {
  Stream& side = stream(direction);
  for (size_t at = 0; at < bytes.size();) {
    const bool begins = side.framer.at_boundary();
    if (begins) side.start = {.time_ns = context.time_ns, .writer = context.writer, .offset = context.offset + at};
    const Step step = side.framer.push(bytes.subspan(at));
    if (direction == Direction::kResponse) answer_.bytes += step.consumed;
    at += step.consumed;
    switch (step.kind) {
      case Step::Kind::kMore:
        break;
      case Step::Kind::kHeader:
        if (step.end) finish_frame(direction, side, step.frame, {}, context.time_ns);
        break;
      case Step::Kind::kBody:
        push_body(direction, side, step, context.time_ns);
        break;
      case Step::Kind::kOpaque:
        return;
      case Step::Kind::kDesync:
        lose(direction, step.reason);
        return;
    }
    if (is_deaf() || side.is_lost) return;
    if (phase_ == Phase::kAnswer && direction == Direction::kRequest) {
      if (at < bytes.size())
        on_bytes(direction, bytes.subspan(at),
                 {.time_ns = context.time_ns, .writer = context.writer, .offset = context.offset + at});
      return;
    }
  }
  if (direction == Direction::kResponse && context.chunk_ends && side.framer.at_boundary())
    is_idle_candidate_ = side.framer.frame().tag == static_cast<uint8_t>(ResponseTag::kReadyForQuery);
}

// Borrows the body where it came in one piece; collects it where not, up to what is kept of it.
void Session::push_body(Direction direction, Stream& side, const Step& step, uint64_t time_ns) {
  if (!keeps_body(direction, step.frame.tag)) {
    if (step.end) finish_frame(direction, side, step.frame, {}, time_ns);
    return;
  }
  const size_t bytes_max = direction == Direction::kRequest ? kRequestBytesMax : kResponseBodyBytesMax;
  if (step.end && side.body.empty() && !side.is_cut && !side.is_damaged && step.body.size() <= bytes_max) {
    finish_frame(direction, side, step.frame, step.body, time_ns);
    return;
  }
  // What follows a hole is not joined to what came before it.
  if (!side.is_cut && !side.is_damaged) {
    const size_t take = std::min(step.body.size(), bytes_max - side.body.size());
    side.body.insert(side.body.end(), step.body.begin(), step.body.begin() + static_cast<ptrdiff_t>(take));
    side.is_cut = take < step.body.size();
  }
  if (step.end) finish_frame(direction, side, step.frame, side.body, time_ns);
}

bool Session::keeps_body(Direction direction, uint8_t tag) const {
  if (direction == Direction::kRequest) {
    if (request_.framer.mode() == Mode::kStartup) return true;
    switch (static_cast<RequestTag>(tag)) {
      case RequestTag::kBind:
      case RequestTag::kClose:
      case RequestTag::kDescribe:
      case RequestTag::kExecute:
      case RequestTag::kFunctionCall:
      case RequestTag::kParse:
      case RequestTag::kQuery:
        return true;
      case RequestTag::kPassword:  // a secret
      case RequestTag::kCopyData:
      case RequestTag::kCopyDone:
      case RequestTag::kCopyFail:
      case RequestTag::kFlush:
      case RequestTag::kSync:
      case RequestTag::kTerminate:
        return false;
    }
    return false;
  }
  switch (static_cast<ResponseTag>(tag)) {
    case ResponseTag::kAuthentication:
    case ResponseTag::kBackendKeyData:
    case ResponseTag::kCommandComplete:
    case ResponseTag::kErrorResponse:
    case ResponseTag::kNotificationResponse:
    case ResponseTag::kParameterDescription:
    case ResponseTag::kParameterStatus:
    case ResponseTag::kReadyForQuery:
      return true;
    default:
      return false;
  }
}

void Session::finish_frame(Direction direction, Stream& side, const Frame& frame, std::span<const std::byte> body,
                           uint64_t time_ns) {
  if (direction == Direction::kResponse) {
    on_response_frame(frame, body, time_ns);
  } else if (side.framer.mode() == Mode::kStartup) {
    on_startup_frame(body);
  } else {
    on_request_frame(frame, body);
  }
  side.is_cut = side.is_damaged = false;
  side.body.clear();
  if (side.body.capacity() > kIdleBufferBytesMax && queue_.empty()) std::vector<std::byte>().swap(side.body);
}

void Session::on_rows(Direction direction, uint64_t rows, uint64_t bytes, const ByteContext& context) {
  if (is_deaf()) return;
  Stream& side = stream(direction);
  if (side.is_lost) return;
  if (direction == Direction::kRequest) {
    const Step step = side.framer.skip_rows(static_cast<uint8_t>(RequestTag::kCopyData));
    if (step.kind == Step::Kind::kDesync) return lose(direction, step.reason);
    if (step.kind == Step::Kind::kOpaque) return;
    const bool was_headless = step.end && step.consumed < kHeaderSize;
    const uint64_t headers = rows * kHeaderSize + (was_headless ? kHeaderSize - step.consumed : 0);
    // A frame whose header was pushed waits for its end here.
    if (step.end && !was_headless)
      queue_copy_data(
          {.tag = step.frame.tag, .body_size = static_cast<uint32_t>(step.hint), .header_size = kHeaderSize});
    count_copy_rows(rows + was_headless, bytes - std::min(bytes, headers), context);
    return;
  }
  is_idle_candidate_ = false;
  const bool copies = answer_.copies_out;
  const auto tag = static_cast<uint8_t>(copies ? ResponseTag::kCopyData : ResponseTag::kDataRow);
  const Step step = side.framer.skip_rows(tag);
  if (step.kind == Step::Kind::kDesync) return lose(direction, step.reason);
  if (step.kind == Step::Kind::kOpaque) return;
  side.is_cut = side.is_damaged = false;
  side.body.clear();
  const bool was_headless = step.end && step.consumed < kHeaderSize;
  const uint64_t headers = rows * kHeaderSize + (was_headless ? kHeaderSize - step.consumed : 0);
  // A row whose header was pushed has not been counted yet: frames count when they end.
  const uint64_t frames = rows + (step.end ? 1 : 0);
  answer_.bytes += bytes;
  answer_.has_begun = answer_.has_begun || frames > 0;
  if (copies) {
    answer_.copy_rows += frames;
    answer_.copy_bytes += bytes - std::min(bytes, headers);
    answer_.copy_bytes += step.hint;
  } else {
    answer_.rows += frames;
  }
}

void Session::on_cut(Direction direction, uint64_t bytes, const ByteContext& context) {
  skip(direction, bytes, false, context);
}

void Session::on_gap(Direction direction, uint64_t bytes, const ByteContext& context) {
  skip(direction, bytes, true, context);
}

void Session::skip(Direction direction, uint64_t bytes, bool is_lost, const ByteContext& context) {
  if (is_deaf() || bytes == 0) return;
  Stream& side = stream(direction);
  is_idle_candidate_ = false;
  if (side.is_lost) return;
  if (phase_ == Phase::kAnswer && direction == Direction::kRequest)
    return become_opaque("not-postgresql", context.time_ns);
  const Step step = side.framer.skip_gap(bytes);
  if (step.kind == Step::Kind::kDesync) return lose(direction, step.reason);
  if (step.kind == Step::Kind::kOpaque) return;
  if (direction == Direction::kResponse) answer_.bytes += bytes;
  const bool is_secret = direction == Direction::kRequest && side.framer.mode() == Mode::kRegular &&
                         step.frame.tag == static_cast<uint8_t>(RequestTag::kPassword);
  if (is_secret && !is_lost) totals_.withheld_bytes += bytes;
  if (keeps_body(direction, step.frame.tag)) (is_lost ? side.is_damaged : side.is_cut) = true;
  if (step.end) finish_frame(direction, side, step.frame, side.body, context.time_ns);
}

}  // namespace gatehouse::postgres
