// SPDX-License-Identifier: Apache-2.0
// ApprovalsService: gatehouse.v1.Approvals over an ApprovalDesk. Who may call what, the server decides before; who it
// is, the caller's certificate.
//
//   status of Show and Decide | when
//   --------------------------|---------------------------------------------
//   NOT_FOUND                 | no request has this id, or several begin so
//   PERMISSION_DENIED         | this reviewer may not
//   FAILED_PRECONDITION       | it is decided already, or another than was shown
//   INVALID_ARGUMENT          | no reason, or a grant that cannot be
//   UNAVAILABLE               | the collector cannot write
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "collector/approvals/approval_desk.h"

namespace grpc {
class AuthContext;
class Service;
}  // namespace grpc

namespace gatehouse::approvals {

class ApprovalsService {
 public:
  // The id of an agent's certificate, the name of an operator's; nothing: it is none.
  using Who = std::function<std::optional<std::string>(const grpc::AuthContext&)>;
  ApprovalsService(ApprovalDesk& desk, Who agent, Who operator_name);
  ~ApprovalsService();

  grpc::Service& service();
  // Ends the agents' streams.
  void stop();

  class State;  // in the .cc

 private:
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::approvals
