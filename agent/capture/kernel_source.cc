// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/kernel_source.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdarg>
#include <cstdio>
#include <string>
#include <utility>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "agent/capture/delivery.h"
#include "agent/capture/page_lessons.h"
#include "agent/capture/probe.h"
#include "agent/capture/ring.h"
#include "bpf/gatehouse_abi.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "gatehouse.skel.h"

namespace gatehouse::capture {
namespace {

// Waits: short enough that an event is live, long enough that an idle agent costs nothing. At 2000 statements a
// second 5 ms cost 0.4 % of a core.
constexpr uint32_t kWaitMsMin = 5;
constexpr uint32_t kWaitMsMax = 50;
constexpr size_t kRingBytesMin = 64U << 10;
// How often to look for connections that went unnoticed. Listing a thousand takes well under a millisecond.
constexpr uint64_t kReconcileEveryNs = 1'000'000'000;

// Which ring is read first matters: see take_snapshots().
enum RingIndex : size_t { kResponses, kRequests, kControl, kRings };

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

struct SkeletonDeleter {
  void operator()(gatehouse_bpf* skeleton) const { gatehouse_bpf::destroy(skeleton); }
};
using Skeleton = std::unique_ptr<gatehouse_bpf, SkeletonDeleter>;

struct LinkDeleter {
  void operator()(bpf_link* link) const { bpf_link__destroy(link); }
};
using Link = std::unique_ptr<bpf_link, LinkDeleter>;

Status check_config(const CaptureConfig& config) {
  if (config.ports.size() > GH_PORTS_MAX)
    return Error::configuration("capture: at most " + std::to_string(GH_PORTS_MAX) + " ports can be watched");
  for (const size_t bytes : {config.control_ring_bytes, config.request_ring_bytes, config.response_ring_bytes})
    if (!std::has_single_bit(bytes) || bytes < kRingBytesMin)
      return Error::configuration("capture: a ring's size must be a power of two of at least 65536 bytes, not " +
                                  std::to_string(bytes));
  return {};
}

Status configure(gatehouse_bpf& skeleton, const CaptureConfig& config) {
  std::copy(config.ports.begin(), config.ports.end(), std::begin(skeleton.rodata->gh_ports));
  skeleton.rodata->gh_port_count = static_cast<uint32_t>(config.ports.size());
  skeleton.rodata->gh_request_bytes_max = config.request_bytes_max;
  skeleton.rodata->gh_watch_client_ends = config.client_ends ? 1 : 0;
  skeleton.rodata->gh_wakeup_bytes = config.wakeup_bytes;
  const std::array<std::pair<bpf_map*, size_t>, kRings> rings{{
      {skeleton.maps.gh_responses, config.response_ring_bytes},
      {skeleton.maps.gh_requests, config.request_ring_bytes},
      {skeleton.maps.gh_control, config.control_ring_bytes},
  }};
  for (const auto& [map, bytes] : rings)
    if (bpf_map__set_max_entries(map, static_cast<uint32_t>(bytes)) != 0) return Error::system("sizing a ring");
  return {};
}

// Runs the programs' search for open sessions, see bpf/snapshot.h.
Status join_open_sockets(gatehouse_bpf& skeleton) {
  for (const uint32_t pass : {0U, 1U, 2U}) {
    skeleton.bss->gh_join_pass = pass;
    bpf_link* link = bpf_program__attach_iter(skeleton.progs.join_open_sockets, nullptr);
    if (link == nullptr) return library_error("capture: searching open sessions");
    const UniqueFd run(bpf_iter_create(bpf_link__fd(link)));
    bpf_link__destroy(link);
    if (!run.valid()) return library_error("capture: searching open sessions");
    std::array<char, 64> nothing{};  // the program writes no text; reading is what runs it
    while (read(run.get(), nothing.data(), nothing.size()) > 0) {
    }
  }
  return {};
}

Result<Link> attach_lister(gatehouse_bpf& skeleton) {
  Link link(bpf_program__attach_iter(skeleton.progs.list_watched, nullptr));
  if (!link) return library_error("capture: listing what is watched");
  return link;
}

}  // namespace

struct KernelSource::State {
  Status list_watched();

