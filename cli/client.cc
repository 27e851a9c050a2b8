// SPDX-License-Identifier: Apache-2.0
#include "cli/client.h"

#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <mutex>

#include "cli/safe_text.h"
#include "common/file.h"
#include "common/pki.h"
#include "gatehouse/v1/approvals.grpc.pb.h"
#include "gatehouse/v1/query.grpc.pb.h"

namespace gatehouse::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::system_clock;

// One TCP and TLS set-up; longer is a host that does not answer.
constexpr milliseconds kConnectTimeMax{5000};
// Questions that are answered from memory or by one aggregation.
constexpr seconds kAnswerTimeMax{60};
// A row carries a statement, what it resolves to, and parameters, of 1 MiB each at most.
constexpr int kRowBytesMax = 64 << 20;
// Finds a collector whose host vanished while nothing is said. Servers refuse pings more frequent than 5 minutes.
constexpr milliseconds kKeepalive{310'000};

int milliseconds_of(milliseconds time) {
  return static_cast<int>(time.count());
}

std::shared_ptr<grpc::Channel> make_channel(const std::string& address, const Credentials& credentials) {
  // gRPC's own log lines would stand between ours; what matters of them is in the status.
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kRowBytesMax);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // A channel of its own: one made after a failure must not wait out the back-off of the one before.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, milliseconds_of(kConnectTimeMax));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, milliseconds_of(kKeepalive));
  arguments.SetSslTargetNameOverride(std::string(pki::kCollectorName));
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = credentials.ca;
  tls.pem_cert_chain = credentials.certificate;
  tls.pem_private_key = credentials.key;
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(tls), arguments);
}

CallError error_of(const grpc::Status& status) {
  using Kind = CallError::Kind;
  const std::string message = safe(status.error_message());
  const auto tells = [&](std::string_view what) { return message.find(what) != std::string::npos; };
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      if (tells("SSL_ERROR") || tells("andshake failed") || tells("certificate")) return {Kind::kRejected, message};
      return {Kind::kUnreachable, message};
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::ABORTED:
      return {Kind::kUnreachable, message};
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED:
      return {Kind::kRejected, message};
    case grpc::StatusCode::INVALID_ARGUMENT:
      return {Kind::kRequest, message};
    case grpc::StatusCode::FAILED_PRECONDITION:
      return {Kind::kRefused, message};
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return {Kind::kOther, "no answer within a minute"};
    case grpc::StatusCode::UNIMPLEMENTED:
      return {Kind::kOther, "the collector does not know this question: it is older than this command"};
    default:
      return {Kind::kOther, message};
  }
}

}  // namespace

Result<Credentials> load_credentials(const std::string& directory) {
  Credentials out;
  const std::pair<const char*, std::string*> files[] = {
      {"ca.pem", &out.ca}, {"cert.pem", &out.certificate}, {"key.pem", &out.key}};
  for (const auto& [name, content] : files) {
    auto read = read_file(directory + "/" + name, pki::kPemBytesMax);
    if (!read)
      return Error::configuration("credentials: " + read.error().message() +
                                  ": the collector writes ca.pem, cert.pem and key.pem to its state directory's "
                                  "`operator` at its first start; name the folder with --credentials or "
                                  "GATEHOUSE_CREDENTIALS");
    *content = std::move(*read);
  }
  return out;
}

struct Client::State {
  State(const std::string& address, const Credentials& credentials)
      : channel(make_channel(address, credentials)),
        stub(v1::Query::NewStub(channel)),
        approvals(v1::Approvals::NewStub(channel)) {}

  // Makes `context` the call that cancel() ends.
  class Call {
   public:
    explicit Call(State& state) : state_(state) {
      const std::lock_guard lock(state_.mutex);
      state_.current = &context;
      if (state_.cancelled) context.TryCancel();
    }
    ~Call() {
      const std::lock_guard lock(state_.mutex);
      state_.current = nullptr;
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    grpc::ClientContext context{};

   private:
    State& state_;
  };

  CallResult<void> result(const grpc::Status& status) {
    if (status.ok()) return {};
    const std::lock_guard lock(mutex);
    if (cancelled) return tl::unexpected(CallError{CallError::Kind::kCancelled, "cancelled"});
    return tl::unexpected(error_of(status));
  }

  template <typename Start>
  CallResult<void> stream(const RowSink& sink, Start start) {
    Call call(*this);
    const auto reader = start(&call.context);
    reader->WaitForInitialMetadata();
    note_what_is_missing(call.context);
    v1::Row row;
    bool wanted = true;
    while (wanted && reader->Read(&row)) wanted = sink(row);
    if (wanted) return result(reader->Finish());
    call.context.TryCancel();
    while (reader->Read(&row)) {
    }
    reader->Finish().ok();  // cancelled by us: says nothing
    return {};
  }

  template <typename Response, typename Ask>
  CallResult<Response> unary(Ask ask) {
    Call call(*this);
    call.context.set_deadline(system_clock::now() + kAnswerTimeMax);
    Response response;
    auto status = result(ask(&call.context, &response));
    note_what_is_missing(call.context);
    if (!status) return tl::unexpected(std::move(status).error());
    return response;
  }

