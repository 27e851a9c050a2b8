// SPDX-License-Identifier: Apache-2.0
// Shard: the agent's middle. Records of one source in, batches of events out.
// One thread; owns its connections. No I/O of its own and no clock: both are given.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/identity/process_table.h"
#include "agent/runtime/batch_builder.h"
#include "agent/runtime/endpoints.h"
#include "agent/runtime/subjects.h"
#include "agent/stream/connection.h"
#include "agent/stream/records.h"
#include "agent/tls/secret_book.h"

namespace gatehouse::runtime {

// What the shard has done; published with every AgentStatus.
struct ShardCounters {
  uint64_t chunks = 0;
  uint64_t captured_bytes = 0;  // of kData pieces
  uint64_t skipped_bytes = 0;   // rows and cut bodies, left out on purpose
  uint64_t lost_bytes = 0;
  uint64_t sessions_opened = 0;
  uint64_t sessions_closed = 0;
  uint64_t activities = 0;
  uint64_t statements = 0;
  uint64_t gaps = 0;
  uint64_t findings = 0;
  uint64_t orphan_chunks = 0;  // of a socket whose opening was not seen
  uint64_t tls_opened = 0;     // sessions whose TLS was opened
  uint64_t tls_sealed = 0;     // … and was not
  uint64_t tls_secrets = 0;
  uint64_t tls_secrets_refused = 0;  // nobody had claimed so many that came before
};

// Who brings the secrets of TLS sessions; agent/capture's kernel source behind it. All are set or none is.
struct TlsSource {
  // A session of these processes has turned to TLS, and nothing that opens it is known. False: nothing will be.
  std::function<bool(const ProcessKey& client, const ProcessKey& server)> want;
  // A process listens for a database: its sessions may turn to TLS.
  std::function<void(const ProcessKey& server)> expect;
  // The session is opened, or never will be: its bytes are wanted, or not. Then: it has ended.
  std::function<void(SocketId socket, bool is_opened)> decide;
  std::function<void(SocketId socket)> forget;
  // For people: which libraries these processes have, and why they bring nothing. May be empty.
  std::function<std::string(const ProcessKey& client, const ProcessKey& server)> explain;
};

// What is known of an open session now.
struct SessionView {
  SocketId socket = 0;
  const SessionFacts& facts;
  ProcessKey opener{}, server{};
  CoverageVerdict verdict = CoverageVerdict::kFull;
  std::string_view reason{};  // why not kFull: the one that weighs most, as the record names it
};

class Shard final : public RecordSink {
 public:
  using BatchConsumer = std::function<void(EncodedBatch)>;
  // Who judges, and as whom.
  struct Judging {
    judge::Examiner& examiner;
    Subjects& subjects;
  };

  // `processes`, `builder`, `judging` outlive the shard. `consume` gets each batch as it fills; it may block, which
  // leaves records in the source, where their loss is counted.
  Shard(identity::ProcessTable& processes, BatchBuilder& builder, std::vector<AgentConfig::Database> databases,
        BatchConsumer consume, std::optional<Judging> judging = std::nullopt);
  ~Shard() override;

  void on_socket_opened(const SocketOpened& record) override;
  void on_chunk(const Chunk& record) override;
  void on_socket_opaque(const SocketOpaque& record) override;
  void on_refused(const Refused& record) override;
  void on_masked(const Masked& record) override;
  void on_approval(const ApprovalStep& record) override;
  void on_socket_closed(const SocketClosed& record) override;
  void on_process_exec(const ProcessExec& record) override;
  void on_process_fork(const ProcessFork& record) override;
  void on_process_exit(const ProcessExit& record) override;
  void on_process_image_lost(const ProcessImageLost& loss) override;
  void on_tls_secret(const TlsSecret& record) override;

  // Opens the TLS of sessions that begin from now on.
  void open_tls(TlsSource source) { tls_ = std::move(source); }

  // Since when (CLOCK_BOOTTIME; 0: it need not) a connection to the database of a label must come through the shim.
  // One that did not is a finding.
  void set_enforcement(std::function<uint64_t(std::string_view label)> enforced_since_ns) {
    enforced_since_ns_ = std::move(enforced_since_ns);
  }

  // Told which database's server a process is, empty: none. A session that comes to one of those in mode enforce at an
  // address that no database names has gone past the shim as well.
  void set_server_owner(std::function<const std::string&(const ProcessKey& server)> owner_of) {
    owner_of_ = std::move(owner_of);
  }
  // Where the databases listen, as is known now: sessions that open from now on are known by it. The same databases, in
  // the same order.
  void set_listen(std::span<const AgentConfig::Database> located);
  // Told of a process that runs a new program, with its network namespace if that is another than the last one's.
  void set_on_network(std::function<void(uint32_t pid)> on_network) { on_network_ = std::move(on_network); }

  // More is known of processes than before: a digest, a name.
  void on_processes_changed();

  // What no session owns: the time between two runs, events that the spool has refused. Rules are asked as of any
  // event.
  void add_gap(const GapReport& gap, uint64_t now_boottime_ns);
  void add_dropped(const spool::Dropped& dropped, uint64_t now_boottime_ns);

  // Hands over the open batch if it is due (or, with `force`, if it is not empty).
  void flush(uint64_t now_boottime_ns, bool force = false);
  // Ends the sessions still open, as when a recorded file ends or the agent stops watching. `positions`: where their
  // streams really stood, as far as that is known; what was not seen up to there is a gap.
  void close_all(uint64_t now_boottime_ns, std::span<const SocketClosed> positions = {});

  [[nodiscard]] const ShardCounters& counters() const { return counters_; }
  [[nodiscard]] size_t open_sessions() const { return sessions_.size(); }
  void for_each_session(const std::function<void(const SessionView&)>& visit) const;
  // Of the last record; "now" in a recording.
  [[nodiscard]] uint64_t latest_record_ns() const { return latest_record_ns_; }

 private:
  class Session;
  friend class Session;
  void hand_over_if_full();
  // What is found of an event that `session` has: examined, and named in the open batch.
  [[nodiscard]] bool is_judging() const { return judging_ && !judging_->examiner.is_idle(); }
  Judged judged(const judge::Examined& examined);
  Judged judge(const GapReport& gap, const judge::Subject& subject, uint64_t now_boottime_ns);

  identity::ProcessTable& processes_;
  BatchBuilder& builder_;
  std::vector<AgentConfig::Database> databases_;
  BatchConsumer consume_;
  std::optional<Judging> judging_;
  std::optional<TlsSource> tls_;
  tls::SecretBook secrets_;                           // the sessions' channels use it
  std::map<tls::Random, SocketId> awaiting_secrets_;  // by the name that a secret comes with
  std::unordered_map<SocketId, std::unique_ptr<Session>> sessions_;
  ShardCounters counters_;
  std::function<uint64_t(std::string_view label)> enforced_since_ns_;
  std::function<const std::string&(const ProcessKey& server)> owner_of_;
  std::function<void(uint32_t pid)> on_network_;
  uint32_t latest_network_ = 0;
  uint64_t latest_record_ns_ = 0;
  uint64_t images_mark_ = 1;  // grows when a process may have got a new image
};

}  // namespace gatehouse::runtime
