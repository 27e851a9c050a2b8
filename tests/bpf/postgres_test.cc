// SPDX-License-Identifier: Apache-2.0
// A real server and its own clients: every statement and every row is seen, and nothing is lost.
#include <gtest/gtest.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <string>

#include "tests/bpf/recorder.h"
#include "tests/bpf/wire.h"

namespace gatehouse::capture::test {
namespace {

constexpr uint16_t kPort = 15407;
constexpr const char* kBin = "/usr/lib/postgresql/15/bin/";

struct Output {
  int status = -1;
  std::string text;
};

Output run(const std::string& command) {
  Output output;
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen((command + " 2>&1").c_str(), "r"), [](FILE*) { return 0; });
  if (!pipe) return output;
  std::array<char, 4096> buffer{};
  while (const size_t bytes = fread(buffer.data(), 1, buffer.size(), pipe.get()))
    output.text.append(buffer.data(), bytes);
  output.status = pclose(pipe.get());
  return output;
}

std::string as_postgres(const std::string& command) {
  return "runuser -u postgres -- " + command;
}

// A throw-away server, once for all tests.
class Server : public testing::Environment {
 public:
  void SetUp() override {
    std::string name = "/tmp/gatehouse-postgres-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
    const passwd* user = getpwnam("postgres");
    ASSERT_NE(user, nullptr) << "Debian's package postgresql-15 is needed";
    ASSERT_EQ(chown(folder.c_str(), user->pw_uid, user->pw_gid), 0) << "these tests need root";
    ASSERT_EQ(chdir(folder.c_str()), 0);
    const Output init = run(as_postgres(kBin + std::string("initdb -A trust -N -D ") + folder + "/data"));
    ASSERT_EQ(init.status, 0) << init.text;
    const Output start =
        run(as_postgres(kBin + std::string("pg_ctl -w -s -l ") + folder + "/log -D " + folder + "/data -o '-p " +
                        std::to_string(kPort) + " -k " + folder + " -c fsync=off' start"));
    ASSERT_EQ(start.status, 0) << start.text;
    const Output fill = run(pgbench("-i -q"));
    ASSERT_EQ(fill.status, 0) << fill.text;
  }
  void TearDown() override {
    run(as_postgres(kBin + std::string("pg_ctl -m immediate -D ") + folder + "/data stop"));
    run("rm -rf " + folder);
  }
  std::string pgbench(const std::string& arguments, const std::string& host = "127.0.0.1") const {
    return as_postgres(kBin + std::string("pgbench -h ") + host + " -p " + std::to_string(kPort) + " " + arguments +
                       " postgres");
  }
  std::string psql(const std::string& arguments, const std::string& host = "127.0.0.1") const {
    return as_postgres("psql -X -At -h " + host + " -p " + std::to_string(kPort) + " " + arguments + " postgres");
  }
  std::string socket_path() const { return folder + "/.s.PGSQL." + std::to_string(kPort); }

  std::string folder;
};

Server* g_server = nullptr;

class Postgres : public testing::TestWithParam<bool> {
 protected:
  Postgres() : capture({.ports = {kPort}}) {}
  void SetUp() override { ASSERT_TRUE(capture.ok()); }

  [[nodiscard]] std::string host() const { return GetParam() ? g_server->folder : "127.0.0.1"; }
  std::vector<SeenSocket*> sockets() {
    return GetParam() ? capture.seen.at(g_server->socket_path()) : capture.seen.at(kPort);
  }
  // Reads the capture while the command runs, and then until all its sessions are closed.
  Output run_watched(const std::string& command) {
    auto output = std::async(std::launch::async, run, command);
    while (output.wait_for(std::chrono::milliseconds(2)) != std::future_status::ready) capture.drain();
    EXPECT_TRUE(capture.until([this] {
      const auto is_closed = [](const SeenSocket* socket) { return socket->closed.has_value(); };
      return !sockets().empty() && std::ranges::all_of(sockets(), is_closed);
    }));
    for (SeenSocket* socket : sockets()) {
      if (!socket->closed) continue;
      EXPECT_EQ(imbalance(*socket, socket->closed->stream_bytes[0], socket->closed->stream_bytes[1]), "");
      EXPECT_EQ(socket->requests().gaps + socket->responses().gaps, 0U);
      EXPECT_EQ(socket->requests().captured, socket->closed->stream_bytes[0]);
      EXPECT_EQ(socket->responses().captured, socket->closed->stream_bytes[1]);
    }
    return output.get();
  }
  // Without what comes before the frames: SSLRequest and its like, and the startup message.
  static std::string_view request_frames(SeenSocket& socket) {
    std::string_view data = socket.requests().data;
    while (data.size() >= 4 && data[0] == '\0') {
      size_t bytes = 0;
      for (size_t i = 0; i < 4; ++i) bytes = bytes << 8 | static_cast<unsigned char>(data[i]);
      data.remove_prefix(std::min(bytes, data.size()));
    }
    return data;
  }
  size_t requests_with(char tag) {
    size_t count = 0;
    for (SeenSocket* socket : sockets()) count += count_frames(request_frames(*socket), tag);
    return count;
  }
  size_t rows() {
    size_t count = 0;
    for (SeenSocket* socket : sockets()) {
      std::string_view data = socket->responses().data;
      if (data.starts_with('N')) data.remove_prefix(1);  // the answer to SSLRequest; no notice comes first here
      count += socket->responses().rows + count_frames(data, 'D') + count_frames(data, 'd');
    }
    return count;
  }

