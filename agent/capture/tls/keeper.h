// SPDX-License-Identifier: Apache-2.0
// TlsKeeper: brings the secrets of TLS sessions: finds out which TLS library a process of a watched session runs, has
// learned where that tells its secrets (gatehouse-tls-learn), and has a probe there while it may be needed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "agent/stream/records.h"
#include "common/process_key.h"
#include "common/result.h"

namespace gatehouse::capture {

struct TlsConfig {
  std::string helper;   // path of gatehouse-tls-learn; empty: TLS is not opened
  std::string lessons;  // folder for what was learned; empty: it is not kept
};

struct TlsCounters {
  uint64_t libraries_attached = 0;  // now
  uint64_t libraries_refused = 0;   // that tell nothing
  uint64_t lessons = 0;             // times that the helper ran
  uint64_t secrets = 0;
  uint64_t secrets_lost = 0;       // the ring was full, or the library's memory could not be read
  uint64_t secrets_of_others = 0;  // seen by a probe, of processes without a watched session: not told
};

// A thread of its own looks at processes and files; all else is the caller's one thread.
class TlsKeeper {
 public:
  // Descriptors of the capture plane's maps gh_tls_handshakes and gh_tls_claims; they outlive the keeper.
  static Result<std::unique_ptr<TlsKeeper>> open(const TlsConfig& config, int handshakes_fd, int claims_fd);
  ~TlsKeeper();

  // A process of a session that is, or may become, TLS. False: it is known to have no library that tells.
  bool want(const ProcessKey& process);
  // What has come, to the sink. Before the chunks that were captured after it.
  void read(RecordSink& sink);
  // See TlsSource.
  void decide(SocketId socket, bool is_opened);
  void forget(SocketId socket);
  [[nodiscard]] std::string explain(const ProcessKey& process) const;
  [[nodiscard]] TlsCounters counters() const;

 private:
  struct State;
  explicit TlsKeeper(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Beside this program, or where packages put it; empty if it is in neither place.
std::string find_tls_helper();

}  // namespace gatehouse::capture
