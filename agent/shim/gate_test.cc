// SPDX-License-Identifier: Apache-2.0
// Recorded sessions through a gate, cut everywhere; and conversations made by hand. What a real server makes of
// refusals is in tests/shim.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <random>

#include "agent/replay/ghcap.h"
#include "agent/shim/gate.h"
#include "agent/shim/gate_messages.h"
#include "common/limits.h"
#include "tests/support/gate_host.h"

namespace gatehouse::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The writes of each connection of a capture file, from its StartupMessage on.
class Conversations final : public RecordSink {
 public:
  void on_socket_opened(const SocketOpened&) override {}
  void on_chunk(const Chunk& record) override {
    for (const Piece& piece : record.pieces) {
      if (piece.kind != Piece::Kind::kData) is_partial.insert(record.socket);
      const std::string_view text{reinterpret_cast<const char*>(piece.data.data()), piece.data.size()};
      scripts[record.socket].push_back({record.direction, std::string(text)});
    }
  }
  void on_socket_opaque(const SocketOpaque&) override {}
  void on_socket_closed(const SocketClosed&) override {}
  void on_process_exec(const ProcessExec&) override {}
  void on_process_fork(const ProcessFork&) override {}
  void on_process_exit(const ProcessExit&) override {}

  std::map<SocketId, Script> scripts;
  std::set<SocketId> is_partial;
};

struct Recorded {
  std::string name;
  Script script;
};

// Encryption is negotiated, and cancel requests are carried out, before a gate.
std::vector<Recorded> recorded() {
  std::vector<Recorded> all;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(GH_SOURCE_DIR) / "tests/corpus/postgres")) {
    if (entry.path().extension() != ".ghcap") continue;
    auto source = replay::FileSource::open(entry.path().string());
    EXPECT_TRUE(source.has_value());
    Conversations conversations;
    while (!(*source)->at_end()) (*source)->poll(conversations, 64);
    for (auto& [socket, script] : conversations.scripts) {
      if (conversations.is_partial.contains(socket)) continue;
      while (script.size() > 1 && script[0].bytes.size() == 8) script.erase(script.begin(), script.begin() + 2);
      if (script.empty() || script[0].bytes.substr(4, 2) != be16(3)) continue;
      all.push_back({entry.path().filename().string() + ' ' + std::to_string(socket), script});
    }
  }
  return all;
}

std::string all_of(const Script& script, Direction direction) {
  std::string bytes;
  for (const Write& write : script)
    if (write.direction == direction) bytes += write.bytes;
  return bytes;
}

// chunk(): how many bytes come next.
void play(GateEnds& ends, const Script& script, const std::function<size_t()>& chunk) {
  for (const Write& write : script)
    for (std::string_view rest = write.bytes; !rest.empty();) {
      const std::string_view head = rest.substr(0, chunk());
      ends.give(write.direction, head);
      rest.remove_prefix(head.size());
    }
}

TEST(Gate, LeavesRecordedSessionsAsTheyAre) {
  const auto sessions = recorded();
  ASSERT_GT(sessions.size(), 10U);
  for (const auto& [name, script] : sessions) {
    std::mt19937 random{1};
    GateEnds whole;
    play(whole, script, [] { return SIZE_MAX; });
    ASSERT_EQ(whole.up(), all_of(script, Direction::kRequest)) << name;
    const std::vector<std::function<size_t()>> ways{[] { return size_t{1}; }, [] { return size_t{2}; },
                                                    [] { return size_t{3}; }, [] { return size_t{7}; },
                                                    [&random] { return 1 + random() % 40; }};
    for (const auto& way : ways) {
      GateEnds ends;
      play(ends, script, way);
      EXPECT_EQ(ends.up(), all_of(script, Direction::kRequest)) << name;
      EXPECT_EQ(ends.down(), all_of(script, Direction::kResponse)) << name;
      EXPECT_EQ(ends.judged, whole.judged) << name;
      EXPECT_THAT(ends.wrong, IsEmpty()) << name;
      EXPECT_FALSE(ends.ended) << name;
      ends.close(Direction::kRequest);
      ends.close(Direction::kResponse);
      ends.feeder.close();
      // The record tells the same as the gate does.
      EXPECT_EQ(ends.recorded(), ends.activities) << name;
      EXPECT_EQ(ends.moved[0], ends.up().size());
      EXPECT_EQ(ends.moved[1], ends.down().size());
    }
  }
}

