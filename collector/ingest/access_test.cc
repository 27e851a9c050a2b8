// SPDX-License-Identifier: Apache-2.0
// Who may call what, asked over real sockets with certificates of every kind.
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include "collector/ingest/testing.h"
#include "gatehouse/v1/ingest.grpc.pb.h"
#include "gatehouse/v1/query.grpc.pb.h"

namespace gatehouse::ingest {
namespace {

using testing::TestCollector;

class AccessTest : public ::testing::Test {
 protected:
  std::shared_ptr<grpc::Channel> channel(const pki::Identity& client = {}) {
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = collector_.authority().certificate_pem();
    tls.pem_cert_chain = client.certificate_pem;
    tls.pem_private_key = client.key_pem;
    return grpc::CreateChannel(collector_.address(), grpc::SslCredentials(tls));
  }
  pki::Identity client(pki::Role role) {
    return *collector_.authority().issue_client({.role = role, .id = "somebody"});
  }

  static grpc::Status publish(const std::shared_ptr<grpc::Channel>& over, const v1::PublishRequest& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    const auto stream = v1::Ingest::NewStub(over)->Publish(&context);
    stream->Write(request);
    stream->WritesDone();
    v1::PublishResponse response;
    while (stream->Read(&response)) {
    }
    return stream->Finish();
  }
  static grpc::Status agents(const std::shared_ptr<grpc::Channel>& over) {
    grpc::ClientContext context;
    v1::AgentsResponse response;
    return v1::Query::NewStub(over)->Agents(&context, {}, &response);
  }
  static grpc::Status enrol(const std::shared_ptr<grpc::Channel>& over, const v1::EnrolRequest& request) {
    grpc::ClientContext context;
    v1::EnrolResponse response;
    return v1::Ingest::NewStub(over)->Enrol(&context, request, &response);
  }

  TestCollector collector_;
};

TEST_F(AccessTest, WithoutCertificateOnlyEnrolIsAnswered) {
  EXPECT_EQ(publish(channel(), {}).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(agents(channel()).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(enrol(channel(), {}).error_code(), grpc::StatusCode::UNAUTHENTICATED);  // by the service: no token either
  EXPECT_EQ(collector_.counters().enrolments_refused, 1U);
  EXPECT_EQ(collector_.counters().streams, 0U);
}

TEST_F(AccessTest, RolesDoNotMix) {
  const auto agent = channel(client(pki::Role::kAgent));
  const auto admin = channel(client(pki::Role::kOperator));
  EXPECT_EQ(publish(admin, {}).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(agents(agent).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(agents(admin).error_code(), grpc::StatusCode::UNIMPLEMENTED);  // let in; this collector has no Query
  EXPECT_EQ(enrol(admin, {}).error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(AccessTest, AnotherAuthoritysCertificateIsNotLetIn) {
  const auto other = *pki::Authority::create("other");
  const auto stranger = *other.issue_client({.role = pki::Role::kAgent, .id = "somebody"});
  EXPECT_EQ(publish(channel(stranger), {}).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(collector_.counters().streams, 0U);
}

TEST_F(AccessTest, GarbageIsRefusedByName) {
  const auto agent = channel(client(pki::Role::kAgent));
  const auto refused = publish(agent, {});
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(refused.error_message(), "batch at sequence 0 refused: size");
  v1::EnrolRequest request;
  request.set_token(collector_.token());
  request.set_certificate_request_pem("garbage");
  EXPECT_EQ(enrol(channel(), request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request.set_agent_name(std::string(100'000, 'x'));
  EXPECT_EQ(enrol(channel(), request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(AccessTest, PortInUseIsOneLineThatSaysWhatToDo) {
  const auto second = Server::start({.listen = {.host = "127.0.0.1", .port = collector_.port()},
                                     .identity = client(pki::Role::kAgent),
                                     .authority_pem = collector_.authority().certificate_pem(),
                                     .services = {}});
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message().find("127.0.0.1:" + std::to_string(collector_.port())), std::string::npos);
  EXPECT_NE(second.error().message().find("collector.listen"), std::string::npos);
  EXPECT_EQ(second.error().kind(), ErrorKind::kEnvironment);
}

TEST(RequiredAccess, ByMethod) {
  EXPECT_EQ(required_access("/gatehouse.v1.Ingest/Enrol"), Access::kAnyone);
  EXPECT_EQ(required_access("/gatehouse.v1.Ingest/Publish"), Access::kAgent);
  EXPECT_EQ(required_access("/gatehouse.v1.Query/Agents"), Access::kOperator);
  EXPECT_EQ(required_access("/gatehouse.v1.Approvals/Exchange"), Access::kAgent);
  EXPECT_EQ(required_access("/gatehouse.v1.Approvals/Decide"), Access::kOperator);
  EXPECT_EQ(required_access("/gatehouse.v1.Approvals/ExchangeX"), Access::kOperator);
  EXPECT_EQ(required_access("/anything"), Access::kOperator);
  EXPECT_EQ(required_access(""), Access::kOperator);
}

}  // namespace
}  // namespace gatehouse::ingest
