// SPDX-License-Identifier: Apache-2.0
#include "collector/ingest/publish_stream.h"

#include "collector/ingest/limits.h"
#include "common/log.h"

namespace gatehouse::ingest {
namespace {

// A later acknowledgement of a boot says all that an earlier one did.
template <typename Queue>
void put(Queue& queue, v1::PublishResponse acknowledgement) {
  if (!queue.empty() && queue.back().boot_id() == acknowledgement.boot_id()) {
    queue.back() = std::move(acknowledgement);
  } else {
    queue.push_back(std::move(acknowledgement));
  }
}

}  // namespace

PublishStream::PublishStream(IngestService::State& service, std::string agent_id)
    : service_(service), agent_id_(std::move(agent_id)), presence_(service.sink.connected(agent_id_)) {}

PublishStream::~PublishStream() = default;

void PublishStream::start() {
  // Agents come and go while nothing can be written, and that has been said.
  log::write(service_.is_writing() ? log::Level::kInfo : log::Level::kDebug, "ingest", "agent connected",
             {{"agent", agent_id_}});
  {
    const std::lock_guard lock(mutex_);
    ++starting_;
    acknowledgements_.emplace_back();  // the empty one: the agent is let in
  }
  read_next();
}

void PublishStream::read_next() {
  StartRead(&incoming_);
  {
    const std::lock_guard lock(mutex_);
    --starting_;
  }
  advance();
}

void PublishStream::OnReadDone(bool ok) {
  bool is_to_schedule = false;
  bool is_to_read = false;
  {
    const std::lock_guard lock(mutex_);
    if (is_finished_) return;
    if (!ok) {
      is_input_over_ = true;
    } else if (!end_) {
      queue_bytes_ += incoming_.payload_zstd().size();
      queue_.push_back(std::move(incoming_));
      incoming_.Clear();
      is_paused_ = queue_bytes_ >= kStreamQueueBytesMax;
      is_to_read = !is_paused_;
      if (is_to_read) ++starting_;
    }
    is_to_schedule = !is_scheduled_;
    is_scheduled_ = true;
  }
  if (is_to_schedule) service_.schedule(shared_from_this());
  if (is_to_read) read_next();
}

void PublishStream::OnWriteDone(bool ok) {
  {
    const std::lock_guard lock(mutex_);
    is_writing_ = false;
    if (!ok) acknowledgements_.clear();  // the agent is gone; OnReadDone(false) says so too
  }
  advance();
}

// The read in progress fails as well; what was received is still appended.
void PublishStream::OnCancel() {}

void PublishStream::OnDone() {
  log::write(service_.is_writing() ? log::Level::kInfo : log::Level::kDebug, "ingest", "agent disconnected",
             {{"agent", agent_id_}});
  service_.forget(*this);
}

void PublishStream::end_for_stop() {
  bool is_to_schedule = false;
  {
    const std::lock_guard lock(mutex_);
    if (is_finished_) return;
    is_stopping_ = true;
    is_to_schedule = !is_scheduled_;
    is_scheduled_ = true;
  }
  if (is_to_schedule) service_.schedule(shared_from_this());
}

bool PublishStream::process(BatchChecker& checker) {
  std::vector<v1::PublishRequest> requests;
  {
    const std::lock_guard lock(mutex_);
    while (!queue_.empty() && requests.size() < kAppendRequestsMax) {
      requests.push_back(std::move(queue_.front()));
      queue_.pop_front();
      queue_bytes_ -= requests.back().payload_zstd().size();
    }
  }
  Round round;
  if (!requests.empty()) round = append(requests, checker);

  bool is_to_read = false;
  bool has_more = false;
  {
    const std::lock_guard lock(mutex_);
    for (v1::PublishResponse& acknowledgement : round.acknowledgements)
      put(acknowledgements_, std::move(acknowledgement));
    if (round.end) {
      end_ = std::move(round.end);
      queue_.clear();
      queue_bytes_ = 0;
    }
    has_more = !queue_.empty();
    if (!has_more) {
      is_scheduled_ = false;
      if (!end_ && is_stopping_) end_ = grpc::Status(grpc::StatusCode::UNAVAILABLE, "the collector is stopping");
      if (!end_ && is_input_over_) end_ = grpc::Status::OK;
    }
    if (is_paused_ && !end_ && queue_bytes_ < kStreamQueueBytesMax) {
      is_paused_ = false;
      is_to_read = true;
      ++starting_;
    }
  }
  if (is_to_read) read_next();
  advance();
  return has_more;
}

// Writes the acknowledgement or finishes, when nothing stands in the way.
void PublishStream::advance() {
  std::unique_lock lock(mutex_);
  if (is_finished_ || is_writing_) return;
  if (!acknowledgements_.empty()) {
    is_writing_ = true;
    outgoing_ = std::move(acknowledgements_.front());
    acknowledgements_.pop_front();
    lock.unlock();
    StartWrite(&outgoing_);
    return;
  }
  if (!end_ || starting_ > 0) return;
  is_finished_ = true;
  const grpc::Status status = *end_;
  lock.unlock();
  Finish(status);
}

// Appends the good ones before the first bad one, which ends the stream.
PublishStream::Round PublishStream::append(std::vector<v1::PublishRequest>& requests, BatchChecker& checker) {
  Round round;
  size_t good = 0;
  for (; good < requests.size(); ++good) {
    const Refusal refusal = checker.check(requests[good], agent_id_);
    if (refusal == Refusal::kNone) continue;
    {
      const std::lock_guard lock(service_.mutex);
      ++service_.counters.refused[static_cast<size_t>(refusal)];
    }
    round.end = refuse(requests[good], grpc::StatusCode::INVALID_ARGUMENT, to_string(refusal));
    break;
  }
  if (good == 0) return round;
  const auto accepted = std::span<const v1::PublishRequest>(requests).first(good);
  const auto outcomes = service_.sink.append(agent_id_, accepted);
  service_.note_append(outcomes ? Status{} : Status(outcomes.error()));
  if (!outcomes) {
    round.end =
        grpc::Status(grpc::StatusCode::UNAVAILABLE, "the collector cannot write: " + outcomes.error().message());
    return round;
  }
  count_and_settle(accepted, *outcomes, round);
  return round;
}

void PublishStream::count_and_settle(std::span<const v1::PublishRequest> requests,
                                     std::span<const AppendOutcome> outcomes, Round& round) {
  const std::lock_guard lock(service_.mutex);
  IngestService::Counters& counters = service_.counters;
  ++counters.appends;
  for (size_t i = 0; i < requests.size() && i < outcomes.size(); ++i) {
    const AppendOutcome& outcome = outcomes[i];
    switch (outcome.kind) {
      case AppendOutcome::Kind::kAppended:
        ++counters.batches_appended;
        counters.events_appended += requests[i].event_count();
        counters.bytes_appended += requests[i].payload_zstd().size();
        break;
      case AppendOutcome::Kind::kDuplicate:
        ++counters.batches_duplicate;
        break;
      case AppendOutcome::Kind::kChanged:
      case AppendOutcome::Kind::kOverlap:
        ++counters.conflicts;
        round.end = refuse(requests[i], grpc::StatusCode::ALREADY_EXISTS, "durable with other bytes");
        return;
      case AppendOutcome::Kind::kMalformed:
        ++counters.conflicts;
        round.end = refuse(requests[i], grpc::StatusCode::INVALID_ARGUMENT, "malformed");
        return;
    }
    v1::PublishResponse acknowledgement;
    acknowledgement.set_boot_id(requests[i].boot_id());
    acknowledgement.set_acknowledged_sequence(outcome.acknowledged_sequence);
    put(round.acknowledgements, std::move(acknowledgement));
  }
}

grpc::Status PublishStream::refuse(const v1::PublishRequest& request, grpc::StatusCode code, std::string_view reason) {
  log::warn("ingest", "batch refused",
            {{"agent", agent_id_}, {"reason", reason}, {"first_sequence", request.first_sequence()}});
  return {code, "batch at sequence " + std::to_string(request.first_sequence()) + " refused: " + std::string(reason)};
}

}  // namespace gatehouse::ingest
