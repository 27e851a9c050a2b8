// SPDX-License-Identifier: Apache-2.0
// The middle of the agent on recorded sessions. The oracle is the corpus's transcript (NAME.want), which
// agent/replay/corpus_test.cc holds against the server's own log, and protobuf's parser.
#include "agent/runtime/shard.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "agent/replay/ghcap.h"
#include "agent/runtime/table_directory.h"
#include "gatehouse/v1/event.pb.h"
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
  ASSERT_EQ(gaps.size(), 2U);
  EXPECT_FALSE(gaps[0].response());
  EXPECT_EQ(gaps[0].offset(), 16U);
  EXPECT_EQ(gaps[0].bytes(), 1000U);
  EXPECT_TRUE(gaps[1].response());
  EXPECT_EQ(gaps[1].bytes(), 50U);
  ASSERT_TRUE(f.events.back().has_disconnect());
  EXPECT_EQ(f.events.back().disconnect().lost_request_bytes(), 1000U);
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

TEST(Shard, AChunkWhoseSocketIsUnknownIsCounted) {
  Fixture f;
  send(f, Direction::kRequest, 0, "x");
  EXPECT_EQ(f.shard.counters().orphan_chunks, 1U);
}

}  // namespace
}  // namespace gatehouse::runtime
