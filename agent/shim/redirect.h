// SPDX-License-Identifier: Apache-2.0
// Redirect: the BPF programs that lead clients of a gated database to the shim, and the shim's own connections past
// themselves (bpf/redirect.bpf.c). docs/shim.md says which program does what.
//
// Programs are the process's: they go with it, and clients reach the server direct, unless its database is `closed`
// (then links are pinned below `pin_folder`, and clients are refused until an agent runs again or lets go of them).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/stream/records.h"
#include "common/process_key.h"
#include "common/result.h"

namespace gatehouse::shim {

enum class OnFailure : uint8_t { kOpen, kClosed };

// Where a gated server listens. Its clients are led to the listener of the same index.
struct Place {
  Transport transport = Transport::kTcp4;
  Endpoint server{};      // kTcp4, kTcp6: address all zero for every address; kUnix: the path as clients name it
  std::string path;       // owns server.path
  OnFailure on_failure = OnFailure::kOpen;
};

// Who opened a connection that the shim accepted, as the kernel knew it when it was opened.
struct Opener {
  ProcessKey process{};  // unknown: a remote client
  uint32_t uid = UINT32_MAX;
};

struct RedirectCounters {
  uint64_t steered = 0;        // connections led to the shim
  uint64_t passed = 0;         // the shim's own
  uint64_t opened_direct = 0;  // the shim did not listen, or its heart had stopped: led to the server
  uint64_t refused = 0;        // … refused
};

class Redirect {
 public:
  struct Options {
    std::vector<Place> places;
    std::string pin_folder = "/sys/fs/bpf/gatehouse";
    uint64_t heartbeat_ns_max = 500'000'000;  // older: the shim is taken for dead
    // Descriptors of maps of the capture plane's object that these programs share; see bpf/gate.h.
    int legs_map = -1;
  };
  // Loads the programs; nobody is led anywhere yet.
  static Result<std::unique_ptr<Redirect>> open(const Options& options);
  ~Redirect();  // detaches; what is pinned stays

  // From now on new clients of `places[index]` come to `listener`: a listening TCP socket of its family (bound to any
  // address and port), or, for a Unix place, to the path (absolute, or abstract with a leading '@').
  Status lead(size_t index, int listener);
  Status lead_unix(size_t index, const std::string& shim_path);
  // No longer: clients of the place go direct, also if it is `closed`.
  Status let_go(size_t index);

  // The shim lives. Any thread; call it at least every heartbeat_ns_max / 4.
  void beat(uint64_t now_boottime_ns);

  // Who opened the TCP connection that was accepted as `accepted`; each connection's can be taken once.
  Opener take_opener(int accepted);

  // `socket`: of the shim, bound to a local address and port, not yet connected. It will reach the server itself, which
  // will see `client` as its peer (accept, getpeername). forget() before the socket is closed.
  Status announce(int socket, Transport transport, const Endpoint& client);
  void forget(int socket);

  [[nodiscard]] RedirectCounters counters() const;

 private:
  Redirect() = default;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::shim
