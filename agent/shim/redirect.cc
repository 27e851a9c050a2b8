// SPDX-License-Identifier: Apache-2.0
#include "agent/shim/redirect.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <utility>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "agent/shim/places.h"
#include "bpf/gate_abi.h"
#include "common/clock.h"
#include "common/file.h"
#include "redirect.skel.h"

namespace gatehouse::shim {
namespace {

// Of linux/bpf.h from 6.7 on.
constexpr auto kConnectUnix = static_cast<bpf_attach_type>(49);
constexpr auto kGetpeernameUnix = static_cast<bpf_attach_type>(52);
constexpr const char* kUnixFunction = "bpf_sock_addr_set_sun_path";

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

using Link = std::unique_ptr<bpf_link, int (*)(bpf_link*)>;

int say_nothing(libbpf_print_level /*level*/, const char* /*format*/, va_list /*arguments*/) {
  return 0;
}

// What the library would print is in our error.
class Quiet {
 public:
  Quiet() : before_(libbpf_set_print(say_nothing)) {}
  ~Quiet() { libbpf_set_print(before_); }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  libbpf_print_fn_t before_;
};

bool knows_unix() {
  const std::unique_ptr<btf, void (*)(btf*)> types(btf__load_vmlinux_btf(), btf__free);
  return types && btf__find_by_name_kind(types.get(), kUnixFunction, BTF_KIND_FUNC) > 0;
}

// Where cgroup v2 is mounted: alone, or beside v1.
Result<UniqueFd> open_root_cgroup() {
  constexpr size_t kMountsBytesMax = 1U << 20;
  GH_ASSIGN(const std::string mounts, read_file("/proc/self/mounts", kMountsBytesMax));
  const std::string path = cgroup2_mount(mounts);
  if (path.empty()) return Error("no cgroup v2 is mounted (mount -t cgroup2 none /sys/fs/cgroup)");
  UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return Error::system(path);
  return folder;
}

struct Network {
  UniqueFd file;
  uint32_t inode = 0;
  uint64_t cookie = 0;
};

Result<Network> own_network() {
  Network network{.file = UniqueFd(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC))};
  struct stat status{};
  if (!network.file.valid() || ::fstat(network.file.get(), &status) != 0) return Error::system("/proc/self/ns/net");
  network.inode = static_cast<uint32_t>(status.st_ino);
  const UniqueFd any(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  socklen_t bytes = sizeof(network.cookie);
  if (::getsockopt(any.get(), SOL_SOCKET, SO_NETNS_COOKIE, &network.cookie, &bytes) != 0)
    return Error::system("asking for the network namespace's cookie (needs Linux 5.14)");
  return network;
}

// One program where it is attached, and where it is pinned if it is.
struct Hook {
  bpf_program* program = nullptr;
  Link link{nullptr, bpf_link__destroy};
  std::string pin_path;  // empty: it is never pinned
  bool is_pinned = false;
};

// The link that an agent before this one has left, with our program in it; without a moment in which there is none.
bool take_over(Hook& hook, uint32_t network_inode) {
  Link link(bpf_link__open(hook.pin_path.c_str()), bpf_link__destroy);
  if (!link) return false;
  bpf_link_info info{};
  uint32_t bytes = sizeof(info);
  if (bpf_obj_get_info_by_fd(bpf_link__fd(link.get()), &info, &bytes) != 0) return false;
  if (info.type == BPF_LINK_TYPE_NETNS && info.netns.netns_ino != network_inode) return false;
  if (bpf_link__update_program(link.get(), hook.program) != 0) return false;
  hook.link = std::move(link);
  hook.is_pinned = true;
  return true;
}

bool is_pinned(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

std::string tcp_pin(const std::string& folder) {
  return folder + "/lead_tcp";
}
std::string unix_pin(const std::string& folder) {
  return folder + "/lead_unix";
}
std::string far_pin(const std::string& folder, bool is_v4) {
  return folder + (is_v4 ? "/lead_far4" : "/lead_far6");
}

// The programs that lead clients of a place.
enum class Leader : uint8_t { kTcp, kUnix, kFar };

Leader leader_of(const Place& place) {
  if (place.transport == Transport::kUnix) return Leader::kUnix;
  return place.is_far ? Leader::kFar : Leader::kTcp;
}

struct FarListener {
  uint64_t netns_cookie = 0;
  uint32_t port = 0;
};

Result<FarListener> describe_listener(int listener) {
  FarListener found;
  socklen_t bytes = sizeof(found.netns_cookie);
  if (::getsockopt(listener, SOL_SOCKET, SO_NETNS_COOKIE, &found.netns_cookie, &bytes) != 0)
    return Error::system("redirect: asking for a listener's network namespace");
  sockaddr_in6 local{};
  bytes = sizeof(local);
  if (::getsockname(listener, reinterpret_cast<sockaddr*>(&local), &bytes) != 0)
    return Error::system("redirect: asking for a listener's port");
  found.port = ntohs(local.sin6_port);  // where IPv4's stands, too
  return found;
}

abi::gh_place_key key_of(const Place& place) {
  abi::gh_place_key key{.address = {}, .port = place.server.port, .is_v4 = place.transport == Transport::kTcp4};
  const size_t bytes = place.transport == Transport::kTcp4 ? 4 : 16;
  std::copy_n(place.server.address.begin(), bytes, key.address);
  return key;
}

// The address and port that a socket is bound to.
Result<abi::gh_leg_key> leg_key_of(int socket) {
  sockaddr_storage local{};
  socklen_t bytes = sizeof(local);
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&local), &bytes) != 0) return Error::system("getsockname");
  abi::gh_leg_key key{};
  if (local.ss_family == AF_INET) {
    const auto& address = reinterpret_cast<const sockaddr_in&>(local);
    std::memcpy(key.address, &address.sin_addr, 4);
    key.port = ntohs(address.sin_port);
  } else if (local.ss_family == AF_INET6) {
    const auto& address = reinterpret_cast<const sockaddr_in6&>(local);
    const bool is_mapped = IN6_IS_ADDR_V4MAPPED(&address.sin6_addr);
    std::memcpy(key.address, address.sin6_addr.s6_addr + (is_mapped ? 12 : 0), is_mapped ? 4 : 16);
    key.port = ntohs(address.sin6_port);
  }
  const bool is_any = std::ranges::all_of(key.address, [](uint8_t byte) { return byte == 0; });
  if (key.port == 0 || is_any) return Error("the socket is not bound to an address and port");
  return key;
}

