// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/kernel_source.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <string>
#include <unordered_map>
#include <utility>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "agent/capture/backlog.h"
#include "agent/capture/delivery.h"
#include "agent/capture/hearing.h"
#include "agent/capture/iterator.h"
#include "agent/capture/lane.h"
#include "agent/capture/page_lessons.h"
#include "agent/capture/probe.h"
#include "agent/capture/programs.h"
#include "agent/capture/ring.h"
#include "agent/capture/socket_list.h"
#include "agent/capture/watched_list.h"
#include "bpf/gatehouse_abi.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

namespace gatehouse::capture {
namespace {

constexpr size_t kRingBytesMin = 64U << 10;
// How often to look for connections that went unnoticed. The kernel looks into every bucket of its table, of which a
// host with much memory has so many that it takes milliseconds: at most one part in so many of a core.
constexpr uint64_t kReconcileEveryNs = 1'000'000'000;
constexpr uint64_t kReconcileRest = 1000;
constexpr uint64_t kReconcileRestQuiet = 2000;  // while nothing happens
constexpr uint64_t kQuietNs = 3 * kReconcileEveryNs;
// How often what is waited for in vain is given up.
constexpr uint64_t kExpireEveryNs = 20'000'000;
// When Unix sessions that began before the kernel side heard each read are first looked for; then at twice the time.
constexpr uint64_t kUnheardAfterNs = 1'000'000'000;

// What libbpf says goes into our error, one line of it, instead of onto standard error. One source is opened at a time
// per thread.
thread_local std::string t_library_message;

int keep_message(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  std::array<char, 512> line{};
  vsnprintf(line.data(), line.size(), format, arguments);
  const std::string_view text(line.data());
  // The first warning names the cause; a verifier's log is many lines and no help to whoever runs this.
  if (t_library_message.empty()) t_library_message = text.substr(0, text.find('\n'));
  return 0;
}

Error library_error(std::string_view what, int error_number = errno) {
  Error error = Error::system(what, error_number);
  return t_library_message.empty() ? error : Error(error.message() + " (" + t_library_message + ")");
}

Status check_config(const CaptureConfig& config) {
  if (config.ports.size() > GH_PORTS_MAX)
    return Error::configuration("capture: at most " + std::to_string(GH_PORTS_MAX) + " ports can be watched");
  for (const size_t bytes : {config.control_ring_bytes, config.request_ring_bytes, config.response_ring_bytes})
    if (!std::has_single_bit(bytes) || bytes < kRingBytesMin)
      return Error::configuration("capture: a ring's size must be a power of two of at least 65536 bytes, not " +
                                  std::to_string(bytes));
  return {};
}

size_t cpus() {
  return static_cast<size_t>(std::max(1, libbpf_num_possible_cpus()));
}

// The lanes take as much memory as the rings of the data: what goes one way does not go the other.
size_t lane_bytes(const CaptureConfig& config) {
  return std::max(std::bit_floor((config.request_ring_bytes + config.response_ring_bytes) / cpus()),
                  size_t{GH_LANE_BYTES_MIN});
}

Status configure(const Programs& programs, const CaptureConfig& config) {
  const SharedVariables& shared = programs.shared();
  std::ranges::copy(config.ports, shared.ports);
  *shared.port_count = static_cast<uint32_t>(config.ports.size());
  *shared.request_bytes_max = config.request_bytes_max;
  *shared.watch_client_ends = config.client_ends ? 1 : 0;
  *shared.keeps_tls = config.tls ? 1 : 0;
  *shared.wakeup_bytes = std::min({config.wakeup_bytes, config.control_ring_bytes / 4, config.request_ring_bytes / 4,
                                   config.response_ring_bytes / 4});
  const std::array<std::pair<const char*, size_t>, Backlog::kRings> rings{{
      {"gh_responses", config.response_ring_bytes},
      {"gh_requests", config.request_ring_bytes},
      {"gh_control", config.control_ring_bytes},
  }};
  for (const auto& [name, bytes] : rings)
    if (bpf_map__set_max_entries(programs.map(name), static_cast<uint32_t>(bytes)) != 0)
      return Error::system("sizing a ring");
  *shared.lane_mask = lane_bytes(config) - 1;
  bpf_map* const lanes = programs.map("gh_lanes");
  if (bpf_map__set_max_entries(lanes, static_cast<uint32_t>(cpus())) != 0 ||
      bpf_map__set_value_size(lanes, static_cast<uint32_t>(Lanes::value_bytes(lane_bytes(config)))) != 0)
    return Error::system("sizing the lanes");
  // Only the fallback planes have these.
  if (bpf_map* const copies = programs.map("gh_copies"))
    if (bpf_map__set_max_entries(copies, static_cast<uint32_t>(cpus())) != 0)
      return Error::system("sizing the buffers of the CPUs");
  return {};
}

constexpr uint32_t kJoinDone = 3;  // JOIN_DONE there

// Runs the programs' search for open sessions, see bpf/snapshot.h.
Status join_open_sockets(const Programs& programs) {
  for (const uint32_t pass : {0U, 1U, 2U}) {
    *programs.shared().join_pass = pass;
    std::string nothing;  // the program writes none; reading is what runs it
    GH_TRY(run_iterator(programs.program("join_open_sockets"), nothing).context("capture: searching open sessions"));
  }
  return {};
}

}  // namespace

struct KernelSource::State {
  void sweep_images(RecordSink& sink);
  void sweep_unclosed(uint64_t until_ns, RecordSink& sink);
  void adapt(uint64_t now_ns);
  [[nodiscard]] bool hear();
  void look_for_unheard(uint64_t now_ns, RecordSink& sink);
  [[nodiscard]] Result<std::vector<SocketClosed>> positions() const;

