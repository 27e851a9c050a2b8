// SPDX-License-Identifier: Apache-2.0
// Lost framing and safe points.
//
// A direction is lost when a hole covers, or may cover, a frame header. It is found again only where the protocol
// says where a frame begins: the server has said ReadyForQuery at the end of a write, so it is idle, and the next
// thing that happens is a write of the client that begins with whole, decodable frames. What was asked before and not
// answered is reported with an unknown outcome; the exchange after it is marked until a ReadyForQuery confirms it.
#include <algorithm>

#include "agent/protocol/postgres/session.h"
#include "common/reader.h"

namespace gatehouse::postgres {
namespace {

// A first frame longer than its write is believed only up to this size: four characters of text, read as a length,
// are above it.
constexpr uint32_t kUnfinishedBodyBytesMax = 64U << 20;

bool decodes(RequestTag tag, std::span<const std::byte> body) {
  switch (tag) {
    case RequestTag::kQuery:
      return decode_query(body, Body::kWhole).has_value();
    case RequestTag::kParse:
      return decode_parse(body, Body::kWhole).has_value();
    case RequestTag::kBind:
      return decode_bind(body, Body::kWhole).has_value();
    case RequestTag::kDescribe:
    case RequestTag::kClose:
      return decode_target(body).has_value();
    case RequestTag::kExecute:
      return decode_execute(body).has_value();
    case RequestTag::kFunctionCall:
      return decode_function_call(body, Body::kWhole).has_value();
    case RequestTag::kFlush:
    case RequestTag::kSync:
    case RequestTag::kTerminate:
      return true;
    case RequestTag::kCopyData:
    case RequestTag::kCopyDone:
    case RequestTag::kCopyFail:
    case RequestTag::kPassword:
      return false;  // never first while the server is idle
  }
  return false;
}

// The head of a long first frame.
bool may_begin(RequestTag tag, std::span<const std::byte> head) {
  switch (tag) {
    case RequestTag::kQuery:
      return !head.empty() && decode_query(head, Body::kHead).has_value();
    case RequestTag::kParse:
      return decode_parse(head, Body::kHead).has_value();
    case RequestTag::kBind:
      return decode_bind(head, Body::kHead).has_value();
    default:
      return false;
  }
}

// Whether `bytes`, the head of a client's write, can be what follows an idle server: whole frames to the end, or one
// long frame.
bool begins_a_cycle(std::span<const std::byte> bytes) {
  for (bool is_first = true; !bytes.empty(); is_first = false) {
    Reader r{bytes};
    const auto tag = r.be<uint8_t>();
    const auto wire_length = r.be<uint32_t>();
    if (!r.ok() || wire_length < 4 || kRequestBodyBounds[tag] == kNoSuchTag) return false;
    const uint32_t body_size = wire_length - 4;
    if (body_size > kRequestBodyBounds[tag]) return false;
    if (body_size > r.left())
      return is_first && body_size <= kUnfinishedBodyBytesMax && may_begin(static_cast<RequestTag>(tag), r.rest());
    if (!decodes(static_cast<RequestTag>(tag), r.take(body_size))) return false;
    bytes = r.rest();
  }
  return true;
}

bool contains_word(std::string_view text, std::string_view lower) {
  const auto is_same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + ('a' - 'A') : a) == b; };
  return std::ranges::search(text, lower, is_same).size() == lower.size();
}

}  // namespace

void Session::lose(Direction direction, Reason reason) {
  Stream& side = stream(direction);
  ++totals_.desyncs;
  ++totals_.desync_reasons[static_cast<size_t>(reason)];
  const uint64_t time_ns = side.start.time_ns;
  const bool is_hole = reason == Reason::kGapInHeader;
  const bool is_first = phase_ == Phase::kStartup || phase_ == Phase::kAnswer ||
                        (direction == Direction::kResponse && phase_ == Phase::kAuthenticate && !has_answered_);
  if (is_first && !is_hole) return become_opaque("not-postgresql", time_ns);
  if (phase_ == Phase::kStartup || phase_ == Phase::kAnswer) is_startup_known_ = false;
  enter(Phase::kActive);
  side.is_lost = true;
  side.is_cut = side.is_damaged = false;
  side.body.clear();
  is_idle_candidate_ = false;
  if (direction == Direction::kRequest) {
    are_names_known_ = false;
    mark_unknown_requests();
    return;
  }
  is_escape_mode_known_ = is_charset_known_ = false;
  flush_held(TransactionState::kUnknown);
  drain(Outcome::kUnknown, false, time_ns);
  transaction_ = TransactionState::kUnknown;
}

