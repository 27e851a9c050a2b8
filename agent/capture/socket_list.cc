// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/socket_list.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <tuple>
#include <utility>

#include <bpf/libbpf.h>

#include "agent/capture/iterator.h"
#include "agent/capture/probe.h"
#include "bpf/gatehouse_abi.h"

namespace gatehouse::capture {
namespace {

constexpr size_t kPortWords = 65'536 / 64;  // of the table of bits, gh_database_ports

static_assert(static_cast<uint32_t>(HostSocket::State::kSilent) == abi::GH_STATE_SILENT);
static_assert(static_cast<uint32_t>(HostSocket::State::kIgnored) == abi::GH_STATE_IGNORED);
static_assert(static_cast<uint32_t>(HostSocket::State::kSession) == abi::GH_STATE_SESSION);

std::vector<abi::gh_socket> records_in(std::string_view bytes) {
  std::vector<abi::gh_socket> records(bytes.size() / sizeof(abi::gh_socket));
  if (!records.empty()) std::memcpy(records.data(), bytes.data(), records.size() * sizeof(abi::gh_socket));
  return records;
}

bool is_mapped_v4(const std::array<uint8_t, 16>& address) {
  static constexpr std::array<uint8_t, 12> kPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::equal(kPrefix.begin(), kPrefix.end(), address.begin());
}

void unmap_v4(Endpoint& endpoint) {
  std::rotate(endpoint.address.begin(), endpoint.address.begin() + 12, endpoint.address.end());
  std::fill(endpoint.address.begin() + 4, endpoint.address.end(), uint8_t{0});
}

std::string path_of(const abi::gh_socket& record) {
  std::string path(record.path, std::min<size_t>(record.path_bytes, sizeof(record.path)));
  if (!path.empty() && path[0] == '\0') {
    path[0] = '@';
    return path;
  }
  return path.substr(0, path.find('\0'));
}

HostSocket socket_of(const abi::gh_socket& record) {
  HostSocket socket{.is_listener = record.role == abi::GH_ROLE_LISTENER,
                    .state = static_cast<HostSocket::State>(record.state),
                    .transport = static_cast<Transport>(record.transport),
                    .session = record.session,
                    .netns = record.netns,
                    .path = path_of(record)};
  const bool is_client = record.role == abi::GH_ROLE_CLIENT;
  Endpoint& local = is_client ? socket.client : socket.server;
  Endpoint& remote = is_client ? socket.server : socket.client;
  std::memcpy(local.address.data(), record.local_address, sizeof(record.local_address));
  std::memcpy(remote.address.data(), record.remote_address, sizeof(record.remote_address));
  local.port = record.local_port;
  remote.port = record.remote_port;
  // One end may be a socket of version 4, the other one of version 6 that is connected to it.
  if (socket.transport == Transport::kTcp6 && is_mapped_v4(local.address)) {
    socket.transport = Transport::kTcp4;
    unmap_v4(local);
    unmap_v4(remote);
  }
  HostSocketEnd& end = is_client ? socket.client_end : socket.server_end;
  end = {.process = {.pid = record.process.pid, .start_ns = record.process.start_ns}, .inode = record.inode};
  return socket;
}

// Several processes may hold a socket: who came first has opened it, who came last serves it.
void choose_holder(HostSocketEnd& end, const HostSocketEnd& other, bool is_latest) {
  const auto order = [](const ProcessKey& key) { return std::pair(key.start_ns, key.pid); };
  if (!other.process.known()) return;
  if (!end.process.known() || (order(other.process) > order(end.process)) == is_latest) end = other;
}

bool is_loopback(const HostSocket& socket) {
  const auto& address = socket.server.address;
  if (socket.transport == Transport::kTcp4) return address[0] == 127;
  return address[15] == 1 && std::all_of(address.begin(), address.end() - 1, [](uint8_t byte) { return byte == 0; });
}

// What both ends of a connection say of it alike.
using Name = std::tuple<Transport, std::array<uint8_t, 16>, std::array<uint8_t, 16>, uint64_t, uint64_t, uint32_t>;

Name name_of(const HostSocket& socket, const abi::gh_socket& record) {
  if (socket.transport == Transport::kUnix) {
    const bool is_client = record.role == abi::GH_ROLE_CLIENT;
    return {socket.transport,
            {},
            {},
            is_client ? record.inode : record.peer_inode,
            is_client ? record.peer_inode : record.inode,
            0};
  }
  return {socket.transport,   socket.client.address, socket.server.address,
          socket.client.port, socket.server.port,    is_loopback(socket) ? socket.netns : 0};
}

std::string exe_of(const ProcessKey& process) {
  std::array<char, 4096> target{};
  const ssize_t bytes =
      readlink(("/proc/" + std::to_string(process.pid) + "/exe").c_str(), target.data(), target.size());
  return {target.data(), bytes > 0 ? static_cast<size_t>(bytes) : 0};
}

}  // namespace

std::vector<HostSocket> database_listeners(std::string_view records, std::span<const uint16_t> ports,
                                           const std::function<std::string(const ProcessKey&)>& exe_of) {
  std::map<uint64_t, HostSocket> by_inode;
  for (const abi::gh_socket& record : records_in(records)) {
    HostSocket socket = socket_of(record);
    const auto [at, is_new] = by_inode.try_emplace(record.inode, socket);
    if (!is_new) choose_holder(at->second.server_end, socket.server_end, false);
  }
  std::vector<HostSocket> listeners;
  for (auto& [inode, socket] : by_inode) {
    const bool is_named = socket.transport == Transport::kUnix
                              ? is_database_path(socket.path)
                              : std::ranges::find(ports, socket.server.port) != ports.end();
    if (is_named || is_database_program(exe_of(socket.server_end.process))) listeners.push_back(std::move(socket));
  }
  return listeners;
}

DatabaseAddresses addresses_of(std::span<const HostSocket> listeners, std::span<const uint16_t> ports) {
  DatabaseAddresses addresses{.ports = {ports.begin(), ports.end()}, .paths = {}};
  for (const HostSocket& listener : listeners) {
    if (listener.transport == Transport::kUnix)
      addresses.paths.push_back(listener.path);
    else
      addresses.ports.push_back(listener.server.port);
  }
  std::ranges::sort(addresses.ports);
  std::ranges::sort(addresses.paths);
  return addresses;
}

std::vector<HostSocket> database_connections(std::string_view records, const DatabaseAddresses& addresses) {
  std::map<Name, HostSocket> by_name;
  for (const abi::gh_socket& record : records_in(records)) {
    HostSocket socket = socket_of(record);
    if (socket.transport == Transport::kUnix && socket.session == 0 && !is_database_path(socket.path) &&
        !std::ranges::binary_search(addresses.paths, socket.path))
      continue;
    const auto [at, is_new] = by_name.try_emplace(name_of(socket, record), socket);
    if (is_new) continue;
    HostSocket& known = at->second;
    choose_holder(known.client_end, socket.client_end, false);
    choose_holder(known.server_end, socket.server_end, true);
    if (known.session == 0) known.session = socket.session;
    known.state = std::max(known.state, socket.state);
  }
  std::vector<HostSocket> connections;
  connections.reserve(by_name.size());
  for (auto& [name, socket] : by_name) connections.push_back(std::move(socket));
  return connections;
}

Result<std::vector<HostSocket>> list_sockets(const Programs& programs, std::span<const uint16_t> ports) {
  const SharedVariables& shared = programs.shared();
  if (shared.list_pass == nullptr) return Error("this plane cannot list sockets");
  const bpf_program* const program = programs.program("list_sockets");
  std::string records;
  *shared.list_pass = abi::GH_LIST_LISTENERS;
  GH_TRY(run_iterator(program, records).context("capture: listing who listens"));
  std::vector<HostSocket> sockets = database_listeners(records, ports, exe_of);
  const DatabaseAddresses addresses = addresses_of(sockets, ports);
  std::fill_n(shared.database_ports, kPortWords, 0U);
  for (const uint16_t port : addresses.ports) shared.database_ports[port / 64] |= 1ULL << (port % 64);
  *shared.list_pass = abi::GH_LIST_CONNECTIONS;
  records.clear();
  GH_TRY(run_iterator(program, records).context("capture: listing connections"));
  std::vector<HostSocket> connections = database_connections(records, addresses);
  std::ranges::move(connections, std::back_inserter(sockets));
  return sockets;
}

Result<std::vector<HostSocket>> list_unwatched_sockets(Plane plane, std::span<const uint16_t> ports) {
  libbpf_set_print(nullptr);
  const std::unique_ptr<Programs> programs = Programs::open(plane);
  if (!programs) return Error::system("opening the BPF object");
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, programs->object()) {
    bpf_program__set_autoload(program, program == programs->program("list_sockets"));
  }
  constexpr uint32_t kSmallestRing = 64U << 10;
  for (const char* const ring : {"gh_control", "gh_requests", "gh_responses"})
    bpf_map__set_max_entries(programs->map(ring), kSmallestRing);
  if (programs->load() != 0) return Error::system("loading the program that lists sockets");
  return list_sockets(*programs, ports);
}

}  // namespace gatehouse::capture
