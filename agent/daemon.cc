// SPDX-License-Identifier: Apache-2.0
#include <sys/prctl.h>
#include <sys/resource.h>

#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/capture/kernel_source.h"
#include "agent/capture/probe.h"
#include "agent/commands.h"
#include "agent/ports.h"
#include "agent/replay/ghcap.h"
#include "agent/runtime/agent.h"
#include "common/log.h"

namespace gatehouse::agent {
namespace {

runtime::Signals g_signals;

void on_signal(int signal) {
  (signal == SIGHUP ? g_signals.reload : g_signals.stop) = 1;
}

void catch_signals() {
  struct sigaction action{};
  action.sa_handler = on_signal;  // no SA_RESTART: a sleep ends at once
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaction(signal, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

capture::CaptureConfig capture_config(const AgentConfig& config, const std::vector<uint16_t>& ports) {
  capture::CaptureConfig capture;
  capture.plane = capture::parse_plane(config.capture.plane);  // "auto" is none of them
  capture.ports = ports;
  capture.request_bytes_max = static_cast<uint32_t>(config.capture.request_bytes_max);
  capture.control_ring_bytes = config.capture.control_ring_bytes;
  capture.request_ring_bytes = config.capture.request_ring_bytes;
  capture.response_ring_bytes = config.capture.response_ring_bytes;
  const std::string helper = config.capture.opens_tls ? capture::find_tls_helper() : "";
  if (!helper.empty()) capture.tls = {.helper = helper, .lessons = config.agent.state_dir + "/tls"};
  if (config.capture.opens_tls && helper.empty())
    log::warn("tls", "encrypted sessions stay opaque: gatehouse-tls-learn is not installed beside the agent");
  return capture;
}

void add(runtime::Counters& counters, const capture::TlsCounters& tls) {
  counters["tls_libraries_attached"] = tls.libraries_attached;
  counters["tls_libraries_refused"] = tls.libraries_refused;
  counters["tls_lessons"] = tls.lessons;
  counters["tls_secrets_lost"] = tls.secrets_lost;
  counters["tls_secrets_of_others"] = tls.secrets_of_others;
}

runtime::TlsSource tls_source(capture::TlsKeeper& keeper) {
  return {.want =
              [&](const ProcessKey& client, const ProcessKey& server) {
                const bool may_client = keeper.want(client);
                return keeper.want(server) || may_client;
              },
          .expect = [&](const ProcessKey& server) { keeper.want(server); },
          .decide = [&](SocketId socket, bool is_opened) { keeper.decide(socket, is_opened); },
          .forget = [&](SocketId socket) { keeper.forget(socket); },
          .explain =
              [&](const ProcessKey& client, const ProcessKey& server) {
                std::string text;
                if (const std::string why = keeper.explain(client); !why.empty()) text += "Client: " + why + ". ";
                if (const std::string why = keeper.explain(server); !why.empty()) text += "Server: " + why + ".";
                return text;
              }};
}

// Whoever listens for a database already may be asked for TLS next.
void expect_sessions(capture::KernelSource& source) {
  const auto sockets = source.list_sockets();
  if (!sockets) return;
  for (const HostSocket& socket : *sockets)
    if (socket.is_listener) source.tls()->want(socket.server_end.process);
}

runtime::Counters kernel_counters(const capture::KernelSource& source) {
  const capture::CaptureCounters kernel = source.counters();
  runtime::Counters counters{
      {"kernel_records", kernel.records},
      {"kernel_control_ring_full", kernel.control_ring_full},
      {"kernel_request_ring_full", kernel.request_ring_full},
      {"kernel_response_ring_full", kernel.response_ring_full},
      {"kernel_storage_failed", kernel.storage_failed},
      {"kernel_faults", kernel.faults},
      {"kernel_unsynced", kernel.unsynced},
      {"kernel_sockets_watched", kernel.sockets_watched},
      {"kernel_other_ends", kernel.other_ends},
      {"kernel_programs_missed", kernel.programs_missed},
      {"kernel_closings_missed", kernel.closings_missed},
      {"kernel_pages_read", source.reads_pages() ? 1U : 0U},  // 0: what is sent as pages is lost, and counted as that
      {"kernel_lives_recovered", kernel.lives_recovered},
      {"kernel_sessions_untold", kernel.sessions_untold},
      {"ladder_steps_up", kernel.ladder_steps_up},
      {"ladder_rung", static_cast<uint64_t>(source.rung())},
      {"ring_fill_percent", kernel.ring_fill_percent},
      {"ring_fill_percent_max", kernel.ring_fill_percent_max},
  };
  if (source.tls() != nullptr) add(counters, source.tls()->counters());
  return counters;
}

// What opens sessions is in this process's memory: no core dump has it, and no other process of the same user reads it.
void withhold_memory() {
  const rlimit none{.rlim_cur = 0, .rlim_max = 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);
}

// Without them the last bytes of streams that are still open have no owner, which is said.
std::vector<SocketClosed> positions_of(capture::KernelSource& source) {
  auto positions = source.positions();
  if (positions) return std::move(*positions);
  log::warn("capture", "the ends of open sessions are not known", {{"reason", positions.error().message()}});
  return {};
}

}  // namespace

Status run_daemon(const AgentConfig& config, const std::string& record_path) {
  catch_signals();
  // The kernel first: what it refuses, no collector can mend.
  const std::vector<uint16_t> ports = ports_to_watch(config);
  GH_ASSIGN(const auto source, capture::KernelSource::open(capture_config(config, ports)).context("watching"));
  if (const std::string_view blind = capture::blind_spots(source->plane()); !blind.empty())
    log::warn("capture", "this kernel is watched with less: gatehouse-agent doctor says what is not seen",
              {{"plane", to_string(source->plane())}});
  std::unique_ptr<replay::Writer> recorder;
  if (!record_path.empty()) {
    GH_ASSIGN(recorder, replay::Writer::create(record_path).context("--record"));
  }
  GH_ASSIGN(const auto agent, runtime::Agent::open(config));
  if (source->tls() != nullptr) {
    withhold_memory();
    expect_sessions(*source);
  }
  const runtime::LiveSource live{
      .source = *source,
      .wait = [&](uint32_t pause_ms, uint32_t idle_ms) { source->wait(pause_ms, idle_ms); },
      .told_to_ns = [&] { return source->told_to_ns(); },
      .counters = [&] { return kernel_counters(*source); },
      .detach = [&] { source->detach(); },
      .positions = [&] { return positions_of(*source); },
      .degradation = [&] { return capture::to_string(source->rung()); },
      .sessions_untold = [&] { return source->sessions_untold(); },
      .list_sockets = [&] { return source->list_sockets(); },
      .programs = {.count = [&](bool on) { return source->count_program_costs(on); },
                   .read = [&] { return source->program_costs(); }},
      .wake_on = [&](int fd) { return source->wake_on(fd); },
      .begin_gate = [&] { return source->begin_gate(); },
      .end_gate = [&] { source->end_gate(); },
      .tls = source->tls() == nullptr ? std::nullopt : std::optional(tls_source(*source->tls())),
      .ports = ports,
      .plane = std::string(to_string(source->plane())),
  };
  GH_TRY(agent->run(live, recorder.get(), g_signals));
  if (recorder) return recorder->flush().context(record_path);
  return {};
}

}  // namespace gatehouse::agent