struct SkeletonDeleter {
  void operator()(redirect_bpf* skeleton) const { redirect_bpf::destroy(skeleton); }
};

}  // namespace

struct Redirect::State {
  Status load(const Options& options);
  Status share(const GateMaps& maps) const;
  Status attach();
  Status attach_to_cgroup(Hook& hook, int cgroup) const;
  Status keep_pins();
  Status enter(size_t index);
  Status enter_unix(size_t index, const std::string& shim_path);
  Status mark_listener(int listener) const;
  [[nodiscard]] Status check(size_t index, bool is_unix) const;
  [[nodiscard]] bool has_closed(Leader leader) const;
  [[nodiscard]] bool has(Leader leader) const {
    return std::ranges::any_of(places, [&](const Place& place) { return leader_of(place) == leader; });
  }

  std::vector<Place> places;
  std::vector<bool> is_led;
  std::vector<std::vector<abi::gh_path>> names;  // of a Unix place and its shim, as they were entered
  std::vector<std::optional<abi::gh_path_in>> names_in;
  std::unique_ptr<redirect_bpf, SkeletonDeleter> skeleton;
  Network network;
  bool has_unix = false;  // and the kernel can lead its clients
  bool has_far = false;
  Hook lead_tcp, lead_unix, lead_far4, lead_far6, peer_tcp4, peer_tcp6, peer_unix;
  uint64_t run = 0;
};