// Whatever is missing, what has gone out is the head of what came in, and only whole statements of it.
TEST(Gate, SendsOnWhatItHasWherverItEnds) {
  for (const auto& [name, script] : recorded())
    for (size_t cut = 0,
                total = all_of(script, Direction::kRequest).size() + all_of(script, Direction::kResponse).size();
         cut < total; cut += 1 + total / 400) {
      GateEnds ends;
      size_t left = cut;
      for (const Write& write : script) {
        ends.give(write.direction, std::string_view(write.bytes).substr(0, left));
        left -= std::min(left, write.bytes.size());
      }
      ASSERT_TRUE(all_of(script, Direction::kRequest).starts_with(ends.up())) << name << ' ' << cut;
      ASSERT_TRUE(all_of(script, Direction::kResponse).starts_with(ends.down())) << name << ' ' << cut;
      ends.close(Direction::kRequest);
      ends.close(Direction::kResponse);
      EXPECT_THAT(ends.wrong, IsEmpty()) << name << ' ' << cut;
      EXPECT_THAT(ends.pending[0], IsEmpty()) << name << ' ' << cut;
      ASSERT_FALSE(ends.activities.empty() && cut > 200);
    }
}

// A client of a judge that refuses what says DELETE, up to the point where it is idle.
class Made : public ::testing::Test {
 protected:
  Made() {
    ends.rule = [this](const Activity& request, Purpose) -> Ruling {
      const std::string_view run = request.resolved_text.empty() ? request.text : request.resolved_text;
      if (run.find("DELETE") != run.npos) return {.kind = Ruling::Kind::kRefuse, .message = "no", .hint = "ask"};
      if (run.find("KILL") != run.npos) return {.kind = Ruling::Kind::kTerminate, .message = "out"};
      if (run.find("HOLD") != run.npos && holds) return {.kind = Ruling::Kind::kWait};
      return {.changes_state = run.starts_with("SET") || run.starts_with("PREPARE") || run.starts_with("DECLARE")};
    };
    ends.give(Direction::kRequest, startup({"user", "ann", "database", "shop"}));
    ends.give(Direction::kResponse, welcome());
    clear();
  }
  ~Made() override { EXPECT_THAT(ends.wrong, IsEmpty()); }
  void clear() {
    for (auto& out : ends.sent) out.clear();
    ends.judged.clear();
    ends.activities.clear();
  }
  void client(std::string_view bytes) { ends.give(Direction::kRequest, bytes); }
  void server(std::string_view bytes) { ends.give(Direction::kResponse, bytes); }
  static std::string failing(postgres::RequestTag tag, bool is_unnamed = false) {
    const auto bytes = shim::failing_request(tag, is_unnamed);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  static std::string refusal() {
    return shim::error_response({.sqlstate = "42501", .message = "no", .hint = "ask"}, true);
  }
  static std::string fatal() {
    return shim::error_response({.severity = "FATAL", .sqlstate = "42501", .message = "out"}, true);
  }

  bool holds = true;
  GateEnds ends;
  const std::string poison_query = failing(postgres::RequestTag::kQuery);
  const std::string poison_parse = failing(postgres::RequestTag::kExecute);
  const std::string poison_unnamed = failing(postgres::RequestTag::kParse, true);
};

TEST_F(Made, QueryRefused) {
  client(query("DELETE FROM t"));
  EXPECT_EQ(ends.up(), poison_query);
  EXPECT_THAT(ends.refused, ElementsAre("32 42501"));
  server(error("42601") + ready());
  EXPECT_EQ(ends.down(), refusal() + ready());
  EXPECT_THAT(ends.activities, ElementsAre("simple error {DELETE FROM t} sqlstate=42501 tx=I"));
  client(query("SELECT 1"));
  EXPECT_EQ(ends.up(), poison_query + query("SELECT 1"));
}

TEST_F(Made, SecondErrorIsTheSessions) {
  client(query("DELETE FROM t"));
  server(error("42601"));
  server(error("57P01", "going", "FATAL"));
  EXPECT_EQ(ends.down(), refusal() + error("57P01", "going", "FATAL"));
}

TEST_F(Made, FatalInsteadOfTheError) {
  client(query("DELETE FROM t"));
  server(error("57P01", "going", "FATAL"));
  EXPECT_EQ(ends.down(), error("57P01", "going", "FATAL"));
}

TEST_F(Made, ParseRefusedInAPipeline) {
  const std::string first = parse("", "SELECT 1") + bind("", "") + execute();
  const std::string last = parse("", "SELECT 3") + bind("", "") + execute() + sync();
  client(first + parse("", "DELETE 2") + bind("", "") + execute() + copy_data("x") + sync() + last);
  EXPECT_EQ(ends.up(), first + poison_unnamed + sync() + last);
  server(parse_complete() + bind_complete() + complete("SELECT 0") + error("42601") + ready());
  server(parse_complete() + bind_complete() + complete("SELECT 0") + ready());
  EXPECT_EQ(ends.down(), parse_complete() + bind_complete() + complete("SELECT 0") + refusal() + ready() +
                             parse_complete() + bind_complete() + complete("SELECT 0") + ready());
  EXPECT_THAT(ends.activities,
              ElementsAre("extended ok {SELECT 1} tag=SELECT 0 tx=T", "extended error {DELETE 2} sqlstate=42501 tx=I",
                          "extended skipped {DELETE 2} tx=I", "extended ok {SELECT 3} tag=SELECT 0 tx=I"));
}

TEST_F(Made, SomethingBeforeTheRefusedFails) {
  client(parse("", "SELECT 1/0") + bind("", "") + execute() + parse("", "DELETE 2") + bind("", "") + execute() +
         sync());
  server(parse_complete() + bind_complete() + error("22012") + ready());
  EXPECT_EQ(ends.down(), parse_complete() + bind_complete() + error("22012") + ready());
  // The next error is not the refused one's.
  client(query("SELEC"));
  server(error("42601") + ready());
  EXPECT_THAT(ends.down(), HasSubstr(error("42601") + ready()));
  EXPECT_TRUE(ends.gate.is_idle());
}

TEST_F(Made, ExecuteOfAPortalMadeLongBefore) {
  holds = true;
  bool is_allowed = true;
  const auto rule = ends.rule;
  ends.rule = [&](const Activity& a, Purpose p) { return is_allowed ? Ruling{} : rule(a, p); };
  client(parse("d", "DELETE FROM t WHERE a = $1") + sync());
  server(parse_complete() + ready());
  is_allowed = false;
  clear();
  client(bind("", "d", {"7"}) + execute() + sync());
  EXPECT_EQ(ends.up(), bind("", "d", {"7"}) + poison_parse + sync());
  EXPECT_THAT(ends.judged, ElementsAre("run extended unknown {DELETE FROM t WHERE a = $1} statement=d '7' tx=I"));
  server(bind_complete() + error("42601") + ready());
  EXPECT_EQ(ends.down(), bind_complete() + refusal() + ready());
}

TEST_F(Made, NamesOfTheSameSegment) {
  client(parse("s", "SELECT 5") + bind("p", "s") + execute("p") + close('P', "p") + execute("p") + flush());
  EXPECT_THAT(ends.judged, ElementsAre("prepare extended unknown {SELECT 5} statement=s tx=I",
                                       "run extended unknown {SELECT 5} statement=s portal=p tx=I",
                                       "run extended unknown {} portal=p tx=I"));
}

TEST_F(Made, NamesOfASegmentThatIsNotAnswered) {
  client(parse("s", "SELECT 1") + sync());
  server(parse_complete() + ready());
  clear();
  client(close('S', "s") + parse("s", "DROP t") + sync() + bind("", "s") + execute() + sync());
  EXPECT_TRUE(ends.gate.is_waiting());
  EXPECT_THAT(ends.judged, ElementsAre("prepare extended unknown {DROP t} statement=s tx=I"));
  server(close_complete() + error("42601") + ready());
  EXPECT_FALSE(ends.gate.is_waiting());
  // The server closed s, and did not make it again.
  EXPECT_THAT(ends.judged, ElementsAre("prepare extended unknown {DROP t} statement=s tx=I",
                                       "run extended unknown {} statement=s tx=I"));
}

TEST_F(Made, ResolvesWhatRunsByName) {
  client(parse("d", "SELECT 9") + query("EXECUTE d; PREPARE x AS DELETE FROM t; EXECUTE x; EXECUTE nobody"));
  ASSERT_EQ(ends.judged.size(), 2U);
  EXPECT_THAT(ends.judged[1], HasSubstr("runs {SELECT 9\\x0a;\\x0aDELETE FROM t\\x0a;\\x0aEXECUTE nobody}"));
  EXPECT_EQ(ends.refused.size(), 1U);
}

TEST_F(Made, WhatChangesStateIsAwaited) {
  const std::string set = parse("", "SET a = 1") + bind("", "") + execute();
  client(set + parse("", "SELECT 1") + bind("", "") + execute() + sync());
  EXPECT_EQ(ends.up(), set + flush());
  EXPECT_TRUE(ends.gate.is_waiting());
  server(parse_complete() + bind_complete());
  EXPECT_TRUE(ends.gate.is_waiting());
  EXPECT_THAT(ends.activities, IsEmpty());
  server(complete("SET"));
  EXPECT_FALSE(ends.gate.is_waiting());
  EXPECT_THAT(ends.activities, ElementsAre("extended ok {SET a = 1} tag=SET tx=T"));
  EXPECT_EQ(ends.up(), set + flush() + parse("", "SELECT 1") + bind("", "") + execute() + sync());
}

TEST_F(Made, WhatChangesStateFails) {
  const std::string set = parse("", "SET a = 1") + bind("", "") + execute();
  const std::string next = parse("", "SELECT 1") + sync();
  client(set + next);
  server(parse_complete() + bind_complete() + error("22023"));
  EXPECT_EQ(ends.up(), set + flush() + next);
  server(ready());
  EXPECT_TRUE(ends.gate.is_idle());
}

// A notice stands between the server's messages, wherever these are cut, and the rest goes on as it is.
TEST_F(Made, NoticesStandBetweenMessages) {
  const std::string answer = row_description() + data_row("one") + data_row("two") + complete("SELECT 2") + ready();
  const std::string notice = shim::notice_response("still waiting", true);
  std::vector<size_t> boundaries{0};
  for (const std::string& part : {row_description(), data_row("one"), data_row("two"), complete("SELECT 2"), ready()})
    boundaries.push_back(boundaries.back() + part.size());
  for (size_t cut = 0; cut <= answer.size(); ++cut) {
    GateEnds each;
    each.give(Direction::kRequest, startup({"user", "ann", "database", "shop"}));
    each.give(Direction::kResponse, welcome());
    each.give(Direction::kRequest, query("SELECT 1"));
    for (auto& out : each.sent) out.clear();
    each.give(Direction::kResponse, std::string_view(answer).substr(0, cut));
    const size_t sent = each.down().size();
    each.gate.notice("still waiting", 1);
    each.give(Direction::kResponse, std::string_view(answer).substr(cut));
    const size_t at = each.down().find(notice);
    ASSERT_NE(at, std::string::npos) << cut;
    EXPECT_THAT(boundaries, ::testing::Contains(at)) << cut;
    EXPECT_GE(at, sent) << cut;
    std::string rest = each.down();
    rest.erase(at, notice.size());
    EXPECT_EQ(rest, answer) << cut;
    EXPECT_THAT(each.wrong, IsEmpty()) << cut;
    each.close(Direction::kRequest);
    each.close(Direction::kResponse);
    each.feeder.close();
    EXPECT_EQ(each.recorded(), each.activities) << cut;
  }
}

TEST_F(Made, OfNoticesThatWaitTheLatestIsSaid) {
  client(query("SELECT 1"));
  const std::string row = data_row("one");
  server(row_description() + row.substr(0, 7));
  ends.gate.notice("first", 1);
  ends.gate.notice("second", 2);
  EXPECT_THAT(ends.down(), ::testing::Not(HasSubstr("second")));
  server(row.substr(7));
  EXPECT_EQ(ends.down(), row_description() + row + shim::notice_response("second", true));
}

TEST_F(Made, NobodyWhoLogsInGetsANotice) {
  GateEnds early;
  early.gate.notice("x", 1);
  early.give(Direction::kRequest, startup({"user", "ann"}));
  early.gate.notice("x", 2);
  early.give(Direction::kResponse, authentication(0));
  early.gate.notice("x", 3);
  EXPECT_EQ(early.down(), authentication(0));
  ends.close(Direction::kResponse);
  ends.gate.notice("x", 4);
  EXPECT_EQ(ends.down(), "");
}

// It waits for long: what was asked before it is answered now, though no Sync has come.
TEST_F(Made, WhatStandsBeforeAHeldOneIsFlushed) {
  client(parse("", "SELECT 1") + bind("", "") + execute() + parse("h", "HOLD"));
  const auto flush = shim::flush_request();
  const std::string flushed{reinterpret_cast<const char*>(flush.data()), flush.size()};
  EXPECT_EQ(ends.up(), parse("", "SELECT 1") + bind("", "") + execute() + flushed);
  holds = false;
  ends.gate.resume();
  ends.pump();
  EXPECT_EQ(ends.up(), parse("", "SELECT 1") + bind("", "") + execute() + flushed + parse("h", "HOLD"));
}

TEST_F(Made, TheCancelKeyIsTheServers) {
  const auto key = ends.gate.cancel_key();
  const std::string body = key_data(42).substr(5);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(key.data()), key.size()), body);
  EXPECT_EQ(cancel_request(42).substr(8), body);
}

