// SPDX-License-Identifier: Apache-2.0
// What a refusal leaves behind, with a real server as the judge: the same requests go to it directly and through a gate
// that refuses some of them. Those are requests that the server fails by itself, at the same place, when they come to
// it. So both must get the same messages, but for what those errors say, and find the same afterwards.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "agent/protocol/postgres/framer.h"
#include "agent/protocol/postgres/response_messages.h"
#include "tests/support/gate_host.h"

namespace gatehouse::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kBin = "/usr/lib/postgresql/15/bin/";
constexpr int kPatienceMs = 20'000;

// A throw-away server with a Unix socket only, once for all tests.
class Postgres : public testing::Environment {
 public:
  void SetUp() override {
    std::string name = "/tmp/gatehouse-gate-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
    const passwd* user = getpwnam("postgres");
    ASSERT_NE(user, nullptr) << "Debian's package postgresql-15 is needed";
    ASSERT_EQ(chown(folder.c_str(), user->pw_uid, user->pw_gid), 0) << "these tests need root";
    ASSERT_TRUE(run("initdb -A trust -N -E UTF8 --locale=C -D " + folder + "/data"));
    ASSERT_TRUE(run("pg_ctl -w -s -l " + folder + "/log -D " + folder + "/data -o '-k " + folder +
                    " -c listen_addresses= -c fsync=off -c log_statement=all -c wal_level=logical' start"));
  }
  void TearDown() override {
    run("pg_ctl -m immediate -D " + folder + "/data stop");
    shell("rm -rf " + folder);
  }
  static bool run(const std::string& command) { return shell("cd / && runuser -u postgres -- " + (kBin + command)); }
  static bool shell(const std::string& command) {
    FILE* const pipe = popen((command + " >/dev/null 2>&1").c_str(), "r");
    return pipe != nullptr && pclose(pipe) == 0;
  }
  [[nodiscard]] int connect() const {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_un address{.sun_family = AF_UNIX};
    (folder + "/.s.PGSQL.5432").copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }
  [[nodiscard]] std::string log() const {
    std::string text;
    std::array<char, 65536> buffer{};
    const std::unique_ptr<FILE, int (*)(FILE*)> file(fopen((folder + "/log").c_str(), "r"),
                                                     [](FILE* f) { return fclose(f); });
    while (const size_t bytes = file ? fread(buffer.data(), 1, buffer.size(), file.get()) : 0)
      text.append(buffer.data(), bytes);
    return text;
  }
  std::string folder;
};
Postgres* const postgres_server = [] {
  auto* server = new Postgres;
  testing::AddGlobalTestEnvironment(server);
  return server;
}();

// A connection to the server, by hand or through a gate.
class Line {
 public:
  explicit Line(bool is_gated) : fd_(postgres_server->connect()) {
    if (is_gated) gate_ = std::make_unique<GateEnds>();
  }
  ~Line() { ::close(fd_); }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  GateEnds* gate() { return gate_.get(); }
  // Sends, in pieces of at most `chunk`, and waits until the server has said `tag` so many times more.
  std::string exchange(std::string_view bytes, char tag, size_t count, size_t chunk = SIZE_MAX) {
    const size_t before = down().size();
    for (; !bytes.empty(); bytes.remove_prefix(std::min(chunk, bytes.size()))) send(bytes.substr(0, chunk));
    seen_ = std::max(seen_, before);
    while (count_tags(std::string_view(down()).substr(before), tag) < count && !is_closed_) pump();
    return down().substr(before);
  }
  [[nodiscard]] const std::string& down() const { return gate_ ? gate_->down() : down_; }
  [[nodiscard]] const std::string& up() const { return gate_ ? gate_->up() : up_; }

