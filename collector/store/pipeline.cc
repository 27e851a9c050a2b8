// SPDX-License-Identifier: Apache-2.0
#include "collector/store/pipeline.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "common/clock.h"
#include "common/digest.h"
#include "common/file.h"
#include "common/log.h"

namespace gatehouse::store {
namespace {

constexpr std::chrono::seconds kSealCheckPeriod{5};

// The request as the ledger takes it, if its sum is that of its payload.
bool to_ledger(std::string_view agent_id, const v1::PublishRequest& request, ledger::Batch& batch) {
  batch = {.agent_id = agent_id,
           .boot_id = request.boot_id(),
           .first_sequence = request.first_sequence(),
           .event_count = request.event_count(),
           .payload_zstd = request.payload_zstd(),
           .payload_sha256 = sha256(as_bytes(request.payload_zstd())),
           .previous_sha256 = request.previous_sha256()};
  return std::ranges::equal(as_bytes(request.payload_sha256()), batch.payload_sha256);
}

}  // namespace

struct Pipeline::State {
  std::unique_ptr<ledger::SegmentLog> log;
  std::unique_ptr<Store> store;
  std::unique_ptr<TailHub> tail_hub;

  mutable std::mutex mutex;
  std::condition_variable closing;
  bool is_closing = false;
  std::map<std::string, int, std::less<>> connections;  // by agent
  std::thread sealer;

  void remove_old();              // the sealer's
  std::string retention_failure;  // too
};

// A failure is told once, however often it is tried.
void Pipeline::State::remove_old() {
  const auto removed = log->remove_old(unix_ns());
  if (!removed) {
    if (retention_failure != removed.error().message())
      gatehouse::log::error("ledger", "retention cannot remove a segment; tried again",
                            {{"error", removed.error().message()}});
    retention_failure = removed.error().message();
    return;
  }
  retention_failure.clear();
  if (removed->segments > 0)
    gatehouse::log::info("ledger", "retention removed segments; their heads stay",
                         {{"first", removed->first_segment},
                          {"last", removed->last_segment},
                          {"events", removed->events},
                          {"bytes", removed->bytes}});
}

Pipeline::Pipeline(std::unique_ptr<State> state) : state_(std::move(state)) {}

Pipeline::~Pipeline() {
  close();
}

Result<std::unique_ptr<Pipeline>> Pipeline::open(Options options) {
  auto state = std::make_unique<State>();
  options.log.folder = options.folder + "/ledger";
  options.store.folder = options.folder + "/store";
  GH_TRY(make_directories(options.folder));
  GH_ASSIGN(state->log, ledger::SegmentLog::open(options.log));
  GH_ASSIGN(state->store, Store::open(options.store, *state->log));
  state->tail_hub = std::make_unique<TailHub>(*state->log);
  // Seals by age what size does not.
  state->sealer = std::thread([raw = state.get()] {
    std::unique_lock lock(raw->mutex);
    while (!raw->closing.wait_for(lock, kSealCheckPeriod, [raw] { return raw->is_closing; })) {
      lock.unlock();
      [[maybe_unused]] const Status sealed = raw->log->seal_if_due();  // the log tells, and it is tried again
      raw->remove_old();
      lock.lock();
    }
  });
  return std::unique_ptr<Pipeline>(new Pipeline(std::move(state)));
}

Result<std::vector<ledger::AppendOutcome>> Pipeline::append(std::string_view agent_id,
                                                            std::span<const v1::PublishRequest> requests) {
  std::vector<ledger::AppendOutcome> outcomes(requests.size());
  std::vector<ledger::Batch> batches;
  std::vector<size_t> places;
  for (size_t i = 0; i < requests.size(); ++i) {
    ledger::Batch batch;
    if (!to_ledger(agent_id, requests[i], batch)) continue;  // stays kMalformed
    batches.push_back(batch);
    places.push_back(i);
  }
  GH_ASSIGN(const auto appended, state_->log->append(batches));
  for (size_t i = 0; i < appended.size(); ++i) outcomes[places[i]] = appended[i];
  return outcomes;
}

Pipeline::Presence::Presence(Pipeline* pipeline, std::string agent_id)
    : pipeline_(pipeline), agent_id_(std::move(agent_id)) {}
Pipeline::Presence::Presence(Presence&& other) noexcept
    : pipeline_(std::exchange(other.pipeline_, nullptr)), agent_id_(std::move(other.agent_id_)) {}
Pipeline::Presence& Pipeline::Presence::operator=(Presence&& other) noexcept {
  std::swap(pipeline_, other.pipeline_);
  std::swap(agent_id_, other.agent_id_);
  return *this;
}
Pipeline::Presence::~Presence() {
  if (pipeline_ == nullptr) return;
  const std::lock_guard lock(pipeline_->state_->mutex);
  const auto found = pipeline_->state_->connections.find(agent_id_);
  if (--found->second == 0) pipeline_->state_->connections.erase(found);
}

Pipeline::Presence Pipeline::connected(std::string_view agent_id) {
  const std::lock_guard lock(state_->mutex);
  ++state_->connections[std::string(agent_id)];
  return Presence(this, std::string(agent_id));
}

bool Pipeline::is_connected(std::string_view agent_id) const {
  const std::lock_guard lock(state_->mutex);
  return state_->connections.contains(agent_id);
}

void Pipeline::close() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->is_closing = true;
    state_->closing.notify_all();
  }
  if (state_->sealer.joinable()) state_->sealer.join();
  state_->tail_hub->close();
  state_->store->close();
}

ledger::SegmentLog& Pipeline::log() {
  return *state_->log;
}
Store& Pipeline::store() {
  return *state_->store;
}
TailHub& Pipeline::tail_hub() {
  return *state_->tail_hub;
}

}  // namespace gatehouse::store
