// SPDX-License-Identifier: Apache-2.0
// A real server behind a shim that moves bytes: whom it says its clients are, against what these say of themselves.
#include <gtest/gtest.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <string>

#include "tests/bpf/forwarder.h"
#include "tests/bpf/recorder.h"
#include "tests/bpf/visits.h"

namespace gatehouse::capture::test {
namespace {

using shim::Redirect;

constexpr uint16_t kPort = 15433;
constexpr const char* kBin = "/usr/lib/postgresql/15/bin/";

std::string as_postgres(const std::string& command) {
  return "runuser -u postgres -- " + command;
}

// A throw-away server, once for all tests, and a network beside the host's.
class Server : public testing::Environment {
 public:
  void SetUp() override {
    std::string name = "/tmp/gatehouse-redirect-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
    const passwd* user = getpwnam("postgres");
    ASSERT_NE(user, nullptr) << "Debian's package postgresql-15 is needed";
    ASSERT_EQ(chown(folder.c_str(), user->pw_uid, user->pw_gid), 0) << "these tests need root";
    ASSERT_EQ(chmod(folder.c_str(), 0755), 0);
    ASSERT_EQ(chdir(folder.c_str()), 0);
    run("ip netns del gh-redirect; ip link del gh-p0");
    const Output network =
        run("ip netns add gh-redirect && ip link add gh-p0 type veth peer name gh-p1 netns gh-redirect && "
            "ip addr add 10.213.8.1/24 dev gh-p0 && ip link set gh-p0 up && "
            "ip -n gh-redirect addr add 10.213.8.2/24 dev gh-p1 && ip -n gh-redirect link set gh-p1 up");
    ASSERT_EQ(network.status, 0) << network.text;
    const Output init = run(as_postgres(kBin + std::string("initdb -A trust -N -D ") + folder + "/data"));
    ASSERT_EQ(init.status, 0) << init.text;
    // By address alone: who is let in must be the client, not the shim. Unix clients are who they are.
    const Output access =
        run("printf 'local all all peer\\nhost all all 127.0.0.1/32 trust\\nhost all all ::1/128 trust\\n"
            "host all all 10.213.8.2/32 trust\\n' > " +
            folder + "/data/pg_hba.conf");
    ASSERT_EQ(access.status, 0) << access.text;
    const Output start = run(as_postgres(kBin + std::string("pg_ctl -w -s -l ") + folder + "/log -D " + folder +
                                         "/data -o '-p " + std::to_string(kPort) + " -k " + folder +
                                         " -c listen_addresses=* -c fsync=off -c log_connections=on' start"));
    ASSERT_EQ(start.status, 0) << start.text;
  }
  void TearDown() override {
    run(as_postgres(kBin + std::string("pg_ctl -m immediate -D ") + folder + "/data stop"));
    run("ip netns del gh-redirect; rm -rf " + folder);
  }
  std::string folder;
};

Server* g_server = nullptr;

class Postgres : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(capture.ok());
    ASSERT_FALSE(HasFatalFailure());
    std::string name = "/tmp/gatehouse-redirect-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    ASSERT_EQ(chmod(name.c_str(), 0755), 0);
    folder = name;
    const std::vector<shim::Place> places{place_at("0.0.0.0", kPort), place_at("::", kPort),
                                          place_at(g_server->folder + "/.s.PGSQL.15433", 0)};
    auto opened = Redirect::open({.places = places, .pin_folder = folder, .maps = capture.source().begin_gate()});
    ASSERT_TRUE(opened) << opened.error().message();
    redirect = std::move(*opened);
    forwarder = std::make_unique<Forwarder>(*redirect, places, folder);
  }
  void TearDown() override {
    forwarder.reset();
    redirect.reset();
    run("rm -rf " + folder);
  }
  // What psql prints for `queries`; its own pid is the last line.
  Output psql(const std::string& host, const std::string& queries, const std::string& before = "") {
    return run(before + as_postgres("psql -X -At -h " + host + " -p " + std::to_string(kPort) + " " + queries +
                                    " -c '\\! echo $PPID' postgres"));
  }
  // The client's own socket, as the kernel lists it, is what the server says its client is.
  void expect_seen(const std::string& host, const std::string& before = "") {
    const std::string query =
        "-c \"select host(client_addr) || ' ' || client_port from pg_stat_activity where pid = pg_backend_pid()\" "
        "-c '\\! ss -Htnp state established \"dport = :15433\" | grep \"pid=$PPID,\" | tr -s \" \" | cut -d\" \" -f3'";
    const Output output = psql(host, query, before);
    ASSERT_EQ(output.status, 0) << output.text;
    std::array<std::string, 3> lines;
    size_t at = 0;
    for (std::string& line : lines) {
      const size_t end = std::min(output.text.find('\n', at), output.text.size());
      line = output.text.substr(at, end - at);
      at = end + 1;
    }
    const size_t colon = lines[1].rfind(':');
    ASSERT_NE(colon, std::string::npos) << output.text;
    std::string own = lines[1].substr(0, colon);
    for (const char* const noise : {"[::ffff:", "[", "]"})
      if (const size_t found = own.find(noise); found != std::string::npos) own.erase(found, std::string(noise).size());
    EXPECT_EQ(lines[0], own + " " + lines[1].substr(colon + 1));
    ASSERT_FALSE(forwarder->sessions().empty());
    const Forwarded session = forwarder->sessions().back();
    EXPECT_EQ(session.client, lines[0]);
    EXPECT_EQ(std::to_string(session.opener.process.pid), lines[2]);
    EXPECT_EQ(session.opener.uid, getpwnam("postgres")->pw_uid);
    // The log says it as well.
    const Output log = run("grep -c 'connection received: host=" + lines[0].substr(0, lines[0].find(' ')) +
                           " port=" + lines[1].substr(colon + 1) + "' " + g_server->folder + "/log");
    EXPECT_EQ(log.status, 0) << log.text;
  }

