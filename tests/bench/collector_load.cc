// SPDX-License-Identifier: Apache-2.0
// Load on a real collector over real sockets with mutual TLS; tests/bench/collector.py starts both and reads the one
// JSON object that each command prints.
//
//   collector_load load COLLECTOR IDENTITIES OPERATOR agents=4 events=1000000 …   as so many agents
//   collector_load ask COLLECTOR OPERATOR FIRST_NS LAST_NS ROUNDS                 the questions that have budgets
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "agent/uplink/agent_identity.h"
#include "agent/uplink/collector_client.h"
#include "cli/client.h"
#include "common/check.h"
#include "tests/bench/event_source.h"

namespace gatehouse::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Clock = steady_clock::time_point;

double ms_since(Clock start) {
  return std::chrono::duration<double, std::milli>(steady_clock::now() - start).count();
}

// Unix time at which this program began. An agent that comes again must not number its events as it did before.
uint64_t started_ns() {
  using std::chrono::system_clock;
  static const auto started = system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::nanoseconds(started).count());
}

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "collector_load: %s\n", why.c_str());
  std::exit(1);
}

// `of` need not be sorted; part 0.5 is the median.
double quantile(std::vector<double> of, double part) {
  if (of.empty()) return 0;
  std::ranges::sort(of);
  return of[std::min(of.size() - 1, static_cast<size_t>(part * static_cast<double>(of.size())))];
}

struct Settings {
  std::string collector, identities, operator_folder;
  std::map<std::string, uint64_t> values{
      {"agents", 4}, {"events", 1'000'000}, {"batch", 500},         {"window", 8}, {"rate", 0},
      {"probe", 0},  {"first_ns", 0},       {"step_ns", 1'000'000}, {"seed", 1},
  };
  [[nodiscard]] uint64_t operator[](const std::string& name) const { return values.at(name); }
};

// Asks for an acknowledged event until it is answered.
class Probe {
 public:
  Probe(const Settings& settings, cli::Credentials credentials)
      : client_(settings.collector, credentials), thread_([this] { run(); }) {}
  ~Probe() {
    {
      const std::lock_guard lock(mutex_);
      is_over_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  // Of an event that was acknowledged just now; one about every kPeriod is asked for.
  void ask_for(std::string id, uint64_t time_ns) {
    const std::lock_guard lock(mutex_);
    if (!id_.empty() || steady_clock::now() - acknowledged_ < kPeriod) return;
    id_ = std::move(id);
    time_ns_ = time_ns;
    acknowledged_ = steady_clock::now();
    changed_.notify_all();
  }
  std::vector<double> delays_ms() {
    const std::lock_guard lock(mutex_);
    return delays_ms_;
  }

 private:
  static constexpr milliseconds kPeriod{500};
  static constexpr milliseconds kPause{20};

  void run() {
    for (;;) {
      v1::SearchRequest request;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return is_over_ || !id_.empty(); });
        if (id_.empty()) return;
        request.set_filter("id == \"" + id_ + "\"");
        request.set_since_ns(time_ns_);
        request.set_until_ns(time_ns_ + 1);
        request.set_limit(1);
      }
      for (bool is_found = false; !is_found;) {
        const auto asked = client_.search(request, [&](const v1::Row&) { return is_found = true; });
        if (!asked) die("a question was not answered: " + asked.error().message);
        if (!is_found) std::this_thread::sleep_for(kPause);
      }
      const std::lock_guard lock(mutex_);
      delays_ms_.push_back(ms_since(acknowledged_));
      id_.clear();
    }
  }

  cli::Client client_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_over_ = false;
  std::string id_;
  uint64_t time_ns_ = 0;
  Clock acknowledged_;
  std::vector<double> delays_ms_;
  std::thread thread_;
};