  void note_what_is_missing(const grpc::ClientContext& context) {
    const auto& metadata = context.GetServerInitialMetadata();
    kept_since_ns.reset();
    if (const auto kept = metadata.find("gatehouse-kept-since"); kept != metadata.end()) {
      kept_since_ns = 0;
      std::from_chars(kept->second.begin(), kept->second.end(), *kept_since_ns);
    }
    const auto found = metadata.find("gatehouse-index");
    if (found == metadata.end()) return;
    const std::string text(found->second.data(), found->second.size());
    const size_t blank = text.find(' ');
    Partial told;
    const char* const end = text.data() + text.size();
    const char* const middle = blank == std::string::npos ? end : text.data() + blank;
    std::from_chars(text.data(), middle, told.percent);
    if (middle != end) std::from_chars(middle + 1, end, told.seconds_left);
    partial = told;
  }

  std::optional<Partial> partial{};
  std::optional<uint64_t> kept_since_ns{};
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::Query::Stub> stub;
  std::unique_ptr<v1::Approvals::Stub> approvals;
  std::mutex mutex{};
  grpc::ClientContext* current = nullptr;  // guarded by mutex
  bool cancelled = false;                  // guarded by mutex
};

Client::Client(const std::string& address, const Credentials& credentials)
    : state_(std::make_unique<State>(address, credentials)) {}

Client::~Client() = default;

bool Client::connect() {
  const auto deadline = system_clock::now() + kConnectTimeMax;
  for (auto now = state_->channel->GetState(true);; now = state_->channel->GetState(true)) {
    if (now == GRPC_CHANNEL_READY) return true;
    if (now == GRPC_CHANNEL_TRANSIENT_FAILURE || now == GRPC_CHANNEL_SHUTDOWN) return false;
    if (!state_->channel->WaitForStateChange(now, deadline)) return false;
  }
}

const std::optional<Partial>& Client::partial() const {
  return state_->partial;
}

const std::optional<uint64_t>& Client::kept_since_ns() const {
  return state_->kept_since_ns;
}

CallResult<void> Client::search(const v1::SearchRequest& request, const RowSink& sink) {
  return state_->stream(sink, [&](grpc::ClientContext* context) { return state_->stub->Search(context, request); });
}

CallResult<void> Client::tail(const v1::TailRequest& request, const RowSink& sink) {
  return state_->stream(sink, [&](grpc::ClientContext* context) { return state_->stub->Tail(context, request); });
}

CallResult<void> Client::session(const v1::SessionRequest& request, const RowSink& sink) {
  return state_->stream(sink, [&](grpc::ClientContext* context) { return state_->stub->Session(context, request); });
}

CallResult<v1::TopResponse> Client::top(const v1::TopRequest& request) {
  return state_->unary<v1::TopResponse>(
      [&](grpc::ClientContext* context, v1::TopResponse* out) { return state_->stub->Top(context, request, out); });
}

CallResult<v1::AgentsResponse> Client::agents(const v1::AgentsRequest& request) {
  return state_->unary<v1::AgentsResponse>([&](grpc::ClientContext* context, v1::AgentsResponse* out) {
    return state_->stub->Agents(context, request, out);
  });
}

CallResult<v1::CreateTokenResponse> Client::create_token(const v1::CreateTokenRequest& request) {
  return state_->unary<v1::CreateTokenResponse>([&](grpc::ClientContext* context, v1::CreateTokenResponse* out) {
    return state_->stub->CreateToken(context, request, out);
  });
}

namespace {

// What the others take for a wrong certificate is here the answer to a question that was understood.
grpc::Status as_refusal(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::NOT_FOUND:
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::FAILED_PRECONDITION:
      return {grpc::StatusCode::FAILED_PRECONDITION, status.error_message()};
    default:
      return status;
  }
}

}  // namespace

CallResult<v1::ListApprovalsResponse> Client::list_approvals(const v1::ListApprovalsRequest& request) {
  return state_->unary<v1::ListApprovalsResponse>([&](grpc::ClientContext* context, v1::ListApprovalsResponse* out) {
    return state_->approvals->List(context, request, out);
  });
}

CallResult<v1::ApprovalView> Client::show_approval(const v1::ShowApprovalRequest& request) {
  return state_->unary<v1::ApprovalView>([&](grpc::ClientContext* context, v1::ApprovalView* out) {
    return as_refusal(state_->approvals->Show(context, request, out));
  });
}

CallResult<v1::ApprovalView> Client::decide_approval(const v1::DecideRequest& request) {
  return state_->unary<v1::ApprovalView>([&](grpc::ClientContext* context, v1::ApprovalView* out) {
    return as_refusal(state_->approvals->Decide(context, request, out));
  });
}

void Client::cancel() {
  const std::lock_guard lock(state_->mutex);
  state_->cancelled = true;
  if (state_->current != nullptr) state_->current->TryCancel();
}

}  // namespace gatehouse::cli
