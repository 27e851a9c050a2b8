// SPDX-License-Identifier: Apache-2.0
// The collector's query service, spoken to over mutual TLS. gRPC is included by client.cc only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/result.h"
#include "gatehouse/v1/approvals.pb.h"
#include "gatehouse/v1/query.pb.h"

namespace gatehouse::cli {

struct CallError {
  enum class Kind : uint8_t {
    kUnreachable,  // no collector there, or it went away: trying again may help
    kRejected,     // one side does not accept the other's certificate
    kRequest,      // the collector does not accept the question
    kRefused,      // of approvals: this operator may not, it is too late, or there is no such request
    kCancelled,    // cancel() was called
    kOther,
  };
  Kind kind;
  std::string message;
};

template <typename T>
using CallResult = tl::expected<T, CallError>;

// What an operator proves itself with, and the CA of the collector; PEM.
struct Credentials {
  std::string ca;
  std::string certificate;
  std::string key;
};

// ca.pem, cert.pem and key.pem of `directory`. Failure is a configuration error that says how to get them.
Result<Credentials> load_credentials(const std::string& directory);

// The collector is still building its index, and answers from a part of what it keeps.
struct Partial {
  uint32_t percent = 0;
  uint64_t seconds_left = 0;  // 0: not known yet
};

// Gets rows as they come; false: enough, end the call.
using RowSink = std::function<bool(const v1::Row&)>;

// One channel. Connects with the first call. Calls are made from one thread; cancel() from any.
class Client {
 public:
  // `address` is host:port.
  Client(const std::string& address, const Credentials& credentials);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Waits until the connection stands; false if it does not. The reason comes with the next call.
  [[nodiscard]] bool connect();

  CallResult<void> search(const v1::SearchRequest& request, const RowSink& sink);
  CallResult<void> tail(const v1::TailRequest& request, const RowSink& sink);
  CallResult<void> session(const v1::SessionRequest& request, const RowSink& sink);
  CallResult<v1::TopResponse> top(const v1::TopRequest& request);
  CallResult<v1::AgentsResponse> agents(const v1::AgentsRequest& request);
  CallResult<v1::CreateTokenResponse> create_token(const v1::CreateTokenRequest& request);
  CallResult<v1::ListApprovalsResponse> list_approvals(const v1::ListApprovalsRequest& request);
  CallResult<v1::ApprovalView> show_approval(const v1::ShowApprovalRequest& request);
  CallResult<v1::ApprovalView> decide_approval(const v1::DecideRequest& request);

  // Whether an answer so far was partial; known with the first row of an answer and at its end.
  [[nodiscard]] const std::optional<Partial>& partial() const;

  // Of the last answer: what was received before this (Unix time) has been removed by retention, and may be missing.
  [[nodiscard]] const std::optional<uint64_t>& kept_since_ns() const;

  // Ends the call that runs, and every later one, with kCancelled.
  void cancel();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::cli