Status Redirect::State::share(const GateMaps& maps) const {
  const std::array<std::pair<bpf_map*, int>, 5> shared{{{skeleton->maps.gh_gate_steered, maps.steered},
                                                        {skeleton->maps.gh_gate_openers, maps.openers},
                                                        {skeleton->maps.gh_gate_legs, maps.legs},
                                                        {skeleton->maps.gh_gate_accepted, maps.accepted},
                                                        {skeleton->maps.gh_gate_led, maps.led}}};
  for (const auto& [map, fd] : shared)
    if (fd >= 0 && bpf_map__reuse_fd(map, fd) != 0) return Error::system("sharing a map with the capture plane");
  return {};
}

Status Redirect::State::load(const Options& options) {
  GH_ASSIGN(network, own_network());
  skeleton.reset(redirect_bpf::open(nullptr));
  if (!skeleton) return Error::system("opening the BPF object");
  run = boottime_ns();
  skeleton->rodata->gh_run = run;
  skeleton->rodata->gh_beat_ns_max = options.heartbeat_ns_max;
  skeleton->rodata->gh_netns = network.inode;
  skeleton->rodata->gh_netns_cookie = network.cookie;
  const auto& programs = skeleton->progs;
  has_unix = knows_unix() && has(Leader::kUnix);
  has_far = has(Leader::kFar);
  for (bpf_program* const program : {programs.lead_unix, programs.peer_unix})
    bpf_program__set_autoload(program, has_unix);
  for (bpf_program* const program : {programs.lead_far4, programs.lead_far6})
    bpf_program__set_autoload(program, has_far);
  bpf_program__set_expected_attach_type(programs.lead_unix, kConnectUnix);
  bpf_program__set_expected_attach_type(programs.peer_unix, kGetpeernameUnix);
  GH_TRY(share(options.maps));
  if (redirect_bpf::load(skeleton.get()) != 0) return Error::system("loading the BPF programs");
  bpf_test_run_opts run_options{};
  run_options.sz = sizeof(run_options);
  if (bpf_prog_test_run_opts(bpf_program__fd(programs.know_self), &run_options) != 0)
    return Error::system("asking the kernel who this is");
  lead_tcp.program = programs.lead_tcp;
  lead_tcp.pin_path = tcp_pin(options.pin_folder);
  lead_unix.program = programs.lead_unix;
  lead_unix.pin_path = unix_pin(options.pin_folder);
  lead_far4.program = programs.lead_far4;
  lead_far4.pin_path = far_pin(options.pin_folder, true);
  lead_far6.program = programs.lead_far6;
  lead_far6.pin_path = far_pin(options.pin_folder, false);
  peer_tcp4.program = programs.peer_tcp4;
  peer_tcp6.program = programs.peer_tcp6;
  peer_unix.program = programs.peer_unix;
  return {};
}

Status Redirect::State::attach_to_cgroup(Hook& hook, int cgroup) const {
  hook.link = Link(bpf_program__attach_cgroup(hook.program, cgroup), bpf_link__destroy);
  if (!hook.link) return Error::system(std::string("attaching ") + bpf_program__name(hook.program));
  return {};
}

Status Redirect::State::attach() {
  GH_ASSIGN(const UniqueFd cgroup, open_root_cgroup());
  // Before they lead anybody: the far end of what is led here must be told right.
  GH_TRY(attach_to_cgroup(peer_tcp4, cgroup.get()));
  GH_TRY(attach_to_cgroup(peer_tcp6, cgroup.get()));
  if (has_unix) GH_TRY(attach_to_cgroup(peer_unix, cgroup.get()));
  if (!take_over(lead_tcp, network.inode)) {
    ::unlink(lead_tcp.pin_path.c_str());
    lead_tcp.link = Link(bpf_program__attach_netns(lead_tcp.program, network.file.get()), bpf_link__destroy);
    if (!lead_tcp.link) return Error::system("attaching lead_tcp to the network namespace");
  }
  for (const auto& [hook, is_wanted] :
       {std::pair(&lead_unix, has_unix), {&lead_far4, has_far}, {&lead_far6, has_far}}) {
    if (is_wanted && take_over(*hook, network.inode)) continue;
    ::unlink(hook->pin_path.c_str());
    if (is_wanted) GH_TRY(attach_to_cgroup(*hook, cgroup.get()));
  }
  return {};
}

