// SPDX-License-Identifier: Apache-2.0
#include "collector/ingest/server.h"

#include <grpc/support/log.h>
#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <netdb.h>
#include <sys/socket.h>

#include <optional>

#include "collector/ingest/limits.h"
#include "collector/ingest/peer.h"
#include "common/check.h"
#include "common/file.h"
#include "common/log.h"

namespace gatehouse::ingest {
namespace {

constexpr std::string_view kIngestPrefix = "/gatehouse.v1.Ingest/";
constexpr std::string_view kApprovalsExchange = "/gatehouse.v1.Approvals/Exchange";

class Gatekeeper final : public grpc::AuthMetadataProcessor {
 public:
  bool IsBlocking() const override { return false; }  // it only compares

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context, OutputMetadata* /*consumed*/,
                       OutputMetadata* /*response*/) override {
    const auto path = metadata.find(":path");
    if (path == metadata.end()) return {grpc::StatusCode::UNAUTHENTICATED, "no method"};
    const Access access = required_access({path->second.data(), path->second.size()});
    if (access == Access::kAnyone) return grpc::Status::OK;
    const auto subject = peer_subject(*context);
    if (!subject) return {grpc::StatusCode::UNAUTHENTICATED, "this needs a client certificate of this collector"};
    const pki::Role role = access == Access::kAgent ? pki::Role::kAgent : pki::Role::kOperator;
    if (subject->role == role) return grpc::Status::OK;
    return {grpc::StatusCode::PERMISSION_DENIED,
            role == pki::Role::kAgent ? "this needs an agent's certificate" : "this needs an operator's certificate"};
  }
};

// gRPC's own lines have another form than ours, and what matters in them is in the statuses that we log.
void quiet_grpc() {
  gpr_set_log_function([](gpr_log_func_args* args) {
    if (args->severity == GPR_LOG_SEVERITY_ERROR) log::debug("grpc", args->message);
  });
}

std::string text_of(const config::Address& address) {
  const bool is_v6 = address.host.find(':') != std::string::npos;
  return (is_v6 ? '[' + address.host + ']' : address.host) + ':' + std::to_string(address.port);
}

// gRPC says only that it could not listen; the kernel says why.
Status try_bind(const config::Address& address) {
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string text = text_of(address);
  const int fault = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (fault != 0)
    return Error::configuration("collector.listen " + text + ": " + ::gai_strerror(fault) +
                                "; give an address of this host");
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  const UniqueFd fd(::socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (!fd.valid() || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return Error::system(text);
  if (::bind(fd.get(), found->ai_addr, found->ai_addrlen) == 0 && ::listen(fd.get(), 1) == 0) return {};
  if (errno == EADDRINUSE)
    return Error("cannot listen on " + text +
                 ": another process does; stop it (`ss -ltnp` names it) or change collector.listen");
  return Error::system("cannot listen on " + text);
}

}  // namespace

Access required_access(std::string_view method) {
  if (method == kApprovalsExchange) return Access::kAgent;
  if (!method.starts_with(kIngestPrefix)) return Access::kOperator;
  return method.substr(kIngestPrefix.size()) == "Enrol" ? Access::kAnyone : Access::kAgent;
}

struct Server::State {
  std::unique_ptr<grpc::Server> server;
  int port = 0;
};

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}

Server::~Server() {
  stop(std::chrono::milliseconds(0));
}

Result<std::unique_ptr<Server>> Server::start(Options options) {
  quiet_grpc();
  GH_TRY(try_bind(options.listen));
  grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  tls.pem_root_certs = options.authority_pem;
  tls.pem_key_cert_pairs.push_back({options.identity.key_pem, options.identity.certificate_pem});
  const auto credentials = grpc::SslServerCredentials(tls);
  credentials->SetAuthMetadataProcessor(std::make_shared<Gatekeeper>());

  auto state = std::make_unique<State>();
  grpc::ServerBuilder builder;
  builder.AddListeningPort(text_of(options.listen), credentials, &state->port);
  // Two collectors on one port would each get some of the agents.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kPingIntervalMsMin);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.SetMaxReceiveMessageSize(kMessageBytesMax);
  for (grpc::Service* service : options.services) builder.RegisterService(service);
  state->server = builder.BuildAndStart();
  if (!state->server || state->port == 0) return Error("cannot listen on " + text_of(options.listen));
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

uint16_t Server::port() const {
  return static_cast<uint16_t>(state_->port);
}

void Server::stop(std::chrono::milliseconds deadline) {
  if (!state_->server) return;
  state_->server->Shutdown(std::chrono::system_clock::now() + deadline);
  state_->server->Wait();
  state_->server.reset();
}

}  // namespace gatehouse::ingest
