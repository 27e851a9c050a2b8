// SPDX-License-Identifier: Apache-2.0
// What watching costs by whose time it takes: the session's own (the kernel side), the agent's reading thread (from the
// lanes to a batch) and its publishing thread (compression, digest, spool). Shipping is not in it. A client and a
// server in one thread on CPU 0 say short queries as in kernel_bench; the agent's threads run beside them as in the
// agent, on CPU 1. All by the threads' own clocks: the least of many rounds is what a busy machine disturbs least.
//
// usage: agent_bench [pause=MS] [ring=BYTES] [events=N] [statements=N] [rounds=N]   as root
//   pause: capture.poll_ms_max; ring: of each of the two rings, which the lanes take as well; events: batch.events_max
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "agent/capture/kernel_source.h"
#include "agent/identity/process_table.h"
#include "agent/runtime/batch_builder.h"
#include "agent/runtime/publisher.h"
#include "agent/runtime/shard.h"
#include "agent/runtime/table_directory.h"
#include "agent/spool/spool.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/testing.h"
#include "tests/bench/spoken.h"

namespace gatehouse {
namespace {

using bench::least;
using bench::Listener;
using bench::median;
using bench::Pair;

constexpr size_t kRecordsPerTurnMax = 4096;
constexpr size_t kQueries = 5000;
constexpr const char* kBoot = "bench";

using Options = std::map<std::string, uint64_t, std::less<>>;

Options read_options(int argc, char** argv) {
  Options options{
      {"pause", 50}, {"ring", 4U << 20}, {"events", kBatchEventsMax}, {"statements", 10'000}, {"rounds", 60}};
  for (const std::string_view word : std::span(argv, static_cast<size_t>(argc)).subspan(1)) {
    const size_t equals = word.find('=');
    const auto found = options.find(word.substr(0, equals));
    GH_CHECK(equals != std::string_view::npos && found != options.end());
    const char* const end = word.data() + word.size();
    GH_CHECK(std::from_chars(word.data() + equals + 1, end, found->second).ptr == end);
  }
  return options;
}

// Says the statements of a round; returns what they took.
class Talk {
 public:
  explicit Talk(uint64_t statements) : statements_(statements) {
    for (size_t i = 0; i < kQueries; ++i)
      queries_.push_back(test::query(
          "SELECT abalance FROM pgbench_accounts WHERE aid = " + std::to_string(10'000 + i * 7919 % 90'000) + ";"));
  }
  double ns_per_statement(const Pair& pair) {
    const uint64_t begin = bench::thread_cpu_ns();
    for (uint64_t i = 0; i < statements_; ++i) {
      bench::say(pair.client, pair.server, queries_[++next_ % queries_.size()]);
      bench::say(pair.server, pair.client, bench::kAnswer);
    }
    return static_cast<double>(bench::thread_cpu_ns() - begin) / static_cast<double>(statements_);
  }

 private:
  uint64_t statements_;
  std::vector<std::string> queries_;
  size_t next_ = 0;
};

// The agent without its uplink: what is spooled counts as acknowledged when the next batch comes.
class Agent {
 public:
  Agent(capture::KernelSource& source, const Options& options)
      : source_(source), pause_ms_(static_cast<uint32_t>(options.at("pause"))) {
    auto spool = spool::Spool::open({.folder = folder_.path() + "/spool"});
    auto mark = runtime::WatchMark::open(folder_.path() + "/watched");
    GH_CHECK(spool && mark && processes_.snapshot());
    spool_ = *std::move(spool);
    publisher_ = std::make_unique<runtime::Publisher>(*spool_, kBoot, *std::move(mark));
    builder_ =
        std::make_unique<runtime::BatchBuilder>(runtime::BatchBuilder::Options{.agent_id = "bench",
                                                                               .boot_id = kBoot,
                                                                               .host = "bench",
                                                                               .agent_version = "0",
                                                                               .events_max = options.at("events")},
                                                directory_);
    shard_ = std::make_unique<runtime::Shard>(processes_, *builder_, std::vector<AgentConfig::Database>{},
                                              [this](runtime::EncodedBatch batch) {
                                                spool_->acknowledge(kBoot, batch.first_sequence - 1);
                                                publisher_->push(std::move(batch));
                                              });
    thread_ = std::thread([this] { run(); });
  }
  ~Agent() {
    is_stopping_ = true;
    thread_.join();
    GH_CHECK(shard_->counters().lost_bytes == 0);
  }
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // Since the last turn.
  [[nodiscard]] uint64_t read_ns() const { return read_ns_; }
  [[nodiscard]] uint64_t statements() const { return statements_; }

 private:
  void run() {
    bench::run_on_cpu(1);
    while (!is_stopping_) {
      const size_t records = source_.poll(*shard_, kRecordsPerTurnMax);
      shard_->flush(boottime_ns());
      statements_ = shard_->counters().statements;
      read_ns_ = bench::thread_cpu_ns();
      if (records < kRecordsPerTurnMax) source_.wait(pause_ms_, pause_ms_);
    }
  }

  capture::KernelSource& source_;
  const uint32_t pause_ms_;
  test::TemporaryFolder folder_;
  identity::ProcessTable processes_;
  runtime::TableDirectory directory_{processes_};
  std::unique_ptr<spool::Spool> spool_;
  std::unique_ptr<runtime::Publisher> publisher_;
  std::unique_ptr<runtime::BatchBuilder> builder_;
  std::unique_ptr<runtime::Shard> shard_;
  std::atomic<bool> is_stopping_ = false;
  std::atomic<uint64_t> read_ns_ = 0, statements_ = 0;
  std::thread thread_;
};

uint64_t process_cpu_ns() {
  timespec now{};
  GH_CHECK(::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

int run(int argc, char** argv) {
  const Options options = read_options(argc, argv);
  const uint64_t rounds = options.at("rounds"), said = options.at("statements"), ring = options.at("ring");
  bench::run_on_cpu(0);
  const Listener listener;
  Talk talk(said);
  std::vector<double> plain, watched, reader, publisher;
  {
    const Pair pair = listener.begin();
    for (uint64_t i = 0; i < rounds; ++i) plain.push_back(talk.ns_per_statement(pair));
  }
  const auto source = capture::KernelSource::open(
      {.ports = {listener.port()}, .request_ring_bytes = ring, .response_ring_bytes = ring});
  if (!source) {
    std::fprintf(stderr, "agent_bench: %s\n", source.error().message().c_str());
    return 1;
  }
  Agent agent(**source, options);
  const Pair pair = listener.begin();
  talk.ns_per_statement(pair);
  for (uint64_t i = 0; i < rounds; ++i) {
    const uint64_t read_ns = agent.read_ns(), statements = agent.statements(), all_ns = process_cpu_ns();
    const double own_ns = talk.ns_per_statement(pair);
    const auto done = static_cast<double>(agent.statements() - statements);
    const auto read = static_cast<double>(agent.read_ns() - read_ns);
    watched.push_back(own_ns);
    if (done == 0) continue;
    reader.push_back(read / done);
    publisher.push_back((static_cast<double>(process_cpu_ns() - all_ns) - own_ns * static_cast<double>(said) - read) /
                        done);
  }
  std::printf("ns per statement, %zu rounds of %lu: least (median)\n", plain.size(), static_cast<unsigned long>(said));
  std::printf("kernel side %.0f (%.0f), reader %.0f (%.0f), publisher %.0f (%.0f); plain %.0f (%.0f)\n",
              least(watched) - least(plain), median(watched) - median(plain), least(reader), median(reader),
              least(publisher), median(publisher), least(plain), median(plain));
  return 0;
}

}  // namespace
}  // namespace gatehouse

int main(int argc, char** argv) {
  return gatehouse::run(argc, argv);
}