TEST_F(Made, HeldUntilTheJudgeKnows) {
  client(query("HOLD"));
  EXPECT_TRUE(ends.gate.is_waiting());
  EXPECT_THAT(ends.up(), IsEmpty());
  server(notification("c", "x"));
  EXPECT_EQ(ends.judged.size(), 1U);
  holds = false;
  ends.gate.resume();
  EXPECT_FALSE(ends.gate.is_waiting());
  ends.pump();
  EXPECT_EQ(ends.up(), query("HOLD"));
}

TEST_F(Made, Terminated) {
  client(query("SELECT 1") + query("KILL") + query("SELECT 2"));
  EXPECT_EQ(ends.up(), query("SELECT 1"));
  server(row_description() + complete("SELECT 0"));
  EXPECT_FALSE(ends.gate.is_ended());
  server(ready());
  EXPECT_EQ(ends.up(), query("SELECT 1") + terminate());
  EXPECT_EQ(ends.down(), row_description() + complete("SELECT 0") + ready() + fatal());
  EXPECT_EQ(ends.ended, End::kTerminated);
  EXPECT_THAT(ends.activities,
              ElementsAre("simple ok {SELECT 1} tag=SELECT 0 tx=I", "simple error {KILL} sqlstate=42501 tx=?",
                          "disconnect fatal-error sqlstate=42501"));
}

