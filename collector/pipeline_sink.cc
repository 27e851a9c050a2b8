// SPDX-License-Identifier: Apache-2.0
#include "collector/pipeline_sink.h"

#include <utility>

#include "common/check.h"

namespace gatehouse {
namespace {

using Kind = ingest::AppendOutcome::Kind;

Kind kind_of(ledger::AppendOutcome::Kind kind) {
  switch (kind) {
    case ledger::AppendOutcome::Kind::kAppended:
      return Kind::kAppended;
    case ledger::AppendOutcome::Kind::kDuplicate:
      return Kind::kDuplicate;
    case ledger::AppendOutcome::Kind::kChanged:
      return Kind::kChanged;
    case ledger::AppendOutcome::Kind::kOverlap:
      return Kind::kOverlap;
    case ledger::AppendOutcome::Kind::kMalformed:
      return Kind::kMalformed;
  }
  GH_CHECK(false);
}

class PipelinePresence final : public ingest::BatchSink::Presence {
 public:
  explicit PipelinePresence(store::Pipeline::Presence presence) : presence_(std::move(presence)) {}

 private:
  store::Pipeline::Presence presence_;
};

}  // namespace

Result<std::vector<ingest::AppendOutcome>> PipelineSink::append(std::string_view agent_id,
                                                                std::span<const v1::PublishRequest> requests) {
  GH_ASSIGN(const std::vector<ledger::AppendOutcome> appended, pipeline_.append(agent_id, requests));
  std::vector<ingest::AppendOutcome> outcomes;
  outcomes.reserve(appended.size());
  for (const ledger::AppendOutcome& outcome : appended)
    outcomes.push_back({.kind = kind_of(outcome.kind), .acknowledged_sequence = outcome.acknowledged_sequence});
  return outcomes;
}

std::unique_ptr<ingest::BatchSink::Presence> PipelineSink::connected(std::string_view agent_id) {
  return std::make_unique<PipelinePresence>(pipeline_.connected(agent_id));
}

}  // namespace gatehouse