// One agent: one connection, at most `window` batches in flight.
class Agent {
 public:
  Agent(const Settings& settings, uint64_t number, const std::string& token, Probe* probe)
      : settings_(settings), number_(number), probe_(probe) {
    auto identity = uplink::AgentIdentity::open(settings.identities + "/" + std::to_string(number),
                                                "bench-" + std::to_string(number));
    if (!identity) die(identity.error().message());
    identity_ = std::make_unique<uplink::AgentIdentity>(*std::move(identity));
    if (!identity_->is_enrolled()) {
      const uplink::Ending enrolled = uplink::enrol(settings.collector, *identity_, token, milliseconds(10'000));
      if (enrolled.kind != uplink::Ending::Kind::kOk) die("not enrolled: " + enrolled.reason);
    }
    boot_id_ = "b" + std::to_string(started_ns());
    source_ = std::make_unique<EventSource>(
        EventSource::Options{.agent_id = identity_->agent_id(),
                             .boot_id = boot_id_,
                             .host = "bench-" + std::to_string(number),
                             .seed = settings["seed"] * 1000 + number,
                             .batch_events = static_cast<uint32_t>(settings["batch"]),
                             .first_time_ns = settings["first_ns"] + number * settings["step_ns"],
                             .step_ns = settings["step_ns"] * settings["agents"]});
    call_ = std::make_unique<uplink::PublishCall>(
        settings.collector, *identity_,
        uplink::PublishCall::Callbacks{
            .on_admitted = [] {},
            .on_acknowledged = [this](std::string_view, uint64_t sequence) { acknowledged(sequence); },
            .on_over = [this] { over(); }});
    call_->open();
  }

  // Agents run on other machines in real life: at a given rate their work is done before, so that it does not hold up
  // the collector.
  void prepare() {
    if (settings_["rate"] == 0) return;
    const uint64_t batches = settings_["events"] / settings_["agents"] / settings_["batch"];
    for (uint64_t i = 0; i < batches; ++i) prepared_.push_back(make());
  }

  void run() {
    const uint64_t batches = settings_["events"] / settings_["agents"] / settings_["batch"];
    const double batches_per_s =
        static_cast<double>(settings_["rate"]) / static_cast<double>(settings_["agents"] * settings_["batch"]);
    // Agents do not send in step.
    const auto period = std::chrono::duration_cast<steady_clock::duration>(
        std::chrono::duration<double>(batches_per_s > 0 ? 1 / batches_per_s : 0));
    const Clock start = steady_clock::now() + period * number_ / settings_["agents"];
    for (uint64_t i = 0; i < batches; ++i) {
      Made made;
      if (prepared_.empty()) {
        made = make();
      } else {
        made = std::move(prepared_.front());
        prepared_.pop_front();
      }
      const uint64_t last = made.batch.last_sequence();
      if (batches_per_s > 0) std::this_thread::sleep_until(start + period * i);
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return is_over_ || sent_.size() < settings_["window"]; });
        if (is_over_) die("the collector ended the stream: " + call_->end().reason);
        sent_.push_back({last, made.time_ns, steady_clock::now()});
      }
      if (!call_->send(std::move(made.batch))) die("the collector ended the stream: " + call_->end().reason);
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return is_over_ || sent_.empty(); });
    if (!sent_.empty()) die("the collector ended the stream early");
    lock.unlock();
    plain_bytes = source_->plain_bytes();
    last_time_ns = source_->time_ns();
    [[maybe_unused]] const uplink::Ending ended = call_->end();
  }

  std::vector<double> latencies_ms;
  uint64_t payload_bytes = 0;
  uint64_t plain_bytes = 0;
  uint64_t last_time_ns = 0;

 private:
  struct Made {
    spool::SealedBatch batch;
    uint64_t time_ns = 0;  // of its last event
  };
  Made make() {
    Made made{.batch = source_->next(), .time_ns = source_->time_ns()};
    payload_bytes += made.batch.payload_zstd.size();
    return made;
  }
  struct Sent {
    uint64_t last_sequence;
    uint64_t time_ns;
    Clock at;
  };
  void acknowledged(uint64_t sequence) {
    const std::lock_guard lock(mutex_);
    while (!sent_.empty() && sent_.front().last_sequence <= sequence) {
      latencies_ms.push_back(ms_since(sent_.front().at));
      if (probe_ != nullptr)
        probe_->ask_for(identity_->agent_id() + "/" + boot_id_ + "/" + std::to_string(sent_.front().last_sequence),
                        sent_.front().time_ns);
      sent_.pop_front();
    }
    changed_.notify_all();
  }
  void over() {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
    changed_.notify_all();
  }

  const Settings& settings_;
  const uint64_t number_;
  Probe* const probe_;
  std::string boot_id_;
  std::unique_ptr<uplink::AgentIdentity> identity_;
  std::unique_ptr<EventSource> source_;
  std::deque<Made> prepared_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_over_ = false;
  std::deque<Sent> sent_;
  std::unique_ptr<uplink::PublishCall> call_;
};

