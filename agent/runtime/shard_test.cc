// SPDX-License-Identifier: Apache-2.0
// The middle of the agent on recorded sessions. The oracle is the corpus's transcript (NAME.want), which
// agent/replay/corpus_test.cc holds against the server's own log, and protobuf's parser.
#include "agent/runtime/shard.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "agent/judge/examiner.h"
#include "agent/replay/ghcap.h"
#include "agent/runtime/subjects.h"
#include "agent/runtime/table_directory.h"
#include "gatehouse/v1/event.pb.h"
#include "rules/schema/event.h"
#include "tests/support/postgres_wire.h"

namespace gatehouse::runtime {
namespace {

const std::filesystem::path kCorpus = std::filesystem::path(GH_SOURCE_DIR) / "tests/corpus/postgres";

struct Fixture {
  explicit Fixture(size_t events_max = kBatchEventsMax)
      : builder({.agent_id = "a", .boot_id = "b", .host = "h", .agent_version = "0", .events_max = events_max},
                directory),
        shard(processes, builder, {}, [this](const EncodedBatch& encoded) { take(encoded); }) {}

  // Each batch must parse, continue the sequence, and carry every session and process that it names.
  void take(const EncodedBatch& encoded) {
    v1::Batch batch;
    ASSERT_TRUE(batch.ParseFromString(encoded.bytes));
    EXPECT_EQ(batch.first_sequence(), next_sequence);
    next_sequence += static_cast<uint64_t>(batch.events_size());
    std::set<uint64_t> session_ids, process_ids;
    for (const auto& session : batch.sessions()) {
      EXPECT_TRUE(session_ids.insert(session.id()).second);
      sessions[session.id()] = session;
    }
    for (const auto& process : batch.processes()) {
      EXPECT_TRUE(process_ids.insert(process.id()).second);
      named[process.id()] = process;
    }
    for (const auto& event : batch.events()) {
      EXPECT_TRUE(event.session() == 0 || session_ids.contains(event.session()));
      EXPECT_TRUE(event.process() == 0 || process_ids.contains(event.process()));
      events.push_back(event);
    }
    ++batches;
  }
  void finish() {
    shard.close_all(shard.latest_record_ns());
    shard.flush(shard.latest_record_ns(), true);
  }
  [[nodiscard]] std::vector<v1::Gap> gaps() const {
    std::vector<v1::Gap> found;
    for (const auto& event : events)
      if (event.has_gap()) found.push_back(event.gap());
    return found;
  }

  identity::ProcessTable processes{{.proc_root = "", .passwd_path = ""}};
  TableDirectory directory{processes};
  BatchBuilder builder;
  Shard shard;
  std::vector<v1::Event> events;
  std::map<uint64_t, v1::Session> sessions;
  std::map<uint64_t, v1::Process> named;
  uint64_t next_sequence = 1;
  size_t batches = 0;
};

std::vector<std::string> names_of_corpus() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kCorpus))
    if (entry.path().extension() == ".ghcap") names.push_back(entry.path().stem());
  return names;
}

// Events of each kind that the transcript tells of: its lines begin with the kind, or with how a statement was sent.
std::map<std::string, size_t> kinds_wanted(const std::string& name) {
  std::map<std::string, size_t> kinds;
  std::ifstream file(kCorpus / (name + ".want"));
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.front() == '#') continue;
    const std::string word = line.substr(0, line.find(' '));
    const bool is_other = word == "connect" || word == "authenticate" || word == "disconnect" || word == "cancel" ||
                          word == "notify" || word == "opaque";
    ++kinds[is_other ? word : "statement"];
  }
  return kinds;
}

std::string kind_of(const v1::Event& event) {
  switch (event.body_case()) {
    case v1::Event::kConnect:
      return "connect";
    case v1::Event::kAuthenticate:
      return "authenticate";
    case v1::Event::kStatement:
      return "statement";
    case v1::Event::kCancel:
      return "cancel";
    case v1::Event::kNotification:
      return "notify";
    case v1::Event::kOpaque:
      return "opaque";
    case v1::Event::kDisconnect:
      return "disconnect";
    default:
      return "other";
  }
}