void Session::mark_unknown_requests() {
  if (!response_.is_lost && (queue_.empty() || queue_.back().kind != Pending::Kind::kUnknown)) {
    Pending& entry = queue_.push();
    entry.payload = fifo_.end();
    entry.time_ns = request_.start.time_ns;
    entry.offset = request_.start.offset;
    entry.writer = request_.start.writer;
  }
}

// Framing of the server's side is lost: does this write end as only an idle server's does?
void Session::note_idle_candidate(std::span<const std::byte> bytes, const ByteContext& context) {
  static constexpr std::array<std::byte, 5> kReady{std::byte{'Z'}, {}, {}, {}, std::byte{5}};
  is_idle_candidate_ = false;
  if (!context.chunk_ends || bytes.size() < kReady.size() + 1) return;
  const auto tail = bytes.last(kReady.size() + 1);
  if (!std::ranges::equal(tail.first(kReady.size()), kReady)) return;
  const auto state = decode_ready_for_query(tail.last(1));
  if (!state) return;
  is_idle_candidate_ = true;
  candidate_transaction_ = *state;
}

void Session::on_joined_idle(TransactionState transaction) {
  if (!options_.joined || totals_.resyncs > 0 || !is_lost()) return;
  is_idle_candidate_ = true;
  candidate_transaction_ = transaction;
}

// Called before a client's write is framed while a direction is lost.
bool Session::take_safe_point(std::span<const std::byte> bytes, const ByteContext& context) {
  if (!options_.may_resync || !is_idle_candidate_ || !context.chunk_begins) return false;
  is_idle_candidate_ = false;
  if (request_.is_lost ? !begins_a_cycle(bytes) : !request_.framer.at_boundary()) return false;

  flush_held(TransactionState::kUnknown);
  drain(Outcome::kUnknown, false, context.time_ns);
  if (request_.is_lost) {
    forget_all_names();
    request_.framer = Framer(Direction::kRequest, Mode::kRegular);
  }
  if (response_.is_lost) {
    response_.framer = Framer(Direction::kResponse, Mode::kRegular);
    transaction_ = candidate_transaction_;
  }
  portals_.clear();
  request_.is_lost = response_.is_lost = false;
  is_provisional_ = true;
  if (is_startup_known_ && !is_authenticated_) emit_authentication(Outcome::kUnknown, context.time_ns);
  ++totals_.resyncs;
  return true;
}

void Session::forget_all_names() {
  statements_.clear();
  portals_.clear();
  are_names_known_ = false;
}

// A request whose answer was not seen may have changed what names mean.
void Session::forget_names_of(const Pending& entry) {
  are_names_known_ = false;
  const auto body = payload(entry);
  if (entry.kind == Pending::Kind::kUnknown) return forget_all_names();
  if (entry.kind == Pending::Kind::kClose) {
    const auto target = decode_target(body);
    if (!target) return forget_all_names();
    if (!target->is_portal) statements_.erase(target->name);
    return;
  }
  if (entry.kind != Pending::Kind::kQuery && entry.kind != Pending::Kind::kExecute) return;
  std::string_view sql = Reader::as_text(body);
  TextRef text;
  if (entry.kind == Pending::Kind::kExecute) {
    const auto execute = decode_execute(body);
    const PortalRef portal = execute ? find_portal(execute->portal) : PortalRef{};
    // What ran is not known, so neither is what it did to names.
    if (!portal || !portal->statement) return forget_all_names();
    text = portal->statement;
    sql = text->text;
  }
  if (entry.is_cut || entry.is_damaged || contains_word(sql, "prepare") || contains_word(sql, "deallocate") ||
      contains_word(sql, "discard"))
    forget_all_names();
}

Fidelity Session::floor_fidelity() const {
  if (options_.joined) return Fidelity::kJoinedMidStream;
  if (is_provisional_ || !is_startup_known_) return Fidelity::kAfterGap;
  return Fidelity::kComplete;
}

// A joined session whose both directions begin their writes with TLS records is one. No PostgreSQL message has such
// a tag.
bool Session::looks_like_tls(Direction direction, std::span<const std::byte> bytes) {
  if (!options_.joined || totals_.resyncs > 0 || bytes.size() < 5) return false;
  Reader r{bytes};
  const auto type = r.be<uint8_t>();
  const auto version = r.be<uint16_t>();
  const auto record_size = r.be<uint16_t>();
  const bool is_record = type >= 0x14 && type <= 0x17 && version >= 0x0301 && version <= 0x0304 && record_size > 0 &&
                         record_size <= 16384 + 2048;
  if (!is_record) return false;
  has_tls_look_[static_cast<size_t>(direction)] = true;
  return has_tls_look_[0] && has_tls_look_[1];
}

}  // namespace gatehouse::postgres