cli::Credentials credentials_of(const std::string& folder) {
  auto credentials = cli::load_credentials(folder);
  if (!credentials) die(credentials.error().message());
  return *credentials;
}

int load(const Settings& settings) {
  const cli::Credentials credentials = credentials_of(settings.operator_folder);
  cli::Client client(settings.collector, credentials);
  std::unique_ptr<Probe> probe;
  if (settings["probe"] != 0) probe = std::make_unique<Probe>(settings, credentials);
  std::vector<std::unique_ptr<Agent>> agents;
  for (uint64_t i = 0; i < settings["agents"]; ++i) {
    v1::CreateTokenRequest request;
    const auto token = client.create_token(request);
    if (!token) die(token.error().message);
    agents.push_back(std::make_unique<Agent>(settings, i, token->token(), probe.get()));
  }
  for (const auto& agent : agents) agent->prepare();
  const Clock start = steady_clock::now();
  std::vector<std::thread> threads;
  threads.reserve(agents.size());
  for (const auto& agent : agents) threads.emplace_back([&agent] { agent->run(); });
  for (std::thread& thread : threads) thread.join();
  const double seconds = ms_since(start) / 1000;
  std::vector<double> latencies_ms;
  uint64_t payload_bytes = 0;
  uint64_t plain_bytes = 0;
  uint64_t last_ns = 0;
  for (const auto& agent : agents) {
    latencies_ms.insert(latencies_ms.end(), agent->latencies_ms.begin(), agent->latencies_ms.end());
    payload_bytes += agent->payload_bytes;
    plain_bytes += agent->plain_bytes;
    last_ns = std::max(last_ns, agent->last_time_ns);
  }
  const uint64_t events = latencies_ms.size() * settings["batch"];
  std::vector<double> visible_ms;
  if (probe) visible_ms = probe->delays_ms();
  std::printf(
      "{\"events\": %llu, \"seconds\": %.3f, \"ack_p50_ms\": %.2f, \"ack_p99_ms\": %.2f, \"ack_max_ms\": %.2f, "
      "\"payload_bytes\": %llu, \"plain_bytes\": %llu, \"last_ns\": %llu, \"probes\": %zu, \"visible_p50_ms\": %.0f, "
      "\"visible_max_ms\": %.0f}\n",
      static_cast<unsigned long long>(events), seconds, quantile(latencies_ms, 0.5), quantile(latencies_ms, 0.99),
      quantile(latencies_ms, 1), static_cast<unsigned long long>(payload_bytes),
      static_cast<unsigned long long>(plain_bytes), static_cast<unsigned long long>(last_ns), visible_ms.size(),
      quantile(visible_ms, 0.5), quantile(visible_ms, 1));
  return 0;
}

constexpr uint64_t kHourNs = 3'600'000'000'000;

// Milliseconds of each round; the rows or groups of the last.
struct Asked {
  std::vector<double> ms;
  size_t answers = 0;
};

Asked ask_search(cli::Client& client, const std::string& filter, uint64_t since_ns, uint64_t until_ns, int rounds) {
  Asked asked;
  for (int i = 0; i < rounds; ++i) {
    v1::SearchRequest request;
    request.set_filter(filter);
    request.set_since_ns(since_ns);
    request.set_until_ns(until_ns);
    request.set_limit(100);
    asked.answers = 0;
    const Clock start = steady_clock::now();
    const auto done = client.search(request, [&](const v1::Row&) { return ++asked.answers, true; });
    if (!done) die(done.error().message);
    asked.ms.push_back(ms_since(start));
  }
  return asked;
}

