// SPDX-License-Identifier: Apache-2.0
// ApprovalsCall: an Exchange stream beside Publish, on the same connection. Says what the port has to say, and tells it
// what the collector says.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "gatehouse/v1/approvals.pb.h"

namespace grpc {
class Channel;
}

namespace gatehouse::uplink {

// Who holds statements. Called by threads of the uplink's; none of these blocks for long.
class ApprovalsPort {
 public:
  virtual ~ApprovalsPort() = default;
  // The collector has let the agent in: what it must know first, in order. What was said on streams before may not have
  // reached it.
  virtual std::vector<v1::AgentNote> on_connected() = 0;
  virtual void on_disconnected() = 0;
  virtual void on_note(const v1::CollectorNote& note) = 0;
  // What there is to say since on_connected(), or since the call before.
  virtual std::vector<v1::AgentNote> take_notes() = 0;
  // To be called whenever take_notes() has something; by any thread. Null: nobody listens any more.
  virtual void set_waker(std::function<void()> waker) = 0;
};

class ApprovalsCall {
 public:
  // Opens the stream, and again when it ends, until it is destroyed. `port` outlives it.
  ApprovalsCall(std::shared_ptr<grpc::Channel> channel, ApprovalsPort& port);
  ~ApprovalsCall();
  ApprovalsCall(const ApprovalsCall&) = delete;
  ApprovalsCall& operator=(const ApprovalsCall&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::uplink
