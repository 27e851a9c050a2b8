// SPDX-License-Identifier: Apache-2.0
// Session: one client of the shim, from accept to close.
//
//   kFirst ──▶ kClientTls ──▶ kFirst        SSLRequest or direct TLS; GSS is declined
//     │
//     ▼ startup or cancel packet
//   kDial ──▶ kServerAnswer ──▶ kServerTls  the last two only where the client speaks TLS
//     │            │               │
//     ▼            ▼               ▼
//   kRelay  or  kCancel ──▶ kLinger ──▶ gone
//
// Any phase may go to kLinger: what was written leaves, both ends are told that it is over, and what they still say is
// read and thrown away for a while, because closing a socket that has unread bytes would take from its peer what was
// written before.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "agent/shim/buffer.h"
#include "agent/shim/first_packet.h"
#include "agent/shim/gate.h"
#include "agent/shim/leg.h"
#include "agent/shim/loop.h"
#include "agent/shim/upstream.h"
#include "agent/shim/worker.h"

namespace gatehouse::shim {

class Session final : public GateHost, public LegOwner {
 public:
  Session(Loop& loop, const Door& door, const Peer& peer, uint64_t now_ns);
  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Status open(UniqueFd accepted);
  void on_leg() override;
  // As far as it goes without waiting.
  void run();
  void on_deadline();
  // The worker ends: so does this, at once.
  void abandon();

  // Its place in Loop::sessions.
  size_t slot = 0;
  bool is_listed = false;  // stands in Loop::again or Loop::later

  // GateHost
  Ruling judge(const Activity& request, Purpose purpose) override;
  void on_activity(const Activity& activity) override;
  void send(Direction direction, std::span<const std::byte> bytes) override;
  void on_moved(Direction direction, uint64_t offset, std::span<const Piece> pieces) override;
  void on_refused(uint64_t offset, const Ruling& ruling) override;
  [[nodiscard]] bool redacts() const override { return judge_->redacts(); }
  bool redact(postgres::ResponseTag tag, std::span<const std::byte> body, std::string& out) override {
    return judge_->redact(tag, body, out);
  }
  void on_end(End end) override;

 private:
  enum class Phase : uint8_t { kFirst, kClientTls, kDial, kServerAnswer, kServerTls, kRelay, kCancel, kLinger, kGone };
  static constexpr size_t kClient = 0;
  static constexpr size_t kServer = 1;
  // One direction: from the leg of this index to the other.
  struct Way {
    Buffer in;              // read, and not taken by the gate
    bool is_due = false;    // what is in `in` is to be offered again, though no more has come
    bool is_told = false;   // the gate knows that this end has closed
    bool is_ended = false;  // all of it has gone on
    uint64_t moved = 0;     // the record's position
  };

  [[nodiscard]] Leg& client() { return legs_[kClient]; }
  [[nodiscard]] Leg& server() { return legs_[kServer]; }
  void enter(Phase phase);
  void account_held();
  void list_in(std::vector<Session*>& sessions);
  void set_deadline(uint64_t at_ns);
  void step();

  // session.cc: to the first whole packet.
  void read_first();
  bool begin_direct_tls();
  bool on_first_packet(const FirstPacket& packet);
  bool on_encryption_request(const FirstPacket& packet);
  bool cancel_here();
  void shake_client();
  // reach.cc: to the server.
  void begin_dial();
  void dial_server();
  void finish_dial();
  void on_connected();
  void read_answer();
  void shake_server();
  void begin_session();
  void await_cancel();
  // The server cannot be had: the client is told why.
  void fail(const Farewell& farewell);
  void refuse_first(const Farewell& farewell);
  // relay.cc
  void relay();
  bool move(size_t from);
  size_t offer(size_t from, std::span<const std::byte> bytes);
  bool offer_held(size_t from);
  bool read_and_offer(size_t from);
  void end_way(size_t from);
  void uncork();
  void resume();
  void notice(std::string_view text);
  [[nodiscard]] size_t held_max(size_t from) const;
  // The end.
  void wind_up();
  void end_gate();
  void linger();
  void close_server();
  SocketOpened opened();
  void record_opened();
  void record_bytes(Direction direction, std::span<const std::byte> bytes);
  void record_closed();

  Loop& loop_;
  const Door& door_;
  Peer peer_;
  uint64_t accepted_ns_;
  std::array<Leg, 2> legs_;
  std::array<Way, 2> ways_;
  std::unique_ptr<SessionJudge> judge_;
  std::unique_ptr<Gate> gate_;
  std::shared_ptr<Session*> tether_;  // what resume functions hold: null once the session is gone
  std::span<const std::byte> offered_{};
  uint64_t now_ns_ = 0;    // of the gate's call
  size_t held_bytes_ = 0;  // as accounted for
  uint32_t reads_left_ = 0;
  uint32_t first_bytes_ = 0;  // the startup or cancel packet's length
  Phase phase_ = Phase::kFirst;
  bool has_spoken_ = false, is_peeked_ = false, is_direct_ = false, has_asked_ssl_ = false, has_asked_gss_ = false;
  bool is_cancel_ = false, is_recorded_ = false, is_announced_ = false, is_gate_ended_ = false, is_counted_ = false;
  bool is_key_told_ = false;
};

}  // namespace gatehouse::shim
