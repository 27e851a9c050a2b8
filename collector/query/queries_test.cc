// SPDX-License-Identifier: Apache-2.0
#include "collector/query/queries.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <set>
#include <span>
#include <thread>

#include "collector/ledger/testing.h"
#include "collector/query/duckdb_sql.h"
#include "collector/store/testing.h"
#include "common/clock.h"
#include "common/log.h"
#include "rules/engine/match_row.h"

namespace gatehouse::query {
namespace {

using store::kTestTime;
using ::testing::ElementsAre;

rules::Filter filter(std::string_view text) {
  auto parsed = rules::parse_filter(text);
  EXPECT_TRUE(parsed) << text;
  return *parsed;
}

class QueriesTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { log::set_level(log::Level::kError); }

  void SetUp() override {
    auto pipeline =
        store::Pipeline::open({.folder = folder_.path(), .log = {.segment_bytes_max = 20'000}, .store = {}});
    ASSERT_TRUE(pipeline) << pipeline.error().message();
    pipeline_ = *std::move(pipeline);
    queries_ = std::make_unique<Queries>(*pipeline_);
  }
  void append(const v1::Batch& batch) {
    const v1::PublishRequest request = store::sealed(batch);
    const auto outcomes = pipeline_->append(batch.agent_id(), std::span{&request, 1});
    ASSERT_TRUE(outcomes);
    ASSERT_EQ(outcomes->at(0).kind, ledger::AppendOutcome::Kind::kAppended);
  }
  void wait_indexed() {
    ASSERT_TRUE(pipeline_->store().wait_indexed(pipeline_->log().end(), std::chrono::seconds(20)));
  }
  std::vector<v1::Row> rows(const Search& search) {
    std::vector<v1::Row> found;
    const Status status = queries_->search(search,
                                           [&](v1::Row&& row) {
                                             found.push_back(std::move(row));
                                             return true;
                                           },
                                           {});
    EXPECT_TRUE(status) << status.error().message();
    return found;
  }
  // Sequence numbers, from the ids.
  std::vector<int> sequences(const Search& search) {
    std::vector<int> found;
    for (const v1::Row& row : rows(search)) found.push_back(std::stoi(row.id().substr(row.id().rfind('/') + 1)));
    return found;
  }

  ledger::TemporaryFolder folder_;
  std::unique_ptr<store::Pipeline> pipeline_;
  std::unique_ptr<Queries> queries_;
};

TEST_F(QueriesTest, SearchBoundsOrderAndLimit) {
  for (uint64_t i = 0; i < 30; ++i) append(store::statement_batch(1 + i * 20, 20));
  wait_indexed();
  EXPECT_THAT(sequences({.limit = 3}), ElementsAre(600, 599, 598));
  EXPECT_THAT(sequences({.limit = 3, .oldest_first = true}), ElementsAre(1, 2, 3));
  EXPECT_EQ(sequences({}).size(), 600U);
  const uint64_t millisecond = 1'000'000;
  EXPECT_THAT(
      sequences({.selection = {.since_ns = kTestTime + 10 * millisecond, .until_ns = kTestTime + 13 * millisecond}}),
      ElementsAre(12, 11, 10));
  EXPECT_THAT(sequences({.selection = {.filter = filter("id == \"db1/b0/77\"")}}), ElementsAre(77));
  EXPECT_THAT(
      sequences({.selection = {.filter = filter("outcome == \"error\" && statement.verb == \"UPDATE\"")}, .limit = 2}),
      ElementsAre(600, 570));
}

// The filter's meaning is rules::matches(); the engine must agree on every field and operator, hostile text included.
TEST_F(QueriesTest, SqlAgreesWithMatches) {
  std::mt19937 random(7);
  std::vector<std::string> texts{"",         "%",        "_",
                                 "'",        "\\",       "a'; DROP TABLE events; --",
                                 "SELECT 1", "select 1", "\xc3\xa9t\xc3\xa9",
                                 "$1",       "?",        std::string("nul\0byte", 8),
                                 "\"",       "{table}",  "{parts}"};
  v1::Batch batch = store::statement_batch(1, 60);
  for (v1::Event& event : *batch.mutable_events()) {
    v1::Statement& statement = *event.mutable_statement();
    statement.set_text(texts[random() % texts.size()]);
    statement.set_verb(texts[random() % 8]);
    statement.clear_parameters();
    for (size_t n = random() % 3; n > 0; --n) statement.add_parameters()->set_value(texts[random() % texts.size()]);
    statement.set_rows(random() % 3);
    statement.set_statement_index(static_cast<uint32_t>(random() % 2));
  }
  append(batch);
  wait_indexed();
  const std::vector<v1::Row> all = rows({});
  ASSERT_EQ(all.size(), 60U);
  int not_empty = 0;
  for (int round = 0; round < 400; ++round) {
    rules::Filter chosen;
    for (size_t n = 1 + random() % 2; n > 0; --n) {
      const rules::FieldSpec& field = rules::fields()[random() % rules::fields().size()];
      const v1::Row& row = all[random() % all.size()];
      const auto* member = v1::Row::descriptor()->FindFieldByName(std::string(field.member));
      const auto* reflection = v1::Row::GetReflection();
      rules::Comparison comparison{&field, rules::CompareOp::kEqual, false};
      switch (field.type) {
        case rules::FieldType::kString:
          comparison.op = static_cast<rules::CompareOp>(random() % 9);
          comparison.value = random() % 2 == 0 ? reflection->GetString(row, member) : texts[random() % texts.size()];
          break;
        case rules::FieldType::kUint32:
          comparison.op = static_cast<rules::CompareOp>(random() % 6);
          comparison.value = random() % 9 == 0 ? UINT64_MAX : uint64_t{reflection->GetUInt32(row, member)};
          break;
        case rules::FieldType::kUint64:
        case rules::FieldType::kTime:
          comparison.op = static_cast<rules::CompareOp>(random() % 6);
          comparison.value = random() % 9 == 0 ? UINT64_MAX : reflection->GetUInt64(row, member);
          break;
        case rules::FieldType::kBool:
          comparison.op = static_cast<rules::CompareOp>(random() % 2);
          comparison.value = reflection->GetBool(row, member);
          break;
        case rules::FieldType::kList:
          comparison.value = texts[random() % texts.size()];
          break;
      }
      chosen.all_of.push_back(std::move(comparison));
    }
    std::vector<std::string> want;
    for (const v1::Row& row : all)
      if (rules::matches(chosen, row)) want.push_back(row.id());
    std::vector<std::string> got;
    for (const v1::Row& row : rows({.selection = {.filter = chosen}})) got.push_back(row.id());
    ASSERT_EQ(got, want) << rules::to_string(chosen);
    if (!want.empty()) ++not_empty;
  }
  EXPECT_GT(not_empty, 50);
}

TEST_F(QueriesTest, EqualTimesComeInOrderOfArrival) {
  v1::Batch batch = store::statement_batch(1, 50);
  for (v1::Event& event : *batch.mutable_events()) event.set_time_ns(kTestTime);
  append(batch);
  wait_indexed();
  EXPECT_THAT(sequences({.limit = 2}), ElementsAre(50, 49));
  EXPECT_THAT(sequences({.limit = 2, .oldest_first = true}), ElementsAre(1, 2));
}

// However they are come by, the newest are the first of all in that order: with clocks ahead and far behind, in file
// and memory, with equal times.
TEST_F(QueriesTest, TheNewestAreTheFirstOfAll) {
  std::mt19937_64 random(11);
  const uint64_t now = unix_ns();
  for (uint64_t i = 0; i < 80; ++i) {
    v1::Batch batch = store::statement_batch(1 + i * 20, 20);
    // From an hour ahead to years ago, most of them recent.
    for (v1::Event& event : *batch.mutable_events())
      event.set_time_ns(now + 3'600'000'000'000 - (uint64_t{1} << (20 + random() % 38)) - random() % 3);
    append(batch);
  }
  wait_indexed();
  ASSERT_GT(pipeline_->log().segments().size(), 2U);
  for (const char* text : {"", "outcome == \"error\"", "statement.verb == \"UPDATE\"", "result.rows == 77"}) {
    for (const uint64_t until : {uint64_t{0}, now, now - 1'000'000'000'000}) {
      for (const uint64_t since : {uint64_t{0}, now - 5'000'000'000'000}) {
        const Selection selection{.filter = filter(text), .since_ns = since, .until_ns = until};
        const std::vector<int> all = sequences({.selection = selection});
        for (const uint32_t limit : {1U, 7U, 60U, 5000U}) {
          const std::vector<int> newest = sequences({.selection = selection, .limit = limit});
          ASSERT_EQ(newest.size(), std::min<size_t>(limit, all.size())) << text;
          EXPECT_TRUE(std::ranges::equal(newest, std::span(all).first(newest.size()))) << text << " " << limit;
        }
      }
    }
  }
}

TEST_F(QueriesTest, TopGroupsOverFileAndMemory) {
  for (uint64_t i = 0; i < 30; ++i) append(store::statement_batch(1 + i * 20, 20));
  ASSERT_TRUE(pipeline_->log().seal());
  append(store::statement_batch(601, 3));
  wait_indexed();
  const auto top = queries_->top({.by = rules::find_field("statement.verb"), .limit = 10}, {});
  ASSERT_TRUE(top) << top.error().message();
  ASSERT_EQ(top->groups_size(), 2);
  EXPECT_EQ(top->groups(0).value(), "SELECT");
  EXPECT_EQ(top->groups(0).events(), 402U);
  EXPECT_EQ(top->groups(1).events(), 201U);
  EXPECT_EQ(top->groups(0).errors(), 40U);
  EXPECT_EQ(top->groups(0).last_time_ns(), kTestTime + 602 * 1'000'000);
  for (const rules::FieldSpec& field : rules::fields())
    EXPECT_TRUE(queries_->top({.by = &field, .limit = 3}, {})) << field.name;
}

// However the engine comes to it, a group is what its events add up to.
class TopTest : public QueriesTest {
 protected:
  static constexpr uint64_t kQuarter = 900'000'000'000;  // of an hour: what the store keeps sums of
  static constexpr uint64_t kStep = 90'000'000'000;      // from one event to the next: ten in a quarter of an hour

  static v1::Batch slow_batch(uint64_t first, uint32_t count, const std::string& host) {
    v1::Batch batch = store::statement_batch(first, count, host);
    for (v1::Event& event : *batch.mutable_events()) event.set_time_ns(kTestTime + first++ * kStep);
    return batch;
  }
  // Most in the file, some in memory.
  void fill() {
    for (uint64_t i = 0; i < 4; ++i) append(slow_batch(1 + i * 20, 20, "db1"));
    v1::Batch large = slow_batch(81, 2, "db1");
    for (v1::Event& event : *large.mutable_events()) event.mutable_statement()->set_rows(UINT64_MAX);
    append(large);
    ASSERT_TRUE(pipeline_->log().seal());
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (pipeline_->store().counters().rows_loaded < 82 && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ASSERT_EQ(pipeline_->store().counters().rows_loaded, 82U);
    append(slow_batch(1, 10, "db2"));
    wait_indexed();
  }
  static std::map<std::string, v1::TopGroup> added_up(const std::vector<v1::Row>& rows, const rules::FieldSpec& field) {
    const auto plus = [](uint64_t a, uint64_t b) { return a + b < a ? UINT64_MAX : a + b; };
    std::map<std::string, v1::TopGroup> groups;
    for (const v1::Row& row : rows) {
      v1::TopGroup& group = groups[std::string(std::get<std::string_view>(rules::row_value(field, row)))];
      group.set_events(group.events() + 1);
      group.set_errors(group.errors() + (row.outcome() == "error" ? 1 : 0));
      group.set_rows(plus(group.rows(), row.result_rows()));
      group.set_duration_ns(group.duration_ns() + row.duration_ns());
      group.set_last_time_ns(std::max(group.last_time_ns(), row.time_ns()));
    }
    return groups;
  }
  void expect_added_up(const Selection& selection, bool by_all) {
    const std::vector<v1::Row> selected = rows({.selection = selection});
    ASSERT_FALSE(selected.empty());
    const std::set<std::string_view> few{"actor.exe", "agent.host", "statement.verb", "statement.text"};
    for (const rules::FieldSpec& field : rules::fields()) {
      if (field.type != rules::FieldType::kString || (!by_all && !few.contains(field.name))) continue;
      SCOPED_TRACE(field.name);
      std::map<std::string, v1::TopGroup> want = added_up(selected, field);
      const auto top = queries_->top({.selection = selection, .by = &field, .limit = 1000}, {});
      ASSERT_TRUE(top) << top.error().message();
      ASSERT_EQ(static_cast<size_t>(top->groups_size()), want.size());
      for (v1::TopGroup group : top->groups()) {
        const std::string value = group.value();
        group.clear_value();
        EXPECT_EQ(group.DebugString(), want[value].DebugString()) << value;
      }
    }
  }
};

TEST_F(TopTest, IsWhatTheEventsAddUpTo) {
  fill();
  const uint64_t whole = kTestTime / kQuarter * kQuarter + kQuarter;
  struct Bounds {
    uint64_t since_ns, until_ns;
  };
  for (const Bounds bounds : {Bounds{0, 0}, Bounds{kTestTime + 5 * kStep, kTestTime + 70 * kStep}, Bounds{whole, 0},
                              Bounds{whole, whole + 3 * kQuarter}, Bounds{whole + 1, whole + 3 * kQuarter - 1},
                              Bounds{whole + 1, whole + kQuarter}, Bounds{0, kTestTime + 33 * kStep}}) {
    for (const std::string text :
         {"", "statement.verb == \"SELECT\" && agent.host == \"db1\"",
          "actor.user == \"alice\" && outcome != \"error\"", "result.rows > 1 && actor.user == \"alice\"",
          "statement.text.contains(\"7\") && outcome != \"error\""}) {
      SCOPED_TRACE(text + " from " + std::to_string(bounds.since_ns) + " to " + std::to_string(bounds.until_ns));
      expect_added_up({.filter = filter(text), .since_ns = bounds.since_ns, .until_ns = bounds.until_ns}, text.empty());
    }
  }
}

TEST_F(QueriesTest, SessionByIdOrPrefix) {
  v1::Batch batch = store::statement_batch(1, 4);
  for (const uint64_t id : {12, 123}) {
    *batch.add_sessions() = batch.sessions(0);
    batch.mutable_sessions()->rbegin()->set_id(id);
  }
  batch.mutable_events(1)->set_session(12);
  batch.mutable_events(2)->set_session(123);
  batch.mutable_events(3)->set_session(0);
  append(batch);
  wait_indexed();
  const auto find = [&](const std::string& text) { return *queries_->find_sessions(text, 5, {}); };
  EXPECT_THAT(find("3"), ElementsAre("db1/b0/3"));
  EXPECT_THAT(find("12"), ElementsAre("db1/b0/12"));
  EXPECT_THAT(find("1"), ElementsAre("db1/b0/12", "db1/b0/123"));
  EXPECT_THAT(find("db1/b0/12"), ElementsAre("db1/b0/12"));
  EXPECT_THAT(find("db1/b0/123"), ElementsAre("db1/b0/123"));
  EXPECT_TRUE(find("9").empty());
  EXPECT_TRUE(find("%").empty());
}

TEST_F(QueriesTest, AgentsFromLedgerAndLastStatus) {
  v1::Batch batch = store::statement_batch(1, 2);
  v1::AgentStatus& status = *batch.mutable_events(0)->mutable_agent_status();
  status.set_phase("start");
  status.set_plane("socket");
  status.set_kernel("6.18.0");
  (*status.mutable_counters())["captured"] = 1;
  batch.mutable_events(1)->mutable_agent_status()->set_plane("socket");
  (*batch.mutable_events(1)->mutable_agent_status()->mutable_counters())["captured"] = 99;
  batch.mutable_events(1)->mutable_agent_status()->mutable_sockets()->add_sockets()->set_verdict("blind");
  append(batch);
  append(store::statement_batch(11, 2));
  append(store::statement_batch(1, 1, "db2"));
  wait_indexed();
  const auto presence = pipeline_->connected("db2");
  EXPECT_FALSE(queries_->agents(false, {})->agents(0).has_sockets());
  const auto agents = queries_->agents(true, {});
  ASSERT_TRUE(agents) << agents.error().message();
  ASSERT_EQ(agents->agents_size(), 2);
  const v1::Agent& first = agents->agents(0);
  EXPECT_EQ(first.agent_id(), "db1");
  EXPECT_EQ(first.host(), "db1");
  EXPECT_EQ(first.version(), "0.1.0");
  EXPECT_EQ(first.plane(), "socket");
  EXPECT_EQ(first.counters().at("captured"), 99U);
  EXPECT_EQ(first.events(), 4U);
  EXPECT_EQ(first.missing(), 8U);
  EXPECT_FALSE(first.connected());
  ASSERT_EQ(first.sockets().sockets_size(), 1);
  EXPECT_EQ(first.sockets().sockets(0).verdict(), "blind");
  EXPECT_TRUE(agents->agents(1).connected());
  EXPECT_FALSE(agents->agents(1).has_sockets());
}

// Wherever in the log the last status stands: in the open segment, in sealed ones, each agent's elsewhere.
TEST_F(QueriesTest, SocketsOfEachAgentsLastStatus) {
  const auto status = [&](const std::string& agent, uint64_t sequence, const std::string& verdict) {
    v1::Batch batch = store::statement_batch(sequence, 1, agent);
    batch.mutable_events(0)->mutable_agent_status()->mutable_sockets()->add_sockets()->set_verdict(verdict);
    append(batch);
  };
  status("db1", 1, "full");
  status("db2", 1, "opaque");
  for (uint64_t i = 0; i < 60; ++i) append(store::statement_batch(2 + i * 20, 20, "db2"));
  status("db1", 2, "gaps");
  for (uint64_t i = 0; i < 60; ++i) append(store::statement_batch(2 + i * 20, 20, "db3"));
  status("db3", 2000, "blind");
  ASSERT_GT(pipeline_->log().segments().size(), 2U);
  wait_indexed();
  const auto agents = queries_->agents(true, {});
  ASSERT_TRUE(agents) << agents.error().message();
  ASSERT_EQ(agents->agents_size(), 3);
  std::vector<std::string> verdicts;
  for (const v1::Agent& agent : agents->agents())
    for (const v1::HostSocket& socket : agent.sockets().sockets()) verdicts.push_back(socket.verdict());
  EXPECT_THAT(verdicts, ElementsAre("gaps", "opaque", "blind"));
}

// History from the store, what came during it from the log, the rest from the hub: each row once, in order.
TEST_F(QueriesTest, TailHasNoSeams) {
  constexpr int kBatches = 120;
  constexpr int kEvents = 25;
  for (uint64_t i = 0; i < 20; ++i) append(store::statement_batch(1 + i * kEvents, kEvents));
  std::vector<std::thread> tails;
  std::vector<std::vector<int>> seen(3);
  for (auto& mine : seen) {
    tails.emplace_back([&] {
      const Status status = queries_->tail({}, 1, queries_->now(),
                                           [&](v1::Row&& row) {
                                             mine.push_back(std::stoi(row.id().substr(row.id().rfind('/') + 1)));
                                             return mine.size() < kBatches * kEvents;
                                           },
                                           {});
      EXPECT_TRUE(status) << status.error().message();
    });
  }
  for (uint64_t i = 20; i < kBatches; ++i) append(store::statement_batch(1 + i * kEvents, kEvents));
  for (std::thread& tail : tails) tail.join();
  std::vector<int> want(kBatches * kEvents);
  for (size_t i = 0; i < want.size(); ++i) want[i] = static_cast<int>(i) + 1;
  for (const auto& mine : seen) EXPECT_EQ(mine, want);
}

TEST_F(QueriesTest, TailEndsWhenThePipelineCloses) {
  std::thread tail([&] { EXPECT_TRUE(queries_->tail({}, 0, queries_->now(), [](v1::Row&&) { return true; }, {})); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  pipeline_->close();
  tail.join();
}

TEST_F(QueriesTest, SlowTailLosesAndIsTold) {
  store::TailHub hub(pipeline_->log(), 10);
  const auto slow = hub.subscribe_at(pipeline_->log().end(), filter("statement.verb == \"SELECT\""));
  ASSERT_TRUE(slow);
  append(store::statement_batch(1, 30));
  append(store::statement_batch(31, 1));
  // 21 of these 31 are SELECT; the hub takes a few ms for them.
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  std::vector<std::string> got;
  while (const auto row = slow->next(50)) got.push_back(row->kind() == "gap" ? row->detail() : row->id());
  ASSERT_EQ(got.size(), 11U);
  EXPECT_EQ(got[0], "db1/b0/1");
  EXPECT_EQ(got[10], "tail-too-slow events=11");
  append(store::statement_batch(32, 1));
  EXPECT_EQ(slow->next(2000)->id(), "db1/b0/32");
}

}  // namespace
}  // namespace gatehouse::query
