// SPDX-License-Identifier: Apache-2.0
// InlinePath: the shim beside the passive path. Leads clients of databases in `mode: enforce` to a worker, judges there
// what they ask, and brings what the worker sees to the thread that keeps the record.
//
// Two threads: the caller's, which all methods are called on, and the worker's. They share nothing but queues: records
// one way, who a client is and which rules hold the other.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "agent/config/agent_config.h"
#include "agent/identity/process_table.h"
#include "agent/runtime/catalog_book.h"
#include "agent/runtime/hold_book.h"
#include "agent/runtime/subjects.h"
#include "agent/runtime/whereabouts.h"
#include "agent/stream/gate_maps.h"
#include "agent/stream/records.h"
#include "common/result.h"
#include "rules/engine/policy.h"

namespace gatehouse::runtime {

class InlinePath {
 public:
  struct Options {
    std::vector<AgentConfig::Database> databases;  // with_addresses(); those without a gate are passed over
    std::vector<LocatedEntry> whereabouts;         // of them
    std::string agent_id, boot_id, host;
    bool always_facts = false;
    std::string mask_key;  // file of the secret that masks compute with; made if there is none
    int64_t unix_minus_boottime_ns = 0;
    std::shared_ptr<const rules::Policy> policy;  // null: none
    std::string rules_state;                      // as Examiner::export_state()
    GateMaps maps{};                              // KernelSource::begin_gate()
    std::function<void()> wake;                   // the caller's thread is to call turn() soon; any thread
    HoldBook* holds = nullptr;                    // as InlineDesk
  };
  // Clients are led to the worker from now on. `catalogs` outlives it; may be null.
  static Result<std::unique_ptr<InlinePath>> open(Options options, CatalogBook* catalogs);
  ~InlinePath();  // as stop()

  // Whether open() would work for that database: its certificate, and this kernel's programs. Nobody is led anywhere.
  static Status check(const AgentConfig::Database& database, std::span<const LocatedEntry> whereabouts);
  // For an agent that enforces nothing: databases that one before it left closed are let go.
  static void open_closed();

  // New clients go direct from now on; sessions that are open stay, and are judged.
  void let_go();
  // The same where another InlinePath leads them now: what is `closed` is that one's to hold.
  void hand_over();
  // It has let go, and neither sessions nor anything to tell.
  [[nodiscard]] bool is_over();
  // Ends the sessions; what they said last is still to be had by take() and turn(). Clients of databases that are
  // `closed` are refused from then on; others go direct.
  void stop();

  // At the begin of a turn, before records of other sources are read …
  void take();
  // … and after: hands over what had come by take(), at most about `records_max` records, and answers what the worker
  // asked. `is_complete`: those other sources had nothing more; if they never have, it goes on all the same.
  size_t turn(RecordSink& sink, size_t records_max, bool is_complete, Subjects& subjects,
              identity::ProcessTable& processes, const TimeBase& time);
  // Some of what take() took is not handed over yet.
  [[nodiscard]] bool is_behind() const;
  // More is known of processes than before.
  void on_processes_changed(std::span<const ProcessKey> changed);
  void set_policy(std::shared_ptr<const rules::Policy> policy);
  // A process runs that may be in a network namespace not seen yet.
  void on_network(uint32_t pid);

  // By name, as an agent publishes them.
  [[nodiscard]] std::map<std::string, uint64_t> counters() const;
  // Since when connections to the database (by its label) must come through it; 0: they need not.
  [[nodiscard]] uint64_t enforced_since_ns(std::string_view label) const;

 private:
  struct State;
  void let_go(size_t place);
  explicit InlinePath(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::runtime
