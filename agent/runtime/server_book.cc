// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/server_book.h"

#include <algorithm>
#include <utility>

#include "agent/runtime/endpoints.h"

namespace gatehouse::runtime {
namespace {

constexpr uint64_t kLookEveryNs = 1'000'000'000;
constexpr uint64_t kStrangerNs = 60'000'000'000;  // it may come to listen where a database is
constexpr size_t kStrangersMax = 4096;
const std::string kNone;

bool is_any(const Endpoint& endpoint) {
  return std::ranges::all_of(endpoint.address, [](uint8_t byte) { return byte == 0; });
}

// Is the listening socket one that clients of the database come to? One that takes any address takes the named ones,
// and an IPv6 one may take IPv4, too.
bool listens_for(const AgentConfig::Database& database, const HostSocket& socket) {
  Endpoint server = socket.server;
  server.path = socket.path;
  if (find_database({&database, 1}, socket.transport, server) != nullptr) return true;
  if (socket.transport == Transport::kUnix || !is_any(server)) return false;
  return std::ranges::any_of(database.listen, [&](const ListenAddress& listen) {
    using Kind = ListenAddress::Kind;
    const bool is_family =
        listen.kind == Kind::kTcp4 || (listen.kind == Kind::kTcp6 && socket.transport == Transport::kTcp6);
    return is_family && listen.port == server.port;
  });
}

}  // namespace

ServerBook::ServerBook(identity::ProcessTable& processes, Options options)
    : processes_(processes), options_(std::move(options)) {}

void ServerBook::set_databases(std::span<const AgentConfig::Database> located) {
  databases_.assign(located.begin(), located.end());
  listeners_.clear();
  strangers_.clear();
  looked_ns_ = 0;
}

const std::string* ServerBook::find(const ProcessKey& process) const {
  const auto found = listeners_.find(process);
  return found == listeners_.end() ? nullptr : &found->second;
}

const std::string& ServerBook::database_of(const ProcessKey& server, uint64_t now_boottime_ns) {
  if (databases_.empty() || !server.known()) return kNone;
  // A server serves a session itself, or in a process of its own that it forks.
  const identity::ProcessRef& image = processes_.find(server);
  const ProcessKey parent = image == nullptr ? ProcessKey{} : image->parent;
  const auto known = [&]() -> const std::string* {
    const std::string* const own = find(server);
    return own != nullptr || !parent.known() ? own : find(parent);
  };
  if (const std::string* const name = known()) return *name;
  // Its listener may be younger than the last look, and so may it.
  const ProcessKey& stranger = parent.known() ? parent : server;
  const auto met = strangers_.find(stranger);
  if (looked_ns_ != 0 && now_boottime_ns < looked_ns_ + kLookEveryNs) return kNone;
  if (met != strangers_.end() && now_boottime_ns < met->second + kStrangerNs) return kNone;
  look(now_boottime_ns);
  if (const std::string* const name = known()) return *name;
  if (strangers_.size() >= kStrangersMax) strangers_.clear();
  strangers_[stranger] = now_boottime_ns;
  return kNone;
}

void ServerBook::look(uint64_t now_boottime_ns) {
  looked_ns_ = now_boottime_ns;
  listeners_.clear();
  for (const HostSocket& socket : options_.list_sockets()) {
    if (!socket.is_listener || !socket.server_end.process.known()) continue;
    if (socket.transport != Transport::kUnix && socket.netns != options_.own_netns) continue;
    for (const AgentConfig::Database& database : databases_) {
      if (!listens_for(database, socket)) continue;
      listeners_.emplace(socket.server_end.process, database.name);
      break;
    }
  }
}

}  // namespace gatehouse::runtime