  Plane plane = Plane::kSocket;
  std::unique_ptr<Programs> programs;
  WatchedLister lister;
  Backlog backlog;
  UniqueFd epoll;
  Delivery delivery;
  uint64_t record_count = 0;
  uint64_t expire_at_ns = 0;
  bool found_records = false;
  WatchedList watched;     // until it was compared with what is known
  bool is_listed = false;  // it was not yet
  uint64_t list_at_ns = 0, found_at_ns = 0;
  Ladder ladder;
  bool may_degrade = true;
  std::vector<uint16_t> ports;
  std::unique_ptr<bpf_link, int (*)(bpf_link*)> on_received{nullptr, bpf_link__destroy};
  std::optional<Hearing> hearing;  // the socket plane's
  uint64_t heard_since_ns = 0, look_for_unheard_at_ns = UINT64_MAX;
  std::unique_ptr<TlsKeeper> tls;  // null: TLS is opaque
  UniqueFd cost_counting;          // the kernel counts while it is open
  uint64_t fill_percent_max = 0;
  uint64_t unclosed_seen = 0, images_seen = 0;  // the kernel side's counts as of the last sweep
  uint64_t lives_recovered = 0;
};

// Before any record of what was written since: a process that became another must not be taken for the one it was.
void KernelSource::State::sweep_images(RecordSink& sink) {
  const uint64_t count = *programs->shared().images_untold_count;
  if (count == images_seen) [[likely]]
    return;
  images_seen = count;
  const int fd = bpf_map__fd(programs->map("gh_images_untold"));
  abi::gh_image image{};
  uint64_t time_ns = 0;
  while (bpf_map_get_next_key(fd, nullptr, &image) == 0 && bpf_map_lookup_and_delete_elem(fd, &image, &time_ns) == 0)
    sink.on_process_image_lost({.process = {.pid = image.pid, .start_ns = image.start_ns}, .time_ns = time_ns});
}

// Sessions that ended before `until_ns`, of which all that the rings held has been delivered.
void KernelSource::State::sweep_unclosed(uint64_t until_ns, RecordSink& sink) {
  const uint64_t count = *programs->shared().unclosed_count;
  if (count == unclosed_seen) [[likely]]
    return;
  const int closings = bpf_map__fd(programs->map("gh_unclosed"));
  const int openings = bpf_map__fd(programs->map("gh_unopened"));
  bool is_all = true;
  std::vector<uint64_t> ids;
  uint64_t id = 0;
  for (const uint64_t* key = nullptr; bpf_map_get_next_key(closings, key, &id) == 0; key = &ids.back())
    ids.push_back(id);
  for (const uint64_t socket : ids) {
    abi::gh_closed closed{};
    abi::gh_opened opened{};
    if (bpf_map_lookup_elem(closings, &socket, &closed) != 0) continue;
    if (closed.head.time_ns > until_ns) {
      is_all = false;  // a record of it may still be in a ring
      continue;
    }
    bpf_map_delete_elem(closings, &socket);
    const bool is_unknown = bpf_map_lookup_and_delete_elem(openings, &socket, &opened) == 0;
    delivery.deliver_late(is_unknown ? std::as_bytes(std::span{&opened, 1}) : std::span<const std::byte>{},
                          std::as_bytes(std::span{&closed, 1}), sink);
    ++lives_recovered;
  }
  if (is_all) unclosed_seen = count;
}

Result<std::vector<SocketClosed>> KernelSource::State::positions() const {
  std::unordered_map<SocketId, SocketClosed> by_socket;
  const uint64_t now_ns = boottime_ns();
  std::string bytes;
  GH_TRY(run_iterator(programs->program("tell_positions"), bytes).context("capture: asking where streams stand"));
  for (size_t at = 0; at + sizeof(abi::gh_position) <= bytes.size(); at += sizeof(abi::gh_position)) {
    abi::gh_position position{};
    std::memcpy(&position, bytes.data() + at, sizeof(position));
    SocketClosed& socket = by_socket[position.socket];
    socket.socket = position.socket;
    socket.time_ns = now_ns;
    // A Unix session's streams are each told by one end; the other end has no part in it.
    for (size_t d = 0; d < kDirections; ++d) {
      socket.stream_bytes[d] = std::max(socket.stream_bytes[d], position.stream_bytes[d]);
      for (size_t r = 0; r < kLostReasons; ++r)
        socket.lost_bytes[d][r] = std::max<uint64_t>(socket.lost_bytes[d][r], position.lost_bytes[d][r]);
    }
  }
  std::vector<SocketClosed> list;
  list.reserve(by_socket.size());
  for (const auto& [id, socket] : by_socket) list.push_back(socket);
  return list;
}

bool KernelSource::State::hear() {
  on_received.reset(bpf_program__attach(programs->program("on_received")));
  heard_since_ns = boottime_ns();
  look_for_unheard_at_ns = heard_since_ns + kUnheardAfterNs;
  return on_received != nullptr;
}

// The end of a session that came before its reads were heard, and without a goodbye, no record tells.
void KernelSource::State::look_for_unheard(uint64_t now_ns, RecordSink& sink) {
  look_for_unheard_at_ns = now_ns + (now_ns - heard_since_ns);
  const auto open = positions();
  if (!open) return;
  std::vector<SocketId> alive;
  alive.reserve(open->size());
  for (const SocketClosed& socket : *open) alive.push_back(socket.socket);
  std::ranges::sort(alive);
  if (!delivery.reconcile_unix(alive, heard_since_ns, now_ns, sink)) look_for_unheard_at_ns = UINT64_MAX;
}

void KernelSource::State::adapt(uint64_t now_ns) {
  const uint64_t percent = backlog.fill_percent();
  fill_percent_max = std::max(fill_percent_max, percent);
  if (!may_degrade || !ladder.observe(static_cast<uint32_t>(percent), now_ns)) return;
  const RungLimits limits = limits_of(ladder.rung());
  *programs->shared().whole_bytes = limits.whole_bytes;
  *programs->shared().request_keep_bytes = limits.request_keep_bytes;
  *programs->shared().response_keep_bytes = limits.response_keep_bytes;
}

KernelSource::KernelSource(std::unique_ptr<State> state) : state_(std::move(state)) {}
KernelSource::~KernelSource() = default;

Result<std::unique_ptr<KernelSource>> KernelSource::open(const CaptureConfig& config) {
  GH_TRY(check_config(config));
  GH_ASSIGN(const Plane plane, choose_plane(config.plane));
  t_library_message.clear();
  libbpf_set_print(keep_message);
  auto state = std::make_unique<State>();
  state->plane = plane;
  state->programs = Programs::open(plane);
  if (!state->programs) return library_error("capture: opening the BPF object");
  const Programs& programs = *state->programs;
  GH_TRY(configure(programs, config));
  state->may_degrade = config.may_degrade;
  state->ports = config.ports;
  if (state->programs->load() != 0) return library_error("capture: loading the BPF programs");

  const std::array<std::pair<bpf_map*, const char*>, Backlog::kRings> maps{{
      {programs.map("gh_responses"), "responses"},
      {programs.map("gh_requests"), "requests"},
      {programs.map("gh_control"), "control"},
  }};
  state->epoll = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (!state->epoll.valid()) return Error::system("capture: epoll");
  std::array<Ring, Backlog::kRings> rings;
  for (size_t i = 0; i < rings.size(); ++i) {
    const int fd = bpf_map__fd(maps[i].first);
    GH_ASSIGN(rings[i], Ring::map(fd, bpf_map__max_entries(maps[i].first), maps[i].second));
    // Edge-triggered: a ring stays readable for as long as it holds anything, but a wake-up is what is awaited.
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {}};
    if (epoll_ctl(state->epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) return Error::system("capture: epoll");
  }
  GH_ASSIGN(Lanes lanes, Lanes::map(bpf_map__fd(programs.map("gh_lanes")), cpus(), lane_bytes(config)));
  state->backlog = Backlog(std::move(rings), std::move(lanes));
  if (config.read_pages && programs.shared().page_origin != nullptr)
    *programs.shared().page_origin = learn_page_origin(programs);
  if (config.tls) {
    GH_ASSIGN(state->tls, TlsKeeper::open(*config.tls, bpf_map__fd(programs.map("gh_tls_handshakes")),
                                          bpf_map__fd(programs.map("gh_tls_claims"))));
  }
  if (state->programs->attach() != 0) return library_error("capture: attaching the BPF programs");
  if (programs.shared().hears != nullptr) {
    state->hearing.emplace(
        programs.shared().hears, [raw = state.get()] { return raw->hear(); },
        [raw = state.get()] { raw->on_received.reset(); });
    if (config.hear_at_once) state->hearing->turn(1, boottime_ns());
  }
  GH_ASSIGN(state->lister, WatchedLister::open(programs));
  if (config.join_open_sockets) GH_TRY(join_open_sockets(programs));
  *programs.shared().join_pass = kJoinDone;
  return std::unique_ptr<KernelSource>(new KernelSource(std::move(state)));
}

size_t KernelSource::poll(RecordSink& sink, size_t records_max) {
  State& s = *state_;
  const uint64_t started_ns = boottime_ns();
  s.adapt(started_ns);
  if (!s.is_listed && started_ns >= s.list_at_ns) {
    s.is_listed = static_cast<bool>(s.lister.list(s.delivery.networks(), s.watched));
    const bool is_quiet = s.found_at_ns + kQuietNs < started_ns;
    const uint64_t rest_ns = (boottime_ns() - started_ns) * (is_quiet ? kReconcileRestQuiet : kReconcileRest);
    s.list_at_ns = started_ns + std::max(kReconcileEveryNs, rest_ns);
  }
  // After the list: what that does not show may have been told before it was made. Before the images: what is read must
  // not be younger than they are.
  const uint64_t before_ns = boottime_ns();
  s.sweep_images(sink);
  if (s.tls) s.tls->read(sink);
  const size_t count = s.backlog.read(s.delivery, sink, records_max, before_ns);
  const bool drained = s.backlog.is_drained();
  s.record_count += count;
  if (drained) s.sweep_unclosed(before_ns, sink);
  if (s.hearing) s.hearing->turn(s.delivery.unix_sessions(), started_ns);
  if (drained && started_ns >= s.look_for_unheard_at_ns) s.look_for_unheard(before_ns, sink);
  if (s.is_listed && drained) {
    s.delivery.reconcile(s.watched, sink);
    s.is_listed = false;
  }
  if (drained && started_ns >= s.expire_at_ns) {
    s.delivery.expire(started_ns, sink);
    s.expire_at_ns = started_ns + kExpireEveryNs;
  }
  if (count > 0) {
    s.found_records = true;
    s.found_at_ns = started_ns;
  }
  return count;
}

Rung KernelSource::rung() const {
  return state_->ladder.rung();
}

uint64_t KernelSource::sessions_untold() const {
  return *state_->programs->shared().sessions_untold;
}

GateMaps KernelSource::begin_gate() {
  const Programs& programs = *state_->programs;
  *programs.shared().gate_pid = static_cast<uint32_t>(::getpid());
  return {.steered = bpf_map__fd(programs.map("gh_gate_steered")),
          .openers = bpf_map__fd(programs.map("gh_gate_openers")),
          .legs = bpf_map__fd(programs.map("gh_gate_legs")),
          .accepted = bpf_map__fd(programs.map("gh_gate_accepted")),
          .led = bpf_map__fd(programs.map("gh_gate_led"))};
}

void KernelSource::end_gate() {
  *state_->programs->shared().gate_pid = 0;
}

TlsKeeper* KernelSource::tls() const {
  return state_->tls.get();
}

void KernelSource::detach() {
  state_->hearing.reset();
  state_->on_received.reset();
  state_->programs->detach();
}

Result<std::vector<SocketClosed>> KernelSource::positions() {
  return state_->positions();
}

Result<std::vector<HostSocket>> KernelSource::list_sockets() {
  return capture::list_sockets(*state_->programs, state_->ports);
}

bool KernelSource::count_program_costs(bool on) {
  state_->cost_counting = on ? UniqueFd(bpf_enable_stats(BPF_STATS_RUN_TIME)) : UniqueFd();
  return !on || state_->cost_counting.valid();
}

std::vector<ProgramCost> KernelSource::program_costs() const {
  std::vector<ProgramCost> costs;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, state_->programs->object()) {
    bpf_prog_info info{};
    uint32_t bytes = sizeof(info);
    if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &bytes) == 0)
      costs.push_back({.name = bpf_program__name(program), .run_ns = info.run_time_ns, .runs = info.run_cnt});
  }
  return costs;
}