bool Redirect::State::has_closed(Leader leader) const {
  for (size_t i = 0; i < places.size(); ++i)
    if (is_led[i] && places[i].on_failure == OnFailure::kClosed && leader_of(places[i]) == leader) return true;
  return false;
}

// What leads clients of a closed place outlives this process; what leads others does not.
Status Redirect::State::keep_pins() {
  for (const auto& [hook, leader] : {std::pair(&lead_tcp, Leader::kTcp),
                                     {&lead_unix, Leader::kUnix},
                                     {&lead_far4, Leader::kFar},
                                     {&lead_far6, Leader::kFar}}) {
    const bool wanted = has_closed(leader);
    if (wanted == hook->is_pinned) continue;
    const int error =
        wanted ? bpf_link__pin(hook->link.get(), hook->pin_path.c_str()) : bpf_link__unpin(hook->link.get());
    if (error != 0)
      return Error::system((wanted ? "pinning " : "unpinning ") + hook->pin_path +
                               " (mount -t bpf bpf /sys/fs/bpf, if nothing is mounted there)",
                           -error);
    hook->is_pinned = wanted;
  }
  return {};
}

Status Redirect::State::check(size_t index, bool is_unix) const {
  if (index >= places.size() || (places[index].transport == Transport::kUnix) != is_unix)
    return Error("redirect: no such place");
  if (is_unix && !has_unix)
    return Error("clients of Unix sockets cannot be led to the shim by this kernel (needs Linux 6.7)");
  return {};
}

Status Redirect::State::enter(size_t index) {
  const abi::gh_place_key key = key_of(places[index]);
  const abi::gh_place place{.index = static_cast<uint32_t>(index),
                            .is_closed = places[index].on_failure == OnFailure::kClosed};
  bpf_map* const map = places[index].is_far ? skeleton->maps.gh_far_places : skeleton->maps.gh_places;
  if (bpf_map_update_elem(bpf_map__fd(map), &key, &place, BPF_ANY) != 0) return Error::system("gating a place");
  is_led[index] = true;
  return {};
}

// `shim_path`: empty where nobody listens yet.
Status Redirect::State::enter_unix(size_t index, const std::string& shim_path) {
  const auto number = static_cast<uint32_t>(index);
  const std::vector<abi::gh_path> server_names = path_names(places[index].path);
  abi::gh_path_pair pair{.server = {}, .shim = {}, .is_closed = places[index].on_failure == OnFailure::kClosed};
  if (server_names.empty() || (!shim_path.empty() && !to_path(shim_path, pair.shim)))
    return Error("redirect: not the path of a Unix socket");
  pair.server = server_names.front();
  if (bpf_map_update_elem(bpf_map__fd(skeleton->maps.gh_path_pairs), &number, &pair, BPF_ANY) != 0)
    return Error::system("gating a path");
  const int paths = bpf_map__fd(skeleton->maps.gh_paths);
  const auto name = [&](const abi::gh_path& path, uint32_t kind) -> Status {
    const abi::gh_path_entry entry{.index = number, .kind = kind};
    if (bpf_map_update_elem(paths, &path, &entry, BPF_ANY) != 0) return Error::system("gating a path");
    names[index].push_back(path);
    return {};
  };
  if (!shim_path.empty()) GH_TRY(name(pair.shim, abi::GH_PATH_SHIM));
  for (const abi::gh_path& path : server_names) GH_TRY(name(path, abi::GH_PATH_SERVER));
  if (abi::gh_path_in inside{}; to_path_in(places[index].path, inside)) {
    if (bpf_map_update_elem(bpf_map__fd(skeleton->maps.gh_paths_in), &inside, &number, BPF_ANY) != 0)
      return Error::system("gating a path");
    names_in[index] = inside;
  }
  is_led[index] = true;
  return {};
}

Redirect::Redirect(std::unique_ptr<State> state) : state_(std::move(state)) {}
Redirect::~Redirect() = default;