 private:
  static size_t count_tags(std::string_view bytes, char tag) {
    size_t count = 0;
    for (size_t at = 0; at < bytes.size();) {
      const Step step =
          postgres::read_header(bytes_of(bytes.substr(at)), postgres::Mode::kRegular, postgres::kResponseBodyBounds);
      if (step.kind != Step::Kind::kHeader || step.frame.wire_bytes() > bytes.size() - at) break;
      count += step.frame.tag == static_cast<uint8_t>(tag);
      at += step.frame.wire_bytes();
    }
    return count;
  }
  void send(std::string_view bytes) {
    if (gate_) {
      gate_->give(Direction::kRequest, bytes);
      flush();
    } else {
      up_ += bytes;
      write_all(bytes);
    }
  }
  void flush() {
    while (flushed_ < gate_->up().size()) {
      const std::string piece = gate_->up().substr(flushed_);
      flushed_ += piece.size();
      write_all(piece);
    }
  }
  void write_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (written > 0) {
        bytes.remove_prefix(static_cast<size_t>(written));
        continue;
      }
      pollfd ready{.fd = fd_, .events = POLLOUT | POLLIN, .revents = 0};
      ASSERT_EQ(poll(&ready, 1, kPatienceMs), 1) << "the server takes nothing";
      if ((ready.revents & POLLIN) != 0) pump();
      if (is_closed_) return;
    }
  }
  void pump() {
    pollfd ready{.fd = fd_, .events = POLLIN, .revents = 0};
    std::array<char, 4096> buffer{};
    const bool is_ready = poll(&ready, 1, kPatienceMs) == 1;
    EXPECT_TRUE(is_ready) << "the server says nothing more";
    const ssize_t bytes = is_ready ? ::recv(fd_, buffer.data(), buffer.size(), 0) : 0;
    if (bytes <= 0) {
      is_closed_ = true;
      if (gate_) gate_->close(Direction::kResponse);
      return;
    }
    const std::string_view text(buffer.data(), static_cast<size_t>(bytes));
    if (!gate_) {
      down_ += text;
      return;
    }
    gate_->give(Direction::kResponse, text);
    flush();
  }

  int fd_;
  std::unique_ptr<GateEnds> gate_;
  std::string up_, down_;
  size_t flushed_ = 0, seen_ = 0;
  bool is_closed_ = false;
};

// A frame a line; of errors the severity, and what is refused by nobody but the gate is shown as what it stands for.
std::string transcript(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const Step step = postgres::read_header(bytes_of(bytes), postgres::Mode::kRegular, postgres::kResponseBodyBounds);
    if (step.kind != Step::Kind::kHeader || step.frame.wire_bytes() > bytes.size()) return out + "broken";
    const std::string_view body = bytes.substr(step.frame.header_size, step.frame.body_size);
    out += static_cast<char>(step.frame.tag);
    if (step.frame.tag == 'E') {
      const auto fields = postgres::decode_error(bytes_of(body), postgres::Body::kWhole);
      out += fields ? ' ' + std::string(fields->severity) : " not an error";
      if (fields && fields->sqlstate != "42601" && fields->sqlstate != "22012" && fields->sqlstate != "42501" &&
          fields->sqlstate != "42883" && fields->sqlstate != "0A000")
        out += ' ' + std::string(fields->sqlstate);
    } else if (step.frame.tag != 'T') {  // column descriptions have the number of a temporary table
      // NotificationResponse begins with the number of a process.
      out += ' ' + printable(step.frame.tag == 'A' ? body.substr(4) : body);
    }
    out += '\n';
    bytes.remove_prefix(step.frame.wire_bytes());
  }
  return out;
}

struct Exchange {
  std::string requests;
  size_t ready = 1;  // how many answers end it …
  char tag = 'Z';    // … and of which kind
};
struct Story {
  std::string name;
  std::vector<Exchange> exchanges;
  size_t refused = 1;
};

// Each text with FORBIDDEN fails by itself: at its Parse or Query, or when it is run.
const std::string kBadText = "SELEC 1 /* FORBIDDEN */";
const std::string kBadRun = "SELECT 1 / (random() * 0)::int /* FORBIDDEN */";
std::string run(std::string_view sql, std::string_view portal = "", size_t rows = 0) {
  return parse("", sql) + test::bind(portal, "") + describe('P', portal) + execute(portal, rows);
}
const std::string kInsert = "INSERT INTO t VALUES (1)";

