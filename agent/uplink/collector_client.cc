// SPDX-License-Identifier: Apache-2.0
#include "agent/uplink/collector_client.h"

#include <grpc/support/log.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <mutex>
#include <thread>

#include "agent/uplink/fetch_authority.h"
#include "common/log.h"
#include "common/pki.h"
#include "gatehouse/v1/ingest.grpc.pb.h"

namespace gatehouse::uplink {
namespace {

// A collector that has vanished without a word is noticed after their sum.
constexpr int kPingIntervalMs = 20'000;
constexpr int kPingTimeoutMs = 10'000;

// gRPC's own lines have another form than ours, and what matters in them is in the statuses that we log.
void quiet_grpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    gpr_set_log_function([](gpr_log_func_args* args) {
      if (args->severity == GPR_LOG_SEVERITY_ERROR) log::debug("grpc", args->message);
    });
  });
}

// A channel of its own for each connection: when to try again is for Uplink to say, not for gRPC.
std::shared_ptr<grpc::Channel> connect(const std::string& address, const std::string& authority_pem,
                                       const AgentIdentity* client) {
  quiet_grpc();
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = authority_pem;
  if (client != nullptr) {
    tls.pem_private_key = client->key_pem();
    tls.pem_cert_chain = client->certificate_pem();
  }
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(std::string(pki::kCollectorName));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kPingIntervalMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(tls), arguments);
}

Ending ending_of(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return {};
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::ALREADY_EXISTS:
      return {.kind = Ending::Kind::kBatchRefused, .reason = status.error_message()};
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED:
      return {.kind = Ending::Kind::kNotLetIn, .reason = status.error_message()};
    default:
      return {.kind = Ending::Kind::kUnreachable, .reason = status.error_message()};
  }
}

Ending request_certificate(const std::string& address, AgentIdentity& identity, const std::string& token,
                           const std::string& authority_pem, std::chrono::milliseconds timeout) {
  const auto request_pem = pki::create_request(identity.key_pem());
  if (!request_pem) return {.kind = Ending::Kind::kNotLetIn, .reason = request_pem.error().message()};
  v1::EnrolRequest request;
  request.set_token(token);
  request.set_agent_name(identity.name_part());
  request.set_certificate_request_pem(*request_pem);
  v1::EnrolResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + timeout);
  const auto channel = connect(address, authority_pem, token.empty() ? &identity : nullptr);
  const grpc::Status status = v1::Ingest::NewStub(channel)->Enrol(&context, request, &response);
  Ending ending = ending_of(status);
  // What is refused here is the request, not a batch.
  if (ending.kind == Ending::Kind::kBatchRefused) ending.kind = Ending::Kind::kNotLetIn;
  if (ending.kind != Ending::Kind::kOk) return ending;
  // The authority stays the one that was verified, whatever the answer holds.
  const auto adopted = identity.adopt(response.certificate_pem(), authority_pem);
  if (!adopted) return {.kind = Ending::Kind::kNotLetIn, .reason = adopted.error().message()};
  return ending;
}

}  // namespace

Ending enrol(const std::string& address, AgentIdentity& identity, const std::string& token,
             std::chrono::milliseconds timeout) {
  const auto parsed = pki::parse_token(token);
  if (!parsed) {
    return {.kind = Ending::Kind::kNotLetIn,
            .reason = "enrolment token: not a token; `gatehouse-collector token` prints one"};
  }
  const auto authority_pem = fetch_authority(address, parsed->authority_fingerprint, timeout);
  if (!authority_pem) {
    const bool is_final = authority_pem.error().kind() == ErrorKind::kConfiguration;
    return {.kind = is_final ? Ending::Kind::kNotLetIn : Ending::Kind::kUnreachable,
            .reason = authority_pem.error().message()};
  }
  return request_certificate(address, identity, token, *authority_pem, timeout);
}

Ending renew(const std::string& address, AgentIdentity& identity, std::chrono::milliseconds timeout) {
  const std::string authority_pem = identity.authority_pem();
  return request_certificate(address, identity, "", authority_pem, timeout);
}

struct PublishCall::State {
  Callbacks callbacks;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::Ingest::Stub> stub;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<v1::PublishRequest, v1::PublishResponse>> stream;
  std::thread reader;
  bool is_ended = false;

  void read() {
    v1::PublishResponse response;
    while (stream->Read(&response)) {
      if (response.boot_id().empty()) {
        callbacks.on_admitted();
      } else {
        callbacks.on_acknowledged(response.boot_id(), response.acknowledged_sequence());
      }
    }
    callbacks.on_over();
  }
};

PublishCall::PublishCall(const std::string& address, const AgentIdentity& identity, Callbacks callbacks)
    : state_(std::make_unique<State>()) {
  state_->callbacks = std::move(callbacks);
  state_->channel = connect(address, identity.authority_pem(), &identity);
  state_->stub = v1::Ingest::NewStub(state_->channel);
}

PublishCall::~PublishCall() {
  cancel();
  end();
}

void PublishCall::open() {
  state_->stream = state_->stub->Publish(&state_->context);
  state_->reader = std::thread([state = state_.get()] { state->read(); });
}

bool PublishCall::send(spool::SealedBatch batch) {
  v1::PublishRequest request;
  request.set_boot_id(std::move(batch.boot_id));
  request.set_first_sequence(batch.first_sequence);
  request.set_event_count(batch.event_count);
  request.set_payload_zstd(std::move(batch.payload_zstd));
  request.set_payload_sha256(batch.payload_sha256.data(), batch.payload_sha256.size());
  if (batch.previous_sha256) request.set_previous_sha256(batch.previous_sha256->data(), batch.previous_sha256->size());
  return state_->stream->Write(request);
}

Ending PublishCall::end() {
  if (state_->is_ended || !state_->stream) return {};
  state_->is_ended = true;
  state_->stream->WritesDone();
  state_->reader.join();
  return ending_of(state_->stream->Finish());
}

std::shared_ptr<grpc::Channel> PublishCall::channel() const {
  return state_->channel;
}

void PublishCall::cancel() {
  state_->context.TryCancel();
}

}  // namespace gatehouse::uplink
