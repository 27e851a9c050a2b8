// SPDX-License-Identifier: Apache-2.0
#include "agent/uplink/uplink.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <random>
#include <thread>

#include "agent/uplink/agent_identity.h"
#include "agent/uplink/collector_client.h"
#include "common/log.h"

namespace gatehouse::uplink {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::string_view kComponent = "uplink";
// A batch that the collector has refused this often in a row is given up; once may be a fault of the way.
constexpr unsigned kRefusalsMax = 3;
constexpr std::chrono::hours kRenewalInterval{1};
constexpr milliseconds kIdleWait{1000};

// Doubles from min to max; each pause is between half of it and all of it, so that agents do not return as one.
class Backoff {
 public:
  Backoff(milliseconds min, milliseconds max) : min_(min), max_(max), current_(min) {}
  void reset() { current_ = min_; }
  milliseconds next() {
    const milliseconds pause = current_ / 2 + milliseconds(random_() % static_cast<uint64_t>(current_.count() / 2 + 1));
    current_ = std::min(current_ * 2, max_);
    return pause;
  }

 private:
  milliseconds min_, max_, current_;
  std::mt19937 random_{std::random_device{}()};
};

}  // namespace

struct Uplink::State {
  State(Options its_options, spool::Spool& its_spool, AgentIdentity its_identity)
      : options(std::move(its_options)), spool(its_spool), identity(std::move(its_identity)) {}

  void run();
  Ending turn();
  Ending enrol_with_token();
  Ending publish();
  void pump(PublishCall& call);
  bool send_next(PublishCall& call);
  void renew_if_due();
  void on_acknowledged(std::string_view boot_id, uint64_t sequence);
  void note(const Ending& ending);
  void pause(milliseconds duration);

  struct InFlight {
    std::string boot_id;
    uint64_t last_sequence = 0;
    size_t bytes = 0;
  };

  const Options options;
  spool::Spool& spool;
  AgentIdentity identity;  // the thread's, once it runs; its id is constant
  std::thread thread;
  unsigned refusals = 0;              // in a row; the thread's
  Clock::time_point renewal_tried{};  // the thread's

  mutable std::mutex mutex;
  std::condition_variable changed;
  UplinkStatus status;
  std::optional<Error> failure;
  std::deque<InFlight> in_flight;
  PublishCall* call = nullptr;
  bool is_over = false;         // of the call
  bool has_progressed = false;  // since the connection before
  bool was_admitted = false;    // on this connection
  bool is_stuck = false;        // let in last time, and not all that was sent was acknowledged
  bool is_stopping = false;
  bool is_done = false;  // the thread
};

Uplink::Uplink(std::unique_ptr<State> state) : state_(std::move(state)) {}

Uplink::~Uplink() {
  stop(milliseconds(0));
}

Result<std::unique_ptr<Uplink>> Uplink::start(Options options, spool::Spool& spool) {
  auto identity = AgentIdentity::open(options.identity_folder, options.agent_name).context("agent identity");
  if (!identity) return std::move(identity).error();
  auto state = std::make_unique<State>(std::move(options), spool, std::move(*identity));
  if (!state->identity.is_enrolled()) {
    const Ending ending = state->enrol_with_token();
    if (ending.kind == Ending::Kind::kNotLetIn) return Error::configuration("cannot enrol: " + ending.reason);
    state->note(ending);
  }
  state->status.is_enrolled = state->identity.is_enrolled();
  state->thread = std::thread([raw = state.get()] { raw->run(); });
  return std::unique_ptr<Uplink>(new Uplink(std::move(state)));
}

const std::string& Uplink::agent_id() const {
  return state_->identity.agent_id();
}

UplinkStatus Uplink::status() const {
  const std::lock_guard lock(state_->mutex);
  return state_->status;
}

std::optional<Error> Uplink::failure() const {
  const std::lock_guard lock(state_->mutex);
  return state_->failure;
}

void Uplink::stop(milliseconds drain) {
  if (!state_->thread.joinable()) return;
  {
    std::unique_lock lock(state_->mutex);
    state_->is_stopping = true;
    state_->changed.notify_all();
    state_->spool.wake();
    if (state_->status.is_connected) state_->changed.wait_for(lock, drain, [this] { return state_->is_done; });
    if (state_->call != nullptr) state_->call->cancel();
  }
  state_->thread.join();
}

void Uplink::State::run() {
  Backoff backoff(options.backoff_min, options.backoff_max);
  for (;;) {
    const Ending ending = turn();
    note(ending);
    {
      const std::lock_guard lock(mutex);
      if (has_progressed) backoff.reset();
      has_progressed = false;
      if (is_stopping || failure) break;
    }
    pause(backoff.next());
  }
  const std::lock_guard lock(mutex);
  is_done = true;
  changed.notify_all();
}

// One attempt at what is needed most.
Ending Uplink::State::turn() {
  if (!identity.is_enrolled()) {
    Ending ending = enrol_with_token();
    const std::lock_guard lock(mutex);
    status.is_enrolled = identity.is_enrolled();
    if (ending.kind == Ending::Kind::kNotLetIn) failure = Error::configuration("cannot enrol: " + ending.reason);
    has_progressed = status.is_enrolled;
    return ending;
  }
  renew_if_due();
  return publish();
}