Status KernelSource::wake_on(int fd) {
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {}};
  if (epoll_ctl(state_->epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) return Error::system("capture: epoll");
  return {};
}

bool KernelSource::wait(uint32_t pause_ms, uint32_t idle_ms) {
  State& s = *state_;
  const bool is_idle = !std::exchange(s.found_records, false) && idle_ms > pause_ms;
  volatile uint32_t& sleeps = *s.programs->shared().reader_sleeps;
  if (is_idle) {
    sleeps = 1;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!s.backlog.empty()) idle_ms = 0;
  }
  epoll_event event{};
  const bool is_woken = epoll_wait(s.epoll.get(), &event, 1, static_cast<int>(is_idle ? idle_ms : pause_ms)) > 0;
  if (is_idle) sleeps = 0;
  return is_woken;
}

uint64_t KernelSource::told_to_ns() const {
  return std::min(state_->backlog.read_to_ns(), state_->delivery.unsettled_ns(boottime_ns()));
}

Plane KernelSource::plane() const {
  return state_->plane;
}

bool KernelSource::reads_pages() const {
  const U64* const origin = state_->programs->shared().page_origin;
  return origin != nullptr && *origin != 0;
}

CaptureCounters KernelSource::counters() const {
  const State& s = *state_;
  std::array<uint64_t, abi::GH_COUNTERS> totals{};
  std::vector<uint64_t> per_cpu(static_cast<size_t>(std::max(1, libbpf_num_possible_cpus())));
  const int fd = bpf_map__fd(s.programs->map("gh_counters"));
  for (uint32_t i = 0; i < abi::GH_COUNTERS; ++i) {
    if (bpf_map_lookup_elem(fd, &i, per_cpu.data()) != 0) continue;
    for (const uint64_t value : per_cpu) totals[i] += value;
  }
  CaptureCounters c{.records = s.record_count,
                    .control_ring_full = totals[abi::GH_COUNT_CONTROL_RING_FULL],
                    .request_ring_full = totals[abi::GH_COUNT_REQUEST_RING_FULL],
                    .response_ring_full = totals[abi::GH_COUNT_RESPONSE_RING_FULL],
                    .storage_failed = totals[abi::GH_COUNT_STORAGE_FAILED],
                    .faults = totals[abi::GH_COUNT_FAULTS],
                    .unsynced = totals[abi::GH_COUNT_UNSYNCED],
                    .sockets_watched = totals[abi::GH_COUNT_SOCKETS_WATCHED],
                    .sockets_forgotten = totals[abi::GH_COUNT_SOCKETS_FORGOTTEN],
                    .other_ends = totals[abi::GH_COUNT_OTHER_END],
                    .malformed = s.delivery.counters().malformed + s.backlog.malformed(),
                    .held = s.delivery.counters().held,
                    .closings_missed = s.delivery.counters().closings_missed,
                    .lives_recovered = s.lives_recovered,
                    .sessions_untold = sessions_untold(),
                    .ladder_steps_up = s.ladder.steps_up(),
                    .ring_fill_percent = s.backlog.fill_percent(),
                    .ring_fill_percent_max = s.fill_percent_max};
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, s.programs->object()) {
    bpf_prog_info info{};
    uint32_t bytes = sizeof(info);
    if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &bytes) == 0)
      c.programs_missed += info.recursion_misses;
  }
  return c;
}

}  // namespace gatehouse::capture