std::vector<Story> stories() {
  return {
      {"simple", {{query(kBadText)}}},
      {"simple, twice and at once", {{query(kBadText) + query(kInsert) + query(kBadText) + query("SELECT 1"), 4}}, 2},
      {"in a transaction",
       {{query("BEGIN")}, {query(kInsert)}, {query(kBadText)}, {query("SELECT 1")}, {query("COMMIT")}}},
      {"in a failed transaction", {{query("BEGIN")}, {query("SELECT 1/0")}, {query(kBadText)}, {query("ROLLBACK")}}},
      {"after a savepoint",
       {{query("BEGIN; " + kInsert + "; SAVEPOINT s")},
        {query(kBadText)},
        {query("ROLLBACK TO s")},
        {query("COMMIT")}}},
      {"several statements, one of them", {{query(kInsert + "; " + kBadText + "; " + kInsert)}}},
      {"Parse, unnamed", {{run(kBadText) + sync()}}},
      {"Parse, named",
       {{parse("n", kBadText) + bind("", "n") + execute() + sync()}, {bind("", "n") + execute() + sync()}}},
      {"Parse of a name that is there",
       {{parse("n", "SELECT 5") + sync()}, {parse("n", kBadText) + sync()}, {bind("", "n") + execute() + sync()}}},
      {"unnamed statement is gone after a Parse of another",
       {{parse("", "SELECT 5") + sync()}, {parse("", kBadText) + sync()}, {bind("", "") + execute() + sync()}}},
      {"… and after a Query",
       {{parse("", "SELECT 5") + sync()}, {query(kBadText)}, {bind("", "") + execute() + sync()}}},
      {"… but not after a function call",
       {{parse("", "SELECT 5") + sync()}, {function_call(0, {})}, {bind("", "") + execute() + sync()}}},
      {"Parse behind what is allowed", {{run(kInsert) + run(kBadText) + run(kInsert) + sync()}}},
      {"Parse between segments", {{run(kInsert) + sync() + run(kBadText) + sync() + run(kInsert) + sync(), 3}}},
      {"behind what fails by itself",
       {{run("SELECT 1/(random()*0)::int") + run(kBadText) + sync() + run(kInsert) + sync(), 2}}},
      {"Execute", {{run(kBadRun) + sync()}}},
      {"Execute behind what is allowed", {{run(kInsert) + run(kBadRun) + run(kInsert) + sync()}}},
      {"Execute in a transaction",
       {{query("BEGIN")}, {run(kInsert) + run(kBadRun) + sync()}, {run("SELECT 1") + sync()}, {query("ROLLBACK")}}},
      {"Execute of what was prepared, again and again",
       {{parse("n", kBadRun) + sync()},
        {bind("", "n") + execute() + sync() + bind("", "n") + execute() + sync(), 2},
        {query("EXECUTE n")}},
       3},
      {"portals of a transaction after it",
       {{query("BEGIN")},
        {parse("n", "SELECT generate_series(1, 5)") + bind("p", "n") + execute("p", 2) + sync()},
        {execute("p", 2) + sync()},
        {parse("", kBadText) + sync()},
        {execute("p", 2) + sync()},
        {query("ROLLBACK")},
        {execute("p", 2) + sync()}}},
      {"flushed before",
       {{run(kInsert) + flush(), 1, 'C'}, {run(kBadText) + flush(), 1, 'E'}, {run(kInsert) + sync()}}},
      {"Close and Describe behind it",
       {{parse("", kBadText) + describe('S', "") + close('S', "x") + flush() + sync()}}},
      {"Query within a segment", {{run(kInsert) + query(kBadText)}, {sync()}}},
      {"function call, of none", {{function_call(0, {})}, {query("SELECT 1")}}},
      {"rows of a COPY that is not begun",
       {{parse("", kBadText) + bind("", "") + execute() + copy_data("1\n") + copy_done() + sync()}}},
      {"COPY before it",
       {{query("COPY t FROM STDIN"), 1, 'G'},
        {copy_data("1\n2\n") + copy_done()},
        {query(kBadText)},
        {query("SELECT 1")}}},
      {"COPY in a pipeline",
       {{run("COPY t FROM STDIN"), 0}, {copy_data("7\n") + copy_done() + run(kBadText) + run(kInsert) + sync()}}},
      {"COPY with a Sync of its own, as libpq does it",
       {{run("COPY t FROM STDIN") + sync(), 1, 'G'},
        {copy_data("7\n") + copy_done() + sync()},
        {run(kBadText) + sync()}}},
      {"COPY that fails",
       {{query("COPY t FROM STDIN"), 1, 'G'}, {copy_data("x\n") + copy_done() + query(kBadText), 2}}},
      {"COPY out", {{query("COPY t TO STDOUT") + query(kBadText), 2}}},
      {"notices and settings around it",
       {{query("DO $$BEGIN RAISE NOTICE 'n'; END$$; SET application_name = 'a'") + query(kBadText) + query("SELECT 2"),
         3}}},
      {"listening", {{query("LISTEN c; NOTIFY c, 'x'") + query(kBadText) + query("UNLISTEN c"), 3}}},
      {"a cursor",
       {{query("BEGIN; DECLARE c CURSOR FOR SELECT 1")}, {query("FETCH c")}, {query(kBadText)}, {query("ROLLBACK")}}},
  };
}

