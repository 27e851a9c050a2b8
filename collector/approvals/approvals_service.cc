// SPDX-License-Identifier: Apache-2.0
#include "collector/approvals/approvals_service.h"

#include <grpcpp/security/auth_context.h>
#include <grpcpp/server_context.h>

#include <deque>
#include <mutex>
#include <set>
#include <utility>

#include "gatehouse/v1/approvals.grpc.pb.h"

namespace gatehouse::approvals {
namespace {

using Base = v1::Approvals::WithCallbackMethod_Exchange<v1::Approvals::Service>;

grpc::Status status_of(const Outcome& outcome) {
  using Kind = Outcome::Kind;
  switch (outcome.kind) {
    case Kind::kDone:
      return grpc::Status::OK;
    case Kind::kNotFound:
      return {grpc::StatusCode::NOT_FOUND, outcome.message};
    case Kind::kNotAllowed:
      return {grpc::StatusCode::PERMISSION_DENIED, outcome.message};
    case Kind::kTooLate:
      return {grpc::StatusCode::FAILED_PRECONDITION, outcome.message};
    case Kind::kMalformed:
      return {grpc::StatusCode::INVALID_ARGUMENT, outcome.message};
    case Kind::kFault:
      break;
  }
  return {grpc::StatusCode::UNAVAILABLE, outcome.message};
}

grpc::Status nobody() {
  return {grpc::StatusCode::PERMISSION_DENIED, "an operator's certificate is needed"};
}

}  // namespace

class ExchangeStream;

class ApprovalsService::State final : public Base {
 public:
  State(ApprovalDesk& its_desk, Who agent, Who operator_name)
      : desk(its_desk), agent_(std::move(agent)), operator_(std::move(operator_name)) {}

  grpc::ServerBidiReactor<v1::AgentNote, v1::CollectorNote>* Exchange(grpc::CallbackServerContext* context) override;
  grpc::Status List(grpc::ServerContext* context, const v1::ListApprovalsRequest* request,
                    v1::ListApprovalsResponse* response) override;
  grpc::Status Show(grpc::ServerContext* context, const v1::ShowApprovalRequest* request,
                    v1::ApprovalView* response) override;
  grpc::Status Decide(grpc::ServerContext* context, const v1::DecideRequest* request,
                      v1::ApprovalView* response) override;
  void stop();
  void forget(ExchangeStream& stream);

  ApprovalDesk& desk;

