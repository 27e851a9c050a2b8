// SPDX-License-Identifier: Apache-2.0
// Agent's half and collector's half against each other, over real sockets with mutual TLS.
#include <gtest/gtest.h>

#include "agent/uplink/agent_identity.h"
#include "agent/uplink/collector_client.h"
#include "collector/ingest/testing.h"
#include "tests/transport/test_agent.h"

namespace gatehouse {
namespace {

using gatehouse::testing::TestAgent;
using ingest::testing::eventually;
using ingest::testing::TemporaryFolder;
using ingest::testing::TestCollector;
using std::chrono::milliseconds;
using std::chrono::seconds;

std::vector<uint64_t> odd_numbers(size_t count) {
  std::vector<uint64_t> numbers;
  for (size_t i = 0; i < count; ++i) numbers.push_back(2 * i + 1);
  return numbers;
}

TEST(Publish, ThousandBatchesArriveOnceInOrderAndAreAcknowledged) {
  TestCollector collector;
  TestAgent agent;
  agent.start(collector.address(), collector.token());
  agent.publish(1000);
  EXPECT_TRUE(eventually([&] { return agent.is_drained(); }));
  EXPECT_EQ(collector.sink.sequences(agent.uplink().agent_id(), agent.boot_id()), odd_numbers(1000));
  EXPECT_EQ(collector.counters().batches_duplicate, 0U);
  EXPECT_EQ(collector.counters().events_appended, 2000U);
  EXPECT_EQ(agent.uplink().status().connections, 1U);
  EXPECT_EQ(agent.uplink().status().in_flight_bytes, 0U);
}

TEST(Publish, SlowCollectorGetsGroupsAndTheWindowHolds) {
  TestCollector collector;
  collector.sink.delay = milliseconds(30);
  TestAgent agent;
  agent.start(collector.address(), collector.token(), 16);
  agent.publish(200);
  EXPECT_TRUE(eventually([&] { return agent.is_drained(); }));
  EXPECT_EQ(collector.sink.sequences(agent.uplink().agent_id(), agent.boot_id()), odd_numbers(200));
  EXPECT_GT(collector.sink.groups_max, 1U);
  EXPECT_LE(collector.sink.groups_max, 16U);
}

TEST(Publish, StopDrains) {
  TestCollector collector;
  collector.sink.delay = milliseconds(20);
  TestAgent agent;
  agent.start(collector.address(), collector.token());
  ASSERT_TRUE(eventually([&] { return agent.uplink().status().is_connected; }));
  agent.publish(50);
  agent.stop();
  EXPECT_TRUE(agent.is_drained());
  EXPECT_EQ(collector.sink.sequences(agent.uplink().agent_id(), agent.boot_id()).size(), 50U);
}

TEST(Publish, CollectorMayRestartAtAnyTime) {
  TestCollector collector;
  TestAgent agent;
  agent.start(collector.address(), collector.token());
  collector.sink.delay = milliseconds(1);
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(eventually([&] { return agent.uplink().status().is_connected; }));
    agent.publish(100);
    std::this_thread::sleep_for(milliseconds(7 * round));
    collector.stop();
    agent.publish(20);
    collector.start();
  }
  EXPECT_TRUE(eventually([&] { return agent.is_drained(); }));
  EXPECT_EQ(collector.sink.sequences(agent.uplink().agent_id(), agent.boot_id()), odd_numbers(600));
  EXPECT_GT(agent.uplink().status().connections, 1U);
}

TEST(Publish, CollectorThatCannotWriteAcknowledgesNothing) {
  TestCollector collector;
  collector.sink.failures_left = 3;
  TestAgent agent;
  agent.start(collector.address(), collector.token());
  agent.publish(10);
  EXPECT_TRUE(eventually([&] { return agent.is_drained(); }));
  EXPECT_EQ(collector.counters().append_errors, 3U);
  EXPECT_EQ(collector.sink.sequences(agent.uplink().agent_id(), agent.boot_id()), odd_numbers(10));
}

TEST(Publish, BatchThatIsRefusedAgainAndAgainIsGivenUp) {
  TestCollector collector;
  TestAgent agent;
  agent.start(collector.address(), collector.token());
  agent.publish(3);
  ASSERT_EQ(agent.spool().append(agent.seal("another-agent")), spool::AppendOutcome::kStored);
  agent.publish(3);
  EXPECT_TRUE(eventually([&] { return agent.is_drained(); }));
  EXPECT_EQ(agent.uplink().status().batches_given_up, 1U);
  EXPECT_EQ(collector.counters().refused[static_cast<size_t>(ingest::Refusal::kAgent)], 3U);
  EXPECT_EQ(collector.sink.sequences(agent.uplink().agent_id(), agent.boot_id()),
            (std::vector<uint64_t>{1, 3, 5, 9, 11, 13}));
}

TEST(Publish, CollectorThatComesLaterIsFound) {
  uint16_t port = 0;
  {
    port = TestCollector().port();
  }
  TestAgent agent;
  TestCollector collector(port);
  const std::string token = collector.token();
  collector.stop();
  agent.start(collector.address(), token);
  EXPECT_FALSE(agent.uplink().status().is_enrolled);
  agent.publish(5);
  EXPECT_TRUE(eventually([&] { return !agent.uplink().status().last_error.empty(); }));
  collector.start();
  EXPECT_TRUE(eventually([&] { return agent.is_drained(); }));
  EXPECT_TRUE(agent.uplink().status().is_enrolled);
}

TEST(Enrolment, RefusalsAreConfigurationErrorsThatSayWhy) {
  TestCollector collector, other;
  const std::string used = collector.token();
  TestAgent first;
  first.start(collector.address(), used);

  const std::string secret_changed = [&] {
    std::string token = collector.token();
    token[8] = token[8] == '0' ? '1' : '0';
    return token;
  }();
  const std::string expired = collector.tokens().create(seconds(1))->token;
  std::this_thread::sleep_for(milliseconds(1100));
  const std::pair<std::string, std::string_view> cases[] = {
      {used, "already used"}, {secret_changed, "unknown"}, {expired, "expired"},
      {"", "no token"},       {"ghe1_xyz", "not a token"}, {other.token(), "not the one that made the token"},
  };
  for (const auto& [token, want] : cases) {
    TestAgent agent;
    const auto started = agent.try_start(collector.address(), token);
    ASSERT_FALSE(started) << want;
    EXPECT_EQ(started.error().kind(), ErrorKind::kConfiguration);
    EXPECT_NE(started.error().message().find(want), std::string::npos) << started.error().message();
    EXPECT_EQ(started.error().message().find('\n'), std::string::npos);
  }
  EXPECT_EQ(collector.counters().enrolled, 1U);
  EXPECT_EQ(collector.counters().enrolments_refused, 3U);
}

TEST(Enrolment, SameKeyMayAskAgainAndNeedsNoTokenLater) {
  TestCollector collector;
  TestAgent agent;
  const std::string token = collector.token();
  agent.start(collector.address(), token);
  const std::string id = agent.uplink().agent_id();
  EXPECT_TRUE(id.starts_with("host-one-")) << id;
  agent.stop();
  std::filesystem::remove(agent.identity_folder() + "/cert.pem");  // the answer was lost
  agent.start(collector.address(), token);
  EXPECT_EQ(agent.uplink().agent_id(), id);
  agent.stop();
  agent.start(collector.address(), "");
  agent.publish(1);
  EXPECT_TRUE(eventually([&] { return agent.is_drained(); }));
}

TEST(Enrolment, AgentRenewsWithItsCertificate) {
  TestCollector collector;
  TemporaryFolder folder;
  auto identity = *uplink::AgentIdentity::open(folder.path(), "a");
  ASSERT_EQ(enrol(collector.address(), identity, collector.token(), seconds(2)).kind, uplink::Ending::Kind::kOk);
  const std::string before = identity.certificate_pem();
  EXPECT_FALSE(identity.is_due());
  const auto ending = renew(collector.address(), identity, seconds(2));
  EXPECT_EQ(ending.kind, uplink::Ending::Kind::kOk) << ending.reason;
  EXPECT_NE(identity.certificate_pem(), before);
  EXPECT_EQ(collector.counters().renewed, 1U);
  EXPECT_EQ(uplink::AgentIdentity::open(folder.path(), "renamed")->agent_id(), identity.agent_id());
}

}  // namespace
}  // namespace gatehouse
