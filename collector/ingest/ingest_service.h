// SPDX-License-Identifier: Apache-2.0
// IngestService: enrolment, and batches from agents into the sink. What an agent may rely on: an acknowledgement means
// durable; a batch that is refused ends the stream with a status that says why, after the batches before it were
// acknowledged.
//
//   status of Publish    | meaning                                   | the agent
//   ---------------------|-------------------------------------------|------------------------------------------
//   OK                   | the agent closed its side; all is durable |
//   INVALID_ARGUMENT     | malformed batch                           | tries again, then gives that batch up
//   ALREADY_EXISTS       | its sequences are durable with other bytes| the same
//   UNAVAILABLE          | the collector stops, or cannot write      | tries again, for ever
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "collector/ingest/batch_check.h"
#include "collector/ingest/batch_sink.h"
#include "collector/ingest/token_store.h"
#include "common/pki.h"

namespace grpc {
class Service;
}

namespace gatehouse::ingest {

class IngestService {
 public:
  struct Counters {
    uint64_t streams = 0;  // ever
    uint64_t batches_appended = 0;
    uint64_t batches_duplicate = 0;
    uint64_t events_appended = 0;
    uint64_t bytes_appended = 0;                // compressed
    uint64_t appends = 0;                       // calls of the sink: batches_appended / appends is the group
    std::array<uint64_t, kRefusals> refused{};  // by Refusal
    uint64_t conflicts = 0;                     // kChanged, kOverlap, and kMalformed of the sink
    uint64_t append_errors = 0;
    uint64_t enrolled = 0;
    uint64_t renewed = 0;
    uint64_t enrolments_refused = 0;
  };

  // All three must outlive the service.
  IngestService(BatchSink& sink, const TokenStore& tokens, const pki::Authority& authority);
  ~IngestService();

  [[nodiscard]] grpc::Service& service();
  [[nodiscard]] Counters counters() const;
  // Ends every stream once what it has received is durable. To be called before the server stops; idempotent.
  void stop();

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::ingest