 private:
  Who agent_, operator_;
  std::mutex mutex_;
  bool is_stopping_ = false;
  std::set<std::shared_ptr<ExchangeStream>> streams_;
};

// One agent's stream. As PublishStream, no operation is started with the lock held.
class ExchangeStream final : public grpc::ServerBidiReactor<v1::AgentNote, v1::CollectorNote>,
                             public std::enable_shared_from_this<ExchangeStream> {
 public:
  ExchangeStream(ApprovalsService::State& service, std::string agent_id)
      : service_(service), agent_id_(std::move(agent_id)) {}

  void start() {
    v1::CollectorNote welcome;
    welcome.mutable_welcome();
    queue(welcome);
    const std::weak_ptr<ExchangeStream> self = weak_from_this();
    connection_ = service_.desk.connect(agent_id_, [self](const v1::CollectorNote& note) {
      if (const auto stream = self.lock()) stream->queue(note);
    });
    StartRead(&incoming_);
  }
  // Any thread.
  void queue(const v1::CollectorNote& note) {
    {
      const std::lock_guard lock(mutex_);
      if (is_finished_) return;
      queue_.push_back(note);
    }
    advance();
  }
  void end_for_stop() {
    {
      const std::lock_guard lock(mutex_);
      if (!end_) end_ = grpc::Status(grpc::StatusCode::UNAVAILABLE, "the collector is stopping");
    }
    advance();
  }

  void OnReadDone(bool ok) override {
    if (ok) {
      service_.desk.on_note(agent_id_, incoming_);
      {
        const std::lock_guard lock(mutex_);
        if (is_finished_) return;
      }
      StartRead(&incoming_);
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      if (!end_) end_ = grpc::Status::OK;
    }
    advance();
  }
  void OnWriteDone(bool ok) override {
    {
      const std::lock_guard lock(mutex_);
      is_writing_ = false;
      if (!ok) queue_.clear();  // the agent is gone; OnReadDone(false) says so too
    }
    advance();
  }
  void OnDone() override {
    service_.desk.disconnect(agent_id_, connection_);
    service_.forget(*this);
  }

 private:
  void advance() {
    std::unique_lock lock(mutex_);
    if (is_finished_ || is_writing_) return;
    if (!queue_.empty()) {
      is_writing_ = true;
      outgoing_ = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      StartWrite(&outgoing_);
      return;
    }
    if (!end_) return;
    is_finished_ = true;
    const grpc::Status status = *end_;
    lock.unlock();
    Finish(status);
  }

  ApprovalsService::State& service_;
  const std::string agent_id_;
  uint64_t connection_ = 0;
  v1::AgentNote incoming_;
  v1::CollectorNote outgoing_;
  std::mutex mutex_;
  std::deque<v1::CollectorNote> queue_;
  std::optional<grpc::Status> end_;
  bool is_writing_ = false, is_finished_ = false;
};

namespace {

class Refused final : public grpc::ServerBidiReactor<v1::AgentNote, v1::CollectorNote> {
 public:
  explicit Refused(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }  // nobody else knows it
};

}  // namespace

grpc::ServerBidiReactor<v1::AgentNote, v1::CollectorNote>* ApprovalsService::State::Exchange(
    grpc::CallbackServerContext* context) {
  const auto agent = agent_(*context->auth_context());
  if (!agent) return new Refused({grpc::StatusCode::UNAUTHENTICATED, "this needs an agent's certificate"});
  const auto stream = std::make_shared<ExchangeStream>(*this, *agent);
  {
    const std::lock_guard lock(mutex_);
    if (is_stopping_) return new Refused({grpc::StatusCode::UNAVAILABLE, "the collector is stopping"});
    streams_.insert(stream);
  }
  stream->start();
  return stream.get();
}

void ApprovalsService::State::forget(ExchangeStream& stream) {
  std::shared_ptr<ExchangeStream> last;  // released after the mutex
  const std::lock_guard lock(mutex_);
  const auto found = streams_.find(stream.shared_from_this());
  if (found != streams_.end()) last = std::move(streams_.extract(found).value());
}

void ApprovalsService::State::stop() {
  std::vector<std::shared_ptr<ExchangeStream>> open;
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
    open.assign(streams_.begin(), streams_.end());
  }
  for (const auto& stream : open) stream->end_for_stop();
}

grpc::Status ApprovalsService::State::List(grpc::ServerContext* context, const v1::ListApprovalsRequest* request,
                                           v1::ListApprovalsResponse* response) {
  const auto name = operator_(*context->auth_context());
  if (!name) return nobody();
  for (v1::ApprovalView& view : desk.list(*name, *request)) *response->add_approvals() = std::move(view);
  return grpc::Status::OK;
}

grpc::Status ApprovalsService::State::Show(grpc::ServerContext* context, const v1::ShowApprovalRequest* request,
                                           v1::ApprovalView* response) {
  const auto name = operator_(*context->auth_context());
  if (!name) return nobody();
  Outcome outcome = desk.show(*name, request->id());
  *response = std::move(outcome.view);
  return status_of(outcome);
}

grpc::Status ApprovalsService::State::Decide(grpc::ServerContext* context, const v1::DecideRequest* request,
                                             v1::ApprovalView* response) {
  const auto name = operator_(*context->auth_context());
  if (!name) return nobody();
  Outcome outcome = desk.decide(*name, *request);
  *response = std::move(outcome.view);
  return status_of(outcome);
}

ApprovalsService::ApprovalsService(ApprovalDesk& desk, Who agent, Who operator_name)
    : state_(std::make_unique<State>(desk, std::move(agent), std::move(operator_name))) {}

ApprovalsService::~ApprovalsService() = default;

grpc::Service& ApprovalsService::service() {
  return *state_;
}

void ApprovalsService::stop() {
  state_->stop();
}

}  // namespace gatehouse::approvals
