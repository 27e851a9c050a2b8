// SPDX-License-Identifier: Apache-2.0
#include "cli/fake_collector.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>

#include "common/check.h"
#include "common/file.h"
#include "gatehouse/v1/query.grpc.pb.h"
#include "rules/engine/match_row.h"

namespace gatehouse::cli {
namespace {

using grpc::ServerContext;
using grpc::ServerWriter;
using grpc::Status;
using std::chrono::milliseconds;

pki::Authority make_authority() {
  auto authority = pki::Authority::create("test authority");
  GH_CHECK(authority.has_value());
  return std::move(*authority);
}

void write_credentials(const std::string& directory, const pki::Authority& authority) {
  const auto identity = authority.issue_client({.role = pki::Role::kOperator, .id = "test"});
  GH_CHECK(identity.has_value());
  GH_CHECK(make_directories(directory).has_value());
  GH_CHECK(write_file_atomically(directory + "/ca.pem", authority.certificate_pem()).has_value());
  GH_CHECK(write_file_atomically(directory + "/cert.pem", identity->certificate_pem).has_value());
  GH_CHECK(write_file_atomically(directory + "/key.pem", identity->key_pem).has_value());
}

}  // namespace

class FakeCollector::Service final : public v1::Query::Service {
 public:
  Status Search(ServerContext* context, const v1::SearchRequest* request, ServerWriter<v1::Row>* writer) override {
    const std::lock_guard lock(mutex);
    if (!index.empty()) context->AddInitialMetadata("gatehouse-index", index);
    if (!kept_since.empty()) context->AddInitialMetadata("gatehouse-kept-since", kept_since);
    search = *request;
    const auto filter = rules::parse_filter(request->filter());
    if (!filter || request->filter().find("refuse-me") != std::string::npos)
      return {grpc::StatusCode::INVALID_ARGUMENT, "this filter is refused"};
    uint32_t sent = 0;
    for (const v1::Row& row : rows) {
      if (!rules::matches(*filter, row) || row.time_ns() < request->since_ns()) continue;
      if (request->limit() != 0 && sent == request->limit()) break;
      if (!writer->Write(row)) break;
      ++sent;
    }
    return Status::OK;
  }

  Status Tail(ServerContext* context, const v1::TailRequest* request, ServerWriter<v1::Row>* writer) override {
    std::unique_lock lock(mutex);
    tails.push_back(*request);
    size_t next = 0;
    while (!stopping && !context->IsCancelled()) {
      for (; next < rows.size(); ++next) {
        if (rows[next].time_ns() >= request->since_ns() && !writer->Write(rows[next])) return Status::OK;
      }
      changed.wait_for(lock, milliseconds(10));
    }
    return {grpc::StatusCode::UNAVAILABLE, "shutting down"};
  }

  Status Session(ServerContext* context, const v1::SessionRequest* request, ServerWriter<v1::Row>* writer) override {
    const std::lock_guard lock(mutex);
    if (!index.empty()) context->AddInitialMetadata("gatehouse-index", index);
    if (!kept_since.empty()) context->AddInitialMetadata("gatehouse-kept-since", kept_since);
    uint32_t sent = 0;
    for (const v1::Row& row : rows) {
      if (!row.session().ends_with("/" + request->session())) continue;
      if (request->limit() != 0 && sent++ == request->limit()) break;
      writer->Write(row);
    }
    return Status::OK;
  }

  Status Top(ServerContext*, const v1::TopRequest*, v1::TopResponse* response) override {
    v1::TopGroup& group = *response->add_groups();
    group.set_value("/usr/bin/psql");
    group.set_events(3);
    return Status::OK;
  }

  Status Agents(ServerContext*, const v1::AgentsRequest*, v1::AgentsResponse* response) override {
    response->add_agents()->set_host("db1");
    return Status::OK;
  }

  Status CreateToken(ServerContext*, const v1::CreateTokenRequest* request,
                     v1::CreateTokenResponse* response) override {
    response->set_token("token-for-" + std::to_string(request->valid_seconds()));
    response->set_expires_ns(1'795'568'523'000'000'000);
    return Status::OK;
  }

  std::mutex mutex{};
  std::condition_variable changed{};
  bool stopping = false;
  std::vector<v1::Row> rows{};
  v1::SearchRequest search{};
  std::string index{};
  std::string kept_since{};
  std::vector<v1::TailRequest> tails{};
  std::unique_ptr<grpc::Server> server{};
};

FakeCollector::FakeCollector(const std::string& directory)
    : directory_(directory), authority_(make_authority()), service_(std::make_unique<Service>()) {
  auto identity = authority_.issue_server({});
  GH_CHECK(identity.has_value());
  identity_ = std::move(*identity);
  write_credentials(directory_, authority_);
}

FakeCollector::~FakeCollector() {
  stop();
}

void FakeCollector::start() {
  grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  tls.pem_root_certs = authority_.certificate_pem();
  tls.pem_key_cert_pairs.push_back({identity_.key_pem, identity_.certificate_pem});
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address(), grpc::SslServerCredentials(tls), &port_);
  builder.RegisterService(service_.get());
  {
    const std::lock_guard lock(service_->mutex);
    service_->stopping = false;
  }
  service_->server = builder.BuildAndStart();
  GH_CHECK(service_->server != nullptr && port_ != 0);
}

void FakeCollector::stop() {
  {
    const std::lock_guard lock(service_->mutex);
    service_->stopping = true;
  }
  service_->changed.notify_all();
  if (service_->server) service_->server->Shutdown(std::chrono::system_clock::now() + milliseconds(200));
  service_->server.reset();
}

std::string FakeCollector::foreign_credentials() const {
  const std::string directory = directory_ + "/foreign";
  write_credentials(directory, make_authority());
  return directory;
}

void FakeCollector::add(const v1::Row& row) {
  const std::lock_guard lock(service_->mutex);
  service_->rows.push_back(row);
  service_->changed.notify_all();
}

void FakeCollector::set_kept_since(const std::string& unix_ns) {
  const std::lock_guard lock(service_->mutex);
  service_->kept_since = unix_ns;
}

void FakeCollector::set_index(const std::string& progress) {
  const std::lock_guard lock(service_->mutex);
  service_->index = progress;
}

v1::SearchRequest FakeCollector::last_search() const {
  const std::lock_guard lock(service_->mutex);
  return service_->search;
}

std::vector<v1::TailRequest> FakeCollector::tails() const {
  const std::lock_guard lock(service_->mutex);
  return service_->tails;
}

}  // namespace gatehouse::cli