TEST_F(Made, TerminatedInASegment) {
  const std::string first = parse("", "SELECT 1") + bind("", "") + execute();
  client(first + parse("", "KILL") + sync());
  EXPECT_EQ(ends.up(), first + flush());
  server(parse_complete() + bind_complete() + complete("SELECT 0"));
  EXPECT_EQ(ends.down(), parse_complete() + bind_complete() + complete("SELECT 0") + fatal());
  EXPECT_EQ(ends.ended, End::kTerminated);
}

TEST(GateLogin, Refused) {
  GateEnds ends;
  ends.rule = [](const Activity&, Purpose) { return Ruling{.kind = Ruling::Kind::kRefuse, .message = "no"}; };
  ends.give(Direction::kRequest, startup({"user", "eve"}));
  EXPECT_EQ(ends.ended, End::kTerminated);
  EXPECT_EQ(ends.down(), shim::error_response({.severity = "FATAL", .sqlstate = "42501", .message = "no"}, true));
  EXPECT_THAT(ends.judged, ElementsAre("run connect eve@eve"));
  EXPECT_THAT(ends.activities, ElementsAre("connect 3.0 eve@eve", "authenticate none error sqlstate=42501",
                                           "disconnect fatal-error sqlstate=42501"));
}

TEST(GateLogin, StatementsWaitForIt) {
  GateEnds ends;
  ends.give(Direction::kRequest, startup({"user", "ann"}) + query("SELECT 1"));
  EXPECT_TRUE(ends.gate.is_waiting());
  EXPECT_EQ(ends.up(), startup({"user", "ann"}));
  ends.give(Direction::kResponse, welcome());
  EXPECT_EQ(ends.up(), startup({"user", "ann"}) + query("SELECT 1"));
}

