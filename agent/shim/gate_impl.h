// SPDX-License-Identifier: Apache-2.0
// Gate::Impl: what both directions of a gate share. gate_request.cc and gate_response.cc have one each, gate.cc the
// rest.
//
// The gate keeps no bytes: the host's buffer does, and the gate takes whole frames from its head where it must see them
// whole, and frames in parts where it need not. Its session is fed what the client says and is told, so a refused
// request is one that failed.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <vector>

#include "agent/protocol/postgres/session.h"
#include "agent/shim/gate.h"
#include "agent/shim/gate_messages.h"

namespace gatehouse::shim {

class Gate::Impl final : private ActivitySink {
 public:
  Impl(GateHost& host, const GateLimits& limits)
      : host_(host), limits_(limits), session_(*this, {.may_resync = false}) {}

  size_t on_bytes(Direction direction, std::span<const std::byte> bytes, uint64_t time_ns);
  void resume() { awaits_ruling_ = false; }
  void notice(std::string_view text, uint64_t time_ns);
  [[nodiscard]] std::span<const std::byte> cancel_key() const { return cancel_key_; }
  void on_closed(Direction direction, uint64_t time_ns);

  [[nodiscard]] size_t needs(Direction direction) const { return side(direction).needs; }
  [[nodiscard]] bool is_waiting() const { return awaits_ruling_ || awaits_answer_ || terminating_.has_value(); }
  [[nodiscard]] bool is_idle() const;
  [[nodiscard]] bool is_ended() const { return end_.has_value(); }
  [[nodiscard]] bool is_terminated() const { return has_terminated_ && !session_.owes_before(UINT64_MAX); }
  [[nodiscard]] const Counters& counters() const { return counters_; }
  [[nodiscard]] size_t memory_bytes() const;

 private:
  // One direction, in the client's view.
  struct Side {
    uint64_t offset = 0;      // of the next byte
    uint64_t moved_from = 0;  // of the first piece in `pieces`
    uint64_t frame_left = 0;  // of a frame that goes on in parts
    uint64_t keep_left = 0;   // … of which are recorded
    bool is_row = false;      // … it is a row: none of it is
    bool is_dropped = false;  // … it does not go on to the other end
    bool is_silent = false;   // … nor does its own end get to know of it: it was replaced
    bool is_closed = false;
    size_t needs = 1;
    std::vector<Piece> pieces;
  };
  // A request whose failure at the server is to be told as our refusal.
  struct Refused {
    uint64_t offset = 0;
    std::string answer;
  };
  // A request whose answer passes through a guard.
  struct Guarded {
    uint64_t offset = 0;
    postgres::RequestTag tag{};
    bool awaits_description = false;
    std::shared_ptr<ResultGuard> guard{};
  };
  // An answer whose rest is withheld. The client takes its statement for failed; the server is brought there.
  struct Cut {
    postgres::RequestTag tag{};
    bool has_failed = false;    // at the server too
    bool is_poisoned = false;   // what cannot but fail was sent after it
  };
  // Bytes at hand, and how far they have been dealt with.
  struct Run {
    std::span<const std::byte> bytes{};
    size_t at = 0;         // taken
    size_t sent_from = 0;  // from here to `at` they are to be sent
    [[nodiscard]] std::span<const std::byte> rest() const { return bytes.subspan(at); }
  };

  Side& side(Direction direction) { return sides_[static_cast<size_t>(direction)]; }
  [[nodiscard]] const Side& side(Direction direction) const { return sides_[static_cast<size_t>(direction)]; }

  void on_activity(const Activity& activity) override { host_.on_activity(activity); }

