// SPDX-License-Identifier: Apache-2.0
// Gate: what stands between the two ends of one PostgreSQL session. A statement is judged before any byte of it goes
// on.
//
// Where nothing is refused, what goes out at either end is, byte for byte, what came in at the other. A request that is
// refused never leaves: in its place goes one that the server cannot but fail (a text that no grammar takes), so that
// server and client agree on what an error leaves behind: the transaction failed, the pipeline up to its Sync passed
// over, one ReadyForQuery for each Sync or Query. The server's error is replaced by the refusal on its way back.
//
// Pure: no I/O, clock, log or lock. One thread. Peers' bytes are data: whatever they are, the outcome is named.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "agent/protocol/activity.h"
#include "agent/protocol/framer.h"
#include "agent/shim/result_guard.h"
#include "agent/stream/records.h"

namespace gatehouse::shim {

// What a request is judged for.
enum class Purpose : uint8_t {
  kPrepare,  // its text is to reach the server (Parse); it is not run yet, and may never be. Counts in no window.
  kRun,      // it is run
};

struct Ruling {
  enum class Kind : uint8_t {
    kRelease,
    kRefuse,     // an error; the session goes on
    kTerminate,  // a fatal error; the session ends, at the server too
    kWait,       // not decided yet: the gate takes nothing more from the client until resume(), and then asks again
  };
  Kind kind = Kind::kRelease;
  // Released, it may change how later texts are read, or what their names mean: what is judged after it waits for its
  // answer.
  bool changes_state = false;
  // Of a refusal. Good until the next call of judge(). `rule`: for the record, the rest is what the client gets.
  std::string_view rule{};
  std::string_view sqlstate = "42501";
  std::string_view message{};
  std::string_view detail{};
  std::string_view hint{};
  // Of a release: what the answer passes through. Null: it passes as it is.
  std::shared_ptr<ResultGuard> guard{};
};

// How a session ends that its ends did not end themselves.
enum class End : uint8_t {
  kTerminated,    // by a ruling
  kClientDesync,  // what the client sends is not the protocol
  kServerDesync,  // what the server sends is not the protocol
  kMemory,        // it would take more than it may
  kGuard,         // a guard could not let the rest of an answer pass
};

// Who moves the bytes, and who judges. Called inside the gate's calls, never between them; spans are good until it
// returns.
class GateHost {
 public:
  virtual ~GateHost() = default;

  // kConnect, kStatement (all that a request tells: text, parameters, names, protocol, writer is the host's own; the
  // outcome is kUnknown, `transaction` is the state before it, and the answer's fields are empty). A Query is one
  // request, whatever number of statements it has; what it runs by name is `resolved_text`, as Session::foresee() says.
  // Of prepared texts above kRequestBytesMax an Execute has the head only: the whole was judged when it was prepared.
  // What the gate itself refuses (too long, or no such message) does not come here. A login that is refused ends.
  virtual Ruling judge(const Activity& request, Purpose purpose) = 0;
  // What came of it, once the answer is in; with every other activity of the session, in the client's view.
  virtual void on_activity(const Activity& activity) = 0;
  // To the server (kRequest) or to the client (kResponse), in order. The host buffers what it cannot write at once.
  virtual void send(Direction direction, std::span<const std::byte> bytes) = 0;
  // For the record: the session as the client sees it, refusals included; offsets from the startup message on. Rows and
  // the rests of long frames come as Piece::kRows and kCut. `pieces` are what this call moved.
  virtual void on_moved(Direction direction, uint64_t offset, std::span<const Piece> pieces) = 0;
  // A request that starts at `offset` of the client's stream was not released (called before on_moved() with its
  // bytes), or the rest of its answer is withheld.
  virtual void on_refused(uint64_t offset, const Ruling& ruling) = 0;
  // Errors and notices that belong to no guarded request may tell what a guard hides, since the server reads more than
  // it is asked to run: it plans what is bound, and looks at constraints at the end of a transaction. True: redact() is
  // to see each, whole; where that gives true, what it appended goes in its place.
  [[nodiscard]] virtual bool redacts() const { return false; }
  virtual bool redact(postgres::ResponseTag /*tag*/, std::span<const std::byte> /*body*/, std::string& /*out*/) {
    return false;
  }
  // Nothing more will be sent. The client gets what was sent to it before; the server's end may close at once.
  virtual void on_end(End end) = 0;
};

struct GateLimits {
  // A statement's frame up to this long is held until it is judged whole; a longer one is refused, unless it is one of
  // those that may stream.
  uint64_t statement_bytes_max = 16U << 20;
  // A message of an answer that passes through a guard is held until it is whole: a row, most of all.
  uint64_t guarded_bytes_max = 16U << 20;
};

class Gate {
 public:
  // Begins before the startup message; encryption was negotiated before, and cancel requests do not come here. `host`
  // outlives the gate.
  Gate(GateHost& host, const GateLimits& limits);
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // The stream's next bytes. Gives how many were taken: what was not is given again, with more behind it, when
  //   - more have come, and there are at least needs(direction) of them, or
  //   - it waits (is_waiting()), and the other direction has moved or resume() was called, or
  //   - on_closed(direction) was called: what nobody will complete is taken then, and goes nowhere.
  // Takes nothing after on_end().
  size_t on_bytes(Direction direction, std::span<const std::byte> bytes, uint64_t time_ns);
  // The judge that said kWait may know now; offer the client's bytes again.
  void resume();
  // A NoticeResponse to the client, as soon as what the server says to it stands at the end of a message; only the
  // latest of those that have to wait. To a client that has not logged in nothing is said: most take it for an error.
  void notice(std::string_view text, uint64_t time_ns);
  // What a CancelRequest for this session says behind its code, as the server has told it; empty: not yet.
  [[nodiscard]] std::span<const std::byte> cancel_key() const;
  // An end closed its side. Once it is told and all bytes are taken the host closes the other end. With the server's
  // the session is over: its disconnect is told, and what the client still sends is taken and goes nowhere.
  void on_closed(Direction direction, uint64_t time_ns);

  // How many bytes there must be before it can take the next; 1 where any will do. Bounded by statement_bytes_max.
  [[nodiscard]] size_t needs(Direction direction) const;
  // The client's bytes wait for the server's answer, or for a ruling.
  [[nodiscard]] bool is_waiting() const;
  // No answer is owed and no transaction is open: the session can be made to reconnect, or be handed over.
  [[nodiscard]] bool is_idle() const;
  [[nodiscard]] bool is_ended() const;
  // The server is owed nothing and the client has said Terminate.
  [[nodiscard]] bool is_terminated() const;

  struct Counters {
    uint64_t judged = 0, released = 0, refused = 0, waits = 0, cut = 0;
  };
  [[nodiscard]] const Counters& counters() const;
  [[nodiscard]] size_t memory_bytes() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gatehouse::shim
