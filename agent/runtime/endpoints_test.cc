// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/endpoints.h"

#include <gtest/gtest.h>

namespace gatehouse::runtime {
namespace {

Endpoint tcp(std::initializer_list<uint8_t> address, uint16_t port) {
  Endpoint endpoint;
  std::copy(address.begin(), address.end(), endpoint.address.begin());
  endpoint.port = port;
  return endpoint;
}

TEST(Endpoints, AddressesAsPeopleWriteThem) {
  EXPECT_EQ(address_text(Transport::kTcp4, tcp({127, 0, 0, 1}, 1)), "127.0.0.1");
  EXPECT_EQ(address_text(Transport::kTcp6, tcp({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 1)), "::1");
  EXPECT_EQ(address_text(Transport::kTcp6, tcp({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 7}, 1)), "10.0.0.7");
  EXPECT_EQ(address_text(Transport::kUnix, {.path = "@abstract"}), "@abstract");
}

TEST(Endpoints, PortOfAUnixSocketIsInItsName) {
  EXPECT_EQ(port_number(Transport::kUnix, {.path = "/run/postgresql/.s.PGSQL.5433"}), 5433U);
  EXPECT_EQ(port_number(Transport::kUnix, {.path = "/run/postgresql/.s.PGSQL.x"}), 0U);
  EXPECT_EQ(port_number(Transport::kUnix, {.path = "/run/postgresql/.s.PGSQL.99999"}), 0U);
  EXPECT_EQ(port_number(Transport::kUnix, {.path = "/tmp/other"}), 0U);
}

TEST(Endpoints, FirstMatchingEntryNamesTheDatabase) {
  const auto listen = [](std::string_view text) { return parse_listen_address(text).value(); };
  const std::vector<AgentConfig::Database> labels{
      {.name = "orders", .listen = {listen("127.0.0.1:5432"), listen("unix:/run/.s.PGSQL.5432")}, .labels = {}},
      {.name = "any", .listen = {listen("5432")}, .labels = {}},
  };
  EXPECT_EQ(database_label(labels, Transport::kTcp4, tcp({127, 0, 0, 1}, 5432)), "orders");
  EXPECT_EQ(database_label(labels, Transport::kTcp6, tcp({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1}, 5432)),
            "orders");
  EXPECT_EQ(database_label(labels, Transport::kTcp4, tcp({10, 0, 0, 1}, 5432)), "any");
  EXPECT_EQ(database_label(labels, Transport::kUnix, {.path = "/run/.s.PGSQL.5432"}), "orders");
  EXPECT_EQ(database_label(labels, Transport::kTcp4, tcp({10, 0, 0, 1}, 6000)), "postgresql:6000");
  EXPECT_EQ(database_label(labels, Transport::kUnix, {.path = "/tmp/x"}), "postgresql:/tmp/x");
}

}  // namespace
}  // namespace gatehouse::runtime
