// SPDX-License-Identifier: Apache-2.0
#include "agent/replay/ghcap.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/postgres_wire.h"

namespace gatehouse::replay {
namespace {

// Remembers every field of every record as text, so that two files can be compared.
class Journal final : public RecordSink {
 public:
  void on_socket_opened(const SocketOpened& r) override {
    add("opened", {r.socket, r.time_ns, static_cast<uint64_t>(r.transport), r.captured_at_client, r.joined, r.netns,
                   r.client.address[0], r.client.port, r.server.address[15], r.server.port, r.client_opener.pid,
                   r.client_opener.start_ns, r.server_opener.pid, r.server_opener.start_ns, r.client_uid, r.origin[0],
                   r.origin[1]});
    lines.back() += std::string(r.client.path) + '|' + std::string(r.server.path);
  }
  void on_chunk(const Chunk& r) override {
    add("chunk", {r.socket, static_cast<uint64_t>(r.direction), r.offset, r.time_ns, r.process.pid, r.process.start_ns,
                  r.writer.pid, r.writer.start_ns, r.tid});
    for (const Piece& p : r.pieces) {
      add("piece", {static_cast<uint64_t>(p.kind), p.bytes, p.rows});
      lines.back() += std::string(reinterpret_cast<const char*>(p.data.data()), p.data.size());
    }
  }
  void on_socket_opaque(const SocketOpaque& r) override {
    add("opaque", {r.socket, r.time_ns, static_cast<uint64_t>(r.reason)});
  }
  void on_socket_closed(const SocketClosed& r) override {
    add("closed", {r.socket, r.time_ns, r.stream_bytes[0], r.stream_bytes[1], r.lost_bytes[0][0], r.lost_bytes[1][3]});
  }
  void on_process_exec(const ProcessExec& r) override {
    add("exec", {r.process.pid,   r.process.start_ns,
                 r.parent.pid,    r.parent.start_ns,
                 r.time_ns,       r.uid,
                 r.gid,           r.euid,
                 r.egid,          r.loginuid,
                 r.audit_session, r.tty,
                 r.cgroup_id,     r.exe_inode,
                 r.exe_device,    r.exe_links,
                 r.pid_namespace, r.mount_namespace,
                 r.net_namespace, r.arguments_cut});
    for (const auto text : {r.exe, r.arguments, r.cwd, r.cgroup_path}) lines.back() += std::string(text) + '|';
  }
  void on_process_fork(const ProcessFork& r) override {
    add("fork", {r.parent.pid, r.parent.start_ns, r.child.pid, r.child.start_ns, r.time_ns});
  }
  void on_process_exit(const ProcessExit& r) override {
    add("exit", {r.process.pid, r.process.start_ns, r.time_ns, static_cast<uint64_t>(r.status)});
  }

  std::vector<std::string> lines;

 private:
  void add(std::string line, std::initializer_list<uint64_t> numbers) {
    for (const uint64_t number : numbers) line += ' ' + std::to_string(number);
    lines.push_back(std::move(line));
  }
};

void write_one_of_each(RecordSink& sink) {
  using namespace std::string_view_literals;
  sink.on_process_exec({.process = {1, 2},
                        .parent = {3, 4},
                        .time_ns = 5,
                        .uid = 6,
                        .gid = 7,
                        .euid = 8,
                        .egid = 9,
                        .loginuid = 10,
                        .audit_session = 11,
                        .tty = 12,
                        .cgroup_id = 13,
                        .exe_inode = 14,
                        .exe_device = 15,
                        .exe_links = 16,
                        .pid_namespace = 17,
                        .mount_namespace = 18,
                        .net_namespace = 19,
                        .exe = "/bin/psql",
                        .arguments = "psql\0-c"sv,
                        .arguments_cut = true,
                        .cwd = "/",
                        .cgroup_path = "/a.service"});
  sink.on_process_fork({.parent = {1, 2}, .child = {3, 4}, .time_ns = 5});
  SocketOpened opened{.socket = 9,
                      .time_ns = 8,
                      .transport = Transport::kUnix,
                      .captured_at_client = true,
                      .joined = true,
                      .netns = 7,
                      .client_opener = {6, 5},
                      .server_opener = {4, 3},
                      .client_uid = 2};
  opened.client.address[0] = 127;
  sink.on_socket_opened(opened);
  opened.origin = {1000, 2000};
  opened.server = {.port = 5432, .path = "/run/.s.PGSQL.5432"};
  sink.on_socket_opened(opened);
  const auto data = test::bytes_of("hello"sv);
  const Piece pieces[] = {{.bytes = 5, .data = data},
                          {.kind = Piece::Kind::kRows, .bytes = 100, .rows = 3},
                          {.kind = Piece::Kind::kCut, .bytes = 7},
                          {.kind = Piece::Kind::kLost, .bytes = 8}};
  sink.on_chunk({.socket = 9,
                 .direction = Direction::kResponse,
                 .offset = 11,
                 .time_ns = 12,
                 .process = {1, 2},
                 .writer = {3, 4},
                 .tid = 13,
                 .pieces = pieces});
  sink.on_socket_opaque({.socket = 9, .time_ns = 1, .reason = SocketOpaque::Reason::kGss});
  SocketClosed closed{.socket = 9, .time_ns = 2, .stream_bytes = {3, 4}};
  closed.lost_bytes[0][0] = 5;
  closed.lost_bytes[1][3] = 6;
  sink.on_socket_closed(closed);
  sink.on_process_exit({.process = {1, 2}, .time_ns = 3, .status = -9});
}

class GhcapTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/ghcap-test-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    path_ = folder_ + "/x.ghcap";
  }
  void TearDown() override {
    unlink(path_.c_str());
    rmdir(folder_.c_str());
  }
  std::string file_with_one_of_each() {
    {
      auto writer = Writer::create(path_);
      EXPECT_TRUE(writer.has_value());
      write_one_of_each(**writer);
      EXPECT_TRUE((*writer)->flush().has_value());
      EXPECT_EQ((*writer)->records(), 8U);
    }
    auto content = read_file(path_, 1 << 20);
    EXPECT_TRUE(content.has_value());
    return *content;
  }

