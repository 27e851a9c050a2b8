// SPDX-License-Identifier: Apache-2.0
// Bytes through the gate, both ways. In the common case a message is one read and one write, from the worker's own
// memory: the session holds bytes only where the gate or a peer does not take them at once.
#include <algorithm>

#include "agent/shim/session.h"
#include "common/clock.h"

namespace gatehouse::shim {
namespace {

// Reads of one session before it is the others' turn.
constexpr uint32_t kReadsPerTurnMax = 16;
// What a peer makes us answer by itself (TLS's own messages) while it does not read.
constexpr size_t kOwnBacklogBytesMax = 256U << 10;
// Memory for bytes that the gate changed is given back above this.
constexpr size_t kMadeBytesKept = 256U << 10;

bool is_within(std::span<const std::byte> inner, std::span<const std::byte> outer) {
  return inner.data() >= outer.data() && inner.data() + inner.size() <= outer.data() + outer.size();
}

}  // namespace

void Session::relay() {
  reads_left_ = kReadsPerTurnMax;
  bool has_moved = true;
  while (has_moved && phase_ == Phase::kRelay) {
    has_moved = move(kServer);
    if (phase_ == Phase::kRelay && move(kClient)) has_moved = true;
  }
  // It has said all, and hears no more: nobody wants what the server still says.
  if (phase_ == Phase::kRelay && ways_[kClient].is_ended && client().is_deaf()) wind_up();
  // What it asked is not decided yet, and shall not run without it.
  if (phase_ == Phase::kRelay && client().has_hung_up() && judge_->is_holding()) wind_up();
}

// One step of one direction; false: it can do nothing for now.
bool Session::move(size_t from) {
  Way& way = ways_[from];
  Leg& source = legs_[from];
  const Leg& target = legs_[1 - from];
  if (way.is_ended) return false;
  bool has_moved = false;
  if (way.is_due) has_moved = offer_held(from);
  if (phase_ != Phase::kRelay) return false;
  // What one side does not take is not read from the other.
  if (target.backlog() > 0 || source.backlog() > kOwnBacklogBytesMax) return has_moved;
  if (!source.at_end() && source.is_readable() && way.in.size() < held_max(from)) {
    const bool is_congested = loop_.host.is_congested();
    if (reads_left_ == 0 || is_congested) {
      list_in(is_congested ? loop_.later : loop_.again);
      return has_moved;
    }
    --reads_left_;
    has_moved = read_and_offer(from) || has_moved;
  }
  if (phase_ == Phase::kRelay && source.at_end()) end_way(from);
  return has_moved && phase_ == Phase::kRelay;
}

size_t Session::held_max(size_t from) const {
  return std::max(loop_.options.buffer_bytes, gate_->needs(static_cast<Direction>(from)));
}

bool Session::read_and_offer(size_t from) {
  Way& way = ways_[from];
  Leg& source = legs_[from];
  auto& moved_bytes = from == kClient ? loop_.counters.bytes_up : loop_.counters.bytes_down;
  if (way.in.empty()) {
    const size_t got = source.read(loop_.scratch);
    if (got == 0) return false;
    bump(moved_bytes, got);
    const auto bytes = std::span<const std::byte>(loop_.scratch).first(got);
    const size_t taken = offer(from, bytes);
    // wind_up() has dropped the gate: the rest belongs to nobody.
    if (phase_ == Phase::kRelay) way.in.append(bytes.subspan(taken));
    return true;
  }
  const size_t wanted = held_max(from) - way.in.size();
  const auto room = way.in.room(std::min(wanted, std::max(loop_.options.buffer_bytes, way.in.size())));
  const size_t got = source.read(room.first(std::min(room.size(), wanted)));
  if (got == 0) return false;
  bump(moved_bytes, got);
  way.in.commit(got);
  const bool is_needed = way.in.size() >= gate_->needs(static_cast<Direction>(from));
  if (is_needed && !(from == kClient && gate_->is_waiting())) offer_held(from);
  return true;
}

// True: some were taken.
bool Session::offer_held(size_t from) {
  Way& way = ways_[from];
  way.is_due = false;
  if (way.in.empty()) return false;
  const size_t taken = offer(from, way.in.view());
  if (phase_ != Phase::kRelay) return false;
  way.in.consume(taken);
  return taken > 0;
}

size_t Session::offer(size_t from, std::span<const std::byte> bytes) {
  now_ns_ = boottime_ns();
  offered_ = bytes;
  const size_t taken = gate_->on_bytes(static_cast<Direction>(from), bytes, now_ns_);
  uncork();
  offered_ = {};
  if (!is_key_told_ && from == kServer && !gate_->cancel_key().empty()) {
    is_key_told_ = true;
    judge_->on_cancel_key(gate_->cancel_key());
  }
  // What the other side waits for may have come.
  if (taken > 0 && !ways_[1 - from].in.empty()) ways_[1 - from].is_due = true;
  if (is_gate_ended_) wind_up();
  return taken;
}

// The source has said all it will.
void Session::end_way(size_t from) {
  Way& way = ways_[from];
  // It is the client's bytes that wait; a server that is gone ends them, whatever it has left unfinished.
  if (from == kClient && !way.in.empty() && gate_->is_waiting()) {
    // Who was cut off does not want what is not decided yet.
    if (legs_[kClient].is_broken()) wind_up();
    return;
  }
  if (!way.is_told) {
    way.is_told = true;
    now_ns_ = boottime_ns();
    gate_->on_closed(static_cast<Direction>(from), now_ns_);
    uncork();
    if (is_gate_ended_) return wind_up();
    offer_held(from);
    if (phase_ != Phase::kRelay) return;
    if (from == kClient && !way.in.empty() && gate_->is_waiting()) return;
  }
  way.in.clear();
  way.is_ended = true;
  if (from == kServer) return wind_up();
  legs_[kServer].end_writing();
}

void Session::resume() {
  if (phase_ != Phase::kRelay) return;
  gate_->resume();
  uncork();
  if (is_gate_ended_) return wind_up();
  ways_[kClient].is_due = true;
  run();
}

void Session::notice(std::string_view text) {
  if (phase_ != Phase::kRelay) return;
  now_ns_ = boottime_ns();
  gate_->notice(text, now_ns_);
  uncork();
  if (is_gate_ended_) wind_up();
}

Ruling Session::judge(const Activity& request, Purpose purpose) {
  bump(loop_.counters.judged);
  return judge_->judge(request, purpose);
}

void Session::on_activity(const Activity& activity) {
  judge_->on_activity(activity);
}

void Session::send(Direction direction, std::span<const std::byte> bytes) {
  Cork& cork = loop_.corks[static_cast<size_t>(direction)];
  const bool is_same = is_within(bytes, offered_);
  if (cork.made.empty() && is_same) {
    if (cork.same.empty()) {
      cork.same = bytes;
      return;
    }
    if (cork.same.data() + cork.same.size() == bytes.data()) {
      cork.same = {cork.same.data(), cork.same.size() + bytes.size()};
      return;
    }
  }
  cork.made.insert(cork.made.end(), cork.same.begin(), cork.same.end());
  cork.made.insert(cork.made.end(), bytes.begin(), bytes.end());
  cork.same = {};
}

void Session::uncork() {
  for (const size_t way : {kClient, kServer}) {
    Cork& cork = loop_.corks[way];
    if (!cork.same.empty()) {
      legs_[1 - way].write(cork.same);
      cork.same = {};
    } else if (!cork.made.empty()) {
      legs_[1 - way].write(cork.made);
      cork.made.clear();
      if (cork.made.capacity() > kMadeBytesKept) cork.made.shrink_to_fit();
    }
  }
}

void Session::on_moved(Direction direction, uint64_t offset, std::span<const Piece> pieces) {
  Chunk chunk{.socket = peer_.cookie, .direction = direction, .offset = offset, .time_ns = now_ns_, .pieces = pieces};
  if (direction == Direction::kRequest) {
    chunk.writer = peer_.opener.process;
    chunk.writer_uid = peer_.opener.uid;
  }
  ways_[static_cast<size_t>(direction)].moved = chunk.end();
  loop_.host.records().on_chunk(chunk);
}

void Session::on_refused(uint64_t offset, const Ruling& ruling) {
  bump(loop_.counters.refused);
  loop_.host.records().on_refused({.socket = peer_.cookie,
                                   .time_ns = now_ns_,
                                   .offset = offset,
                                   .terminates = ruling.kind == Ruling::Kind::kTerminate,
                                   .rule = ruling.rule,
                                   .message = ruling.message});
}

void Session::on_end(End end) {
  if (end == End::kClientDesync || end == End::kServerDesync) bump(loop_.counters.desyncs);
  is_gate_ended_ = true;
}

}  // namespace gatehouse::shim
