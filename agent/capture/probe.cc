// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/probe.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <sstream>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>

#include "common/file.h"

namespace gatehouse::capture {
namespace {

constexpr size_t kProcFileBytesMax = 16U << 20;

constexpr unsigned kSocket = 1U << static_cast<unsigned>(Plane::kSocket);
constexpr unsigned kLength = 1U << static_cast<unsigned>(Plane::kLength);
constexpr unsigned kSyscall = 1U << static_cast<unsigned>(Plane::kSyscall);
constexpr unsigned kAll = kSocket | kLength | kSyscall;

struct Named {
  const char* name;
  const char* purpose;
  unsigned planes = kAll;  // bits
};

constexpr std::array kTracepoints{
    Named{"tcp_sendmsg_locked", "sees what is sent (from Linux 6.16)", kSocket},
    Named{"skb_copy_datagram_iovec", "sees what is received", kSocket | kSyscall},
    Named{"sock_send_length", "tells how much was sent, and who wrote (from Linux 6.3)", kSocket | kLength},
    Named{"sock_recv_length", "tells how much was received (from Linux 6.3)", kSocket | kLength},
    Named{"sys_exit", "sees what system calls have moved", kSyscall},
    Named{"inet_sock_set_state", "sees connections open"},
    Named{"tcp_destroy_sock", "sees connections close"},
    Named{"sched_process_exec", "knows processes"},
    Named{"sched_process_fork", "knows processes"},
    Named{"sched_process_exit", "knows processes"},
};
constexpr std::array kFunctions{
    Named{"bpf_probe_read_user_dynptr", "copies what is sent into the ring (from Linux 6.16)", kSocket},
    Named{"bpf_dynptr_copy", "copies what is received into the ring (from Linux 6.16)", kSocket},
    Named{"bpf_dynptr_from_skb", "reads packets (from Linux 6.4, in tracing programs from 6.12)", kSocket},
    Named{"bpf_iter_num_new", "bounded loops (from Linux 6.4)", kSocket},
    Named{"bpf_rdonly_cast", "reads the kernel's structures (from Linux 6.2)", kSocket | kLength},
};

bool is_of(const Named& named, Plane plane) {
  return (named.planes >> static_cast<unsigned>(plane) & 1) != 0;
}

bool has_capability(uint64_t effective, unsigned capability) {
  return (effective >> capability & 1) != 0;
}

Requirement probe_privilege() {
  Requirement r{.name = "privilege to load BPF programs", .available = false, .explanation = ""};
  const auto status = read_file("/proc/self/status", kProcFileBytesMax);
  uint64_t effective = 0;
  if (status) {
    const size_t at = status->find("CapEff:\t");
    if (at != std::string::npos) std::from_chars(status->data() + at + 8, status->data() + at + 24, effective, 16);
  }
  r.available = has_capability(effective, CAP_SYS_ADMIN) ||
                (has_capability(effective, CAP_BPF) && has_capability(effective, CAP_PERFMON));
  r.explanation = r.available ? "root, or CAP_BPF and CAP_PERFMON"
                              : "run as root, or grant CAP_BPF and CAP_PERFMON (systemd: AmbientCapabilities=)";
  return r;
}

struct BtfDeleter {
  void operator()(btf* types) const { btf__free(types); }
};

// From the kernel's history; the last is the oldest that is known to load that plane (docs/bpf-hooks.md).
std::string kernel_of(Plane plane) {
  return plane == Plane::kSocket ? "Linux 6.16" : plane == Plane::kLength ? "Linux 6.3" : "Linux 6.1";
}

// The fallback planes read registers, and know only these.
Requirement probe_processor() {
  utsname name{};
  ::uname(&name);
  const bool is_known = std::string_view(name.machine) == "x86_64";
  return {.name = "x86-64 processor",
          .available = is_known,
          .explanation = is_known ? "system calls are read from its registers"
                                  : "the registers of " + std::string(name.machine) + " are not known to this plane"};
}

Requirement probe_name(const btf* types, const Named& named, std::string_view what, const std::string& symbol,
                       uint32_t kind, Plane plane) {
  Requirement r{.name = std::string(what) + " " + named.name, .available = false, .explanation = named.purpose};
  r.available = types != nullptr && btf__find_by_name_kind(types, symbol.c_str(), kind) > 0;
  if (!r.available)
    r.explanation += ": this kernel does not have it; the " + std::string(to_string(plane)) + " plane needs " +
                     kernel_of(plane) + " or later";
  return r;
}

// One file descriptor table entry may be a socket: its inode.
std::optional<uint64_t> socket_inode(const std::string& link_path) {
  std::array<char, 64> target{};
  const ssize_t bytes = readlink(link_path.c_str(), target.data(), target.size());
  static constexpr std::string_view kPrefix = "socket:[";
  const std::string_view text(target.data(), bytes > 0 ? static_cast<size_t>(bytes) : 0);
  if (!text.starts_with(kPrefix)) return std::nullopt;
  uint64_t inode = 0;
  std::from_chars(text.data() + kPrefix.size(), text.data() + text.size(), inode);
  return inode;
}

std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), closedir);
  if (!directory) return names;
  while (const dirent* entry = readdir(directory.get())) names.emplace_back(entry->d_name);
  return names;
}

