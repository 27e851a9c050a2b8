// SPDX-License-Identifier: Apache-2.0
#include "collector/query/query_service.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <thread>

#include "collector/ledger/testing.h"
#include "collector/store/testing.h"
#include "common/log.h"

namespace gatehouse::query {
namespace {

using ::testing::HasSubstr;

class QueryServiceTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { log::set_level(log::Level::kError); }

  void SetUp() override {
    open({});
    const v1::PublishRequest request = store::sealed(store::statement_batch(1, 50));
    ASSERT_TRUE(pipeline_->append("db1", std::span{&request, 1}));
    ASSERT_TRUE(pipeline_->store().wait_indexed(pipeline_->log().end(), std::chrono::seconds(20)));
  }
  void open(store::Store::Options options, ledger::Retention retention = {}) {
    auto pipeline =
        store::Pipeline::open({.folder = folder_.path(), .log = {.retention = retention}, .store = std::move(options)});
    ASSERT_TRUE(pipeline) << pipeline.error().message();
    pipeline_ = *std::move(pipeline);
    service_ = std::make_unique<QueryService>(
        *pipeline_,
        QueryService::Options{.is_operator = [this](const grpc::ServerContext&) { return is_operator_.load(); },
                              .create_token = [](uint32_t seconds) -> Result<Token> {
                                return Token{"token-for-" + std::to_string(seconds), 42};
                              }});
    grpc::ServerBuilder builder;
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    stub_ = v1::Query::NewStub(server_->InProcessChannel({}));
  }
  void TearDown() override { close(); }
  void close() {
    server_->Shutdown(std::chrono::system_clock::now());
    pipeline_->close();
    stub_.reset();
    server_.reset();
    service_.reset();
    pipeline_.reset();
  }
  template <typename Request>
  std::pair<grpc::Status, std::vector<v1::Row>> stream(
      const Request& request,
      std::unique_ptr<grpc::ClientReader<v1::Row>> (v1::Query::Stub::*call)(grpc::ClientContext*, const Request&)) {
    grpc::ClientContext context;
    const auto reader = (stub_.get()->*call)(&context, request);
    std::vector<v1::Row> rows;
    v1::Row row;
    while (reader->Read(&row)) rows.push_back(row);
    const grpc::Status status = reader->Finish();
    const auto& initial = context.GetServerInitialMetadata();
    const auto said = [&](const char* key) {
      const auto found = initial.find(key);
      return found == initial.end() ? "" : std::string(found->second.data(), found->second.size());
    };
    index_ = said("gatehouse-index");
    kept_since_ = said("gatehouse-kept-since");
    offset_.clear();
    const auto& trailers = context.GetServerTrailingMetadata();
    if (const auto found = trailers.find("gatehouse-filter-offset"); found != trailers.end())
      offset_ = std::string(found->second.data(), found->second.size());
    return {status, rows};
  }
  auto search(const std::string& filter, uint32_t limit = 0) {
    v1::SearchRequest request;
    request.set_filter(filter);
    request.set_limit(limit);
    return stream(request, &v1::Query::Stub::Search);
  }

  ledger::TemporaryFolder folder_;
  std::atomic<bool> is_operator_ = true;
  std::unique_ptr<store::Pipeline> pipeline_;
  std::unique_ptr<QueryService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::Query::Stub> stub_;
  std::string offset_;
  std::string index_;  // what the last answer said of the index
  std::string kept_since_;
};

TEST_F(QueryServiceTest, SearchStreamsRows) {
  const auto [status, rows] = search("statement.verb == \"UPDATE\"", 2);
  EXPECT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].id(), "db1/b0/48");
  EXPECT_EQ(rows[0].actor_ancestry(), "bash < sshd");
}

TEST_F(QueryServiceTest, AnswersWhileTheIndexIsBuiltSaySo) {
  EXPECT_EQ(search("").second.size(), 50U);
  EXPECT_EQ(index_, "");
  ASSERT_TRUE(pipeline_->log().seal());
  close();
  std::filesystem::remove_all(folder_.path() + "/store");

  std::promise<void> go_on;
  auto may_go_on = go_on.get_future().share();
  open({.at_step = [&](std::string_view step) {
    if (step == "loading") may_go_on.wait();
  }});
  EXPECT_EQ(search("").second.size(), 0U);
  EXPECT_EQ(index_, "0 0");
  go_on.set_value();
  ASSERT_TRUE(pipeline_->store().wait_indexed(pipeline_->log().end(), std::chrono::seconds(20)));
  EXPECT_EQ(search("").second.size(), 50U);
  EXPECT_EQ(index_, "");
}