Result<std::unique_ptr<Redirect>> Redirect::open(const Options& options) {
  if (options.places.size() > GH_PLACES_MAX)
    return Error::configuration("redirect: at most " + std::to_string(GH_PLACES_MAX) + " places can be gated");
  const Quiet quiet;
  auto state = std::make_unique<State>();
  state->places = options.places;
  state->is_led.resize(options.places.size());
  state->names.resize(options.places.size());
  state->names_in.resize(options.places.size());
  GH_TRY(state->load(options).context("redirect"));
  // Refused they were, and refused they are until somebody leads them.
  for (size_t i = 0; i < options.places.size(); ++i) {
    if (options.places[i].on_failure != OnFailure::kClosed) continue;
    if (options.places[i].transport != Transport::kUnix) {
      const Hook& leader = options.places[i].is_far ? state->lead_far4 : state->lead_tcp;
      if (is_pinned(leader.pin_path)) GH_TRY(state->enter(i));
    } else if (state->has_unix && is_pinned(state->lead_unix.pin_path)) {
      GH_TRY(state->enter_unix(i, ""));
    }
  }
  GH_TRY(state->attach().context("redirect"));
  GH_TRY(state->keep_pins().context("redirect"));
  return std::unique_ptr<Redirect>(new Redirect(std::move(state)));
}

void Redirect::clear_pins(const std::string& pin_folder) {
  ::unlink(tcp_pin(pin_folder).c_str());
  ::unlink(unix_pin(pin_folder).c_str());
  for (const bool is_v4 : {true, false}) ::unlink(far_pin(pin_folder, is_v4).c_str());
}

Status Redirect::State::mark_listener(int listener) const {
  int listens = 0;
  socklen_t bytes = sizeof(listens);
  if (::getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes) != 0 || listens == 0)
    return Error("redirect: not a socket that listens");
  const abi::gh_accepted nobody{};
  if (bpf_map_update_elem(bpf_map__fd(skeleton->maps.gh_gate_accepted), &listener, &nobody, BPF_ANY) != 0)
    return Error::system("redirect: marking the shim's listener");
  return {};
}

Status Redirect::lead(size_t index, int listener) {
  State& s = *state_;
  GH_TRY(s.check(index, false));
  if (s.places[index].is_far) {
    GH_TRY(lead_there(index, listener));
  } else {
    GH_TRY(s.mark_listener(listener));
    const auto number = static_cast<uint32_t>(index);
    const auto value = static_cast<uint64_t>(listener);
    if (bpf_map_update_elem(bpf_map__fd(s.skeleton->maps.gh_listeners), &number, &value, BPF_ANY) != 0)
      return Error::system("redirect: entering the shim's listener");
  }
  GH_TRY(s.enter(index).context("redirect"));
  return s.keep_pins().context("redirect");
}

Status Redirect::lead_there(size_t index, int listener) {
  State& s = *state_;
  GH_TRY(s.check(index, false));
  GH_TRY(s.mark_listener(listener));
  GH_ASSIGN(const FarListener found, describe_listener(listener));
  const abi::gh_far_key key{.netns_cookie = found.netns_cookie, .index = static_cast<uint32_t>(index), .unused = 0};
  if (bpf_map_update_elem(bpf_map__fd(s.skeleton->maps.gh_far_listeners), &key, &found.port, BPF_ANY) != 0)
    return Error::system("redirect: entering the shim's listener");
  return {};
}

std::vector<uint32_t> Redirect::take_missed() {
  const int map = bpf_map__fd(state_->skeleton->maps.gh_far_missed);
  std::vector<uint32_t> pids;
  uint64_t cookie = 0;
  while (bpf_map_get_next_key(map, nullptr, &cookie) == 0) {
    uint32_t pid = 0;
    if (bpf_map_lookup_elem(map, &cookie, &pid) == 0) pids.push_back(pid);
    if (bpf_map_delete_elem(map, &cookie) != 0) break;
  }
  return pids;
}

Status Redirect::lead_unix(size_t index, const std::string& shim_path) {
  GH_TRY(state_->check(index, true));
  GH_TRY(state_->enter_unix(index, shim_path).context("redirect"));
  return state_->keep_pins().context("redirect");
}