  Skeleton skeleton;
  Link lister;
  std::array<Ring, kRings> rings;
  UniqueFd epoll;
  Delivery delivery;
  uint64_t record_count = 0;
  uint32_t wait_ms = kWaitMsMin;
  bool found_records = false;
  std::vector<SocketId> alive;  // as listed at `listed_ns`, until it was compared with what is known
  uint64_t listed_ns = 0;
  bool is_listed = false;
};

// Which connections the kernel knows, into `alive`, sorted.
Status KernelSource::State::list_watched() {
  listed_ns = boottime_ns();
  alive.clear();
  const UniqueFd run(bpf_iter_create(bpf_link__fd(lister.get())));
  if (!run.valid()) return Error::system("capture: listing what is watched");
  std::array<SocketId, 512> ids{};
  ssize_t bytes = 0;
  while ((bytes = read(run.get(), ids.data(), sizeof(ids))) > 0) {
    const size_t count = static_cast<size_t>(bytes) / sizeof(SocketId);
    alive.insert(alive.end(), ids.begin(), ids.begin() + static_cast<ptrdiff_t>(count));
  }
  if (bytes < 0) return Error::system("capture: listing what is watched");
  std::sort(alive.begin(), alive.end());
  return {};
}

KernelSource::KernelSource(std::unique_ptr<State> state) : state_(std::move(state)) {}
KernelSource::~KernelSource() = default;

Result<std::unique_ptr<KernelSource>> KernelSource::open(const CaptureConfig& config) {
  GH_TRY(check_config(config));
  GH_TRY(check_requirements());
  t_library_message.clear();
  libbpf_set_print(keep_message);
  auto state = std::make_unique<State>();
  state->skeleton.reset(gatehouse_bpf::open(nullptr));
  if (!state->skeleton) return library_error("capture: opening the BPF object");
  GH_TRY(configure(*state->skeleton, config));
  // They are not attached to an event but run, by join_open_sockets() and list_watched().
  bpf_program__set_autoattach(state->skeleton->progs.join_open_sockets, false);
  bpf_program__set_autoattach(state->skeleton->progs.list_watched, false);
  bpf_program__set_autoattach(state->skeleton->progs.learn_pages, false);
  if (gatehouse_bpf::load(state->skeleton.get()) != 0) return library_error("capture: loading the BPF programs");

  const std::array<std::pair<bpf_map*, const char*>, kRings> maps{{
      {state->skeleton->maps.gh_responses, "responses"},
      {state->skeleton->maps.gh_requests, "requests"},
      {state->skeleton->maps.gh_control, "control"},
  }};
  state->epoll = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (!state->epoll.valid()) return Error::system("capture: epoll");
  for (size_t i = 0; i < kRings; ++i) {
    const int fd = bpf_map__fd(maps[i].first);
    GH_ASSIGN(state->rings[i], Ring::map(fd, bpf_map__max_entries(maps[i].first), maps[i].second));
    // Edge-triggered: a ring stays readable for as long as it holds anything, but a wake-up is what is awaited.
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {}};
    if (epoll_ctl(state->epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) return Error::system("capture: epoll");
  }
  if (config.read_pages) state->skeleton->bss->gh_page_origin = learn_page_origin(*state->skeleton);
  if (gatehouse_bpf::attach(state->skeleton.get()) != 0) return library_error("capture: attaching the BPF programs");
  GH_ASSIGN(state->lister, attach_lister(*state->skeleton));
  if (config.join_open_sockets) GH_TRY(join_open_sockets(*state->skeleton));
  return std::unique_ptr<KernelSource>(new KernelSource(std::move(state)));
}

size_t KernelSource::poll(RecordSink& sink, size_t records_max) {
  State& s = *state_;
  if (const uint64_t now_ns = boottime_ns(); !s.is_listed && now_ns >= s.listed_ns + kReconcileEveryNs)
    s.is_listed = static_cast<bool>(s.list_watched());
  // An answer is written after its request, and both after the record of their connection: with the effects'
  // snapshots taken first, no effect is read without its cause.
  for (Ring& ring : s.rings) ring.take_snapshot();
  size_t count = 0;
  bool drained = false;  // of everything from before the snapshots
  while (count < records_max) {
    Ring* next = nullptr;
    std::span<const std::byte> next_record;
    uint64_t next_ns = UINT64_MAX;
    bool busy = false;
    for (size_t i = kRings; i-- > 0;) {
      std::span<const std::byte> record;
      const Ring::Front front = s.rings[i].front(record);
      if (front == Ring::Front::kBusy) busy = true;
      if (front != Ring::Front::kRecord) continue;
      const uint64_t time_ns = reinterpret_cast<const abi::gh_head*>(record.data())->time_ns;
      if (time_ns >= next_ns) continue;
      next = &s.rings[i];
      next_record = record;
      next_ns = time_ns;
    }
    // The unwritten record may be older than the others'. It is a matter of nanoseconds.
    if (busy) break;
    if (next == nullptr) {
      drained = true;
      break;
    }
    s.delivery.deliver(next_record, sink);
    next->pop();
    ++count;
  }
  for (Ring& ring : s.rings) ring.release();
  s.record_count += count;
  if (s.is_listed && drained) {
    s.delivery.reconcile(s.alive, s.listed_ns, sink);
    s.is_listed = false;
  }
  if (count > 0)
    s.found_records = true;
  else
    s.delivery.expire(boottime_ns(), sink);
  return count;
}

bool KernelSource::wait(uint32_t timeout_ms) {
  State& s = *state_;
  s.wait_ms = s.found_records ? kWaitMsMin : std::min(s.wait_ms * 2, kWaitMsMax);
  s.found_records = false;
  epoll_event event{};
  return epoll_wait(s.epoll.get(), &event, 1, static_cast<int>(std::min(s.wait_ms, timeout_ms))) > 0;
}

bool KernelSource::reads_pages() const {
  return state_->skeleton->bss->gh_page_origin != 0;
}

CaptureCounters KernelSource::counters() const {
  const State& s = *state_;
  std::array<uint64_t, abi::GH_COUNTERS> totals{};
  std::vector<uint64_t> per_cpu(static_cast<size_t>(std::max(1, libbpf_num_possible_cpus())));
  const int fd = bpf_map__fd(s.skeleton->maps.gh_counters);
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
                    .malformed = s.delivery.counters().malformed,
                    .held = s.delivery.counters().held,
                    .closings_missed = s.delivery.counters().closings_missed};
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, s.skeleton->obj) {
    bpf_prog_info info{};
    uint32_t bytes = sizeof(info);
    if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &bytes) == 0)
      c.programs_missed += info.recursion_misses;
  }
  return c;
}

}  // namespace gatehouse::capture