  Capture capture{CaptureConfig{.ports = {kPort}}};
  std::string folder;
  std::unique_ptr<Redirect> redirect;
  std::unique_ptr<Forwarder> forwarder;
};

TEST_F(Postgres, SeesItsClientsWhereTheyAre) {
  expect_seen("127.0.0.1");
  expect_seen("::1");
  expect_seen("::ffff:127.0.0.1");
  expect_seen("10.213.8.1", "ip netns exec gh-redirect ");
  EXPECT_EQ(forwarder->sessions().size(), 4U);
  capture.drain();
  EXPECT_TRUE(capture.seen.at(kPort).empty());
}

// pg_hba lets the network's other end in, and not this one: by the client's address, not the shim's.
TEST_F(Postgres, LetsInWhoIsLetInByAddress) {
  const Output output = psql("10.213.8.1", "-c 'select 1'");
  EXPECT_NE(output.status, 0);
  EXPECT_NE(output.text.find("no pg_hba.conf entry for host \"10.213.8.1\""), std::string::npos) << output.text;
  EXPECT_EQ(forwarder->sessions().size(), 1U);
}

TEST_F(Postgres, KnowsItsPeersByUnixSocket) {
  const Output output = psql(g_server->folder,
                             "-c 'select current_user, client_addr is null from pg_stat_activity "
                             "where pid = pg_backend_pid()'");
  EXPECT_EQ(output.status, 0) << output.text;
  EXPECT_TRUE(output.text.starts_with("postgres|t\n")) << output.text;
  EXPECT_EQ(forwarder->sessions().size(), 1U);
  // The forwarder is root: as itself it would not be let in, and neither is another who asks to be postgres.
  const Output other = run("psql -X -At -h " + g_server->folder + " -p 15433 -U postgres -c 'select 1' postgres");
  EXPECT_NE(other.text.find("Peer authentication failed"), std::string::npos) << other.text;
  EXPECT_EQ(forwarder->sessions().size(), 2U);
  capture.drain();
  EXPECT_TRUE(capture.seen.at(g_server->folder + "/.s.PGSQL.15433").empty());
}

TEST_F(Postgres, GoesOnWithoutTheShim) {
  expect_seen("127.0.0.1");
  forwarder->play_dead();
  EXPECT_EQ(psql("127.0.0.1", "-c 'select 1'").status, 0);
  EXPECT_EQ(psql(g_server->folder, "-c 'select 1'").status, 0);
  EXPECT_EQ(forwarder->sessions().size(), 1U);
  // What went past the shim is watched.
  EXPECT_TRUE(capture.until([&] { return capture.seen.at(kPort).size() == 1; }));
  EXPECT_TRUE(capture.until([&] { return capture.seen.at(g_server->folder + "/.s.PGSQL.15433").size() == 1; }));
}

}  // namespace

int run_all_tests(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  g_server = new Server;  // owned by GoogleTest
  testing::AddGlobalTestEnvironment(g_server);
  return RUN_ALL_TESTS();
}

}  // namespace gatehouse::capture::test

int main(int argc, char** argv) {
  return gatehouse::capture::test::run_all_tests(argc, argv);
}
