// SPDX-License-Identifier: Apache-2.0
#include "collector/ingest/ingest_service.h"

#include <grpcpp/security/auth_context.h>

#include "collector/ingest/ingest_state.h"
#include "collector/ingest/limits.h"
#include "collector/ingest/peer.h"
#include "collector/ingest/publish_stream.h"
#include "common/clock.h"
#include "common/log.h"

namespace gatehouse::ingest {
namespace {

// Answers a call that is over before it began.
class RefusedStream final : public grpc::ServerBidiReactor<v1::PublishRequest, v1::PublishResponse> {
 public:
  explicit RefusedStream(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }  // nobody else knows it
};

}  // namespace

IngestService::IngestService(BatchSink& sink, const TokenStore& tokens, const pki::Authority& authority)
    : state_(std::make_unique<State>(sink, tokens, authority)) {}

IngestService::~IngestService() = default;

grpc::Service& IngestService::service() {
  return *state_;
}

IngestService::Counters IngestService::counters() const {
  const std::lock_guard lock(state_->mutex);
  return state_->counters;
}

void IngestService::stop() {
  state_->stop();
}

IngestService::State::State(BatchSink& batch_sink, const TokenStore& token_store, const pki::Authority& its_authority)
    : sink(batch_sink), tokens(token_store), authority(its_authority) {
  for (size_t i = 0; i < kWorkers; ++i) workers.emplace_back([this] { work(); });
}

IngestService::State::~State() {
  {
    const std::lock_guard lock(mutex);
    is_over = true;
  }
  has_work.notify_all();
  for (std::thread& worker : workers) worker.join();
}

void IngestService::State::schedule(std::shared_ptr<PublishStream> stream) {
  {
    const std::lock_guard lock(mutex);
    ready.push_back(std::move(stream));
  }
  has_work.notify_one();
}

void IngestService::State::work() {
  BatchChecker checker;
  for (;;) {
    std::shared_ptr<PublishStream> stream;
    {
      std::unique_lock lock(mutex);
      has_work.wait(lock, [this] { return is_over || !ready.empty(); });
      if (ready.empty()) return;
      stream = std::move(ready.front());
      ready.pop_front();
    }
    if (stream->process(checker)) schedule(std::move(stream));
  }
}

void IngestService::State::forget(PublishStream& stream) {
  std::shared_ptr<PublishStream> last;  // released after the mutex
  const std::lock_guard lock(mutex);
  const auto found = streams.find(stream.shared_from_this());
  if (found != streams.end()) last = std::move(streams.extract(found).value());
}

void IngestService::State::note_append(const Status& status) {
  constexpr uint64_t kSecondNs = 1'000'000'000;
  const std::lock_guard lock(mutex);
  if (status) {
    if (append_failure.empty()) return;
    log::info("ingest", "writes again",
              {{"seconds", (boottime_ns() - append_failed_ns) / kSecondNs}, {"failures", append_failures}});
    append_failure.clear();
    return;
  }
  ++counters.append_errors;
  if (append_failure.empty()) {
    append_failures = 0;
    append_failed_ns = boottime_ns();
  }
  ++append_failures;
  if (status.error().message() == append_failure) return;
  append_failure = status.error().message();
  log::error("ingest", "cannot write, so nothing is acknowledged: agents keep what they have and try again",
             {{"reason", append_failure}});
}

bool IngestService::State::is_writing() {
  const std::lock_guard lock(mutex);
  return append_failure.empty();
}

void IngestService::State::stop() {
  std::vector<std::shared_ptr<PublishStream>> open;
  {
    const std::lock_guard lock(mutex);
    is_stopping = true;
    open.assign(streams.begin(), streams.end());
  }
  for (const auto& stream : open) stream->end_for_stop();
}

grpc::ServerBidiReactor<v1::PublishRequest, v1::PublishResponse>* IngestService::State::Publish(
    grpc::CallbackServerContext* context) {
  const auto subject = peer_subject(*context->auth_context());
  if (!subject || subject->role != pki::Role::kAgent)
    return new RefusedStream({grpc::StatusCode::UNAUTHENTICATED, "this needs an agent's certificate"});
  const auto stream = std::make_shared<PublishStream>(*this, subject->id);
  if (!admit(stream)) return new RefusedStream({grpc::StatusCode::UNAVAILABLE, "the collector is stopping"});
  stream->start();
  return stream.get();
}

bool IngestService::State::admit(const std::shared_ptr<PublishStream>& stream) {
  const std::lock_guard lock(mutex);
  if (is_stopping) return false;
  streams.insert(stream);
  ++counters.streams;
  return true;
}

grpc::ServerUnaryReactor* IngestService::State::Enrol(grpc::CallbackServerContext* context,
                                                      const v1::EnrolRequest* request, v1::EnrolResponse* response) {
  const grpc::Status status = enrol(*context, *request, *response);
  if (!status.ok()) {
    log::warn("ingest", "enrolment refused", {{"peer", context->peer()}, {"reason", status.error_message()}});
    const std::lock_guard lock(mutex);
    ++counters.enrolments_refused;
  }
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(status);
  return reactor;
}

grpc::Status IngestService::State::enrol(const grpc::CallbackServerContext& context, const v1::EnrolRequest& request,
                                         v1::EnrolResponse& response) {
  if (request.agent_name().size() > kAgentNameBytesMax || request.certificate_request_pem().size() > pki::kPemBytesMax)
    return {grpc::StatusCode::INVALID_ARGUMENT, "enrolment request too large"};
  if (request.token().empty()) {
    const auto subject = peer_subject(*context.auth_context());
    if (!subject || subject->role != pki::Role::kAgent)
      return {grpc::StatusCode::UNAUTHENTICATED, "neither a token nor an agent's certificate"};
    return sign(*subject, request, response, &Counters::renewed);
  }
  const auto key = pki::request_key_sha256(request.certificate_request_pem());
  if (!key) return {grpc::StatusCode::INVALID_ARGUMENT, key.error().message()};
  const auto outcome = tokens.redeem(request.token(), *key);
  if (!outcome) return {grpc::StatusCode::UNAVAILABLE, outcome.error().message()};
  if (*outcome != TokenStore::Outcome::kAccepted)
    return {grpc::StatusCode::PERMISSION_DENIED, "enrolment token: " + std::string(to_string(*outcome))};
  const pki::Subject subject{.role = pki::Role::kAgent, .id = pki::agent_id(request.agent_name(), *key)};
  log::info("ingest", "agent enrols", {{"agent", subject.id}, {"peer", context.peer()}});
  return sign(subject, request, response, &Counters::enrolled);
}

grpc::Status IngestService::State::sign(const pki::Subject& subject, const v1::EnrolRequest& request,
                                        v1::EnrolResponse& response, uint64_t Counters::* counter) {
  auto certificate = authority.sign_request(request.certificate_request_pem(), subject);
  if (!certificate) return {grpc::StatusCode::INVALID_ARGUMENT, certificate.error().message()};
  response.set_agent_id(subject.id);
  response.set_certificate_pem(std::move(*certificate));
  response.set_ca_pem(authority.certificate_pem());
  const std::lock_guard lock(mutex);
  ++(counters.*counter);
  return grpc::Status::OK;
}

}  // namespace gatehouse::ingest
