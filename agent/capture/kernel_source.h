// SPDX-License-Identifier: Apache-2.0
// KernelSource: the kernel's sockets and processes as a RecordSource. docs/bpf-hooks.md says how and what it cannot
// see.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "agent/capture/ladder.h"
#include "agent/capture/plane.h"
#include "agent/capture/tls/keeper.h"
#include "agent/stream/gate_maps.h"
#include "agent/stream/host_socket.h"
#include "agent/stream/program_cost.h"
#include "agent/stream/records.h"
#include "common/result.h"

namespace gatehouse::capture {

struct CaptureConfig {
  std::optional<Plane> plane;             // none: the best that this kernel has
  std::vector<uint16_t> ports{5432};      // at most 16; a session elsewhere is known by its first packet
  uint32_t request_bytes_max = 1U << 20;  // of one message; what is longer is cut and marked
  size_t control_ring_bytes = 1U << 20;   // ring sizes: powers of two, at least 64 KiB
  size_t request_ring_bytes = 4U << 20;   // of long writes; the short ones' lanes take as much as this and the next
  size_t response_ring_bytes = 2U << 20;
  size_t wakeup_bytes = 256U << 10;  // a ring fuller than this ends wait() early
  bool client_ends = true;           // false: of TCP only the servers' ends, for hosts that only serve
  bool join_open_sockets = true;     // also sessions that were open before
  bool read_pages = true;            // what is sent as pages of files and pipes; false: it is counted as lost
  bool hear_at_once = false;         // see hearing.h: attached with the others, not with the first Unix session
  std::optional<TlsConfig> tls;      // none: TLS is opaque
  bool may_degrade = true;           // keep less when the rings fill, see ladder.h
};

// Totals since open(). Bytes lost are also told per connection, in SocketClosed.
struct CaptureCounters {
  uint64_t records = 0;
  uint64_t control_ring_full = 0;  // records of life and identity that are missing
  uint64_t request_ring_full = 0;
  uint64_t response_ring_full = 0;
  uint64_t storage_failed = 0;  // connections that the kernel had no memory to watch
  uint64_t faults = 0;
  uint64_t unsynced = 0;  // streams that stopped making sense
  uint64_t sockets_watched = 0;
  uint64_t sockets_forgotten = 0;  // looked at, not ours
  uint64_t other_ends = 0;         // server ends whose client end is captured
  uint64_t programs_missed = 0;    // times the kernel did not run a program because it was running already
  uint64_t malformed = 0;
  uint64_t held = 0;                   // request chunks that had to wait for their writer
  uint64_t closings_missed = 0;        // connections that were found gone
  uint64_t lives_recovered = 0;        // sessions whose opening or closing found no room in a ring, told later
  uint64_t sessions_untold = 0;        // … and those of which even that was lost
  uint64_t ladder_steps_up = 0;        // times that more was left out
  uint64_t ring_fill_percent = 0;      // of the fuller data ring, now
  uint64_t ring_fill_percent_max = 0;  // as often as it was looked at
};

// Owns the BPF programs, maps and rings: they live as long as it does. One thread.
class KernelSource final : public RecordSource {
 public:
  // The error is one line that says what to do.
  static Result<std::unique_ptr<KernelSource>> open(const CaptureConfig& config);
  ~KernelSource() override;

  // At most about `records_max`; a record that is still being written ends the turn.
  size_t poll(RecordSink& sink, size_t records_max) override;
  [[nodiscard]] bool at_end() const override { return false; }

  // Sleeps after poll(). While that finds records: for `pause_ms`, or until a ring is above its fill mark. Else until
  // something is said in a session, at most for `idle_ms`. True if it was woken.
  bool wait(uint32_t pause_ms, uint32_t idle_ms);
  // wait() ends, besides, each time that `fd` becomes readable anew. It outlives the source.
  Status wake_on(int fd);
  // What began before this moment has been told by poll(), see Backlog and Delivery. 0: not known yet.
  [[nodiscard]] uint64_t told_to_ns() const;
  [[nodiscard]] CaptureCounters counters() const;
  [[nodiscard]] Plane plane() const;
  // What processes send as pages is read. It is not where the kernel's memory cannot be made out.
  [[nodiscard]] bool reads_pages() const;
  [[nodiscard]] Rung rung() const;
  // See CaptureCounters; cheap.
  [[nodiscard]] uint64_t sessions_untold() const;

  // Every socket of the host that listens for a database or is connected to one. Goes through all open files: takes a
  // millisecond for some ten thousand.
  Result<std::vector<HostSocket>> list_sockets();

  // Has the kernel count what its programs cost, or ends that. False: it refuses.
  bool count_program_costs(bool on);
  // What it has counted since it was first asked to, by whomever.
  [[nodiscard]] std::vector<ProgramCost> program_costs() const;

  // From now on, connections that are led to this process as a shim, and its own to servers, are not watched: the shim
  // records them. The maps tell which those are; they live as long as this source. On Unix sockets it is every
  // connection of this process, also one that is no leg of a session's.
  GateMaps begin_gate();
  void end_gate();

  // Null: TLS is opaque.
  [[nodiscard]] TlsKeeper* tls() const;

  // Ends the watching: what the rings hold can still be polled. Then positions() says where the open connections stood.
  void detach();
  // Of connections with a descriptor in some process; `time_ns` is now.
  Result<std::vector<SocketClosed>> positions();

 private:
  struct State;
  explicit KernelSource(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::capture
