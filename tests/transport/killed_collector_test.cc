// SPDX-License-Identifier: Apache-2.0
// The collector as a process that dies by SIGKILL at random moments while an agent publishes to it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <sstream>

#include "collector/ledger/segment_log.h"
#include "tests/transport/test_agent.h"

namespace gatehouse {
namespace {

using gatehouse::testing::TestAgent;
using ingest::testing::eventually;
using ingest::testing::TemporaryFolder;
using std::chrono::milliseconds;
using std::chrono::seconds;

class CollectorProcess {
 public:
  CollectorProcess() : address_("127.0.0.1:" + std::to_string(free_port())) {
    std::ofstream(config()) << "collector:\n  name: test\n  state_dir: " << state() << "\n  listen: " << address_
                            << '\n';
  }
  ~CollectorProcess() {
    if (pid_ > 0) end(SIGKILL);
  }

  void start() {
    pid_ = run({"--config", config()}, folder_.path() + "/log");
    ASSERT_GT(pid_, 0);
  }
  int end(int signal) {
    ::kill(pid_, signal);
    return wait(std::exchange(pid_, 0));
  }
  // Exit code of a run to its end, with everything it said.
  std::pair<int, std::string> run_to_end(const std::vector<std::string>& arguments) {
    const std::string out = folder_.path() + "/out";
    const int code = wait(run(arguments, out));
    std::stringstream text;
    text << std::ifstream(out).rdbuf();
    return {code, text.str()};
  }
  std::string token() {
    std::string text = run_to_end({"token", "--config", config()}).second;
    if (text.ends_with('\n')) text.pop_back();
    return text;
  }
  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] std::string state() const { return folder_.path() + "/state"; }
  [[nodiscard]] std::string config() const { return folder_.path() + "/collector.yaml"; }

 private:
  // Any that is free now: the collector must have the same one again after it was killed.
  static uint16_t free_port() { return ingest::testing::TestCollector().port(); }
  static pid_t run(const std::vector<std::string>& arguments, const std::string& out) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    const int fd = ::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::dup2(fd, STDOUT_FILENO);
    ::dup2(fd, STDERR_FILENO);
    std::vector<char*> argv{const_cast<char*>(GH_COLLECTOR)};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    ::execv(GH_COLLECTOR, argv.data());
    ::_exit(127);
  }
  static int wait(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  TemporaryFolder folder_;
  std::string address_;
  pid_t pid_ = 0;
};

TEST(KilledCollector, LosesNothingAcknowledgedAndHasNothingTwice) {
  CollectorProcess collector;
  collector.start();
  ASSERT_TRUE(eventually([&] { return collector.token().starts_with("ghe1_"); }));
  TestAgent agent;
  agent.start(collector.address(), collector.token());
  std::mt19937 random(7);
  constexpr int kRounds = 5;
  for (int round = 0; round < kRounds; ++round) {
    ASSERT_TRUE(eventually([&] { return agent.uplink().status().is_connected; }));
    agent.publish(150);
    std::this_thread::sleep_for(milliseconds(random() % 120));
    ASSERT_EQ(collector.end(SIGKILL), 128 + SIGKILL);
    agent.publish(10);
    collector.start();
  }
  ASSERT_TRUE(eventually([&] { return agent.is_drained(); })) << agent.uplink().status().last_error;
  agent.stop();
  EXPECT_EQ(collector.end(SIGTERM), 0);

  auto log = ledger::SegmentLog::open({.folder = collector.state() + "/ledger"});
  ASSERT_TRUE(log) << log.error().message();
  const auto sources = (*log)->sources();
  ASSERT_EQ(sources.size(), 1U);
  EXPECT_EQ(sources[0].agent_id, agent.uplink().agent_id());
  EXPECT_EQ(sources[0].events, kRounds * 160U * 2U);
  EXPECT_EQ(sources[0].acknowledged_sequence, kRounds * 160U * 2U);
  EXPECT_EQ(sources[0].missing, 0U);
  const auto verified = (*log)->verify();
  ASSERT_TRUE(verified);
  EXPECT_EQ(verified->first_bad, "");
  EXPECT_EQ(verified->events, kRounds * 160U * 2U);
}

TEST(CollectorCommand, MistakesAreOneLineAndAnExitCode) {
  CollectorProcess collector;
  const auto expect = [&](const std::vector<std::string>& arguments, int code, std::string_view text) {
    const auto [got, said] = collector.run_to_end(arguments);
    EXPECT_EQ(got, code) << said;
    EXPECT_NE(said.find(text), std::string::npos) << said;
  };
  expect({"--version"}, 0, "gatehouse-collector ");
  expect({"--config", collector.config(), "--check-config"}, 0, collector.address());
  expect({"--config", "/nonexistent"}, 78, "/nonexistent");
  expect({"--nonsense"}, 78, "nonsense");
  expect({"token", "--config", collector.config()}, 78, "start the collector once");
  collector.start();
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(collector.state() + "/operator/cert.pem"); }));
  expect({"--config", collector.config()}, 1, "held by another running process");
  expect({"token", "--config", collector.config(), "--valid", "soon"}, 78, "--valid soon");
  expect({"token", "--config", collector.config(), "--valid", "90d"}, 78, "30 days");

  CollectorProcess second;
  std::ofstream(second.config()) << "collector:\n  state_dir: " << second.state()
                                 << "\n  listen: " << collector.address() << '\n';
  const auto [code, said] = second.run_to_end({"--config", second.config()});
  EXPECT_EQ(code, 1);
  EXPECT_NE(said.find("cannot listen on " + collector.address()), std::string::npos) << said;
  EXPECT_EQ(collector.end(SIGTERM), 0);
}

}  // namespace
}  // namespace gatehouse
