// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/socket_report.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "agent/runtime/endpoints.h"
#include "common/coverage.h"
#include "common/utf8.h"

namespace gatehouse::runtime {
namespace {

constexpr std::string_view kWatched = "watched";
constexpr std::string_view kUnwatched = "unwatched";

struct Judgement {
  std::string_view verdict;
  std::string_view reason;
};

std::string utf8(std::string_view bytes) {
  std::string text;
  append_as_utf8(text, bytes);
  return text;
}

std::string with_port(Transport transport, const Endpoint& endpoint) {
  const std::string address = address_text(transport, endpoint);
  const bool is_v6 = address.find(':') != std::string::npos;
  return (is_v6 ? "[" + address + "]" : address) + ":" + std::to_string(endpoint.port);
}

// Where PostgreSQL's sockets are looked for, see docs/bpf-hooks.md.
bool is_named(const SocketSurvey& survey, const HostSocket& socket) {
  if (socket.transport == Transport::kUnix) return socket.path.find(".s.PGSQL.") != std::string::npos;
  return std::ranges::find(survey.ports, socket.server.port) != survey.ports.end();
}

Judgement judge_unnamed(const HostSocket& socket) {
  return {kUnwatched, socket.transport == Transport::kUnix ? "unnamed-path" : "unnamed-port"};
}

// A connection that is no session of the agent's.
Judgement judge_stranger(const SocketSurvey& survey, const HostSocket& socket) {
  if (survey.watching == Watching::kWouldWatch) {
    if (!is_named(survey, socket)) return judge_unnamed(socket);
    return {"will-be-joined", "opened-before-watching"};
  }
  // A Unix connection gets a state when it speaks; at a named path it is joined then at the latest.
  const bool is_silent =
      socket.state == HostSocket::State::kSilent || socket.state == HostSocket::State::kSession ||
      (socket.state == HostSocket::State::kUnknown && socket.transport == Transport::kUnix && is_named(survey, socket));
  if (is_silent) return {kWatched, "nothing-said"};
  if (socket.state == HostSocket::State::kIgnored) return {kUnwatched, "not-postgresql"};
  if (!is_named(survey, socket)) return judge_unnamed(socket);
  return {kUnwatched, "not-found"};
}

Judgement judge(const SocketSurvey& survey, const HostSocket& socket, const SessionView* session) {
  if (survey.watching == Watching::kCannot) return {kUnwatched, "no-agent"};
  if (socket.is_listener) return {kWatched, ""};
  if (session != nullptr) return {to_text(session->verdict), session->reason};
  return judge_stranger(survey, socket);
}

void fill_end(v1::SocketEnd& end, std::string address, const ProcessKey& process, uint64_t inode,
              const SocketSurvey& survey) {
  end.set_address(std::move(address));
  end.set_inode(static_cast<uint32_t>(inode));
  if (!process.known()) return;
  end.set_pid(process.pid);
  if (survey.exe_of) end.set_exe(utf8(survey.exe_of(process)));
}

const ProcessKey& first_known(const ProcessKey& first, const ProcessKey& second) {
  return first.known() ? first : second;
}

void fill_session(v1::HostSocket& out, const SessionView& session) {
  out.set_session(std::to_string(session.socket));
  out.set_user(utf8(session.facts.user));
  out.set_database(utf8(session.facts.database));
  out.set_label(utf8(session.facts.database_label));
}

void fill_socket(v1::HostSocket& out, const SocketSurvey& survey, const HostSocket& socket,
                 const SessionView* session) {
  const Judgement judgement = judge(survey, socket, session);
  out.set_verdict(std::string(judgement.verdict));
  out.set_reason(std::string(judgement.reason));
  out.set_listening(socket.is_listener);
  const bool is_unix = socket.transport == Transport::kUnix;
  out.set_transport(is_unix ? "unix" : "tcp");
  if (socket.netns != survey.own_netns) out.set_network_namespace(socket.netns);
  const ProcessKey nobody{};
  // Who answers is known better by the records than by who has a descriptor.
  fill_end(*out.mutable_server(), is_unix ? utf8(socket.path) : with_port(socket.transport, socket.server),
           first_known(session != nullptr ? session->server : nobody, socket.server_end.process),
           socket.server_end.inode, survey);
  if (!socket.is_listener)
    fill_end(*out.mutable_client(), is_unix ? "" : with_port(socket.transport, socket.client),
             first_known(socket.client_end.process, session != nullptr ? session->opener : nobody),
             socket.client_end.inode, survey);
  if (session != nullptr) return fill_session(out, *session);
  Endpoint server = socket.server;
  server.path = socket.path;
  out.set_label(utf8(database_label(survey.databases, socket.transport, server)));
}

// One half of a session that goes through the shim.
bool is_leg(const SocketSurvey& survey, const HostSocket& socket) {
  if (survey.shim_pid == 0 || socket.is_listener) return false;
  if (socket.server_end.process.pid == survey.shim_pid) return true;
  if (socket.client_end.process.pid != survey.shim_pid) return false;
  Endpoint server = socket.server;
  server.path = socket.path;
  const AgentConfig::Database* const database = find_database(survey.databases, socket.transport, server);
  return database != nullptr && database->gate;
}

// A session whose socket nobody has a descriptor of, or that was made or closed meanwhile.
void fill_unfound(v1::HostSocket& out, const SocketSurvey& survey, const SessionView& session) {
  const SessionFacts& facts = session.facts;
  const bool is_unix = facts.transport == Transport::kUnix;
  out.set_verdict(std::string(to_text(session.verdict)));
  out.set_reason(std::string(session.reason));
  out.set_transport(is_unix ? "unix" : "tcp");
  fill_end(*out.mutable_server(),
           is_unix ? utf8(facts.server_address) : end_text(facts.server_address, facts.server_port), session.server, 0,
           survey);
  fill_end(*out.mutable_client(), is_unix ? "" : end_text(facts.client_address, facts.client_port), session.opener, 0,
           survey);
  fill_session(out, session);
}

// What is seen least comes first; among equals, who listens.
int rank_of(const v1::HostSocket& socket) {
  static constexpr std::array<std::string_view, 7> kOrder{"unwatched", "blind",          "opaque", "gaps",
                                                          "truncated", "will-be-joined", "watched"};
  const auto* const found = std::ranges::find(kOrder, socket.verdict());
  return static_cast<int>(found - kOrder.begin()) * 2 - (socket.listening() ? 1 : 0);
}

}  // namespace

v1::HostSockets report_sockets(const SocketSurvey& survey) {
  std::unordered_map<SocketId, SessionView> sessions;
  if (survey.shard != nullptr)
    survey.shard->for_each_session([&](const SessionView& session) { sessions.emplace(session.socket, session); });
  std::vector<v1::HostSocket> all;
  all.reserve(survey.found.size());
  for (const HostSocket& socket : survey.found) {
    if (is_leg(survey, socket)) continue;
    const auto session = socket.session == 0 ? sessions.end() : sessions.find(socket.session);
    fill_socket(all.emplace_back(), survey, socket, session == sessions.end() ? nullptr : &session->second);
    if (session != sessions.end()) sessions.erase(session);
  }
  for (const auto& [id, session] : sessions) fill_unfound(all.emplace_back(), survey, session);
  std::ranges::stable_sort(all, {}, rank_of);
  v1::HostSockets report;
  report.set_time_ns(survey.time_unix_ns);
  for (v1::HostSocket& socket : all) {
    const bool is_heard = socket.listening() && socket.verdict() == kWatched;
    ++(*report.mutable_counts())[is_heard ? "listening" : socket.verdict()];
    if (static_cast<size_t>(report.sockets_size()) < survey.sockets_max) *report.add_sockets() = std::move(socket);
  }
  report.set_left_out(static_cast<uint32_t>(all.size() - static_cast<size_t>(report.sockets_size())));
  return report;
}

uint32_t own_network_namespace() {
  struct stat status{};
  return ::stat("/proc/self/ns/net", &status) == 0 ? static_cast<uint32_t>(status.st_ino) : 0;
}

}  // namespace gatehouse::runtime
