// SPDX-License-Identifier: Apache-2.0
// The collector as gRPC shows it: enrolment calls and one Publish stream. The only file that includes gRPC here is its
// .cc.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "agent/spool/sealed_batch.h"
#include "agent/uplink/agent_identity.h"
#include "common/result.h"

namespace grpc {
class Channel;
}

namespace gatehouse::uplink {

// How a call or a stream ended.
struct Ending {
  enum class Kind : uint8_t {
    kOk,
    kUnreachable,   // network, or the collector cannot work now: try again
    kNotLetIn,      // certificate or token refused
    kBatchRefused,  // the oldest unacknowledged batch will not be taken
  };
  Kind kind = Kind::kOk;
  std::string reason;
};

// Enrols with a token: checks that the collector at `address` is the token's, then sends it a request for `identity`'s
// key and adopts the answer.
Ending enrol(const std::string& address, AgentIdentity& identity, const std::string& token,
             std::chrono::milliseconds timeout);
// The same for an enrolled agent, by its certificate.
Ending renew(const std::string& address, AgentIdentity& identity, std::chrono::milliseconds timeout);

// One connection with one stream.
class PublishCall {
 public:
  // Called from a thread of the call's own.
  struct Callbacks {
    std::function<void()> on_admitted;
    std::function<void(std::string_view boot_id, uint64_t sequence)> on_acknowledged;
    std::function<void()> on_over;  // no more acknowledgements will come
  };
  PublishCall(const std::string& address, const AgentIdentity& identity, Callbacks callbacks);
  ~PublishCall();  // cancels and ends it if end() was not called

  // Once. Blocks until the connection is there or has failed.
  void open();
  // Blocks while the collector is slow; false: the stream is over.
  bool send(spool::SealedBatch batch);
  // Closes this side and waits for the other. After cancel() it does not take long.
  Ending end();
  // For other streams of the same connection.
  [[nodiscard]] std::shared_ptr<grpc::Channel> channel() const;
  // Makes everything above return soon. Any thread.
  void cancel();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::uplink
