// SPDX-License-Identifier: Apache-2.0
// PipelineSink: the collector's pipeline as ingest sees it.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "collector/ingest/batch_sink.h"
#include "collector/store/pipeline.h"

namespace gatehouse {

class PipelineSink final : public ingest::BatchSink {
 public:
  explicit PipelineSink(store::Pipeline& pipeline) : pipeline_(pipeline) {}

  Result<std::vector<ingest::AppendOutcome>> append(std::string_view agent_id,
                                                    std::span<const v1::PublishRequest> requests) override;
  std::unique_ptr<Presence> connected(std::string_view agent_id) override;

 private:
  store::Pipeline& pipeline_;
};

}  // namespace gatehouse