Ending Uplink::State::enrol_with_token() {
  auto token = options.token ? options.token() : Result<std::string>(std::string());
  if (!token) return {.kind = Ending::Kind::kNotLetIn, .reason = token.error().message()};
  if (token->empty()) {
    return {.kind = Ending::Kind::kNotLetIn,
            .reason =
                "this agent has no certificate and no token; run `gatehouse-collector token` on the collector's "
                "host and give what it prints in GATEHOUSE_TOKEN or collector.enrolment_token_file"};
  }
  Ending ending = enrol(options.collector, identity, *token, options.connect_timeout);
  if (ending.kind == Ending::Kind::kOk)
    log::info(kComponent, "enrolled", {{"collector", options.collector}, {"agent", identity.agent_id()}});
  return ending;
}

void Uplink::State::renew_if_due() {
  const auto now = Clock::now();
  if (!identity.is_due() || (renewal_tried != Clock::time_point{} && now - renewal_tried < kRenewalInterval)) return;
  renewal_tried = now;
  const Ending ending = renew(options.collector, identity, options.connect_timeout);
  if (ending.kind == Ending::Kind::kOk) {
    log::info(kComponent, "certificate renewed", {{"agent", identity.agent_id()}});
  } else {
    log::warn(kComponent, "certificate not renewed", {{"reason", ending.reason}});
  }
}

Ending Uplink::State::publish() {
  spool.rewind();
  PublishCall its_call(
      options.collector, identity,
      {.on_admitted =
           [this] {
             const std::lock_guard lock(mutex);
             status.is_connected = true;
             was_admitted = true;
             ++status.connections;
             // That this collector lets agents in and then takes nothing may have been told already.
             if (is_stuck) return;
             status.last_error.clear();
             log::info(kComponent, "connected", {{"collector", options.collector}});
           },
       .on_acknowledged = [this](std::string_view boot_id, uint64_t sequence) { on_acknowledged(boot_id, sequence); },
       .on_over =
           [this] {
             {
               const std::lock_guard lock(mutex);
               is_over = true;
             }
             spool.wake();
           }});
  {
    const std::lock_guard lock(mutex);
    is_over = false;
    was_admitted = false;
    call = &its_call;
    if (is_stopping) its_call.cancel();
  }
  its_call.open();
  auto approvals = options.approvals == nullptr
                       ? nullptr
                       : std::make_unique<ApprovalsCall>(its_call.channel(), *options.approvals);
  pump(its_call);
  approvals.reset();
  Ending ending = its_call.end();
  const std::lock_guard lock(mutex);
  call = nullptr;
  status.is_connected = false;
  if (was_admitted) is_stuck = !in_flight.empty();
  in_flight.clear();
  status.in_flight_bytes = 0;
  return ending;
}

// Sends until the stream is over, or for a renewal, or when stopping once all is acknowledged.
void Uplink::State::pump(PublishCall& its_call) {
  for (;;) {
    bool has_room = false;
    bool is_settled = false;
    bool is_ending = false;
    {
      const std::lock_guard lock(mutex);
      if (is_over) return;
      if (is_stopping && !status.is_connected) return its_call.cancel();
      has_room = status.in_flight_bytes < options.window_bytes && in_flight.size() < options.window_batches;
      is_settled = in_flight.empty();
      is_ending = is_stopping;
    }
    if (has_room && send_next(its_call)) continue;
    if (is_ending && is_settled) return;
    if (is_settled && identity.is_due() && Clock::now() - renewal_tried >= kRenewalInterval) return;
    spool.wait(kIdleWait);
  }
}

// False: nothing to send now, or nowhere to.
bool Uplink::State::send_next(PublishCall& its_call) {
  auto batch = spool.next();
  if (!batch) return false;
  const size_t bytes = batch->payload_zstd.size();
  {
    const std::lock_guard lock(mutex);
    in_flight.push_back({.boot_id = batch->boot_id, .last_sequence = batch->last_sequence(), .bytes = bytes});
    status.in_flight_bytes += bytes;
    ++status.batches_sent;
    status.bytes_sent += bytes;
  }
  return its_call.send(std::move(*batch));
}

void Uplink::State::on_acknowledged(std::string_view boot_id, uint64_t sequence) {
  spool.acknowledge(boot_id, sequence);
  {
    const std::lock_guard lock(mutex);
    ++status.acknowledgements;
    has_progressed = true;
    if (is_stuck) log::info(kComponent, "delivers again", {{"collector", options.collector}});
    is_stuck = false;
    status.last_error.clear();
    while (!in_flight.empty() && in_flight.front().boot_id == boot_id && in_flight.front().last_sequence <= sequence) {
      status.in_flight_bytes -= in_flight.front().bytes;
      in_flight.pop_front();
    }
  }
  spool.wake();
}

void Uplink::State::note(const Ending& ending) {
  bool is_given_up = false;
  {
    const std::lock_guard lock(mutex);
    if (has_progressed) refusals = 0;
    if (ending.kind == Ending::Kind::kOk) return;
    if (ending.kind == Ending::Kind::kBatchRefused && ++refusals >= kRefusalsMax) {
      refusals = 0;
      is_given_up = true;
      ++status.batches_given_up;
    }
    if (!is_stopping && status.last_error != ending.reason)
      log::warn(kComponent, "no connection", {{"collector", options.collector}, {"reason", ending.reason}});
    status.last_error = ending.reason;
  }
  if (is_given_up && spool.discard_first())
    log::error(kComponent, "gave up a batch that the collector refuses", {{"reason", ending.reason}});
}

void Uplink::State::pause(milliseconds duration) {
  std::unique_lock lock(mutex);
  changed.wait_for(lock, duration, [this] { return is_stopping; });
}

}  // namespace gatehouse::uplink