  Capture capture;
};

// Of this session: the counters are the whole host's, where others may be busy, too.
uint64_t lost_bytes(const SeenSocket& socket) {
  uint64_t bytes = 0;
  for (size_t d = 0; d < kDirections; ++d) {
    bytes += socket.stream[d].gaps + socket.stream[d].lost;
    if (socket.closed)
      for (const uint64_t lost : socket.closed->lost_bytes[d]) bytes += lost;
  }
  return bytes;
}

TEST_P(Postgres, RowsOfAResult) {
  const std::string queries = "-c 'select g, repeat(chr(120), g % 500) from generate_series(1, 20000) g' -c 'select 1'";
  const Output output = run_watched(g_server->psql(queries, host()) + " | wc -l");
  EXPECT_EQ(output.text, "20001\n");
  ASSERT_EQ(sockets().size(), 1U);
  EXPECT_EQ(rows(), 20001U);
  EXPECT_EQ(requests_with('Q'), 2U);
}

TEST_P(Postgres, CopyInAndOut) {
  const Output output = run_watched("seq 1 30000 | " +
                                    g_server->psql("-c 'create temp table t(a int)' -c 'copy t from stdin' "
                                                   "-c 'copy t to stdout'",
                                                   host()) +
                                    " | tail -1");
  EXPECT_EQ(output.text, "30000\n");
  ASSERT_EQ(sockets().size(), 1U);
  EXPECT_EQ(rows(), 30000U);
  // psql sends the file in buffers, not in lines: the bytes are exact.
  SeenStream& requests = sockets()[0]->requests();
  EXPECT_EQ(requests.captured, requests.data.size() + requests.left_out);
  EXPECT_GT(requests.left_out, 100'000U);
}

TEST_P(Postgres, EveryTransactionOfPgbench) {
  const auto self = static_cast<uint32_t>(getpid());
  for (const std::string mode : {"simple", "extended", "prepared"}) {
    capture.seen = Recorder();
    const Output output = run_watched(g_server->pgbench("-S -n -c 4 -t 5000 -M " + mode, host()));
    EXPECT_NE(output.text.find("20000/20000"), std::string::npos) << output.text;
    if (mode == "simple") {
      // pgbench's own: it looks up the scale and the partitions of its table first.
      EXPECT_EQ(requests_with('Q'), 20002U);
    } else {
      EXPECT_EQ(requests_with('E'), 20000U);
      EXPECT_EQ(requests_with('B'), 20000U);
    }
    EXPECT_GE(rows(), 20000U);
    for (SeenSocket* socket : sockets()) {
      for (const SeenChunk& chunk : socket->requests().chunks) {
        ASSERT_EQ(chunk.writer, socket->opened.client_opener);
        ASSERT_NE(chunk.writer.pid, self);
      }
      EXPECT_EQ(lost_bytes(*socket), 0U);
    }
  }
  EXPECT_EQ(capture.source().counters().malformed, 0U);
}

// The kernel gives the memory of a socket that is gone to the next one: each is a session of its own.
using PostgresByUnixSocket = Postgres;

TEST_P(PostgresByUnixSocket, ASessionForEachTransaction) {
  const Output output = run_watched(g_server->pgbench("-S -C -n -c 4 -j 4 -t 250", host()));
  EXPECT_NE(output.text.find("1000/1000"), std::string::npos) << output.text;
  // pgbench's own: it looks up the scale and the partitions of its table first, and then its clients connect.
  EXPECT_EQ(sockets().size(), 1001U);
  EXPECT_EQ(requests_with('Q'), 1002U);
}

INSTANTIATE_TEST_SUITE_P(Everywhere, PostgresByUnixSocket, testing::Values(true));
INSTANTIATE_TEST_SUITE_P(Everywhere, Postgres, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& i) { return i.param ? "Unix" : "Tcp"; });

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
