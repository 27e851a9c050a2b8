// SPDX-License-Identifier: Apache-2.0
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "agent/capture/probe.h"
#include "agent/commands.h"
#include "agent/runtime/endpoints.h"
#include "common/version.h"

namespace gatehouse::agent {
namespace {

// On a terminal people see at a glance; a pipe gets words only.
const char* mark(bool good) {
  if (::isatty(STDOUT_FILENO) == 0) return good ? "yes" : "NO ";
  return good ? "\033[32myes\033[0m" : "\033[31mNO \033[0m";
}

std::string where(const capture::Listener& listener) {
  if (listener.transport == Transport::kUnix) return listener.address;
  const bool is_v6 = listener.address.find(':') != std::string::npos;
  return (is_v6 ? "[" + listener.address + "]" : listener.address) + ":" + std::to_string(listener.port);
}

std::string label(const AgentConfig& config, const capture::Listener& listener) {
  for (const AgentConfig::Database& database : config.databases)
    for (const ListenAddress& listen : database.listen) {
      const bool same_port = listener.transport != Transport::kUnix && listen.port == listener.port;
      const bool same_path = listener.transport == Transport::kUnix && listen.path == listener.address;
      if (same_port || same_path) return database.name;
    }
  return "not named in the configuration: watched all the same";
}

void print_databases(const AgentConfig& config) {
  const auto listeners = capture::find_listeners();
  std::printf("\nPostgreSQL servers listening on this host: %zu\n", listeners.size());
  for (const capture::Listener& listener : listeners) {
    std::printf("  %-44s pid %-8u %s\n", where(listener).c_str(), listener.pid, listener.exe.c_str());
    std::printf("  %-44s %s\n", "", label(config, listener).c_str());
  }
  if (listeners.empty())
    std::printf("  none. Clients of databases on other hosts are watched too, as soon as they connect.\n");
}

void print_sight(capture::Plane plane) {
  const std::string_view blind = capture::blind_spots(plane);
  if (blind.empty()) {
    std::printf(
        "\nSeen: every statement over TCP (v4, v6) and Unix sockets, whatever call sends it, io_uring included.\n");
  } else {
    std::printf("\nSeen: statements over TCP (v4, v6) and Unix sockets that usual calls send.\n");
    std::printf("Not seen with the %s plane, but counted as lost where it happens:\n%s.\n",
                std::string(to_string(plane)).c_str(), std::string(blind).c_str());
    const Status better = capture::check_requirements(capture::Plane::kSocket);
    if (better)
      std::printf("This kernel allows the socket plane, which sees those: leave capture.plane at auto.\n");
    else
      std::printf("The socket plane sees those, from Linux 6.16 on.\n");
  }
  std::printf(
      "Not seen: what travels inside TLS or GSS encryption (such sessions are listed, their content is not), shared\n"
      "memory, and statements that functions run inside the server. docs/bpf-hooks.md has the whole list.\n");
}

}  // namespace

Status print_doctor(const AgentConfig& config) {
  utsname name{};
  ::uname(&name);
  std::printf("gatehouse-agent %s on %s %s\n", kVersion, name.sysname, name.release);
  const auto wanted = capture::parse_plane(config.capture.plane);
  const auto chosen = capture::choose_plane(wanted);
  // What is missing is explained of the plane that has most in reach: the wanted one, or the oldest kernels'.
  const capture::Plane plane = chosen ? *chosen : wanted.value_or(capture::Plane::kSyscall);
  const std::string plane_name(to_string(plane));
  std::printf("\nWhat this kernel and host allow, for the %s plane%s:\n", plane_name.c_str(),
              wanted ? ", which the configuration asks for" : "");
  for (const capture::Requirement& requirement : capture::probe_requirements(plane)) {
    std::printf("  %s %s\n", mark(requirement.available), requirement.name.c_str());
    if (!requirement.explanation.empty()) std::printf("      %s\n", requirement.explanation.c_str());
  }
  print_databases(config);
  print_sight(plane);
  if (!chosen) return chosen.error();
  std::printf("\nWatching is possible, with the %s plane.\n", plane_name.c_str());
  return {};
}

}  // namespace gatehouse::agent