TEST_F(QueryServiceTest, AnswersThatMayLackWhatWasRemovedSaySo) {
  search("");
  EXPECT_EQ(kept_since_, "");
  ASSERT_TRUE(pipeline_->log().seal());
  close();
  open({}, {.bytes_max = 1});
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (pipeline_->log().first_segment() == ledger::kFirstSegment && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const v1::PublishRequest batch = store::sealed(store::statement_batch(51, 5));
  ASSERT_TRUE(pipeline_->append("db1", std::span{&batch, 1}));
  const uint64_t received_ns = pipeline_->log().segments().back().first_received_ns;
  search("");
  EXPECT_EQ(kept_since_, std::to_string(received_ns));
  v1::SearchRequest request;
  request.set_since_ns(received_ns);
  stream(request, &v1::Query::Stub::Search);
  EXPECT_EQ(kept_since_, "");
  request.set_since_ns(received_ns - 1);
  stream(request, &v1::Query::Stub::Search);
  EXPECT_EQ(kept_since_, std::to_string(received_ns));
}

TEST_F(QueryServiceTest, WrongFilterNamesTheByte) {
  const auto [status, rows] = search("statement.verb = \"UPDATE\"");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("byte 15"));
  EXPECT_EQ(offset_, "15");
}

TEST_F(QueryServiceTest, SessionByStartOfItsLastPart) {
  v1::SessionRequest request;
  request.set_session("3");
  const auto [status, rows] = stream(request, &v1::Query::Stub::Session);
  EXPECT_TRUE(status.ok());
  ASSERT_EQ(rows.size(), 50U);
  EXPECT_EQ(rows[0].id(), "db1/b0/1");
  request.set_session("77");
  EXPECT_TRUE(stream(request, &v1::Query::Stub::Session).second.empty());
  request.set_session("");
  EXPECT_EQ(stream(request, &v1::Query::Stub::Session).first.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(QueryServiceTest, TopAgentsToken) {
  {
    grpc::ClientContext context;
    v1::TopRequest request;
    request.set_by("actor.exe");
    v1::TopResponse response;
    ASSERT_TRUE(stub_->Top(&context, request, &response).ok());
    ASSERT_EQ(response.groups_size(), 1);
    EXPECT_EQ(response.groups(0).value(), "/usr/bin/psql");
  }
  {
    grpc::ClientContext context;
    v1::TopRequest request;
    request.set_by("actor.exee");
    v1::TopResponse response;
    const grpc::Status status = stub_->Top(&context, request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("did you mean actor.exe?"));
  }
  {
    grpc::ClientContext context;
    v1::AgentsResponse response;
    ASSERT_TRUE(stub_->Agents(&context, {}, &response).ok());
    EXPECT_EQ(response.agents_size(), 1);
  }
  {
    grpc::ClientContext context;
    v1::CreateTokenResponse response;
    ASSERT_TRUE(stub_->CreateToken(&context, {}, &response).ok());
    EXPECT_EQ(response.token(), "token-for-3600");
  }
}

TEST_F(QueryServiceTest, NobodyElseMayAsk) {
  is_operator_ = false;
  const auto denied = grpc::StatusCode::PERMISSION_DENIED;
  EXPECT_EQ(search("").first.error_code(), denied);
  EXPECT_EQ(stream(v1::TailRequest{}, &v1::Query::Stub::Tail).first.error_code(), denied);
  EXPECT_EQ(stream(v1::SessionRequest{}, &v1::Query::Stub::Session).first.error_code(), denied);
  grpc::ClientContext contexts[3];
  v1::TopResponse top;
  v1::AgentsResponse agents;
  v1::CreateTokenResponse token;
  EXPECT_EQ(stub_->Top(&contexts[0], {}, &top).error_code(), denied);
  EXPECT_EQ(stub_->Agents(&contexts[1], {}, &agents).error_code(), denied);
  EXPECT_EQ(stub_->CreateToken(&contexts[2], {}, &token).error_code(), denied);
}

TEST_F(QueryServiceTest, TailSendsAsItBecomesDurableUntilTheClientLeaves) {
  grpc::ClientContext context;
  v1::TailRequest request;
  request.set_filter("statement.verb == \"UPDATE\"");
  const auto reader = stub_->Tail(&context, request);
  reader->WaitForInitialMetadata();
  const v1::PublishRequest more = store::sealed(store::statement_batch(51, 10));
  ASSERT_TRUE(pipeline_->append("db1", std::span{&more, 1}));
  v1::Row row;
  ASSERT_TRUE(reader->Read(&row));
  EXPECT_EQ(row.statement_verb(), "UPDATE");
  context.TryCancel();
  while (reader->Read(&row)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

}  // namespace
}  // namespace gatehouse::query
