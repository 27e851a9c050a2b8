// SPDX-License-Identifier: Apache-2.0
#include <csignal>
#include <memory>
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
  return capture;
}

runtime::Counters kernel_counters(const capture::KernelSource& source) {
  const capture::CaptureCounters kernel = source.counters();
  return {
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
      .ports = ports,
      .plane = std::string(to_string(source->plane())),
  };
  GH_TRY(agent->run(live, recorder.get(), g_signals));
  if (recorder) return recorder->flush().context(record_path);
  return {};
}

}  // namespace gatehouse::agent