  std::string folder_, path_;
};

TEST_F(GhcapTest, EveryRecordSurvives) {
  file_with_one_of_each();
  Journal want, got;
  write_one_of_each(want);
  auto source = FileSource::open(path_);
  ASSERT_TRUE(source.has_value());
  EXPECT_EQ((*source)->poll(got, 3), 3U);
  EXPECT_FALSE((*source)->at_end());
  EXPECT_EQ((*source)->poll(got, 100), 5U);
  EXPECT_TRUE((*source)->at_end());
  EXPECT_EQ((*source)->parser().outcome(), ReadOutcome::kEnd);
  EXPECT_EQ(got.lines, want.lines);
}

TEST_F(GhcapTest, ACutTailIsNotDamage) {
  const std::string file = file_with_one_of_each();
  Journal want;
  write_one_of_each(want);
  for (size_t size = 8; size < file.size(); ++size) {
    Parser parser(test::bytes_of(std::string_view(file).substr(0, size)));
    Journal got;
    while (parser.next(got)) continue;
    EXPECT_TRUE(parser.outcome() == ReadOutcome::kCut || parser.outcome() == ReadOutcome::kEnd) << size;
    ASSERT_LE(got.lines.size(), want.lines.size());
    EXPECT_TRUE(std::equal(got.lines.begin(), got.lines.end(), want.lines.begin()));
  }
}

TEST_F(GhcapTest, EveryFlippedBitIsNoticed) {
  const std::string file = file_with_one_of_each();
  for (size_t bit = 0; bit < file.size() * 8; ++bit) {
    std::string flipped = file;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    Parser parser(test::bytes_of(flipped));
    Journal got;
    while (parser.next(got)) continue;
    EXPECT_NE(parser.outcome(), ReadOutcome::kEnd) << bit;
  }
}

TEST_F(GhcapTest, NamesWhatIsWrong) {
  const auto outcome_of = [](std::string_view file) {
    Parser parser(test::bytes_of(file));
    Journal journal;
    while (parser.next(journal)) continue;
    return parser.outcome();
  };
  using namespace std::string_view_literals;
  EXPECT_EQ(outcome_of(""), ReadOutcome::kNotGhcap);
  EXPECT_EQ(outcome_of("GHCAP\0\1"sv), ReadOutcome::kNotGhcap);
  EXPECT_EQ(outcome_of("GHCAP\0\2\0"sv), ReadOutcome::kVersion);
  EXPECT_EQ(outcome_of("GHCAP\0\1\0"sv), ReadOutcome::kEnd);
  EXPECT_EQ(outcome_of("GHCAP\0\1\0\1\0\0\0\0\0\0\0\1"sv), ReadOutcome::kChecksum);
  EXPECT_EQ(outcome_of("GHCAP\0\1\0\0\0\0\2\0\0\0\0"sv), ReadOutcome::kTooLarge);
  EXPECT_EQ(outcome_of("GHCAP\0\1\0\0\0\0\0\0\0\0\0"sv), ReadOutcome::kMalformed);
  EXPECT_FALSE(FileSource::open(path_).has_value());
}

TEST_F(GhcapTest, DoesNotOverwrite) {
  file_with_one_of_each();
  EXPECT_FALSE(Writer::create(path_).has_value());
}

}  // namespace
}  // namespace gatehouse::replay
