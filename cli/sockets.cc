// SPDX-License-Identifier: Apache-2.0
#include "cli/sockets.h"

#include <array>
#include <string_view>
#include <vector>

#include "cli/human.h"
#include "cli/safe_text.h"

namespace gatehouse::cli {
namespace {

constexpr std::array<std::string_view, 7> kVerdicts{"full",   "truncated", "gaps",     "blind",
                                                    "opaque", "watched",   "unwatched"};

uint64_t counter_of(const v1::Agent& agent, const std::string& name) {
  const auto found = agent.counters().find(name);
  return found == agent.counters().end() ? 0 : found->second;
}

uint64_t count_of(const v1::Agent& agent, std::string_view verdict) {
  return counter_of(agent, "sockets_" + std::string(verdict));
}

Tone tone_of(std::string_view verdict) {
  if (verdict == "unwatched" || verdict == "blind" || verdict == "opaque") return Tone::kBad;
  return verdict == "full" || verdict == "watched" ? Tone::kGood : Tone::kPlain;
}

std::string process_text(const v1::SocketEnd& end) {
  if (end.pid() == 0) return "";
  const std::string& exe = end.exe();
  return safe(exe.substr(exe.rfind('/') + 1)) + "(" + std::to_string(end.pid()) + ")";
}

std::string end_text(const v1::SocketEnd& end, std::string_view otherwise) {
  const std::string address = end.address().empty() ? std::string(otherwise) : safe(end.address());
  const std::string process = process_text(end);
  return address + (address.empty() || process.empty() ? "" : " ") + process;
}

std::string who_text(const v1::HostSocket& socket) {
  if (socket.listening()) return "listens";
  return socket.user().empty() ? "" : safe(socket.user()) + "@" + safe(socket.database());
}

}  // namespace

std::string sockets_summary(const v1::Agent& agent) {
  std::string text;
  for (const std::string_view verdict : kVerdicts)
    if (const uint64_t count = count_of(agent, verdict); count > 0)
      text += (text.empty() ? "" : ", ") + human_count(count) + " " + std::string(verdict);
  return text;
}

std::string cpu_summary(const v1::Agent& agent) {
  if (!agent.counters().contains("cost_cpu_ppm")) return "";
  const uint64_t ppm = counter_of(agent, "cost_cpu_ppm") + counter_of(agent, "cost_bpf_ppm");
  // Millionths to hundredths of a per cent, rounded.
  const uint64_t hundredths = (ppm + 50) / 100;
  const std::string fraction = std::to_string(hundredths % 100);
  return std::to_string(hundredths / 100) + "." + (fraction.size() < 2 ? "0" : "") + fraction + " %";
}

std::string memory_summary(const v1::Agent& agent) {
  const uint64_t bytes = counter_of(agent, "cost_resident_bytes");
  return bytes == 0 ? "" : human_bytes(bytes);
}

bool has_unseen_sockets(const v1::Agent& agent) {
  return count_of(agent, "unwatched") + count_of(agent, "blind") > 0;
}

std::string render_sockets(const v1::AgentsResponse& answer, TableStyle style) {
  std::vector<TableColumn> columns = {
      {.title = "host", .max_width = 30},
      {.title = "verdict"},
      {.title = "why", .max_width = 24},
      {.title = "database", .max_width = 30},
      {.title = "who", .max_width = 30},
      {.title = "client", .max_width = 60},
      {.title = "server", .max_width = 4096, .takes_rest = true},
  };
  std::vector<std::vector<Cell>> rows;
  for (const v1::Agent& agent : answer.agents())
    for (const v1::HostSocket& socket : agent.sockets().sockets()) {
      const std::string network =
          socket.network_namespace() == 0 ? "" : " in network " + std::to_string(socket.network_namespace());
      rows.push_back({{safe(agent.host())},
                      {safe(socket.verdict()), tone_of(socket.verdict())},
                      {safe(socket.reason())},
                      {safe(socket.label())},
                      {who_text(socket)},
                      {socket.listening() ? "" : end_text(socket.client(), "unix")},
                      {end_text(socket.server(), "") + network}});
    }
  return render_table(std::move(columns), style, rows);
}

std::vector<std::string> sockets_remarks(const v1::AgentsResponse& answer) {
  std::vector<std::string> remarks;
  for (const v1::Agent& agent : answer.agents()) {
    const std::string name = safe(agent.host().empty() ? agent.agent_id() : agent.host());
    if (!agent.has_sockets())
      remarks.push_back(name + ": its agent has not told of sockets");
    else if (agent.sockets().left_out() > 0)
      remarks.push_back(name + ": " + human_count(agent.sockets().left_out()) +
                        " more are not listed, of which most is seen; `gatehouse agents` counts all");
  }
  return remarks;
}

}  // namespace gatehouse::cli
