// SPDX-License-Identifier: Apache-2.0
#include "collector/store/pipeline.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>
#include <thread>

#include "collector/ledger/testing.h"
#include "collector/store/store_fixture.h"
#include "collector/store/testing.h"
#include "common/log.h"

namespace gatehouse::store {
namespace {

using Kind = ledger::AppendOutcome::Kind;

std::unique_ptr<Pipeline> open(const std::string& folder) {
  auto pipeline = Pipeline::open({.folder = folder, .log = {.segment_bytes_max = 20'000}, .store = {}});
  EXPECT_TRUE(pipeline) << pipeline.error().message();
  return *std::move(pipeline);
}

TEST(Pipeline, OneOutcomePerRequestInOrder) {
  log::set_level(log::Level::kError);
  const ledger::TemporaryFolder folder;
  const auto pipeline = open(folder.path());
  std::vector<v1::PublishRequest> requests{sealed(statement_batch(1, 10)),  sealed(statement_batch(11, 10)),
                                           sealed(statement_batch(1, 10)),  sealed(statement_batch(21, 10)),
                                           sealed(statement_batch(31, 10)), sealed(statement_batch(15, 10))};
  requests[3].set_payload_sha256(std::string(32, 'x'));
  requests[4].set_payload_sha256("short");
  const auto outcomes = pipeline->append("db1", requests);
  ASSERT_TRUE(outcomes);
  const std::vector<Kind> want{Kind::kAppended,  Kind::kAppended,  Kind::kDuplicate,
                               Kind::kMalformed, Kind::kMalformed, Kind::kOverlap};
  for (size_t i = 0; i < want.size(); ++i) EXPECT_EQ(outcomes->at(i).kind, want[i]) << i;
  EXPECT_EQ(outcomes->at(0).acknowledged_sequence, 20U);
  EXPECT_EQ(outcomes->at(2).acknowledged_sequence, 20U);
}

TEST(Pipeline, PresenceIsCounted) {
  const ledger::TemporaryFolder folder;
  const auto pipeline = open(folder.path());
  EXPECT_FALSE(pipeline->is_connected("a"));
  auto first = pipeline->connected("a");
  {
    const auto second = pipeline->connected("a");
    EXPECT_TRUE(pipeline->is_connected("a"));
  }
  EXPECT_TRUE(pipeline->is_connected("a"));
  first = {};
  EXPECT_FALSE(pipeline->is_connected("a"));
}

// The whole collector is killed while it takes batches and loads segments; the agent sends again what was not
// acknowledged. In the end each event is there once.
TEST(Pipeline, KilledAtAnyMomentEachEventIsThereOnce) {
  log::set_level(log::Level::kError);
  const ledger::TemporaryFolder folder;
  constexpr uint64_t kEvents = 20;
  std::mt19937 random(11);
  uint64_t acknowledged = 0;
  for (int round = 0; round < 6; ++round) {
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const auto pipeline = open(folder.path());
      for (uint64_t first = acknowledged + 1;; first += kEvents) {
        const v1::PublishRequest request = sealed(statement_batch(first, kEvents));
        const auto outcomes = pipeline->append("db1", std::span{&request, 1});
        if (!outcomes) ::_exit(1);
        const uint64_t sequence = outcomes->at(0).acknowledged_sequence;
        if (::write(pipe_fds[1], &sequence, sizeof sequence) != sizeof sequence) ::_exit(1);
        ::usleep(1000);
      }
    }
    ::close(pipe_fds[1]);
    ::usleep(static_cast<useconds_t>(std::uniform_int_distribution(100'000, 700'000)(random)));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    uint64_t sequence = 0;
    while (::read(pipe_fds[0], &sequence, sizeof sequence) == sizeof sequence) acknowledged = sequence;
    ::close(pipe_fds[0]);
  }
  const auto pipeline = open(folder.path());
  ASSERT_TRUE(pipeline->store().wait_indexed(pipeline->log().end(), std::chrono::seconds(30)));
  const auto [rows, distinct] = counts_of(pipeline->store());
  EXPECT_EQ(rows, distinct);
  EXPECT_GE(rows, acknowledged);
  EXPECT_LE(rows, acknowledged + kEvents);
  EXPECT_GT(acknowledged, 200U);
  EXPECT_EQ(pipeline->log().verify()->first_bad, "");
}

}  // namespace
}  // namespace gatehouse::store