std::string link_target(const std::string& path) {
  std::array<char, 4096> target{};
  const ssize_t bytes = readlink(path.c_str(), target.data(), target.size());
  return {target.data(), bytes > 0 ? static_cast<size_t>(bytes) : 0};
}

using ByInode = std::unordered_map<uint64_t, Listener>;

// /proc/net/tcp writes an address as hexadecimal words in host order.
std::string address_text(std::string_view hex, bool is_v6) {
  std::array<uint32_t, 4> words{};
  for (size_t i = 0; i * 8 + 8 <= hex.size() && i < words.size(); ++i)
    std::from_chars(hex.data() + i * 8, hex.data() + i * 8 + 8, words[i], 16);
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(is_v6 ? AF_INET6 : AF_INET, words.data(), text.data(), text.size());
  return text.data();
}

void read_tcp(const std::string& path, bool is_v6, ByInode& listeners) {
  const auto content = read_file(path, kProcFileBytesMax);
  if (!content) return;
  std::istringstream lines(*content);
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout;
    uint64_t inode = 0;
    fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >> inode;
    const size_t colon = local.find(':');
    if (state != "0A" || colon == std::string::npos) continue;
    Listener listener{.transport = is_v6 ? Transport::kTcp6 : Transport::kTcp4,
                      .address = address_text(std::string_view(local).substr(0, colon), is_v6)};
    std::from_chars(local.data() + colon + 1, local.data() + local.size(), listener.port, 16);
    listeners.emplace(inode, std::move(listener));
  }
}

void read_unix(const std::string& path, ByInode& listeners) {
  const auto content = read_file(path, kProcFileBytesMax);
  if (!content) return;
  std::istringstream lines(*content);
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string slot, references, protocol, flags, type, state, name;
    uint64_t inode = 0;
    fields >> slot >> references >> protocol >> flags >> type >> state >> inode >> name;
    static constexpr std::string_view kAccepting = "00010000";
    static constexpr std::string_view kStream = "0001";
    if (flags != kAccepting || type != kStream || name.empty()) continue;
    listeners.emplace(inode, Listener{.transport = Transport::kUnix, .address = name});
  }
}

bool is_postgres(const Listener& listener) {
  if (is_database_program(listener.exe)) return true;
  if (listener.transport == Transport::kUnix) return is_database_path(listener.address);
  return listener.port == 5432;
}

}  // namespace

bool is_database_program(std::string_view exe) {
  static constexpr std::array<std::string_view, 5> kPrograms{"postgres", "postmaster", "pgbouncer", "pgpool",
                                                             "odyssey"};
  return std::ranges::find(kPrograms, exe.substr(exe.rfind('/') + 1)) != kPrograms.end();
}

bool is_database_path(std::string_view path) {
  return path.find(".s.PGSQL.") != std::string_view::npos;
}