Asked ask_top(cli::Client& client, const std::string& by, uint64_t since_ns, uint64_t until_ns, int rounds) {
  Asked asked;
  for (int i = 0; i < rounds; ++i) {
    v1::TopRequest request;
    request.set_by(by);
    request.set_since_ns(since_ns);
    request.set_until_ns(until_ns);
    const Clock start = steady_clock::now();
    const auto done = client.top(request);
    if (!done) die(done.error().message);
    asked.answers = static_cast<size_t>(done->groups_size());
    asked.ms.push_back(ms_since(start));
  }
  return asked;
}

// In the middle of the stored time, where nothing is fresh.
int ask(const std::string& collector, const std::string& operator_folder, uint64_t first_ns, uint64_t last_ns,
        int rounds) {
  cli::Client client(collector, credentials_of(operator_folder));
  const uint64_t middle = first_ns + (last_ns - first_ns) / 2;
  const std::string who = "actor.user == \"alice\"";
  const std::string exe = "actor.exe == \"/usr/bin/psql\"";
  std::vector<std::pair<std::string, Asked>> all;
  all.emplace_back("who_hour", ask_search(client, who, middle - kHourNs, middle, rounds));
  all.emplace_back("who_last_hour", ask_search(client, who, last_ns - kHourNs, 0, rounds));
  all.emplace_back("exe_and_verb_hour",
                   ask_search(client, exe + " && statement.verb == \"DELETE\"", middle - kHourNs, middle, rounds));
  all.emplace_back("errors_all", ask_search(client, "outcome == \"error\"", 0, 0, rounds));
  all.emplace_back("latest", ask_search(client, "", 0, 0, rounds));
  all.emplace_back("text_hour",
                   ask_search(client, "statement.text.contains(\"invoices\")", middle - kHourNs, middle, rounds));
  for (const char* by : {"actor.exe", "actor.user", "session.user", "statement.verb", "database.name", "outcome"})
    all.emplace_back(std::string("top_day_") + by,
                     ask_top(client, by, middle - 12 * kHourNs, middle + 12 * kHourNs, rounds));
  all.emplace_back("top_all_actor.exe", ask_top(client, "actor.exe", 0, 0, rounds));
  std::string text;
  for (const auto& [name, asked] : all) {
    char line[256];
    std::snprintf(line, sizeof line, "%s\"%s\": {\"answers\": %zu, \"median_ms\": %.1f, \"first_ms\": %.1f}",
                  text.empty() ? "" : ", ", name.c_str(), asked.answers, quantile(asked.ms, 0.5), asked.ms.front());
    text += line;
  }
  std::printf("{%s}\n", text.c_str());
  return 0;
}

int main_with(const std::vector<std::string>& arguments) {
  if (arguments.size() >= 4 && arguments[0] == "load") {
    Settings settings{.collector = arguments[1], .identities = arguments[2], .operator_folder = arguments[3]};
    for (size_t i = 4; i < arguments.size(); ++i) {
      const size_t equals = arguments[i].find('=');
      const auto found = settings.values.find(arguments[i].substr(0, equals));
      if (equals == std::string::npos || found == settings.values.end()) die("unknown: " + arguments[i]);
      found->second = std::stoull(arguments[i].substr(equals + 1));
    }
    return load(settings);
  }
  if (arguments.size() == 6 && arguments[0] == "ask")
    return ask(arguments[1], arguments[2], std::stoull(arguments[3]), std::stoull(arguments[4]),
               std::stoi(arguments[5]));
  die("load COLLECTOR IDENTITIES OPERATOR name=value …, or ask COLLECTOR OPERATOR FIRST_NS LAST_NS ROUNDS");
}

}  // namespace
}  // namespace gatehouse::bench

int main(int argc, char** argv) {
  return gatehouse::bench::main_with({argv + 1, argv + argc});
}