Status Redirect::let_go(size_t index) {
  State& s = *state_;
  if (index >= s.places.size()) return Error("redirect: no such place");
  if (s.places[index].transport == Transport::kUnix) {
    for (const abi::gh_path& path : s.names[index]) bpf_map_delete_elem(bpf_map__fd(s.skeleton->maps.gh_paths), &path);
    s.names[index].clear();
    if (const auto inside = std::exchange(s.names_in[index], std::nullopt))
      bpf_map_delete_elem(bpf_map__fd(s.skeleton->maps.gh_paths_in), &*inside);
  } else {
    const abi::gh_place_key key = key_of(s.places[index]);
    const auto number = static_cast<uint32_t>(index);
    bpf_map* const places = s.places[index].is_far ? s.skeleton->maps.gh_far_places : s.skeleton->maps.gh_places;
    bpf_map_delete_elem(bpf_map__fd(places), &key);
    bpf_map_delete_elem(bpf_map__fd(s.skeleton->maps.gh_listeners), &number);
  }
  s.is_led[index] = false;
  return s.keep_pins().context("redirect");
}

void Redirect::beat(uint64_t now_boottime_ns) {
  auto& beat_ns = const_cast<unsigned long long&>(state_->skeleton->bss->gh_beat_ns);
  std::atomic_ref(beat_ns).store(now_boottime_ns, std::memory_order_relaxed);
}

Opener Redirect::take_opener(int accepted) const {
  const int map = bpf_map__fd(state_->skeleton->maps.gh_gate_accepted);
  abi::gh_accepted value{};
  if (bpf_map_lookup_elem(map, &accepted, &value) != 0) return {};
  bpf_map_delete_elem(map, &accepted);
  if (value.opener.pid == 0) return {};
  return {.process = {.pid = value.opener.pid, .start_ns = value.opener.start_ns}, .uid = value.opener.uid};
}

Status Redirect::announce(int socket, Transport transport, const Endpoint& client) {
  GH_ASSIGN(const abi::gh_leg_key key, leg_key_of(socket));
  if (transport == Transport::kUnix) return Error("redirect: no server sees a Unix client's address");
  abi::gh_leg leg{.run = state_->run,
                  .client_address = {},
                  .netns = state_->network.inode,
                  .client_port = client.port,
                  .client_is_v4 = transport == Transport::kTcp4};
  std::copy_n(client.address.begin(), leg.client_is_v4 != 0 ? 4 : 16, leg.client_address);
  if (bpf_map_update_elem(bpf_map__fd(state_->skeleton->maps.gh_gate_legs), &key, &leg, BPF_ANY) != 0)
    return Error::system("redirect: announcing a connection");
  return {};
}

void Redirect::forget(int socket) {
  if (const auto key = leg_key_of(socket)) bpf_map_delete_elem(bpf_map__fd(state_->skeleton->maps.gh_gate_legs), &*key);
}

Status Redirect::announce_far(int socket) {
  abi::gh_led own{};
  own.kind = abi::GH_LED_OWN;
  if (bpf_map_update_elem(bpf_map__fd(state_->skeleton->maps.gh_gate_led), &socket, &own, BPF_ANY) != 0)
    return Error::system("redirect: announcing a connection");
  return {};
}

ProcessKey Redirect::self() const {
  const auto& bss = *state_->skeleton->bss;
  return {.pid = bss.gh_own_pid, .start_ns = bss.gh_own_start_ns};
}

RedirectCounters Redirect::counters() const {
  std::array<uint64_t, abi::GH_GATE_COUNTERS> totals{};
  std::vector<uint64_t> per_cpu(static_cast<size_t>(std::max(1, libbpf_num_possible_cpus())));
  for (uint32_t i = 0; i < totals.size(); ++i) {
    if (bpf_map_lookup_elem(bpf_map__fd(state_->skeleton->maps.gh_gate_counters), &i, per_cpu.data()) != 0) continue;
    for (const uint64_t value : per_cpu) totals[i] += value;
  }
  return {.steered = totals[abi::GH_GATE_STEERED],
          .passed = totals[abi::GH_GATE_PASSED],
          .opened_direct = totals[abi::GH_GATE_OPENED_DIRECT],
          .refused = totals[abi::GH_GATE_REFUSED]};
}

}  // namespace gatehouse::shim