TEST(GateLogin, OldProtocolsAreNotSpoken) {
  GateEnds ends;
  ends.give(Direction::kRequest, be32(8) + be16(2) + be16(0));
  EXPECT_EQ(ends.ended, End::kClientDesync);
  EXPECT_THAT(ends.up(), IsEmpty());
}

TEST(GateLimits, TooLongAStatement) {
  GateEnds ends{{.statement_bytes_max = 1000}};
  ends.give(Direction::kRequest, startup({"user", "ann"}));
  ends.give(Direction::kResponse, welcome());
  ends.sent[0].clear();
  ends.judged.clear();
  const std::string too_long = query("SELECT '" + std::string(5000, 'x') + "'");
  for (const char c : too_long) ends.give(Direction::kRequest, {&c, 1});
  ends.give(Direction::kRequest, query("SELECT 1"));
  const auto poison = shim::failing_request(postgres::RequestTag::kQuery, false);
  EXPECT_EQ(ends.up(), std::string(reinterpret_cast<const char*>(poison.data()), poison.size()) + query("SELECT 1"));
  EXPECT_EQ(ends.judged.size(), 1U);
  ends.give(Direction::kResponse, error("42601") + ready());
  EXPECT_THAT(ends.down(), HasSubstr("C54000"));
  EXPECT_THAT(ends.down(), HasSubstr("1000 bytes"));
  EXPECT_THAT(ends.wrong, IsEmpty());
}

