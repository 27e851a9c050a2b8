// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/agent.h"

#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "common/check.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "common/version.h"

namespace gatehouse::runtime {
namespace {

constexpr size_t kRecordsPerTurnMax = 4096;                  // then housekeeping gets its turn
constexpr uint64_t kProcessPollEveryNs = 20ULL * 1'000'000;  // well under a batch's delay, so its hashes are in it
constexpr uint64_t kUnsyncedMaxNs = 1'000'000'000;           // twice spool::Spool::kSyncEvery, and the disk's time
constexpr uint32_t kIdleMsMax = 200;              // while nothing happens: what a signal or doctor's question waits for
constexpr uint64_t kMarkEveryNs = 1'000'000'000;  // while nothing happens
constexpr uint64_t kLastWritesNs = 2'000'000;     // at the end
// Looking for the host's sockets takes at most one part in so many of a core.
constexpr uint64_t kSurveyRest = 1000;
constexpr std::chrono::milliseconds kDrainMax{3000};  // at the end: long enough for a healthy collector

// Every record to two sinks.
class Tee final : public RecordSink {
 public:
  Tee(RecordSink& first, RecordSink& second) : first_(first), second_(second) {}
  void on_socket_opened(const SocketOpened& r) override { both(&RecordSink::on_socket_opened, r); }
  void on_chunk(const Chunk& r) override { both(&RecordSink::on_chunk, r); }
  void on_socket_opaque(const SocketOpaque& r) override { both(&RecordSink::on_socket_opaque, r); }
  void on_tls_secret(const TlsSecret& r) override { second_.on_tls_secret(r); }  // never recorded
  void on_refused(const Refused& r) override { both(&RecordSink::on_refused, r); }
  void on_masked(const Masked& r) override { both(&RecordSink::on_masked, r); }
  void on_approval(const ApprovalStep& r) override { both(&RecordSink::on_approval, r); }
  void on_socket_closed(const SocketClosed& r) override { both(&RecordSink::on_socket_closed, r); }
  void on_process_exec(const ProcessExec& r) override { both(&RecordSink::on_process_exec, r); }
  void on_process_fork(const ProcessFork& r) override { both(&RecordSink::on_process_fork, r); }
  void on_process_exit(const ProcessExit& r) override { both(&RecordSink::on_process_exit, r); }
  void on_process_image_lost(const ProcessImageLost& r) override { both(&RecordSink::on_process_image_lost, r); }

