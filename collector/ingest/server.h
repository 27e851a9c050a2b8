// SPDX-License-Identifier: Apache-2.0
// Server: the collector's one gRPC port. TLS always. Before any service sees a call, its method decides who may make
// it:
//
//   method           | peer must be
//   -----------------|---------------------------------------------
//   Ingest/Enrol     | anyone: a token or an agent's certificate is judged by the service
//   Ingest/*         | an agent
//   Approvals/Exchange | an agent
//   everything else  | an operator
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/config.h"
#include "common/pki.h"
#include "common/result.h"

namespace grpc {
class Service;
}

namespace gatehouse::ingest {

enum class Access : uint8_t { kAnyone, kAgent, kOperator };
// `method`: "/gatehouse.v1.Ingest/Publish".
Access required_access(std::string_view method);

class Server {
 public:
  struct Options {
    config::Address listen;  // port 0: any free one
    pki::Identity identity;
    std::string authority_pem;
    std::vector<grpc::Service*> services;  // must outlive the server
  };
  // Listens. An address in use is an Error that says so and what to do.
  static Result<std::unique_ptr<Server>> start(Options options);
  ~Server();

  [[nodiscard]] uint16_t port() const;
  // New calls are refused at once; running ones have `deadline` to end and are then cancelled. Returns when all are
  // gone.
  void stop(std::chrono::milliseconds deadline);

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::ingest
