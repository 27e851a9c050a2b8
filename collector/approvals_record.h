// SPDX-License-Identifier: Apache-2.0
// ApprovalsRecord: what the collector itself does with approvals, as events in its ledger, beside the agents'.
//
// They are batches of a source of the collector's own: agent id kCollectorAgent, which no agent can have, the approvals
// log's id in the place of the boot. So an entry of that log is in the ledger once, however often it is appended.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "collector/ingest/batch_sink.h"
#include "common/digest.h"
#include "common/result.h"
#include "gatehouse/v1/event.pb.h"

namespace gatehouse {

// Agents' ids end in the hash of their keys.
inline constexpr std::string_view kCollectorAgent = "collector";

class ApprovalsRecord {
 public:
  // `sink` outlives it. One thread at a time.
  ApprovalsRecord(ingest::BatchSink& sink, std::string host) : sink_(sink), host_(std::move(host)) {}
  // Events of one log, numbered from `first_sequence` on; a batch each.
  Status append(const std::string& log_id, uint64_t first_sequence, std::span<const v1::Event> events);

 private:
  ingest::BatchSink& sink_;
  const std::string host_;
  std::string log_id_;
  uint64_t next_sequence_ = 0;
  std::string previous_sha256_;  // of the batch before next_sequence_
};

}  // namespace gatehouse