  // gate.cc
  void send(Direction direction, std::span<const std::byte> bytes);
  // What stands between `sent_from` and `at` goes on.
  void send_run(Direction direction, Run& run);
  void record_data(Direction direction, std::span<const std::byte> bytes);
  void record_rows(Direction direction, uint64_t rows, uint64_t bytes);
  void record_cut(Direction direction, uint64_t bytes);
  void add_piece(Direction direction, Piece::Kind kind, uint64_t bytes, uint64_t rows, std::span<const std::byte> data);
  ByteContext context(Direction direction) const { return {.time_ns = time_ns_, .offset = side(direction).offset}; }
  // Takes what is there of the frame under way.
  void move_frame(Direction direction, Run& run);
  // Takes frames of rows, whole or in part, from a run whose head is one.
  void move_rows(Direction direction, Run& run, bool is_dropped);
  // Records a message of ours to the client and sends it.
  void tell_client(std::string message);
  void tell_moved();
  // The notice that waits, if there is one and a message may stand here.
  void tell_notice();
  void finish_call();
  void end(End end);
  void end_with_error(End why, const ErrorText& text);
  void end_on_client_desync() {
    end_with_error(End::kClientDesync, {.severity = "FATAL", .sqlstate = "08P01", .message = "protocol violation"});
  }
  void end_on_server_desync() {
    end_with_error(End::kServerDesync,
                   {.severity = "FATAL", .sqlstate = "08P01", .message = "protocol violation by the server"});
  }
  [[nodiscard]] bool is_unicode() const;
  void finish_termination();

  // gate_request.cc
  void take_requests(Run& run);
  // False: nothing was taken, for what needs or is_waiting() say.
  bool begin_request(Run& run, const Frame& frame);
  bool begin_startup(Run& run, const Frame& frame);
  bool judge_request(Run& run, const Frame& frame);
  void release(Run& run, const Frame& frame);
  void refuse(Run& run, const Frame& frame, const Ruling& ruling);
  void terminate(Run& run, const Frame& frame, const Ruling& ruling);
  // Takes the frame, as far as it is there; the rest follows by move_frame().
  void take_frame(Run& run, const Frame& frame, bool is_dropped);
  bool need(size_t bytes);
  bool wait_for_answer(Run& run);
  bool wait_for_ruling(Run& run);
  void flush_if_needed(Run& run);
  [[nodiscard]] bool is_full() const;

  // gate_response.cc
  void take_responses(Run& run);
  bool begin_response(Run& run, const Frame& frame);
  bool redact(Run& run, const Frame& frame);
  [[nodiscard]] bool is_ours(const Frame& frame, std::span<const std::byte> body) const;
  void after_response(Run& run, postgres::ResponseTag tag);

  // gate_guard.cc
  void guard_answer(const Ruling& ruling, postgres::RequestTag tag, std::string_view portal);
  [[nodiscard]] Guarded* guarded();
  // A message of an answer that is guarded, or cut. False: nothing was taken, or the gate has ended.
  bool take_guarded(Run& run, const Frame& frame, Guarded& guarded);
  bool take_cut(Run& run, const Frame& frame);
  void drop_frame(Run& run, const Frame& frame);
  void cut(Run& run, const Frame& frame, Guarded& guarded);
  bool end_by_guard(Run& run, uint64_t offset, const Ruling& ruling);
  void forget_answered();
  // What comes next from the client waits for an answer that may be cut.
  [[nodiscard]] bool holds_requests() const;

  GateHost& host_;
  GateLimits limits_;
  postgres::Session session_;
  std::array<Side, kDirections> sides_{};
  Counters counters_{};
  uint64_t time_ns_ = 0;

  std::vector<Refused> refused_;  // in the order of their requests
  std::vector<Guarded> guarded_;  // likewise
  std::optional<Cut> cut_;
  std::string changed_;           // a guard's
  std::list<std::string> spent_;  // messages of ours that this call's pieces borrow
  std::optional<Refused> terminating_;
  std::string notice_;                 // a whole message
  std::vector<std::byte> cancel_key_;  // BackendKeyData's body
  std::optional<End> end_;
  bool is_end_told_ = false;
  bool is_over_ = false;           // the session was told of its end
  bool is_absorbing_ = false;      // a request of this segment was refused: the server would pass over the rest
  bool is_segment_open_ = false;   // requests went up that no Sync has followed
  bool needs_flush_ = false;       // the server keeps answers until a Sync or Flush comes
  bool is_state_pending_ = false;  // what was released may change how texts are read, and is not answered
  bool has_terminated_ = false;
  bool awaits_answer_ = false;
  bool awaits_ruling_ = false;
};

}  // namespace gatehouse::shim