Ruling refuse_forbidden(const Activity& request, Purpose purpose) {
  const bool is_forbidden = request.text.find("FORBIDDEN") != request.text.npos ||
                            request.resolved_text.find("FORBIDDEN") != request.resolved_text.npos ||
                            request.text == "FUNCTION CALL 0";
  // What fails only when it is run is refused only then.
  const bool is_later = purpose == Purpose::kPrepare && request.text == kBadRun;
  const bool changes = request.text.starts_with("SET") || request.text.starts_with("PREPARE") ||
                       request.text.find("DECLARE") != request.text.npos;
  if (is_forbidden && !is_later) return {.kind = Ruling::Kind::kRefuse, .message = "refused by test"};
  return {.changes_state = changes};
}

const std::string kProbe = query("SELECT count(*) FROM t") +
                           query("SELECT name, statement FROM pg_prepared_statements ORDER BY 1") +
                           query("SELECT name FROM pg_cursors ORDER BY 1") + run("SELECT 1") + sync();

// What was said in answer to the login differs by process and key.
void log_in(Line& line) {
  line.exchange(startup({"user", "postgres", "database", "postgres"}), 'Z', 1);
  line.exchange(query("CREATE TEMP TABLE t (a int)"), 'Z', 1);
}

TEST(GateOnServer, RefusalsLeaveWhatErrorsLeave) {
  for (const Story& story : stories())
    for (const size_t chunk : {SIZE_MAX, size_t{1}, size_t{11}}) {
      Line direct{false}, gated{true};
      gated.gate()->rule = refuse_forbidden;
      log_in(direct);
      log_in(gated);
      for (const Exchange& exchange : story.exchanges) {
        const std::string want = direct.exchange(exchange.requests, exchange.tag, exchange.ready, chunk);
        const std::string got = gated.exchange(exchange.requests, exchange.tag, exchange.ready, chunk);
        EXPECT_EQ(transcript(got), transcript(want)) << story.name << ' ' << chunk;
      }
      EXPECT_EQ(transcript(gated.exchange(kProbe, 'Z', 4)), transcript(direct.exchange(kProbe, 'Z', 4))) << story.name;
      GateEnds& gate = *gated.gate();
      EXPECT_EQ(gate.refused.size(), story.refused) << story.name;
      EXPECT_EQ(gate.gate.counters().refused, story.refused);
      EXPECT_THAT(gate.wrong, IsEmpty()) << story.name;
      EXPECT_FALSE(gate.ended) << story.name;
      const bool is_prepared = gated.up().find(kBadRun) != std::string::npos;
      if (!is_prepared) {
        EXPECT_THAT(gated.up(), Not(HasSubstr("FORBIDDEN"))) << story.name;
      }
      EXPECT_TRUE(gate.gate.is_idle()) << story.name;
      if (HasFailure()) return;
    }
}

