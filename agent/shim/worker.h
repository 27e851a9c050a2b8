// SPDX-License-Identifier: Apache-2.0
// Worker: one event loop of the shim, on one thread. Accepts clients that were led to it, connects each to its server,
// ends TLS at both sides where the client asked for it, and moves bytes through the session's gate.
//
// Bounded: what one side does not take is not read from the other. Nothing is shared between workers.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/shim/gate.h"
#include "agent/stream/records.h"
#include "common/file.h"
#include "common/result.h"

namespace gatehouse::shim {

class Redirect;

// How the server's identity is checked on the way up, where TLS is spoken.
struct UpstreamTls {
  enum class Verify : uint8_t {
    kFull,         // chain and name, as sslmode=verify-full
    kCertificate,  // it must be the very certificate that the shim shows to clients: the server's own
  };
  Verify verify = Verify::kCertificate;
  std::string root_certificate;  // PEM file; kFull
  std::string name;              // kFull: what the certificate must be for
};

// A gated server.
struct Gated {
  std::string label;  // databases[].name
  Transport transport = Transport::kTcp4;
  Endpoint server{};    // where it listens; an address of all zeros: at the address that the client asked for
  std::string path;     // owns server.path; kUnix
  bool is_far = false;  // on another host; its clients are processes of this one, and are reached from where they are
  int listener = -1;    // where its clients come to; owned by the worker from start() on
  // PEM files. Empty: TLS is declined, as a server without it does.
  std::string certificate, key;
  UpstreamTls upstream_tls{};
  GateLimits limits{};
};

// Judges one session, on the worker's thread.
class SessionJudge {
 public:
  virtual ~SessionJudge() = default;
  virtual Ruling judge(const Activity& request, Purpose purpose) = 0;
  virtual void on_activity(const Activity& activity) = 0;
  // As GateHost's.
  [[nodiscard]] virtual bool redacts() const { return false; }
  virtual bool redact(postgres::ResponseTag /*tag*/, std::span<const std::byte> /*body*/, std::string& /*out*/) {
    return false;
  }
  // How a CancelRequest names the session: what stands behind its code. Once, when the server has told it.
  virtual void on_cancel_key(std::span<const std::byte> /*key*/) {}
  // It said kWait for somebody's word, which may take long: a client that closes its side ends it.
  [[nodiscard]] virtual bool is_holding() const { return false; }
};

struct Accepted {
  const SocketOpened& opened;
  size_t gated = 0;  // which
  // What SessionJudge said kWait for is known. On the worker's thread, not inside a call of a SessionJudge or of the
  // records; does nothing once the session is over.
  std::function<void()> resume;
  // As Gate::notice(); as resume().
  std::function<void(std::string_view)> notice;
};

// What a worker needs of those who judge and record. All calls come on the worker's thread.
class WorkerHost {
 public:
  virtual ~WorkerHost() = default;
  // A client has spoken: `opened` is on the record already.
  virtual std::unique_ptr<SessionJudge> open_session(const Accepted& accepted) = 0;
  // Everything that happens, in the client's view: openings, chunks, refusals, closings.
  virtual RecordSink& records() = 0;
  // The reader of the record has fallen behind: no more is read from sockets until it has not. Polled.
  [[nodiscard]] virtual bool is_congested() const = 0;
  // A descriptor to be polled for reading, and what to call then. -1: none.
  [[nodiscard]] virtual int mail_fd() const = 0;
  virtual void on_mail() = 0;
  // A client asks to cancel the session of this key. True: it was waiting for a ruling, and gets one; nothing of it is
  // at the server.
  virtual bool on_cancel(std::span<const std::byte> /*key*/) { return false; }
  // Each turn of the loop, and at least four times a second. Also the place for resume().
  virtual void on_turn(uint64_t now_boottime_ns) = 0;
};

struct WorkerCounters {
  std::atomic<uint64_t> accepted{0}, closed{0}, cancels{0}, refused_startups{0}, upstream_failed{0}, tls_failed{0};
  std::atomic<uint64_t> judged{0}, refused{0}, desyncs{0}, sessions{0}, bytes_up{0}, bytes_down{0};
  // What waits in sessions' buffers now, and the most that ever did (between two steps of a session).
  std::atomic<uint64_t> held_bytes{0}, held_bytes_max{0};
};

class Worker {
 public:
  struct Options {
    std::vector<Gated> gated;
    size_t buffer_bytes = 64U << 10;             // of each side of a session, while it has something to move
    uint64_t handshake_ns_max = 60'000'000'000;  // from accept to StartupMessage; as authentication_timeout
    size_t sessions_max = 20'000;
  };
  // `redirect`: null where clients come by themselves (tests): then nobody's opener is known and the server sees the
  // shim. Files are read here; errors name them. `host` and `redirect` outlive the worker.
  static Result<std::unique_ptr<Worker>> start(Options options, Redirect* redirect, WorkerHost& host);
  // Whether start() could read what `gated` names; closes its listener.
  static Status check(const Gated& gated);
  // Ends its sessions and its thread.
  ~Worker();

  // Any thread.
  //
  // Another listener for clients of `gated[index]`, which becomes the worker's. Who shuts it down takes it away again:
  // no more clients are accepted from it, and it is closed.
  void add_listener(size_t index, UniqueFd listener);
  [[nodiscard]] const WorkerCounters& counters() const;

 private:
  Worker() = default;
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gatehouse::shim
