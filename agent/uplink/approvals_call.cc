// SPDX-License-Identifier: Apache-2.0
#include "agent/uplink/approvals_call.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "common/log.h"
#include "gatehouse/v1/approvals.grpc.pb.h"

namespace gatehouse::uplink {
namespace {

using Stream = grpc::ClientReaderWriter<v1::AgentNote, v1::CollectorNote>;

// A collector of an older version has no such stream: it is asked again now and then.
constexpr std::chrono::milliseconds kRetryMin{200};
constexpr std::chrono::milliseconds kRetryMax{5'000};
// At the end: for the last words to leave.
constexpr std::chrono::milliseconds kLastWords{200};

}  // namespace

struct ApprovalsCall::State {
  State(std::shared_ptr<grpc::Channel> its_channel, ApprovalsPort& its_port)
      : channel(std::move(its_channel)), port(its_port) {}

  void run();
  void exchange();
  void write(Stream& stream);

  std::shared_ptr<grpc::Channel> channel;
  ApprovalsPort& port;
  std::thread thread;

  std::mutex mutex;
  std::condition_variable changed;
  grpc::ClientContext* context = nullptr;  // of the stream that is open
  bool has_notes = false;
  bool is_over = false;  // the stream
  bool is_stopping = false;
  bool is_welcome = false;  // the collector has let the agent in; the thread's
};

void ApprovalsCall::State::run() {
  port.set_waker([this] {
    const std::lock_guard lock(mutex);
    has_notes = true;
    changed.notify_all();
  });
  std::chrono::milliseconds pause = kRetryMin;
  for (;;) {
    exchange();
    std::unique_lock lock(mutex);
    pause = is_welcome ? kRetryMin : std::min(pause * 2, kRetryMax);
    if (changed.wait_for(lock, pause, [this] { return is_stopping; })) break;
  }
  port.set_waker(nullptr);
}

void ApprovalsCall::State::exchange() {
  grpc::ClientContext its_context;
  const auto stub = v1::Approvals::NewStub(channel);
  {
    const std::lock_guard lock(mutex);
    if (is_stopping) return;
    context = &its_context;
    is_over = is_welcome = false;
  }
  const auto stream = stub->Exchange(&its_context);
  std::thread writer;
  v1::CollectorNote note;
  while (stream->Read(&note)) {
    if (note.has_welcome() && !is_welcome) {
      is_welcome = true;
      writer = std::thread([this, raw = stream.get()] { write(*raw); });
    }
    port.on_note(note);
  }
  {
    const std::lock_guard lock(mutex);
    is_over = true;
    context = nullptr;
    changed.notify_all();
  }
  if (writer.joinable()) writer.join();
  const grpc::Status status = stream->Finish();
  if (is_welcome) port.on_disconnected();
  if (!status.ok() && status.error_code() != grpc::StatusCode::CANCELLED)
    log::debug("approvals", "stream ended", {{"reason", status.error_message()}});
}

void ApprovalsCall::State::write(Stream& stream) {
  std::vector<v1::AgentNote> notes = port.on_connected();
  for (;;) {
    for (const v1::AgentNote& note : notes)
      if (!stream.Write(note)) return;
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [this] { return has_notes || is_over || is_stopping; });
      if (is_over) return;
      if (!has_notes) break;
      has_notes = false;
    }
    notes = port.take_notes();
  }
  stream.WritesDone();
}

ApprovalsCall::ApprovalsCall(std::shared_ptr<grpc::Channel> channel, ApprovalsPort& port)
    : state_(std::make_unique<State>(std::move(channel), port)) {
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

ApprovalsCall::~ApprovalsCall() {
  {
    std::unique_lock lock(state_->mutex);
    state_->is_stopping = true;
    state_->changed.notify_all();
    if (state_->context != nullptr) {
      state_->changed.wait_for(lock, kLastWords, [this] { return state_->context == nullptr; });
      if (state_->context != nullptr) state_->context->TryCancel();
    }
  }
  state_->thread.join();
}

}  // namespace gatehouse::uplink
