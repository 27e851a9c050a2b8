// SPDX-License-Identifier: Apache-2.0
// BatchSink: where ingest puts batches that it has checked. The collector's is its pipeline; tests have their own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "gatehouse/v1/ingest.pb.h"

namespace gatehouse::ingest {

struct AppendOutcome {
  enum class Kind : uint8_t {
    kAppended,   // now durable
    kDuplicate,  // was durable before, byte for byte
    kChanged,    // that sequence is durable with other bytes
    kOverlap,    // shares some, not all, sequences with a durable one
    kMalformed,
  };
  Kind kind = Kind::kMalformed;
  uint64_t acknowledged_sequence = 0;  // of the boot, valid for the first two
};

class BatchSink {
 public:
  virtual ~BatchSink() = default;
  // One outcome per request, in order. Blocks until what is accepted is durable. Any thread. An Error is the
  // environment's: nothing of the call may be acknowledged.
  virtual Result<std::vector<AppendOutcome>> append(std::string_view agent_id,
                                                    std::span<const v1::PublishRequest> requests) = 0;

  // The agent is connected for the life of the returned object.
  class Presence {
   public:
    virtual ~Presence() = default;
  };
  virtual std::unique_ptr<Presence> connected(std::string_view agent_id) = 0;
};

}  // namespace gatehouse::ingest
