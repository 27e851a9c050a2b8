// SPDX-License-Identifier: Apache-2.0
// Redirect: the BPF programs that lead clients of a gated database to the shim, and the shim's own connections past
// themselves (bpf/redirect.bpf.c). docs/bpf-hooks.md#gate says which program does what, and what it cannot.
//
// Programs are the process's: they go with it, and clients reach the server direct, unless its database is `closed`:
// then links are pinned below `pin_folder`, and clients are refused until an agent runs again, which takes them over in
// open(), or lets go of them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/stream/gate_maps.h"
#include "agent/stream/records.h"
#include "common/process_key.h"
#include "common/result.h"

namespace gatehouse::shim {

enum class OnFailure : uint8_t { kOpen, kClosed };

// Where a gated server listens. Its clients are led to the listener of the same index.
struct Place {
  Transport transport = Transport::kTcp4;  // of the packets: a server's IPv6 socket that takes IPv4 too is two places
  Endpoint server{};                       // kTcp4, kTcp6: address all zero for every address; kUnix: not read
  std::string path;  // kUnix: as clients name it; its other names through links and /var/run are known as well
  OnFailure on_failure = OnFailure::kOpen;
  // TCP, at one address: of another host. Its clients are those of this host, who connect there.
  bool is_far = false;
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
  static constexpr const char* kPinFolder = "/sys/fs/bpf/gatehouse";
  struct Options {
    std::vector<Place> places;                // at most GH_PLACES_MAX
    std::string pin_folder = kPinFolder;      // in a bpf file system; made when it is needed
    uint64_t heartbeat_ns_max = 500'000'000;  // older: the shim is taken for dead
    // KernelSource::begin_gate(). Without them nobody's opener is known, and what the shim does is watched as well.
    GateMaps maps{};
  };
  // Loads the programs; nobody is led anywhere yet. But where an agent has died and left pins, clients of `closed`
  // places go on being refused until lead() or let_go(); what was pinned and is not among `places` goes direct.
  static Result<std::unique_ptr<Redirect>> open(const Options& options);
  ~Redirect();  // detaches; what is pinned stays
  Redirect(const Redirect&) = delete;
  Redirect& operator=(const Redirect&) = delete;

  // For an agent that gates nothing: clients that are refused since another has died go direct again.
  static void clear_pins(const std::string& pin_folder);

  // lead() … let_go(): one thread.
  //
  // From now on new clients of `places[index]` come to `listener`: a listening TCP socket of its family (bound to any
  // address and port), or, for a Unix place, to the path (absolute, or abstract with a leading '@'; an abstract one is
  // not known to clients in other network namespaces, which then count as clients of a dead shim). Of several
  // SO_REUSEPORT listeners each is to be told: the kernel spreads clients over them. beat() before.
  Status lead(size_t index, int listener);
  Status lead_unix(size_t index, const std::string& shim_path);
  // Also clients of a far place in the network namespace that `listener` is of, which is bound to a loopback address
  // there (lead() does it for the first one). Any thread.
  Status lead_there(size_t index, int listener);
  // A process of each network namespace whose clients of a far place found no listener since the last call. Any thread.
  [[nodiscard]] std::vector<uint32_t> take_missed();
  // No longer: clients of the place go direct, also if it is `closed`.
  Status let_go(size_t index);

  // All below: any thread.
  //
  // The shim lives. Call it at least every heartbeat_ns_max / 4.
  void beat(uint64_t now_boottime_ns);

  // Who opened the TCP connection that was accepted as `accepted`. Once for each, also where nobody wants to know: what
  // the kernel keeps for it costs each of the socket's calls a look.
  [[nodiscard]] Opener take_opener(int accepted) const;

  // `socket`: of the shim, bound to a local address (not any) and port, without SO_REUSEADDR or SO_REUSEPORT, not yet
  // connected. It will reach the server itself, which will see `client` as its peer (accept, getpeername). forget()
  // before the socket is closed: then the port is anybody's. The server's end does not tell a client of another family
  // than its own; only an IPv6 end can tell an IPv4 client.
  Status announce(int socket, Transport transport, const Endpoint& client);
  void forget(int socket);
  // The same where the server is on another host: it sees this host, and nothing needs to be forgotten.
  Status announce_far(int socket);

  // This process, as the kernel names it.
  [[nodiscard]] ProcessKey self() const;
  [[nodiscard]] RedirectCounters counters() const;

 private:
  struct State;
  explicit Redirect(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::shim