TEST(Shard, EveryActivityOfTheCorpusBecomesOneEvent) {
  for (const std::string& name : names_of_corpus()) {
    for (const size_t events_max : {size_t{1}, size_t{7}, kBatchEventsMax}) {
      Fixture f(events_max);
      auto source = replay::FileSource::open(kCorpus / (name + ".ghcap"));
      ASSERT_TRUE(source);
      while (!(*source)->at_end()) (*source)->poll(f.shard, 64);
      f.finish();
      std::map<std::string, size_t> kinds;
      for (const auto& event : f.events) ++kinds[kind_of(event)];
      EXPECT_EQ(kinds, kinds_wanted(name)) << name;
      EXPECT_EQ(f.shard.counters().activities, f.events.size()) << name;
      EXPECT_EQ(f.shard.counters().statements, kinds["statement"]) << name;
      EXPECT_EQ(f.shard.open_sessions(), 0U);
      EXPECT_TRUE(f.gaps().empty()) << name;
    }
  }
}

SocketOpened opened(bool joined) {
  SocketOpened record;
  record.socket = 7;
  record.time_ns = 100;
  record.joined = joined;
  return record;
}

void send(Fixture& f, Direction direction, uint64_t offset, std::string_view bytes) {
  const Piece piece{.kind = Piece::Kind::kData,
                    .bytes = static_cast<uint32_t>(bytes.size()),
                    .data = std::as_bytes(std::span(bytes.data(), bytes.size()))};
  Chunk chunk{.socket = 7, .direction = direction, .offset = offset, .time_ns = 200};
  chunk.pieces = {&piece, 1};
  f.shard.on_chunk(chunk);
}

TEST(Shard, ASessionThatWasOpenBeforeSaysSo) {
  Fixture f;
  f.shard.on_socket_opened(opened(true));
  f.finish();
  ASSERT_EQ(f.gaps().size(), 1U);
  EXPECT_EQ(f.gaps()[0].reason(), "opened-before-watching");
  EXPECT_EQ(f.events[0].fidelity(), v1::FIDELITY_JOINED_MID_STREAM);
  EXPECT_EQ(f.events[0].session(), 7U);
}

TEST(Shard, LostBytesAreReportedWithTheirPlaceAndStandInTheTotals) {
  using std::string_view_literals::operator""sv;
  Fixture f;
  f.shard.on_socket_opened(opened(false));
  constexpr std::string_view kStartup = "\0\0\0\x10\0\3\0\0user\0u\0\0"sv;
  send(f, Direction::kRequest, 0, kStartup);
  send(f, Direction::kRequest, 16 + 1000, "Q\0\0\0\x0dSELECT 1\0"sv);
  f.shard.on_socket_closed({.socket = 7, .time_ns = 300, .stream_bytes = {16 + 1000 + 14, 50}});
  f.finish();
  const auto gaps = f.gaps();
  ASSERT_EQ(gaps.size(), 3U);
  EXPECT_FALSE(gaps[0].response());
  EXPECT_EQ(gaps[0].offset(), 16U);
  EXPECT_EQ(gaps[0].bytes(), 1000U);
  // What came after it is not known to begin a message, so it is not read.
  EXPECT_EQ(gaps[1].reason(), "unsynced");
  EXPECT_EQ(gaps[1].offset(), 1016U);
  EXPECT_EQ(gaps[1].bytes(), 14U);
  EXPECT_TRUE(gaps[2].response());
  EXPECT_EQ(gaps[2].bytes(), 50U);
  ASSERT_TRUE(f.events.back().has_disconnect());
  EXPECT_EQ(f.events.back().disconnect().lost_request_bytes(), 1014U);
  EXPECT_EQ(f.events.back().disconnect().lost_response_bytes(), 50U);
  EXPECT_EQ(f.events.back().disconnect().request_bytes(), 16U + 1000 + 14);
  for (const auto& event : f.events) EXPECT_FALSE(event.has_statement() && event.fidelity() == v1::FIDELITY_COMPLETE);
}