 private:
  template <typename Record>
  void both(void (RecordSink::*take)(const Record&), const Record& record) {
    (first_.*take)(record);
    (second_.*take)(record);
  }
  RecordSink& first_;
  RecordSink& second_;
};

uint64_t ns_of(std::chrono::milliseconds time) {
  return static_cast<uint64_t>(time.count()) * 1'000'000;
}

std::string kernel_release() {
  utsname name{};
  return ::uname(&name) == 0 ? name.release : "unknown";
}

void add(Counters& counters, const ShardCounters& shard) {
  counters["chunks"] = shard.chunks;
  counters["captured_bytes"] = shard.captured_bytes;
  counters["skipped_bytes"] = shard.skipped_bytes;
  counters["lost_bytes"] = shard.lost_bytes;
  counters["sessions_opened"] = shard.sessions_opened;
  counters["sessions_closed"] = shard.sessions_closed;
  counters["statements"] = shard.statements;
  counters["activities"] = shard.activities;
  counters["gaps"] = shard.gaps;
  counters["orphan_chunks"] = shard.orphan_chunks;
  counters["tls_opened"] = shard.tls_opened;
  counters["tls_sealed"] = shard.tls_sealed;
  counters["tls_secrets"] = shard.tls_secrets;
  counters["tls_secrets_refused"] = shard.tls_secrets_refused;
}

void add(Counters& counters, const judge::ExaminerCounters& examiner) {
  counters["facts_hits"] = examiner.facts_hits;
  counters["facts_misses"] = examiner.facts_misses;
  counters["facts_not_parsed"] = examiner.not_parsed;
  counters["facts_resolved_hits"] = examiner.resolved_hits;
  counters["facts_resolved_misses"] = examiner.resolved_misses;
  counters["rules_events"] = examiner.rules.events;
  counters["rules_evaluations"] = examiner.rules.evaluations;
  counters["rules_matches"] = examiner.rules.matches;
  counters["rules_errors"] = examiner.rules.errors;
  counters["rules_in_doubt"] = examiner.rules.in_doubt;
}

void add(Counters& counters, const identity::ProcessTableCounters& processes) {
  counters["processes_execs"] = processes.execs;
  counters["processes_filled"] = processes.filled;
  counters["processes_unknown"] = processes.unknown;
  counters["processes_images_lost"] = processes.images_lost;
  counters["processes_evicted"] = processes.evicted;
  counters["processes_digests_missing"] = processes.digests_missing;
}

void add(Counters& counters, const HoldBook& holds) {
  const HoldCounters& counted = holds.counters();
  counters["holds_waiting"] = holds.waiting();
  counters["holds_asked"] = counted.asked;
  counters["holds_approved"] = counted.approved;
  counters["holds_denied"] = counted.denied;
  counters["holds_expired"] = counted.expired;
  counters["holds_cancelled"] = counted.cancelled;
  counters["holds_unreachable"] = counted.unreachable;
  counters["holds_granted"] = counted.granted;
}

void add(Counters& counters, const spool::Spool::Counters& spool, const uplink::UplinkStatus& uplink) {
  counters["spool_bytes_pending"] = spool.bytes_pending;
  counters["spool_bytes_on_disk"] = spool.bytes_on_disk;
  counters["spool_bytes_damaged"] = spool.bytes_damaged;
  counters["spool_events_dropped"] = spool.events_dropped;
  counters["uplink_connections"] = uplink.connections;
  counters["uplink_batches_sent"] = uplink.batches_sent;
  counters["uplink_bytes_sent"] = uplink.bytes_sent;
  counters["uplink_batches_given_up"] = uplink.batches_given_up;
}

}  // namespace

TimeBase current_time_base() {
  return {.unix_minus_boottime_ns = static_cast<int64_t>(unix_ns()) - static_cast<int64_t>(boottime_ns())};
}

std::string new_boot_id() {
  std::array<unsigned char, 16> random{};
  GH_CHECK(::getrandom(random.data(), random.size(), 0) == static_cast<ssize_t>(random.size()));
  constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : random) {
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

Result<std::unique_ptr<Agent>> Agent::open(const AgentConfig& config) {
  std::unique_ptr<Agent> agent(new Agent);
  agent->config_ = config;
  agent->kernel_ = kernel_release();
  if (!config.rules.files.empty()) {
    GH_ASSIGN(agent->policy_keeper_, PolicyKeeper::open(config.rules.files, config.agent.state_dir + "/rules-state"));
  }
  GH_TRY(make_directories(config.agent.state_dir).context("agent.state_dir"));
  GH_ASSIGN(agent->spool_, spool::Spool::open({.folder = config.agent.state_dir + "/spool",
                                               .bytes_max = config.spool.bytes_max,
                                               .segment_bytes = config.spool.segment_bytes})
                               .context("opening the spool"));
  uplink::Uplink::Options options;
  options.collector = config::format_address(config.collector.address);
  options.identity_folder = config.agent.state_dir + "/identity";
  options.agent_name = config.agent.name;
  options.token = [config]() -> Result<std::string> {
    GH_ASSIGN(const Secret token, enrolment_token(config));
    return std::string(token.reveal());
  };
  const std::string boot_id = agent->boot_id_ = new_boot_id();
  agent->holds_ = std::make_unique<HoldBook>(boot_id);
  options.approvals = agent->holds_.get();
  agent->begin_explaining();
  GH_ASSIGN(agent->uplink_, uplink::Uplink::start(std::move(options), *agent->spool_));

  agent->processes_ = std::make_unique<identity::ProcessTable>();
  agent->directory_ = std::make_unique<TableDirectory>(*agent->processes_);
  agent->builder_ = std::make_unique<BatchBuilder>(
      BatchBuilder::Options{
          .agent_id = agent->uplink_->agent_id(),
          .boot_id = boot_id,
          .host = config::host_name(),
          .agent_version = kVersion,
          .events_max = config.batch.events_max,
          .delay_ns_max = static_cast<uint64_t>(config.batch.delay_max.count()) * 1'000'000,
      },
      *agent->directory_);
  const std::string mark_path = config.agent.state_dir + "/watched";
  agent->is_restart_ = ::access(mark_path.c_str(), F_OK) == 0;
  GH_ASSIGN(WatchMark mark, WatchMark::open(mark_path));
  agent->before_ = mark.before();
  agent->publisher_ = std::make_unique<Publisher>(*agent->spool_, boot_id, std::move(mark));
  agent->examiner_ =
      std::make_unique<judge::Examiner>(judge::Examiner::Options{.always_facts = config.rules.always_facts});
  // Only who judges asks for them.
  const bool is_judging = agent->policy_keeper_ != nullptr || config.rules.always_facts;
  agent->catalogs_ = std::make_unique<CatalogBook>(is_judging ? std::span<const AgentConfig::Database>(config.databases)
                                                              : std::span<const AgentConfig::Database>());
  agent->subjects_ = std::make_unique<Subjects>(*agent->processes_, agent->catalogs_.get(), agent->uplink_->agent_id(),
                                                boot_id, config::host_name(), static_cast<uint32_t>(::getpid()));
  if (agent->policy_keeper_) {
    agent->examiner_->set_policy(agent->policy_keeper_->policy());
    if (!agent->examiner_->import_state(agent->policy_keeper_->saved()))
      log::warn("rules", "some of what they had gathered is lost: the file is damaged");
    agent->builder_->set_policy(std::string(agent->examiner_->policy_version()));
  }
  const auto publish = [raw = agent.get()](EncodedBatch batch) {
    batch.seen_to_unix_ns = raw->seen_to_unix_ns_;
    raw->publisher_->push(std::move(batch));
  };
  agent->shard_ = std::make_unique<Shard>(*agent->processes_, *agent->builder_, config.databases, publish,
                                          Shard::Judging{*agent->examiner_, *agent->subjects_});
  return agent;
}

// Where a catalog can be read, plans can be had.
void Agent::begin_explaining() {
  std::vector<std::pair<std::string, catalog::CatalogSource>> sources;
  for (const AgentConfig::Database& database : config_.databases)
    if (database.catalog) sources.emplace_back(database.name, catalog_source(*database.catalog));
  if (sources.empty()) return;
  explainer_ = std::make_unique<catalog::Explainer>(std::move(sources));
  holds_->set_explainer([this](const v1::HoldRequest& request) {
    std::optional<std::string> search_path;
    if (!request.search_path_unknown()) search_path = request.search_path();
    explainer_->ask({.label = request.database_label(),
                     .database = request.database(),
                     .search_path = std::move(search_path),
                     .text = request.text()},
                    [holds = holds_.get(), id = request.id()](catalog::Plan plan) {
                      holds->add_plan(id, std::move(plan.text), plan.rows);
                    });
  });
}

Agent::~Agent() = default;

Counters Agent::counters(const LiveSource& live) const {
  Counters counters = live.counters();
  add(counters, shard_->counters());
  add(counters, processes_->counters());
  add(counters, spool_->counters(), uplink_->status());
  if (inline_path_) counters.merge(inline_path_->counters());
  if (inline_path_) add(counters, *holds_);
  if (!examiner_->is_idle()) add(counters, examiner_->counters());
  if (!catalogs_->empty()) {
    const std::vector<catalog::CatalogStatus> catalogs = catalogs_->status();
    counters["catalogs_asked_for"] = catalogs.size();
    counters["catalogs_loaded"] =
        static_cast<uint64_t>(std::ranges::count_if(catalogs, &catalog::CatalogStatus::is_loaded));
  }
  if (policy_keeper_) {
    counters["rules_loaded"] = policy_keeper_->policy()->rules.size();
    counters["rules_reloads_failed"] = policy_keeper_->reloads_failed();
  }
  counters["sessions_open"] = shard_->open_sessions();
  counters.insert(socket_counts_.begin(), socket_counts_.end());
  meter_->add_to(counters);
  return counters;
}

void Agent::report_status(std::string_view phase, const LiveSource& live, uint64_t now_ns) {
  const Counters now = counters(live);
  builder_->add_status({.phase = phase,
                        .plane = live.plane,
                        .kernel = kernel_,
                        .counters = now,
                        .sockets = sockets_,
                        .policy = examiner_->policy_version()},
                       now_ns);
}

v1::HostSockets Agent::list_sockets(const LiveSource& live, uint64_t now_ns, size_t sockets_max) {
  auto found = live.list_sockets();
  if (!found) log::warn("agent", "the host's sockets are not known", {{"reason", found.error().message()}});
  const auto exe_of = [this](const ProcessKey& process) {
    const identity::ProcessRef& known = processes_->find(process);
    return known ? known->exe : std::string();
  };
  return report_sockets({.found = found ? std::span<const HostSocket>(*found) : std::span<const HostSocket>(),
                         .watching = Watching::kRunning,
                         .shard = shard_.get(),
                         .ports = live.ports,
                         .databases = located_,
                         .exe_of = exe_of,
                         .own_netns = own_network_namespace(),
                         .shim_pid = inline_path_ ? static_cast<uint32_t>(::getpid()) : 0,
                         .time_unix_ns = builder_->time_base().to_unix(now_ns),
                         .sockets_max = sockets_max});
}

// The list of a host with very many open files takes its time: it is then made less often, and told again meanwhile.
void Agent::survey_sockets(const LiveSource& live, uint64_t now_ns) {
  if (now_ns < next_survey_ns_) return;
  const v1::HostSockets report = list_sockets(live, now_ns, kHostSocketsMax);
  sockets_ = report.SerializeAsString();
  socket_counts_.clear();
  for (const std::string_view verdict : kSocketVerdicts) {
    const auto count = report.counts().find(std::string(verdict));
    socket_counts_["sockets_" + std::string(verdict)] = count == report.counts().end() ? 0 : count->second;
  }
  next_survey_ns_ = now_ns + (boottime_ns() - now_ns) * kSurveyRest;
}

void Agent::answer_asker(const LiveSource& live, uint64_t now_ns) {
  const OwnCost own = read_own_cost();
  v1::AgentStatus status;
  status.set_phase(degradation_ == "full" ? "running" : "degraded/" + degradation_);
  status.set_plane(live.plane);
  status.set_kernel(kernel_);
  const Counters now = counters(live);
  status.mutable_counters()->insert(now.begin(), now.end());
  status.mutable_counters()->at("cost_cpu_ns") = own.cpu_ns;
  status.mutable_counters()->at("cost_resident_bytes") = own.resident_bytes;
  *status.mutable_sockets() = list_sockets(live, now_ns, SIZE_MAX);
  status_socket_->answer(status.SerializeAsString());
}

void Agent::report_spool_losses(uint64_t now_ns) {
  const auto dropped = publisher_->take_dropped();
  if (!dropped) return;
  log::warn("spool", "events were refused for want of room and are lost",
            {{"events", dropped->events}, {"why", spool::to_string(dropped->why)}});
  shard_->add_dropped(*dropped, now_ns);
}

// Of the time since the run before nothing is known but what the sessions that lived on still tell.
void Agent::report_unwatched(uint64_t now_ns) {
  seen_to_unix_ns_ = marked_unix_ns_ = builder_->time_base().to_unix(now_ns);
  if (!is_restart_) return;
  uint64_t since_unix_ns = before_ ? before_->until_unix_ns : 0;
  // The host went down meanwhile, and what the spool had not synced may have gone with it.
  if (before_ && !before_->is_ended && since_unix_ns < builder_->time_base().to_unix(0))
    since_unix_ns -= std::min(since_unix_ns, kUnsyncedMaxNs);
  shard_->add_gap({.reason = before_ && before_->is_ended ? "agent-stopped" : "agent-killed",
                   .since_unix_ns = since_unix_ns,
                   .until_unix_ns = seen_to_unix_ns_},
                  now_ns);
}

// A step of the ladder is an event of its own, so that the record shows between which events less was kept.
void Agent::report_degradation(const LiveSource& live, uint64_t now_ns) {
  const std::string_view now = live.degradation();
  if (now != degradation_) {
    log::warn("agent", now == "full" ? "keeps everything again" : "records come faster than they are read",
              {{"keeps", now}, {"kept", degradation_}});
    degradation_ = now;
    report_status(now == "full" ? "restored" : "degraded/" + degradation_, live, now_ns);
  }
  const uint64_t untold = live.sessions_untold();
  if (untold == sessions_untold_) return;
  shard_->add_gap({.events = untold - sessions_untold_, .reason = "sessions-untold"}, now_ns);
  sessions_untold_ = untold;
}

// Everything from before is in the record, or in the batch that is being made.
void Agent::see_to(const LiveSource& live) {
  if (const uint64_t told_to_ns = live.told_to_ns(); told_to_ns != 0)
    seen_to_unix_ns_ = builder_->time_base().to_unix(told_to_ns);
}

// Other rules are an event of their own, so that the record shows between which events they changed.
void Agent::mind_policy(const LiveSource& live, Signals& signals, uint64_t now_ns) {
  if (signals.reload != 0) {
    signals.reload = 0;
    reload_databases(live, now_ns);
    if (policy_keeper_)
      policy_keeper_->ask_reload();
    else
      log::info("rules", "there are none to read again: rules.files names no file");
  }
  if (!policy_keeper_) return;
  PolicyRef changed = policy_keeper_->poll();
  if (changed == nullptr) return;
  shard_->flush(now_ns, true);
  if (inline_path_) inline_path_->set_policy(changed);
  for (const auto& path : leaving_paths_) path->set_policy(changed);
  examiner_->set_policy(std::move(changed));
  builder_->set_policy(std::string(examiner_->policy_version()));
  report_status("policy", live, now_ns);
}

void Agent::housekeeping(const LiveSource& live, uint64_t now_ns) {
  if (now_ns >= next_poll_ns_) {
    next_poll_ns_ = now_ns + kProcessPollEveryNs;
    changed_.clear();
    processes_->poll(now_ns, changed_);
    if (!changed_.empty()) shard_->on_processes_changed();
    if (inline_path_) inline_path_->on_processes_changed(changed_);
    for (const auto& path : leaving_paths_) path->on_processes_changed(changed_);
    // One that had none at the last look had told its last by the look.
    std::erase_if(leaving_paths_, [](const auto& path) { return path->is_over(); });
    report_spool_losses(now_ns);
  }
  report_degradation(live, now_ns);
  if (status_socket_ && status_socket_->is_asked()) [[unlikely]]
    answer_asker(live, now_ns);
  if (next_status_ns_ != 0) meter_->turn(now_ns, next_status_ns_);
  if (now_ns >= next_status_ns_) {
    // The clock may have been set; what was told before stays as it was told.
    builder_->set_time_base(current_time_base());
    survey_sockets(live, now_ns);
    meter_->close_interval(now_ns, read_own_cost(), records_);
    report_status(next_status_ns_ == 0 ? "start" : "running", live, now_ns);
    if (policy_keeper_) policy_keeper_->save(examiner_->export_state());
    next_status_ns_ = now_ns + ns_of(config_.agent.status_interval);
  }
  shard_->flush(now_ns);
  if (builder_->empty() && seen_to_unix_ns_ >= marked_unix_ns_ + kMarkEveryNs) {
    publisher_->seen(seen_to_unix_ns_);
    marked_unix_ns_ = seen_to_unix_ns_;
  }
}

void Agent::finish(const LiveSource& live, uint64_t watched_unix_ns) {
  const uint64_t now_ns = boottime_ns();
  shard_->close_all(now_ns, live.positions());
  if (policy_keeper_) policy_keeper_->save_now(examiner_->export_state());
  report_status("stop", live, now_ns);
  shard_->flush(now_ns, true);
  publisher_->drain();
  report_spool_losses(now_ns);
  shard_->flush(now_ns, true);
  publisher_->drain();
  publisher_->end(watched_unix_ns);
  uplink_->stop(kDrainMax);
}

// From here on clients of enforced databases are led through this process.
Status Agent::open_inline_path(const LiveSource& live) {
  const auto is_gated = [](const AgentConfig::Database& database) { return database.gate.has_value(); };
  if (std::ranges::none_of(config_.databases, is_gated)) {
    InlinePath::open_closed();
    return {};
  }
  if (!wake_.valid()) {
    wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_.valid()) return Error::system("eventfd");
    GH_TRY(live.wake_on(wake_.get()));
  }
  InlinePath::Options options{.databases = located_,
                              .whereabouts = whereabouts_->entries(),
                              .agent_id = uplink_->agent_id(),
                              .boot_id = boot_id_,
                              .host = config::host_name(),
                              .always_facts = config_.rules.always_facts,
                              .mask_key = config_.rules.mask_key,
                              .unix_minus_boottime_ns = builder_->time_base().unix_minus_boottime_ns,
                              .maps = live.begin_gate(),
                              .wake = [fd = wake_.get()] {
                                const uint64_t one = 1;
                                [[maybe_unused]] const ssize_t written = ::write(fd, &one, sizeof one);
                              },
                              .holds = holds_.get()};
  if (policy_keeper_) {
    options.policy = policy_keeper_->policy();
    options.rules_state = examiner_->export_state();
  }
  GH_ASSIGN(inline_path_, InlinePath::open(std::move(options), catalogs_->empty() ? nullptr : catalogs_.get()));
  shard_->set_enforcement(
      [this](std::string_view label) { return inline_path_ ? inline_path_->enforced_since_ns(label) : 0; });
  shard_->set_on_network([this](uint32_t pid) {
    if (inline_path_) inline_path_->on_network(pid);
  });
  log::info("shim", "enforcing: new connections are judged", {});
  return {};
}

void Agent::locate_databases() {
  located_ = with_addresses(config_.databases, whereabouts_->entries());
  shard_->set_listen(located_);
  std::vector<AgentConfig::Database> enforced = located_;
  std::erase_if(enforced, [](const AgentConfig::Database& database) { return !database.gate; });
  servers_->set_databases(enforced);
}

// Leads clients as the configuration and the whereabouts now say.
Status Agent::replace_inline_path(const LiveSource& live, uint64_t now_ns) {
  std::unique_ptr<InlinePath> before = std::move(inline_path_);
  const auto is_gated = [](const AgentConfig::Database& database) { return database.gate.has_value(); };
  if (std::ranges::none_of(config_.databases, is_gated)) {
    if (before) before->let_go();
  } else if (Status status = open_inline_path(live); !status) {
    inline_path_ = std::move(before);
    return status;
  } else if (before) {
    // Both lead the same clients: there was no moment in which nobody did.
    before->hand_over();
  }
  if (before) leaving_paths_.push_back(std::move(before));
  report_status("databases", live, now_ns);
  return {};
}

// Names may have got other addresses, and addresses another host.
void Agent::mind_whereabouts(const LiveSource& live, uint64_t now_ns) {
  if (!whereabouts_->take_change()) return;
  locate_databases();
  if (!inline_path_) return;
  if (const Status status = replace_inline_path(live, now_ns); !status)
    log::error("shim", "clients are led to where the databases were", {{"reason", status.error().message()}});
}

// Of the configuration, what is enforced may change while the agent runs.
void Agent::reload_databases(const LiveSource& live, uint64_t now_ns) {
  if (config_.file.empty()) return;
  auto config = load_agent_config(config_.file);
  if (!config) {
    log::warn("agent", "the configuration was not read again", {{"reason", config.error().message()}});
    return;
  }
  const std::vector<AgentConfig::Database> databases_before = config_.databases;
  bool is_changed = false;
  for (AgentConfig::Database& database : config_.databases) {
    const auto now = std::ranges::find(config->databases, database.name, &AgentConfig::Database::name);
    if (now == config->databases.end() || now->listen != database.listen || now->gate == database.gate) continue;
    database.gate = now->gate;
    is_changed = true;
  }
  if (!is_changed) return;
  locate_databases();
  if (const Status status = replace_inline_path(live, now_ns); !status) {
    // A configuration that does not work replaces none that does.
    log::error("shim", "what is enforced stays as it was", {{"reason", status.error().message()}});
    config_.databases = databases_before;
    locate_databases();
  }
}

size_t Agent::turn_inline_paths(RecordSink& sink, bool is_complete) {
  size_t records = 0;
  const auto turn = [&](InlinePath& path) {
    records += path.turn(sink, kRecordsPerTurnMax, is_complete, *subjects_, *processes_, builder_->time_base());
  };
  if (inline_path_) turn(*inline_path_);
  for (const auto& path : leaving_paths_) turn(*path);
  return records;
}

bool Agent::is_inline_path_behind() const {
  return (inline_path_ && inline_path_->is_behind()) || std::ranges::any_of(leaving_paths_, &InlinePath::is_behind);
}

// Their sessions end with them, and say so.
void Agent::stop_inline_paths(const LiveSource& live, RecordSink& sink) {
  if (!inline_path_ && leaving_paths_.empty()) return;
  if (inline_path_) leaving_paths_.push_back(std::move(inline_path_));
  for (const auto& path : leaving_paths_) {
    path->stop();
    path->take();
  }
  while (turn_inline_paths(sink, true) > 0) {
    for (const auto& path : leaving_paths_) path->take();
  }
  leaving_paths_.clear();
  live.end_gate();
}

Status Agent::run(const LiveSource& live, RecordSink* also, Signals& signals) {
  builder_->set_time_base(current_time_base());
  meter_ = std::make_unique<CostMeter>(ns_of(config_.agent.bpf_sample), live.programs);
  auto status_socket = StatusSocket::open(config_.agent.state_dir);
  if (status_socket)
    status_socket_ = std::move(*status_socket);
  else
    log::warn("agent", "doctor cannot ask this agent", {{"reason", status_socket.error().message()}});
  GH_TRY(processes_->snapshot().context("reading /proc"));
  if (live.tls) shard_->open_tls(*live.tls);
  std::unique_ptr<Tee> tee = also == nullptr ? nullptr : std::make_unique<Tee>(*also, *shard_);
  RecordSink& sink = tee ? static_cast<RecordSink&>(*tee) : *shard_;
  report_unwatched(boottime_ns());
  servers_ = std::make_unique<ServerBook>(
      *processes_, ServerBook::Options{.list_sockets =
                                           [&live] {
                                             auto found = live.list_sockets();
                                             return found ? std::move(*found) : std::vector<HostSocket>();
                                           },
                                       .own_netns = own_network_namespace()});
  shard_->set_server_owner(
      [this](const ProcessKey& server) -> const std::string& { return servers_->database_of(server, boottime_ns()); });
  whereabouts_ = std::make_unique<Whereabouts>(config_.databases, Whereabouts::of_host());
  locate_databases();
  GH_TRY(open_inline_path(live).context("mode: enforce"));
  log::info("agent", "watching", {{"agent_id", uplink_->agent_id()}, {"plane", live.plane}});
  while (signals.stop == 0) {
    if (const auto failure = uplink_->failure()) return *failure;
    if (inline_path_) inline_path_->take();
    for (const auto& path : leaving_paths_) path->take();
    size_t records = live.source.poll(sink, kRecordsPerTurnMax);
    records += turn_inline_paths(sink, records < kRecordsPerTurnMax);
    records_ += records;
    if (!is_inline_path_behind()) see_to(live);
    const uint64_t now_ns = boottime_ns();
    mind_policy(live, signals, now_ns);
    mind_whereabouts(live, now_ns);
    housekeeping(live, now_ns);
    if (records < kRecordsPerTurnMax) {
      const auto pause_ms = static_cast<uint32_t>(config_.capture.poll_max.count());
      live.wait(pause_ms, builder_->empty() ? std::max(pause_ms, kIdleMsMax) : pause_ms);
    }
  }
  stop_inline_paths(live, sink);
  // The programs go one after the other: what happens meanwhile may be seen in part.
  const uint64_t watched_unix_ns = unix_ns();
  live.detach();
  // What a program wrote as it was taken away is a moment behind.
  const uint64_t detached_ns = boottime_ns();
  while (live.source.poll(sink, kRecordsPerTurnMax) > 0 || boottime_ns() < detached_ns + kLastWritesNs) {
  }
  finish(live, watched_unix_ns);
  return {};
}

}  // namespace gatehouse::runtime