TEST_F(Made, CopyStreams) {
  client(query("COPY t FROM STDIN"));
  server(copy_response('G'));
  const std::string row = copy_data(std::string(100'000, 'r'));
  for (size_t i = 0; i < row.size(); i += 777) client(std::string_view(row).substr(i, 777));
  client(copy_done());
  server(complete("COPY 1") + ready());
  EXPECT_EQ(ends.up(), query("COPY t FROM STDIN") + row + copy_done());
  EXPECT_THAT(ends.activities, ElementsAre("simple ok {COPY t FROM STDIN} tag=COPY 1 rows=1 copy=100000 tx=I"));
}

TEST_F(Made, RequestsAmongTheRowsOfACopy) {
  client(query("COPY t FROM STDIN") + query("SELECT 1"));
  server(copy_response('G'));
  EXPECT_EQ(ends.ended, End::kClientDesync);
}

TEST_F(Made, RequestInsteadOfARow) {
  client(query("COPY t FROM STDIN"));
  server(copy_response('G'));
  client(parse("", "SELECT 1"));
  EXPECT_EQ(ends.ended, End::kClientDesync);
  EXPECT_EQ(ends.up(), query("COPY t FROM STDIN"));
}

TEST_F(Made, ServerThatDoesNotFail) {
  client(parse("", "DELETE") + sync());
  server(parse_complete());
  EXPECT_EQ(ends.ended, End::kServerDesync);
}

TEST_F(Made, ServerThatSaysMoreThanIsAsked) {
  server(complete("SELECT 1"));
  EXPECT_EQ(ends.ended, End::kServerDesync);
}

TEST_F(Made, NoSuchMessage) {
  client("!");
  EXPECT_EQ(ends.ended, End::kClientDesync);
  EXPECT_THAT(ends.down(), HasSubstr("08P01"));
  EXPECT_THAT(ends.up(), IsEmpty());
}

TEST_F(Made, ManyRequestsInOneSegment) {
  std::string requests;
  for (size_t i = 0; i < 20'000; ++i) requests += bind("", "s");
  client(requests);
  EXPECT_TRUE(ends.gate.is_waiting());
  server(error("26000"));
  EXPECT_FALSE(ends.gate.is_waiting());
  client(requests + requests + sync());
  server(ready());
  EXPECT_EQ(ends.up().size(), 3 * requests.size() + flush().size() + sync().size());
  EXPECT_FALSE(ends.ended);
  EXPECT_LT(ends.memory_bytes_max, kSessionBytesMax);
}

TEST_F(Made, LongAnswers) {
  client(query("SELECT 1"));
  const std::string notice =
      frame('N', "SNOTICE" + std::string(1, '\0') + "M" + std::string(100'000, 'n') + std::string(2, '\0'));
  for (size_t i = 0; i < notice.size(); i += 1000) server(std::string_view(notice).substr(i, 1000));
  EXPECT_EQ(ends.down(), notice);
  client(query("DELETE"));
  server(complete("SELECT 1") + ready());
  const std::string long_error = error("42601", std::string(100'000, 'n'));
  for (size_t i = 0; i < long_error.size(); i += 1000) server(std::string_view(long_error).substr(i, 1000));
  server(ready());
  EXPECT_EQ(ends.down(), notice + complete("SELECT 1") + ready() + refusal() + ready());
}

TEST_F(Made, IdleIsSmall) {
  EXPECT_TRUE(ends.gate.is_idle());
  EXPECT_LT(ends.gate.memory_bytes(), 4096U);
}

}  // namespace
}  // namespace gatehouse::test
