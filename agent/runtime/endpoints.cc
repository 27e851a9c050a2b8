// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/endpoints.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <string_view>

namespace gatehouse::runtime {
namespace {

constexpr uint8_t kV4MappedPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

bool matches(const ListenAddress& rule, Transport transport, const Endpoint& server) {
  const auto v4_of_mapped = [&] {
    return std::equal(std::begin(kV4MappedPrefix), std::end(kV4MappedPrefix), server.address.begin());
  };
  switch (rule.kind) {
    case ListenAddress::Kind::kUnix:
      return transport == Transport::kUnix && rule.path == server.path;
    case ListenAddress::Kind::kHost:
      return false;  // its addresses stand beside it
    case ListenAddress::Kind::kPort:
      return transport != Transport::kUnix && rule.port == server.port;
    case ListenAddress::Kind::kTcp6:
      return transport == Transport::kTcp6 && rule.port == server.port && rule.address == server.address;
    case ListenAddress::Kind::kTcp4: {
      const bool mapped = transport == Transport::kTcp6 && v4_of_mapped();
      if ((transport != Transport::kTcp4 && !mapped) || rule.port != server.port) return false;
      const auto* bytes = server.address.data() + (mapped ? sizeof kV4MappedPrefix : 0);
      return std::equal(bytes, bytes + 4, rule.address.begin());
    }
  }
  return false;
}

}  // namespace

std::string address_text(Transport transport, const Endpoint& endpoint) {
  if (transport == Transport::kUnix) return std::string(endpoint.path);
  const uint8_t* bytes = endpoint.address.data();
  int family = transport == Transport::kTcp4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && std::equal(std::begin(kV4MappedPrefix), std::end(kV4MappedPrefix), bytes)) {
    family = AF_INET;
    bytes += sizeof kV4MappedPrefix;
  }
  char text[INET6_ADDRSTRLEN] = {};
  return inet_ntop(family, bytes, text, sizeof text) == nullptr ? std::string() : std::string(text);
}

uint32_t port_number(Transport transport, const Endpoint& endpoint) {
  if (transport != Transport::kUnix) return endpoint.port;
  constexpr std::string_view kName = ".s.PGSQL.";
  const size_t at = endpoint.path.rfind(kName);
  if (at == std::string_view::npos) return 0;
  const std::string_view digits = endpoint.path.substr(at + kName.size());
  uint32_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  return error == std::errc{} && end == digits.data() + digits.size() && port <= 65535 ? port : 0;
}

std::string end_text(const std::string& address, uint32_t port) {
  return config::format_address({.host = address, .port = static_cast<uint16_t>(port)});
}

const AgentConfig::Database* find_database(std::span<const AgentConfig::Database> databases, Transport transport,
                                           const Endpoint& server) {
  for (const AgentConfig::Database& database : databases)
    for (const ListenAddress& rule : database.listen)
      if (matches(rule, transport, server)) return &database;
  return nullptr;
}

std::string database_label(std::span<const AgentConfig::Database> databases, Transport transport,
                           const Endpoint& server) {
  if (const auto* const database = find_database(databases, transport, server)) return database->name;
  const uint32_t port = port_number(transport, server);
  return "postgresql:" + (port != 0 ? std::to_string(port) : address_text(transport, server));
}

}  // namespace gatehouse::runtime