// The client writes, and is another program, or another user, when the answer comes.
TEST(Shard, AStatementBelongsToTheImageThatWroteIt) {
  constexpr ProcessKey kClient{.pid = 30, .start_ns = 30'000};
  Fixture f;
  uint64_t offsets[2] = {0, 0};
  uint64_t time_ns = 1000;
  const auto say = [&](Direction direction, const std::string& bytes, uint32_t uid) {
    const Piece piece{.bytes = static_cast<uint32_t>(bytes.size()), .data = test::bytes_of(bytes)};
    uint64_t& offset = offsets[static_cast<size_t>(direction)];
    f.shard.on_chunk({.socket = 1,
                      .direction = direction,
                      .offset = offset,
                      .time_ns = ++time_ns,
                      .writer = direction == Direction::kRequest ? kClient : ProcessKey{},
                      .writer_uid = uid,
                      .pieces = {&piece, 1}});
    offset += bytes.size();
  };
  const auto exec = [&](std::string_view exe) {
    f.shard.on_process_exec({.process = kClient, .time_ns = ++time_ns, .uid = 7, .euid = 7, .exe = exe});
  };
  const auto answer = [&] { say(Direction::kResponse, test::complete("SELECT 1") + test::ready(), UINT32_MAX); };
  exec("/first");
  f.shard.on_socket_opened({.socket = 1, .time_ns = ++time_ns, .client_opener = kClient, .client_uid = 7});
  say(Direction::kRequest, test::startup({"user", "u"}), 7);
  say(Direction::kResponse, test::welcome(), UINT32_MAX);
  say(Direction::kRequest, test::query("one"), 7);
  exec("/second");
  answer();
  say(Direction::kRequest, test::query("two"), 7);
  answer();
  say(Direction::kRequest, test::query("three"), 8);
  answer();
  say(Direction::kRequest, test::query("four"), 8);
  answer();
  f.finish();
  std::string told;
  for (const auto& event : f.events)
    if (event.has_statement()) {
      const v1::Process& process = f.named.at(event.process());
      told += event.statement().text() + " by " + process.exe() + " as " + std::to_string(process.uid()) + "; ";
    }
  EXPECT_EQ(told, "one by /first as 7; two by /second as 7; three by /second as 8; four by /second as 8; ");
  EXPECT_EQ(f.named.at(f.sessions.at(1).opener_process()).exe(), "/first");
}

uint64_t accounted(const v1::StreamCoverage& stream) {
  uint64_t bytes =
      stream.begin() + stream.decoded() + stream.left_out() + stream.cut() + stream.withheld() + stream.opaque();
  for (const v1::Lost& lost : stream.lost()) bytes += lost.bytes();
  return bytes;
}

// The last event, which must be a disconnect whose account balances.
v1::Coverage coverage_of(const Fixture& f) {
  EXPECT_FALSE(f.events.empty() || !f.events.back().has_disconnect());
  const v1::Coverage& coverage = f.events.back().disconnect().coverage();
  EXPECT_EQ(accounted(coverage.request()), coverage.request().end());
  EXPECT_EQ(accounted(coverage.response()), coverage.response().end());
  return coverage;
}

// Whole, cut into pieces, and with any one of its chunks lost, the account of a recorded session balances.
class Loser final : public RecordSink {
 public:
  Loser(RecordSink& sink, size_t lost) : sink_(sink), lost_(lost) {}
  void on_socket_opened(const SocketOpened& r) override { sink_.on_socket_opened(r); }
  void on_chunk(const Chunk& r) override {
    if (chunks++ != lost_) sink_.on_chunk(r);
  }
  void on_socket_opaque(const SocketOpaque& r) override { sink_.on_socket_opaque(r); }
  void on_socket_closed(const SocketClosed& r) override { sink_.on_socket_closed(r); }
  void on_process_exec(const ProcessExec& r) override { sink_.on_process_exec(r); }
  void on_process_fork(const ProcessFork& r) override { sink_.on_process_fork(r); }
  void on_process_exit(const ProcessExit& r) override { sink_.on_process_exit(r); }
  size_t chunks = 0;

 private:
  RecordSink& sink_;
  size_t lost_;
};

TEST(Shard, TheAccountOfEveryRecordedSessionBalances) {
  for (const std::string& name : names_of_corpus()) {
    for (size_t lost = 0; lost <= 40; ++lost) {
      Fixture f;
      auto source = replay::FileSource::open(kCorpus / (name + ".ghcap"));
      ASSERT_TRUE(source);
      Loser loser(f.shard, lost == 40 ? SIZE_MAX : lost);
      while (!(*source)->at_end()) (*source)->poll(loser, 64);
      f.finish();
      size_t sessions = 0;
      for (const auto& event : f.events) {
        if (!event.has_disconnect()) continue;
        ++sessions;
        const v1::Coverage& coverage = event.disconnect().coverage();
        EXPECT_EQ(accounted(coverage.request()), event.disconnect().request_bytes()) << name << ' ' << lost;
        EXPECT_EQ(accounted(coverage.response()), event.disconnect().response_bytes()) << name << ' ' << lost;
        if (lost == 40 && coverage.opaque_reason().empty()) {
          EXPECT_EQ(coverage.verdict(), v1::COVERAGE_VERDICT_FULL) << name;
        }
      }
      EXPECT_GT(sessions, 0U) << name;
    }
  }
}

TEST(Shard, CoverageSaysWhereBytesAreMissing) {
  using std::string_view_literals::operator""sv;
  Fixture f;
  f.shard.on_socket_opened(opened(false));
  send(f, Direction::kRequest, 0, "\0\0\0\x10\0\3\0\0user\0u\0\0"sv);
  send(f, Direction::kRequest, 16 + 1000, "Q\0\0\0\x0dSELECT 1\0"sv);
  send(f, Direction::kRequest, 16 + 1000 + 14 + 500, "Q\0\0\0\x0dSELECT 2\0"sv);
  f.shard.on_socket_closed({.socket = 7, .time_ns = 300, .stream_bytes = {16 + 1000 + 14 + 500 + 14, 0}});
  f.finish();
  const v1::Coverage coverage = coverage_of(f);
  EXPECT_EQ(coverage.verdict(), v1::COVERAGE_VERDICT_GAPS);
  ASSERT_EQ(coverage.request().lost_size(), 2);
  const v1::Lost& lost = coverage.request().lost(0);
  EXPECT_EQ(lost.reason(), "ring-full");
  EXPECT_EQ(lost.bytes(), 1500U);
  EXPECT_EQ(lost.gaps(), 2U);
  EXPECT_EQ(lost.first_offset(), 16U);
  EXPECT_EQ(lost.end_offset(), 16U + 1000 + 14 + 500);
  EXPECT_EQ(coverage.request().lost(1).reason(), "unsynced");
  EXPECT_EQ(coverage.request().lost(1).bytes(), 28U);
}

TEST(Shard, APasswordIsWithheldAndALongStatementTruncated) {
  using std::string_view_literals::operator""sv;
  for (const bool is_long : {false, true}) {
    Fixture f;
    f.shard.on_socket_opened(opened(false));
    send(f, Direction::kRequest, 0, "\0\0\0\x10\0\3\0\0user\0u\0\0"sv);
    send(f, Direction::kResponse, 0, "R\0\0\0\x08\0\0\0\3"sv);
    Piece pieces[] = {{.kind = Piece::Kind::kData, .bytes = 5, .data = std::as_bytes(std::span("p\0\0\0\x0c", 5))},
                      {.kind = Piece::Kind::kCut, .bytes = 8}};
    Chunk chunk{.socket = 7, .direction = Direction::kRequest, .offset = 16, .time_ns = 200, .pieces = pieces};
    f.shard.on_chunk(chunk);
    if (is_long) {
      pieces[0].data = std::as_bytes(std::span("Q\0\0\0\x0c", 5));
      chunk.offset = 29;
      f.shard.on_chunk(chunk);
    }
    f.shard.on_socket_closed({.socket = 7, .time_ns = 300, .stream_bytes = {is_long ? 42U : 29U, 9}});
    f.finish();
    const v1::Coverage coverage = coverage_of(f);
    EXPECT_EQ(coverage.request().withheld(), 8U);
    EXPECT_EQ(coverage.request().cut(), is_long ? 8U : 0U);
    EXPECT_EQ(coverage.verdict(), is_long ? v1::COVERAGE_VERDICT_TRUNCATED : v1::COVERAGE_VERDICT_FULL);
  }
}

TEST(Shard, AJoinedSessionSaysHowMuchOfItsPastWasUnseen) {
  using std::string_view_literals::operator""sv;
  Fixture f;
  SocketOpened record = opened(true);
  record.origin = {100, 2000};
  f.shard.on_socket_opened(record);
  // In the middle of an answer: lost until the server is idle.
  send(f, Direction::kResponse, 2700, "Z\0\0\0\5I"sv);
  send(f, Direction::kRequest, 100, "Q\0\0\0\x0dSELECT 1\0"sv);
  f.shard.close_all(400);
  f.shard.flush(400, true);
  EXPECT_EQ(f.gaps()[0].bytes(), 100U);
  EXPECT_EQ(f.gaps()[0].response_bytes(), 2000U);
  ASSERT_EQ(f.gaps().size(), 3U);
  EXPECT_EQ(f.gaps()[1].reason(), "unsynced");
  EXPECT_EQ(f.gaps()[1].offset(), 2000U);
  EXPECT_EQ(f.gaps()[1].bytes(), 700U);
  EXPECT_EQ(f.gaps()[2].bytes(), 6U);  // says that the server is idle, not of what
  const v1::Coverage coverage = coverage_of(f);
  EXPECT_EQ(coverage.verdict(), v1::COVERAGE_VERDICT_GAPS);
  EXPECT_EQ(coverage.request().begin(), 100U);
  EXPECT_EQ(coverage.response().end(), 2706U);
  // The agent stopped, the session did not: nothing of it is said to have ended.
  EXPECT_EQ(f.events.back().disconnect().reason(), "watch-ended");
  for (const auto& event : f.events) EXPECT_NE(event.outcome(), v1::OUTCOME_ABORTED);
}

TEST(Shard, ASessionOfWhichNothingCouldBeReadIsBlind) {
  Fixture f;
  f.shard.on_socket_opened(opened(true));
  f.shard.on_socket_closed({.socket = 7, .time_ns = 300, .stream_bytes = {500, 900}});
  f.finish();
  EXPECT_EQ(coverage_of(f).verdict(), v1::COVERAGE_VERDICT_BLIND);
}

// What the shim did not let through has a finding that says so; the shim's word is the last.
TEST(Shard, WhatTheShimRefusedIsFound) {
  Fixture f;
  auto say = [&, request = uint64_t{0}, response = uint64_t{0}](Direction direction, const std::string& bytes) mutable {
    uint64_t& offset = direction == Direction::kRequest ? request : response;
    const Piece piece{.kind = Piece::Kind::kData,
                      .bytes = static_cast<uint32_t>(bytes.size()),
                      .data = std::as_bytes(std::span(bytes))};
    f.shard.on_chunk({.socket = 7, .direction = direction, .offset = offset, .time_ns = 2, .pieces = {&piece, 1}});
    offset += bytes.size();
    return offset;
  };
  f.shard.on_socket_opened({.socket = 7, .time_ns = 1, .is_gated = true, .is_encrypted = true});
  say(Direction::kRequest, test::startup({"user", "u", "database", "d"}));
  say(Direction::kResponse, test::authentication(0) + test::ready());
  const uint64_t refused = say(Direction::kRequest, test::query("SELECT 1"));  // begins where that ends
  say(Direction::kResponse, test::complete("SELECT 1") + test::ready());
  f.shard.on_refused({.socket = 7, .offset = refused, .rule = "no-drop", .message = "No."});
  say(Direction::kRequest, test::query("DROP TABLE t"));
  say(Direction::kResponse, test::error("42501", "No.") + test::ready());
  say(Direction::kRequest, test::query("SELECT 2"));
  say(Direction::kResponse, test::complete("SELECT 1") + test::ready());
  f.finish();
  std::vector<std::string> found;
  for (const auto& event : f.events) {
    if (!event.has_statement()) continue;
    std::string findings;
    for (const auto& finding : event.findings())
      findings += finding.rule() + (finding.would() ? " would" : "") + " " + finding.message();
    found.push_back(findings);
  }
  EXPECT_EQ(found, (std::vector<std::string>{"", "no-drop No.", ""}));
  EXPECT_TRUE(f.sessions.at(7).gated());
  EXPECT_TRUE(f.sessions.at(7).encrypted());
}

// What the shim masked is told with its mask's finding, on the statement that it was the answer to.
TEST(Shard, WhatTheShimMaskedIsTold) {
  Fixture f;
  auto say = [&, request = uint64_t{0}, response = uint64_t{0}](Direction direction, const std::string& bytes) mutable {
    uint64_t& offset = direction == Direction::kRequest ? request : response;
    const Piece piece{.kind = Piece::Kind::kData,
                      .bytes = static_cast<uint32_t>(bytes.size()),
                      .data = std::as_bytes(std::span(bytes))};
    f.shard.on_chunk({.socket = 7, .direction = direction, .offset = offset, .time_ns = 2, .pieces = {&piece, 1}});
    offset += bytes.size();
    return offset;
  };
  f.shard.on_socket_opened({.socket = 7, .time_ns = 1, .is_gated = true});
  uint64_t at = say(Direction::kRequest, test::startup({"user", "u", "database", "d"}));
  say(Direction::kResponse, test::authentication(0) + test::ready());
  for (const uint64_t values : {0, 3}) {
    const uint64_t next = say(Direction::kRequest, test::query("SELECT 1"));
    for (const char* mask : {"b", "a", "b"})
      if (values > 0)
        f.shard.on_masked(
            {.socket = 7, .offset = at, .values = values, .mask = mask, .column = "t.c", .method = "hash"});
    at = next;
    say(Direction::kResponse, test::complete("SELECT 1") + test::ready());
  }
  f.finish();
  std::string told;
  for (const auto& event : f.events) {
    if (!event.has_statement()) continue;
    told += "|";
    for (const auto& finding : event.findings()) {
      told += finding.rule() + (finding.would() ? " would" : "") + ":";
      EXPECT_EQ(finding.action(), v1::ACTION_MASK);
      for (const auto& masked : finding.masked())
        told += masked.column() + " " + masked.method() + " " + std::to_string(masked.values()) + ";";
    }
  }
  EXPECT_EQ(told, "||a:t.c hash 3;b:t.c hash 3;t.c hash 3;");
}

// A connection that the shim should have had, and has not, is found once.
TEST(Shard, ABypassIsFound) {
  for (const uint64_t since_ns : {0, 5, 20}) {
    Fixture f;
    f.shard.set_enforcement([&](std::string_view) { return since_ns; });
    f.shard.on_socket_opened({.socket = 7, .time_ns = 10});
    const std::string startup = test::startup({"user", "u"});
    const Piece piece{.kind = Piece::Kind::kData,
                      .bytes = static_cast<uint32_t>(startup.size()),
                      .data = std::as_bytes(std::span(startup))};
    f.shard.on_chunk({.socket = 7, .time_ns = 11, .pieces = {&piece, 1}});
    f.finish();
    size_t bypasses = 0;
    for (const auto& event : f.events)
      for (const auto& finding : event.findings()) bypasses += finding.rule() == "gatehouse.bypass" ? 1 : 0;
    EXPECT_EQ(bypasses, since_ns == 5 ? 1U : 0U) << since_ns;
  }
}

// The same of a session at an address that no database names, if the server that answers is an enforced database's.
TEST(Shard, ABypassByAnotherAddressIsFound) {
  const ProcessKey server{.pid = 77, .start_ns = 1}, other{.pid = 78, .start_ns = 1};
  for (const ProcessKey& answering : {server, other}) {
    Fixture f;
    f.shard.set_enforcement([&](std::string_view label) { return label == "payroll" ? 5 : 0; });
    const std::string payroll = "payroll", none;
    f.shard.set_server_owner(
        [&](const ProcessKey& process) -> const std::string& { return process == server ? payroll : none; });
    f.shard.on_socket_opened({.socket = 7, .time_ns = 10});
    const auto say = [&](Direction direction, const std::string& bytes, uint64_t time_ns) {
      const Piece piece{.kind = Piece::Kind::kData,
                        .bytes = static_cast<uint32_t>(bytes.size()),
                        .data = std::as_bytes(std::span(bytes))};
      f.shard.on_chunk({.socket = 7,
                        .direction = direction,
                        .time_ns = time_ns,
                        .writer = direction == Direction::kResponse ? answering : ProcessKey{},
                        .pieces = {&piece, 1}});
    };
    say(Direction::kRequest, test::startup({"user", "u"}), 11);
    say(Direction::kResponse, test::frame('R', std::string(4, '\0')), 12);
    f.finish();
    std::string message;
    for (const auto& event : f.events)
      for (const auto& finding : event.findings())
        if (finding.rule() == "gatehouse.bypass") message += finding.message();
    EXPECT_EQ(message.empty(), answering == other);
    EXPECT_EQ(message.find("database payroll") == std::string::npos, answering == other) << message;
  }
}

TEST(Shard, AChunkWhoseSocketIsUnknownIsCounted) {
  Fixture f;
  send(f, Direction::kRequest, 0, "x");
  EXPECT_EQ(f.shard.counters().orphan_chunks, 1U);
}

// What no session owns is an event like others: the time between two runs, events that the spool has refused.
TEST(Shard, RulesAreAskedOfGapsThatNoSessionOwns) {
  const rules::PolicyFile file{.name = "r.yaml", .text = R"(rules:
  - id: killed
    on: gap
    when: gap.reason == "agent-killed" && agent.host == "h" && session.id == "" && actor.pid == 0
    then: alert
    mode: active
    severity: high
    message: "{agent.id} was killed"
  - id: events-lost
    on: gap
    when: gap.events > 5
    then: alert
    mode: active
)"};
  auto policy = rules::load_policy({&file, 1}, rules::event_kinds());
  ASSERT_TRUE(policy) << policy.error().message();
  identity::ProcessTable processes{{.proc_root = "", .passwd_path = ""}};
  TableDirectory directory{processes};
  BatchBuilder builder({.agent_id = "a", .boot_id = "b", .host = "h", .agent_version = "0"}, directory);
  judge::Examiner examiner({});
  examiner.set_policy(std::make_shared<const rules::Policy>(std::move(*policy)));
  Subjects subjects(processes, nullptr, "a", "b", "h", 0);
  v1::Batch batch;
  Shard shard(
      processes, builder, {}, [&](const EncodedBatch& encoded) { ASSERT_TRUE(batch.ParseFromString(encoded.bytes)); },
      Shard::Judging{examiner, subjects});
  shard.add_gap({.reason = "agent-killed", .since_unix_ns = 5, .until_unix_ns = 9}, 9);
  shard.add_gap({.events = 6, .reason = "sessions-untold"}, 9);
  shard.add_gap({.events = 5, .reason = "sessions-untold"}, 9);
  shard.add_dropped({.first_sequence = 3, .events = 7, .why = spool::AppendOutcome::kFull}, 9);
  shard.flush(9, true);
  ASSERT_EQ(batch.events_size(), 4);
  ASSERT_EQ(batch.events(0).findings_size(), 1);
  EXPECT_EQ(batch.events(0).findings(0).rule(), "killed");
  EXPECT_EQ(batch.events(0).findings(0).message(), "a was killed");
  EXPECT_EQ(batch.events(0).gap().reason(), "agent-killed");
  ASSERT_EQ(batch.events(1).findings_size(), 1);
  EXPECT_EQ(batch.events(1).findings(0).rule(), "events-lost");
  EXPECT_EQ(batch.events(2).findings_size(), 0);
  ASSERT_EQ(batch.events(3).findings_size(), 1);
  EXPECT_EQ(batch.events(3).gap().reason(), "spool-full");
  EXPECT_EQ(shard.counters().findings, 3U);
}

}  // namespace
}  // namespace gatehouse::runtime