// The server's own log tells what has come to it.
TEST(GateOnServer, NothingOfARefusedTextComesToTheServer) {
  const std::string secret = "SECRETWORD";
  const std::vector<std::string> attempts{
      query("SELECT '" + secret + "'"),
      query("SELECT 1; SELECT '" + secret + "'"),
      run("SELECT '" + secret + "'") + sync(),
      run("SELECT 1") + parse("s", "SELECT '" + secret + "'") + bind("", "s") + execute() + sync(),
      parse("", "SELECT 1") + sync() + query("/* " + std::string(70'000, ' ') + "*/ SELECT '" + secret + "'"),
  };
  size_t refused = 0;
  for (const std::string& attempt : attempts)
    for (size_t chunk = 1; chunk < std::min<size_t>(attempt.size(), 140); chunk += 1 + chunk / 8) {
      Line line{true};
      line.gate()->rule = [&](const Activity& request, Purpose) -> Ruling {
        if (request.text.find(secret) == request.text.npos) return {};
        return {.kind = Ruling::Kind::kRefuse, .message = "no"};
      };
      log_in(line);
      const size_t ready = attempt.find(sync() + "Q") == attempt.npos ? 1 : 2;
      line.exchange(attempt, 'Z', ready, attempt.size() > 10'000 ? chunk * 100 : chunk);
      refused += line.gate()->refused.size();
      EXPECT_EQ(line.up().find(secret), std::string::npos);
      EXPECT_THAT(transcript(line.exchange(kProbe, 'Z', 4)), Not(HasSubstr("broken")));
    }
  EXPECT_GT(refused, 100U);
  EXPECT_THAT(postgres_server->log(), Not(HasSubstr(secret)));
  EXPECT_THAT(postgres_server->log(), HasSubstr("gatehouse: refused"));
}

TEST(GateOnServer, Replication) {
  for (const std::string_view database : {"true", "database"}) {
    Line direct{false}, gated{true};
    gated.gate()->rule = [](const Activity& request, Purpose) -> Ruling {
      const bool is_forbidden = request.text.find("FORBIDDEN") != request.text.npos;
      return {.kind = is_forbidden ? Ruling::Kind::kRefuse : Ruling::Kind::kRelease};
    };
    for (Line* line : {&direct, &gated})
      line->exchange(startup({"user", "postgres", "database", "postgres", "replication", database}), 'Z', 1);
    for (const std::string& text :
         {query("IDENTIFY_SYSTEM"), query("SHOW FORBIDDEN FORBIDDEN"), query("SHOW wal_level"),
          query("SELECT 1 1 /* FORBIDDEN */"), query("IDENTIFY_SYSTEM")})
      EXPECT_EQ(transcript(gated.exchange(text, 'Z', 1)), transcript(direct.exchange(text, 'Z', 1)));
    EXPECT_THAT(gated.gate()->judged, ::testing::Contains(HasSubstr("run replication unknown {IDENTIFY_SYSTEM}")));
    EXPECT_EQ(gated.gate()->refused.size(), 2U);
    EXPECT_THAT(gated.up(), Not(HasSubstr("FORBIDDEN")));
  }
}

// Terminated: the server's end goes as well.
TEST(GateOnServer, Terminates) {
  Line line{true};
  line.gate()->rule = [](const Activity& request, Purpose) -> Ruling {
    const bool is_forbidden = request.text.find("FORBIDDEN") != request.text.npos;
    return {.kind = is_forbidden ? Ruling::Kind::kTerminate : Ruling::Kind::kRelease, .message = "out"};
  };
  log_in(line);
  const std::string got = line.exchange(run(kInsert) + run("SELECT 1 /* FORBIDDEN */") + sync(), 'E', 1);
  EXPECT_THAT(transcript(got), ::testing::EndsWith("C INSERT 0 1\\x00\nE FATAL\n"));
  EXPECT_EQ(line.gate()->ended, End::kTerminated);
}

}  // namespace
}  // namespace gatehouse::test
