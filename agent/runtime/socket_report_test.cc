// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/socket_report.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "agent/runtime/table_directory.h"

namespace gatehouse::runtime {
namespace {

constexpr SocketId kSession = 7;
const std::string kPath = "/run/postgresql/.s.PGSQL.5432";

HostSocket tcp(uint16_t port, HostSocket::State state = HostSocket::State::kUnknown, SocketId session = 0) {
  HostSocket socket{.state = state, .transport = Transport::kTcp4, .session = session, .netns = 1};
  socket.client.address = socket.server.address = {127, 0, 0, 1};
  socket.client.port = 40'000;
  socket.server.port = port;
  socket.client_end = {.process = {.pid = 100, .start_ns = 1}, .inode = 11};
  socket.server_end = {.process = {.pid = 200, .start_ns = 2}, .inode = 12};
  return socket;
}

HostSocket local(std::string path, HostSocket::State state = HostSocket::State::kUnknown) {
  HostSocket socket = tcp(0, state);
  socket.transport = Transport::kUnix;
  socket.path = std::move(path);
  return socket;
}

HostSocket listener(uint16_t port) {
  HostSocket socket = tcp(port);
  socket.is_listener = true;
  socket.client_end = {};
  return socket;
}

struct Fixture {
  identity::ProcessTable processes{{.proc_root = "", .passwd_path = ""}};
  TableDirectory directory{processes};
  BatchBuilder builder{{.agent_id = "a", .boot_id = "b", .host = "h", .agent_version = "0"}, directory};
  Shard shard{processes, builder, {}, [](const EncodedBatch&) {}};
  std::vector<uint16_t> ports{5432};