std::vector<Requirement> probe_requirements(Plane plane) {
  std::vector<Requirement> result{probe_privilege()};
  // What is missing is said by the requirements; the library would say it again on standard error.
  libbpf_set_print(nullptr);
  const std::unique_ptr<btf, BtfDeleter> types(btf__load_vmlinux_btf());
  result.push_back({.name = "type information of the kernel (BTF)",
                    .available = types != nullptr,
                    .explanation = types != nullptr
                                       ? "/sys/kernel/btf/vmlinux"
                                       : "/sys/kernel/btf/vmlinux cannot be read: use a kernel built with "
                                         "CONFIG_DEBUG_INFO_BTF=y, as Debian's and every larger distribution's are"});
  if (plane != Plane::kSocket) result.push_back(probe_processor());
  for (const Named& named : kTracepoints)
    if (is_of(named, plane))
      result.push_back(probe_name(types.get(), named, "tracepoint", std::string("btf_trace_") + named.name,
                                  BTF_KIND_TYPEDEF, plane));
  for (const Named& named : kFunctions)
    if (is_of(named, plane))
      result.push_back(probe_name(types.get(), named, "kernel function", named.name, BTF_KIND_FUNC, plane));
  return result;
}

bool unix_queue_tells_its_length() {
  const std::unique_ptr<btf, BtfDeleter> types(btf__load_vmlinux_btf());
  const int id = types ? btf__find_by_name_kind(types.get(), "unix_sock", BTF_KIND_STRUCT) : -1;
  if (id < 0) return false;
  const btf_type* const type = btf__type_by_id(types.get(), static_cast<uint32_t>(id));
  const std::span members(btf_members(type), btf_vlen(type));
  return std::ranges::any_of(members, [&](const btf_member& member) {
    return std::string_view(btf__name_by_offset(types.get(), member.name_off)) == "inq_len";
  });
}

Status check_requirements(Plane plane) {
  for (const Requirement& r : probe_requirements(plane))
    if (!r.available) return Error("capture: missing " + r.name + ": " + r.explanation);
  return {};
}

Result<Plane> choose_plane(std::optional<Plane> wanted) {
  if (wanted) {
    GH_TRY(check_requirements(*wanted));
    return *wanted;
  }
  Status missing;
  for (const Plane plane : {Plane::kSocket, Plane::kLength, Plane::kSyscall}) {
    missing = check_requirements(plane);
    if (missing) return plane;
  }
  return missing.error();
}

std::string_view blind_spots(Plane plane) {
  switch (plane) {
    case Plane::kSocket:
      return "";
    case Plane::kLength:
      return "io_uring, sendfile and splice; sendmmsg and recvmmsg of more than one message; what two threads send,\n"
             "or receive, on one socket at the same time. A buffer that another thread writes to meanwhile is read as\n"
             "it stands after the call, and that cannot be told";
    case Plane::kSyscall:
      return "io_uring, and what the first call after it moves; sendfile and splice; what two threads send, or\n"
             "receive, on one socket at the same time. A buffer that another thread writes to meanwhile is read as it\n"
             "stands after the call, and that cannot be told";
  }
  return "";
}

std::vector<Listener> find_listeners() {
  ByInode listeners;
  std::vector<std::string> pids;
  std::set<std::string> namespaces;
  for (const std::string& name : names_in("/proc"))
    if (std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; })) pids.push_back(name);
  for (const std::string& pid : pids) {
    const std::string process = "/proc/" + pid;
    if (!namespaces.insert(link_target(process + "/ns/net")).second) continue;
    read_tcp(process + "/net/tcp", false, listeners);
    read_tcp(process + "/net/tcp6", true, listeners);
    read_unix(process + "/net/unix", listeners);
  }
  // A server's children may hold its listening sockets too: the oldest process is the one that listens.
  for (const std::string& pid : pids) {
    const std::string process = "/proc/" + pid;
    const auto number = static_cast<uint32_t>(std::stoul(pid));
    for (const std::string& fd : names_in(process + "/fd")) {
      const auto inode = socket_inode(process + "/fd/" + fd);
      const auto found = inode ? listeners.find(*inode) : listeners.end();
      if (found == listeners.end()) continue;
      Listener& listener = found->second;
      if (listener.pid != 0 && listener.pid < number) continue;
      listener.pid = number;
      listener.exe = link_target(process + "/exe");
    }
  }
  std::vector<Listener> result;
  for (auto& [inode, listener] : listeners)
    if (is_postgres(listener)) result.push_back(std::move(listener));
  std::ranges::sort(result, [](const Listener& a, const Listener& b) {
    return std::tie(a.transport, a.port, a.address) < std::tie(b.transport, b.port, b.address);
  });
  return result;
}

}  // namespace gatehouse::capture
