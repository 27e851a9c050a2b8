// SPDX-License-Identifier: Apache-2.0
// QueryService: gatehouse.v1.Query over Queries. Who may ask and what a token is, the collector's main says.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "collector/query/queries.h"
#include "common/result.h"
#include "gatehouse/v1/query.grpc.pb.h"

namespace gatehouse::query {

struct Token {
  std::string token;
  uint64_t expires_ns = 0;  // Unix time
};

// Thread-safe, as gRPC's threads need it. While the store builds its index, the initial metadata "gatehouse-index" of
// Search, Session, Top and Agents says "<per cent> <seconds left, or 0>": the answer is partial. Where retention has
// removed what may have been asked for, "gatehouse-kept-since" of Search, Tail, Session and Top says since when (Unix
// ns) what was received is kept.
//
//   status             | when
//   -------------------|--------------------------------------------------------------------------------------
//   PERMISSION_DENIED  | `is_operator` says no
//   INVALID_ARGUMENT   | filter, field or session that cannot be meant; a filter's mistake is at the byte that the
//                      | trailing metadata "gatehouse-filter-offset" names
//   UNAVAILABLE        | the collector is closing
//   INTERNAL           | the engine failed; the log line has the reason
class QueryService final : public v1::Query::Service {
 public:
  struct Options {
    std::function<bool(const grpc::ServerContext&)> is_operator;
    std::function<Result<Token>(uint32_t valid_seconds)> create_token;
  };

  QueryService(store::Pipeline& pipeline, Options options) : queries_(pipeline), options_(std::move(options)) {}

  grpc::Status Search(grpc::ServerContext* context, const v1::SearchRequest* request,
                      grpc::ServerWriter<v1::Row>* writer) override;
  grpc::Status Tail(grpc::ServerContext* context, const v1::TailRequest* request,
                    grpc::ServerWriter<v1::Row>* writer) override;
  grpc::Status Session(grpc::ServerContext* context, const v1::SessionRequest* request,
                       grpc::ServerWriter<v1::Row>* writer) override;
  grpc::Status Top(grpc::ServerContext* context, const v1::TopRequest* request, v1::TopResponse* response) override;
  grpc::Status Agents(grpc::ServerContext* context, const v1::AgentsRequest* request,
                      v1::AgentsResponse* response) override;
  grpc::Status CreateToken(grpc::ServerContext* context, const v1::CreateTokenRequest* request,
                           v1::CreateTokenResponse* response) override;

 private:
  void say_if_partial(grpc::ServerContext& context) const;
  void say_if_removed(grpc::ServerContext& context, uint64_t since_ns) const;

  Queries queries_;
  const Options options_;
};

}  // namespace gatehouse::query