  v1::HostSockets report(const std::vector<HostSocket>& found, Watching watching, size_t sockets_max = SIZE_MAX) {
    return report_sockets({.found = found,
                           .watching = watching,
                           .shard = watching == Watching::kRunning ? &shard : nullptr,
                           .ports = ports,
                           .exe_of = [](const ProcessKey& key) { return "/bin/p" + std::to_string(key.pid); },
                           .own_netns = 1,
                           .time_unix_ns = 5,
                           .sockets_max = sockets_max});
  }
  std::string verdict(const HostSocket& socket, Watching watching) {
    const v1::HostSockets all = report({socket}, watching);
    const auto found = std::ranges::find_if(all.sockets(), [](const auto& s) { return s.server().inode() == 12; });
    return found == all.sockets().end() ? "" : found->verdict() + " " + found->reason();
  }
  void open(bool joined) {
    SocketOpened record{.socket = kSession, .time_ns = 100, .joined = joined};
    record.server.address = {127, 0, 0, 1};
    record.server.port = 5432;
    record.client_opener = {.pid = 100, .start_ns = 1};
    shard.on_socket_opened(record);
  }
};

TEST(SocketReport, VerdictOfEachKind) {
  using State = HostSocket::State;
  struct Case {
    HostSocket socket;
    Watching watching;
    std::string verdict;
  };
  const std::vector<Case> cases{
      {listener(5432), Watching::kRunning, "watched "},
      {listener(5432), Watching::kWouldWatch, "watched "},
      {listener(5432), Watching::kCannot, "unwatched no-agent"},
      {tcp(5432), Watching::kWouldWatch, "will-be-joined opened-before-watching"},
      {tcp(6000), Watching::kWouldWatch, "unwatched unnamed-port"},
      {local(kPath), Watching::kWouldWatch, "will-be-joined opened-before-watching"},
      {local("@pg"), Watching::kWouldWatch, "unwatched unnamed-path"},
      {tcp(5432), Watching::kRunning, "unwatched not-found"},
      {tcp(6000), Watching::kRunning, "unwatched unnamed-port"},
      {tcp(6000, State::kSilent), Watching::kRunning, "watched nothing-said"},
      {local(kPath), Watching::kRunning, "watched nothing-said"},
      {local("@pg"), Watching::kRunning, "unwatched unnamed-path"},
      {local("@pg", State::kSilent), Watching::kRunning, "watched nothing-said"},
      {local(kPath, State::kIgnored), Watching::kRunning, "unwatched not-postgresql"},
      // Told of in a record that is still on its way.
      {tcp(5432, State::kSession, 99), Watching::kRunning, "watched nothing-said"},
  };
  for (const Case& c : cases) {
    Fixture f;
    EXPECT_EQ(f.verdict(c.socket, c.watching), c.verdict)
        << c.socket.server.port << c.socket.path << " " << static_cast<int>(c.watching);
  }
}

TEST(SocketReport, ASessionHasItsCoverageSoFar) {
  const HostSocket socket = tcp(5432, HostSocket::State::kSession, kSession);
  Fixture f;
  f.open(false);
  EXPECT_EQ(f.verdict(socket, Watching::kRunning), "full ");
  Fixture joined;
  joined.open(true);
  EXPECT_EQ(joined.verdict(socket, Watching::kRunning), "gaps opened-before-watching");
  const Piece lost[] = {{.kind = Piece::Kind::kLost, .bytes = 9}};
  joined.shard.on_chunk({.socket = kSession, .direction = Direction::kRequest, .time_ns = 200, .pieces = lost});
  EXPECT_EQ(joined.verdict(socket, Watching::kRunning), "blind unsynced");
  joined.shard.on_socket_opaque({.socket = kSession, .time_ns = 300, .reason = SocketOpaque::Reason::kTls});
  EXPECT_EQ(joined.verdict(socket, Watching::kRunning), "opaque tls");
}

TEST(SocketReport, TellsBothEnds) {
  Fixture f;
  f.open(false);
  const v1::HostSockets report = f.report({tcp(5432, HostSocket::State::kSession, kSession)}, Watching::kRunning);
  ASSERT_EQ(report.sockets_size(), 1);
  const v1::HostSocket& socket = report.sockets(0);
  EXPECT_EQ(socket.session(), "7");
  EXPECT_EQ(socket.label(), "postgresql:5432");
  EXPECT_EQ(socket.server().address(), "127.0.0.1:5432");
  EXPECT_EQ(socket.server().pid(), 200U);
  EXPECT_EQ(socket.server().exe(), "/bin/p200");
  EXPECT_EQ(socket.client().address(), "127.0.0.1:40000");
  EXPECT_EQ(socket.client().inode(), 11U);
  EXPECT_EQ(socket.network_namespace(), 0U);
}

TEST(SocketReport, ASessionWithoutADescriptorIsTold) {
  Fixture f;
  f.open(false);
  const v1::HostSockets report = f.report({}, Watching::kRunning);
  ASSERT_EQ(report.sockets_size(), 1);
  EXPECT_EQ(report.sockets(0).verdict(), "full");
  EXPECT_EQ(report.sockets(0).client().pid(), 100U);
}

TEST(SocketReport, LeavesOutWhatIsSeenBest) {
  Fixture f;
  f.open(false);
  std::vector<HostSocket> found(5, tcp(5432, HostSocket::State::kSilent));
  found.push_back(tcp(6000));
  found.push_back(tcp(5432, HostSocket::State::kSession, kSession));
  found.push_back(listener(5432));
  const v1::HostSockets report = f.report(found, Watching::kRunning, 3);
  EXPECT_EQ(report.sockets_size(), 3);
  EXPECT_EQ(report.left_out(), 5U);
  EXPECT_EQ(report.sockets(0).verdict(), "unwatched");
  EXPECT_TRUE(report.sockets(1).listening());
  EXPECT_EQ(report.counts().at("watched"), 5U);
  EXPECT_EQ(report.counts().at("listening"), 1U);
  EXPECT_EQ(report.counts().at("full"), 1U);
  EXPECT_EQ(report.counts().at("unwatched"), 1U);
}

// A session through the shim is one, though it has two connections; what else the shim's process has is told.
TEST(SocketReport, HalvesOfGatedSessionsAreNotToldBesides) {
  Fixture f;
  f.shard.on_socket_opened({.socket = kSession, .time_ns = 1, .is_gated = true});
  HostSocket to_shim = tcp(5432), to_server = tcp(5432), elsewhere = tcp(5433);
  to_shim.server_end.process.pid = 9;
  to_server.client_end.process.pid = elsewhere.client_end.process.pid = 9;
  const std::vector<HostSocket> found{to_shim, to_server, elsewhere};
  std::vector<AgentConfig::Database> databases(1);
  databases[0].listen.push_back(parse_listen_address("5432").value());
  databases[0].gate.emplace();
  const auto count = [&](uint32_t shim_pid) {
    return report_sockets({.found = found,
                           .watching = Watching::kRunning,
                           .shard = &f.shard,
                           .ports = f.ports,
                           .databases = databases,
                           .shim_pid = shim_pid})
        .sockets_size();
  };
  EXPECT_EQ(count(0), 4);
  EXPECT_EQ(count(9), 2);
}

}  // namespace
}  // namespace gatehouse::runtime
