// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/capture/probe.h"
#include "agent/capture/socket_list.h"
#include "agent/capture/tls/keeper.h"
#include "agent/catalogs.h"
#include "agent/commands.h"
#include "agent/identity/proc_reader.h"
#include "agent/json.h"
#include "agent/ports.h"
#include "agent/runtime/inline_path.h"
#include "agent/runtime/socket_report.h"
#include "agent/runtime/status_socket.h"
#include "common/clock.h"
#include "common/version.h"
#include "gatehouse/v1/event.pb.h"

namespace gatehouse::agent {
namespace {

constexpr std::chrono::milliseconds kAgentWait{10'000};

struct Findings {
  std::string kernel;
  capture::Plane plane = capture::Plane::kSyscall;
  std::string plane_name;
  bool is_plane_wanted = false;  // by the configuration
  std::vector<capture::Requirement> requirements;
  Status refusal;                        // why nothing can be watched; good: it can
  std::optional<v1::AgentStatus> agent;  // of the one that runs
  v1::HostSockets sockets;
  std::string sockets_missing;  // why there may be more
  std::vector<catalog::CatalogStatus> catalogs;
  struct Gate {
    std::string database;
    Status status;
    bool is_closed = false, has_tls = false;
    std::vector<runtime::LocatedEntry> at;
  };
  std::vector<Gate> gates;  // of databases in mode enforce
};

struct Meaning {
  std::string_view word;
  std::string_view text;
};
constexpr std::array kMeanings{
    Meaning{"ring-full", "the agent was too slow and the kernel's ring was full"},
    Meaning{"fault", "the process's memory could not be read"},
    Meaning{"unsupported", "sent in a way that cannot be read, such as MSG_OOB"},
    Meaning{"unsynced", "open before the agent, and not idle since: joined when it is"},
    Meaning{"cut", "the rest of messages that are longer than what is kept"},
    Meaning{"opened-before-watching", "open before the agent: what it did until then is not known"},
    Meaning{"tls", "encrypted with TLS"},
    Meaning{"gss", "encrypted with GSS"},
    Meaning{"not-postgresql", "does not speak PostgreSQL's protocol"},
    Meaning{"nothing-said", "nothing was said yet"},
    Meaning{"unnamed-port", "open before the agent, at a port that is not named under databases[].listen"},
    Meaning{"unnamed-path", "open before the agent, at a path without .s.PGSQL."},
    Meaning{"not-found", "open before the agent, which did not find it: no process had a descriptor of it"},
    Meaning{"no-agent", "no agent can run here: see above"},
};

std::string_view meaning_of(std::string_view reason) {
  const auto* const found = std::ranges::find(kMeanings, reason, &Meaning::word);
  return found == kMeanings.end() ? reason : found->text;
}

std::string exe_now(const ProcessKey& process) {
  const auto found = identity::read_process("/proc", process.pid);
  return found ? found->process.exe : std::string();
}

// Without BPF only who listens can be found, by /proc.
std::vector<HostSocket> listeners_by_proc() {
  std::vector<HostSocket> sockets;
  for (const capture::Listener& listener : capture::find_listeners()) {
    HostSocket& socket = sockets.emplace_back();
    socket.is_listener = true;
    socket.transport = listener.transport;
    socket.server.port = listener.port;
    socket.server_end.process.pid = listener.pid;
    if (listener.transport == Transport::kUnix)
      socket.path = listener.address;
    else
      inet_pton(listener.transport == Transport::kTcp6 ? AF_INET6 : AF_INET, listener.address.c_str(),
                socket.server.address.data());
  }
  return sockets;
}

void look_for_sockets(const AgentConfig& config, Findings& findings) {
  if (const auto status = runtime::ask_status(config.agent.state_dir, kAgentWait)) {
    findings.agent.emplace();
    if (findings.agent->ParseFromString(*status)) {
      findings.sockets = std::move(*findings.agent->mutable_sockets());
      findings.agent->clear_sockets();
      return;
    }
    findings.agent.reset();
  }
  const std::vector<uint16_t> ports = ports_to_watch(config);
  auto found = capture::list_unwatched_sockets(findings.plane, ports);
  if (!found) findings.sockets_missing = found.error().message();
  const std::vector<HostSocket> sockets = found ? std::move(*found) : listeners_by_proc();
  findings.sockets = runtime::report_sockets(
      {.found = sockets,
       .watching = findings.refusal ? runtime::Watching::kWouldWatch : runtime::Watching::kCannot,
       .ports = ports,
       .databases = config.databases,
       .exe_of = exe_now,
       .own_netns = found ? runtime::own_network_namespace() : 0,
       .time_unix_ns = unix_ns()});
}

// On a terminal people see at a glance; a pipe gets words only.
const char* mark(bool good) {
  if (::isatty(STDOUT_FILENO) == 0) return good ? "yes" : "NO ";
  return good ? "\033[32myes\033[0m" : "\033[31mNO \033[0m";
}

void print_requirements(const Findings& findings) {
  std::printf("What this kernel and host allow, for the %s plane%s:\n", findings.plane_name.c_str(),
              findings.is_plane_wanted ? ", which the configuration asks for" : "");
  for (const capture::Requirement& requirement : findings.requirements) {
    std::printf("  %s %s\n", mark(requirement.available), requirement.name.c_str());
    if (!requirement.explanation.empty()) std::printf("      %s\n", requirement.explanation.c_str());
  }
}

void print_end(const char* name, const v1::SocketEnd& end) {
  std::printf("      %-6s %s", name, end.address().c_str());
  if (end.pid() != 0) std::printf("%spid %u %s", end.address().empty() ? "" : "  ", end.pid(), end.exe().c_str());
  std::printf("\n");
}

void print_socket(const v1::HostSocket& socket) {
  std::printf("  %-14s %s", socket.verdict().c_str(), socket.listening() ? "listens for " : "");
  std::printf("%s", socket.label().c_str());
  if (!socket.user().empty()) std::printf("  %s@%s", socket.user().c_str(), socket.database().c_str());
  if (socket.network_namespace() != 0) std::printf("  in network namespace %u", socket.network_namespace());
  std::printf("\n");
  if (!socket.reason().empty())
    std::printf("      why    %.*s\n", static_cast<int>(meaning_of(socket.reason()).size()),
                meaning_of(socket.reason()).data());
  print_end("server", socket.server());
  if (!socket.listening()) print_end("client", socket.client());
}

void print_sockets(const Findings& findings) {
  const v1::HostSockets& sockets = findings.sockets;
  std::printf("\nSockets of databases on this host: %d%s\n", sockets.sockets_size(),
              findings.agent ? ", as the agent that runs here sees them"
                             : ", as an agent would see them: none runs with this state_dir");
  for (const v1::HostSocket& socket : sockets.sockets()) print_socket(socket);
  if (sockets.sockets().empty())
    std::printf("  none. Clients of databases on other hosts are watched too, as soon as they connect.\n");
  if (!findings.sockets_missing.empty())
    std::printf("  Connections are not listed: %s.\n", findings.sockets_missing.c_str());
  std::string summary;
  const auto add = [&](std::string_view verdict) {
    if (const auto count = sockets.counts().find(std::string(verdict)); count != sockets.counts().end())
      summary += (summary.empty() ? "" : ", ") + std::to_string(count->second) + " " + std::string(verdict);
  };
  std::ranges::for_each(runtime::kSocketVerdicts, add);
  add("will-be-joined");
  if (!summary.empty()) std::printf("  In all: %s.\n", summary.c_str());
}

void print_catalogs(const Findings& findings) {
  if (findings.catalogs.empty()) return;
  std::printf("\nCatalogs, by which views, triggers and functions are known:\n");
  for (const catalog::CatalogStatus& status : findings.catalogs) {
    std::printf("  %s %s\n", mark(status.is_loaded), status.database.c_str());
    if (status.is_loaded)
      std::printf("      %zu relations, %zu functions, %zu KiB, read in %lld ms\n", status.relations, status.functions,
                  status.bytes / 1024, static_cast<long long>(status.took.count()));
    else
      std::printf("      %s\n", status.error.c_str());
    for (const std::string& missing : status.missing) std::printf("      left out: %s\n", missing.c_str());
  }
}

void print_place(const runtime::LocatedEntry& entry) {
  for (const runtime::Located& located : entry.addresses)
    std::printf("      %s is %s, %s\n", entry.entry.c_str(), to_text(located.address).c_str(),
                located.is_here ? "on this host: its clients, from anywhere"
                                : "on another host: its clients are the processes of this one");
  if (!entry.error.empty()) std::printf("      %s: %s\n", entry.entry.c_str(), entry.error.c_str());
}

// Where the server of a gated database listens, besides: whoever comes there is not judged.
std::vector<std::string> unnamed_addresses(const Findings& findings, const std::string& database) {
  const auto& sockets = findings.sockets.sockets();
  const auto is_its = [&](uint32_t pid) {
    return std::ranges::any_of(sockets, [&](const v1::HostSocket& socket) {
      return socket.listening() && socket.label() == database && socket.server().pid() == pid;
    });
  };
  std::vector<std::string> addresses;
  for (const v1::HostSocket& socket : sockets) {
    const bool is_unnamed = socket.listening() && socket.label().starts_with("postgresql:");
    if (is_unnamed && socket.server().pid() != 0 && is_its(socket.server().pid()))
      addresses.push_back(socket.server().address());
  }
  return addresses;
}

void print_gates(const Findings& findings) {
  if (findings.gates.empty()) return;
  std::printf("\nDatabases in mode enforce, whose new connections are judged before they reach the server:\n");
  for (const Findings::Gate& gate : findings.gates) {
    std::printf("  %s %s\n", mark(static_cast<bool>(gate.status)), gate.database.c_str());
    if (!gate.status) std::printf("      %s\n", gate.status.error().message().c_str());
    std::printf(
        "      %s; while no agent runs, new connections %s\n",
        gate.has_tls ? "TLS with the configured certificate" : "clients that ask for TLS are told there is none",
        gate.is_closed ? "are refused" : "go to the server unjudged");
    for (const runtime::LocatedEntry& entry : gate.at) print_place(entry);
    for (const std::string& address : unnamed_addresses(findings, gate.database))
      std::printf(
          "      its server listens at %s, too, which `listen` does not name: who comes there is not judged, and is\n"
          "      a finding (gatehouse.bypass)\n",
          address.c_str());
  }
  const auto print_count = [&](const char* counter, const char* what) {
    const auto found = findings.agent->counters().find(counter);
    if (found != findings.agent->counters().end())
      std::printf("      %llu %s\n", static_cast<unsigned long long>(found->second), what);
  };
  if (!findings.agent) return;
  print_count("shim_sessions_open", "sessions go through the agent now");
  print_count("shim_refused", "requests were refused");
  print_count("redirect_opened_direct", "connections went direct, because the agent did not answer");
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
      "Not seen: what travels inside GSS encryption, or inside TLS whose secrets nobody tells (such sessions are "
      "listed,\n"
      "their content is not), shared memory, and statements that functions run inside the server. docs/bpf-hooks.md "
      "has\n"
      "the whole list.\n");
}

void print_tls(const AgentConfig& config, const Findings& findings) {
  std::printf("\nSessions inside TLS:\n");
  if (!config.capture.opens_tls) {
    std::printf("  %s not read: capture.tls_secrets is off\n", mark(false));
    return;
  }
  if (capture::find_tls_helper().empty()) {
    std::printf("  %s not read: gatehouse-tls-learn is not installed beside the agent\n", mark(false));
    return;
  }
  std::printf("  %s read where the client's or the server's TLS library on this host tells secrets (docs/tls.md)\n",
              mark(true));
  if (!findings.agent) return;
  const auto count = [&](const char* counter) {
    const auto found = findings.agent->counters().find(counter);
    return static_cast<unsigned long long>(found == findings.agent->counters().end() ? 0 : found->second);
  };
  std::printf("      %llu libraries tell them, %llu do not; %llu sessions were read, %llu could not be\n",
              count("tls_libraries_attached"), count("tls_libraries_refused"), count("tls_opened"),
              count("tls_sealed"));
}

void print_text(const AgentConfig& config, const Findings& findings) {
  std::printf("gatehouse-agent %s on Linux %s\n\n", kVersion, findings.kernel.c_str());
  print_requirements(findings);
  print_sockets(findings);
  print_catalogs(findings);
  print_gates(findings);
  print_tls(config, findings);
  print_sight(findings.plane);
  if (findings.refusal) std::printf("\nWatching is possible, with the %s plane.\n", findings.plane_name.c_str());
}

std::string places_json(std::span<const runtime::LocatedEntry> entries) {
  std::string out = "[";
  for (const runtime::LocatedEntry& entry : entries) {
    out += (out.size() > 1 ? "," : "") + ("{\"listen\":" + quoted(entry.entry)) + ",\"error\":" + quoted(entry.error) +
           ",\"addresses\":[";
    for (const runtime::Located& located : entry.addresses)
      out += std::string(&located == &entry.addresses.front() ? "" : ",") +
             "{\"address\":" + quoted(to_text(located.address)) + ",\"here\":" + (located.is_here ? "true" : "false") +
             "}";
    out += "]}";
  }
  return out + "]";
}

void print_json(const Findings& findings) {
  std::string out = "{\"version\":" + quoted(kVersion) + ",\"kernel\":" + quoted(findings.kernel) +
                    ",\"can_watch\":" + (findings.refusal ? "true" : "false") +
                    ",\"plane\":" + quoted(findings.plane_name) + ",\"requirements\":[";
  for (const capture::Requirement& r : findings.requirements)
    out += std::string(&r == &findings.requirements.front() ? "" : ",") + "{\"name\":" + quoted(r.name) +
           ",\"available\":" + (r.available ? "true" : "false") + ",\"explanation\":" + quoted(r.explanation) + "}";
  out += "],\"catalogs\":[";
  for (const catalog::CatalogStatus& status : findings.catalogs)
    out += std::string(&status == &findings.catalogs.front() ? "" : ",") + "{\"database\":" + quoted(status.database) +
           ",\"loaded\":" + (status.is_loaded ? "true" : "false") +
           ",\"relations\":" + std::to_string(status.relations) + ",\"functions\":" + std::to_string(status.functions) +
           ",\"error\":" + quoted(status.error) + "}";
  out += "],\"enforced\":[";
  for (const Findings::Gate& gate : findings.gates)
    out += std::string(&gate == &findings.gates.front() ? "" : ",") + "{\"database\":" + quoted(gate.database) +
           ",\"possible\":" + (gate.status ? "true" : "false") +
           ",\"error\":" + quoted(gate.status ? "" : gate.status.error().message()) +
           ",\"at\":" + places_json(gate.at) + "}";
  out += "],\"agent\":";
  if (findings.agent) {
    out += "{\"phase\":" + quoted(findings.agent->phase()) + ",\"plane\":" + quoted(findings.agent->plane()) +
           ",\"counters\":{";
    std::vector<std::string> names;
    for (const auto& [name, value] : findings.agent->counters()) names.push_back(name);
    std::ranges::sort(names);
    for (const std::string& name : names)
      out += (&name == &names.front() ? "" : ",") + quoted(name) + ":" +
             std::to_string(findings.agent->counters().at(name));
    out += "}}";
  } else {
    out += "null";
  }
  out += ",\"sockets\":[";
  for (int i = 0; i < findings.sockets.sockets_size(); ++i)
    out += (i == 0 ? "" : ",") + json_of(findings.sockets.sockets(i));
  out += "],\"counts\":{";
  bool is_first = true;
  for (const auto& [verdict, count] : findings.sockets.counts()) {
    out += (is_first ? "" : ",") + quoted(verdict) + ":" + std::to_string(count);
    is_first = false;
  }
  out += "}";
  if (!findings.sockets_missing.empty()) out += ",\"sockets_missing\":" + quoted(findings.sockets_missing);
  std::printf("%s}\n", out.c_str());
}

}  // namespace

Status print_doctor(const AgentConfig& config, bool as_json) {
  utsname name{};
  ::uname(&name);
  Findings findings{.kernel = name.release};
  const auto wanted = capture::parse_plane(config.capture.plane);
  const auto chosen = capture::choose_plane(wanted);
  if (!chosen) findings.refusal = chosen.error();
  // What is missing is explained of the plane that has most in reach: the wanted one, or the oldest kernels'.
  findings.plane = chosen ? *chosen : wanted.value_or(capture::Plane::kSyscall);
  findings.plane_name = to_string(findings.plane);
  findings.is_plane_wanted = wanted.has_value();
  findings.requirements = capture::probe_requirements(findings.plane);
  look_for_sockets(config, findings);
  findings.catalogs = try_catalogs(config);
  const runtime::Whereabouts whereabouts(config.databases, runtime::Whereabouts::of_host());
  const std::vector<runtime::LocatedEntry> entries = whereabouts.entries();
  for (const AgentConfig::Database& database : runtime::with_addresses(config.databases, entries)) {
    if (!database.gate) continue;
    Findings::Gate& gate = findings.gates.emplace_back();
    gate = {.database = database.name,
            .status = runtime::InlinePath::check(database, entries),
            .is_closed = database.gate->is_closed,
            .has_tls = !database.gate->certificate.empty(),
            .at = {}};
    std::ranges::copy_if(entries, std::back_inserter(gate.at),
                         [&](const runtime::LocatedEntry& entry) { return entry.database == database.name; });
  }
  as_json ? print_json(findings) : print_text(config, findings);
  std::fflush(stdout);
  return findings.refusal;
}

}  // namespace gatehouse::agent
