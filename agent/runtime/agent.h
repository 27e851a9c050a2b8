// SPDX-License-Identifier: Apache-2.0
// Agent: the parts of a watching agent put together and driven: source ▶ shard ▶ publisher ▶ spool ▶ uplink.
#pragma once

#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/catalog/explainer.h"
#include "agent/config/agent_config.h"
#include "agent/identity/process_table.h"
#include "agent/judge/examiner.h"
#include "agent/runtime/batch_builder.h"
#include "agent/runtime/catalog_book.h"
#include "agent/runtime/cost_meter.h"
#include "agent/runtime/hold_book.h"
#include "agent/runtime/inline_path.h"
#include "agent/runtime/policy_keeper.h"
#include "agent/runtime/publisher.h"
#include "agent/runtime/server_book.h"
#include "agent/runtime/shard.h"
#include "agent/runtime/socket_report.h"
#include "agent/runtime/status_socket.h"
#include "agent/runtime/subjects.h"
#include "agent/runtime/table_directory.h"
#include "agent/runtime/watch_mark.h"
#include "agent/spool/spool.h"
#include "agent/stream/gate_maps.h"
#include "agent/stream/host_socket.h"
#include "agent/stream/records.h"
#include "agent/uplink/uplink.h"
#include "common/file.h"
#include "common/result.h"

namespace gatehouse::runtime {

using Counters = std::map<std::string, uint64_t>;

// A source that can be slept on; agent/capture's kernel source behind it.
struct LiveSource {
  RecordSource& source;
  std::function<void(uint32_t pause_ms, uint32_t idle_ms)> wait;  // as KernelSource::wait()
  std::function<uint64_t()> told_to_ns;                           // as KernelSource::told_to_ns()
  std::function<Counters()> counters;
  // Ends the watching; what was recorded can still be polled. Then: where the connections still open stood.
  std::function<void()> detach;
  std::function<std::vector<SocketClosed>()> positions;
  // What is left out for want of time, in a word for people; "full" for nothing.
  std::function<std::string_view()> degradation;
  // Sessions so far of which nothing but their number is known.
  std::function<uint64_t()> sessions_untold;
  // Every socket of the host that has to do with a database.
  std::function<Result<std::vector<HostSocket>>()> list_sockets;
  CostMeter::Programs programs;
  // A descriptor that ends wait() when it becomes readable.
  std::function<Status(int)> wake_on;
  // See KernelSource; the latter may be called without the former.
  std::function<GateMaps()> begin_gate;
  std::function<void()> end_gate;
  std::optional<TlsSource> tls;  // none: TLS is opaque
  std::vector<uint16_t> ports;   // that are named: sessions at them that were open before are joined
  std::string plane;
};

// Unix time minus CLOCK_BOOTTIME now.
TimeBase current_time_base();
// A new one for each run: 32 hex digits.
std::string new_boot_id();

// What signal handlers say.
struct Signals {
  volatile std::sig_atomic_t stop = 0;    // true: end
  volatile std::sig_atomic_t reload = 0;  // true: read the rules again; who sees it makes it false
};

class Agent {
 public:
  // Opens the spool and starts the uplink; enrols at the first start. Nothing is watched yet.
  static Result<std::unique_ptr<Agent>> open(const AgentConfig& config);
  ~Agent();

  // Watches until `signals.stop` or until the uplink has failed for good. `also`: gets every record too, before the
  // shard does; may be null.
  Status run(const LiveSource& live, RecordSink* also, Signals& signals);

 private:
  Agent() = default;
  void begin_explaining();
  Counters counters(const LiveSource& live) const;
  void report_status(std::string_view phase, const LiveSource& live, uint64_t now_ns);
  void survey_sockets(const LiveSource& live, uint64_t now_ns);
  v1::HostSockets list_sockets(const LiveSource& live, uint64_t now_ns, size_t sockets_max);
  void answer_asker(const LiveSource& live, uint64_t now_ns);
  void report_spool_losses(uint64_t now_ns);
  void report_unwatched(uint64_t now_ns);
  void report_degradation(const LiveSource& live, uint64_t now_ns);
  void see_to(const LiveSource& live);
  void mind_policy(const LiveSource& live, Signals& signals, uint64_t now_ns);
  void housekeeping(const LiveSource& live, uint64_t now_ns);
  Status open_inline_path(const LiveSource& live);
  Status replace_inline_path(const LiveSource& live, uint64_t now_ns);
  void reload_databases(const LiveSource& live, uint64_t now_ns);
  void locate_databases();
  void mind_whereabouts(const LiveSource& live, uint64_t now_ns);
  size_t turn_inline_paths(RecordSink& sink, bool is_complete);
  [[nodiscard]] bool is_inline_path_behind() const;
  void stop_inline_paths(const LiveSource& live, RecordSink& sink);
  void finish(const LiveSource& live, uint64_t watched_unix_ns);

  AgentConfig config_;
  std::string kernel_, boot_id_;
  std::unique_ptr<spool::Spool> spool_;
  std::unique_ptr<HoldBook> holds_;  // uplink_ and the inline paths use it
  std::unique_ptr<catalog::Explainer> explainer_;  // asked by holds_, whom it answers; null: no database has a catalog
  std::unique_ptr<uplink::Uplink> uplink_;
  std::unique_ptr<identity::ProcessTable> processes_;
  std::unique_ptr<TableDirectory> directory_;
  std::unique_ptr<BatchBuilder> builder_;
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<judge::Examiner> examiner_;
  std::unique_ptr<CatalogBook> catalogs_;
  std::unique_ptr<Subjects> subjects_;
  std::unique_ptr<PolicyKeeper> policy_keeper_;  // null: no rules
  std::unique_ptr<Shard> shard_;
  UniqueFd wake_;  // of inline_path_'s other thread
  std::unique_ptr<Whereabouts> whereabouts_;
  std::unique_ptr<ServerBook> servers_;
  std::vector<AgentConfig::Database> located_;              // config_.databases, with the addresses of their names
  std::unique_ptr<InlinePath> inline_path_;                 // null: no database is enforced
  std::vector<std::unique_ptr<InlinePath>> leaving_paths_;  // of configurations before this one: they have sessions yet
  bool is_restart_ = false;
  std::optional<Watched> before_;  // what the run before left, if it can be read
  uint64_t seen_to_unix_ns_ = 0;   // of what began before, everything was
  uint64_t marked_unix_ns_ = 0;
  std::unique_ptr<StatusSocket> status_socket_;
  std::unique_ptr<CostMeter> meter_;
  std::vector<ProcessKey> changed_;
  std::string degradation_{"full"};
  uint64_t sessions_untold_ = 0;  // reported
  uint64_t records_ = 0;          // delivered
  std::string sockets_;           // the latest survey, serialized
  Counters socket_counts_;        // its counts by verdict
  uint64_t next_survey_ns_ = 0;
  uint64_t next_status_ns_ = 0;
  uint64_t next_poll_ns_ = 0;
};

}  // namespace gatehouse::runtime
