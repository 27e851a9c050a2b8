// SPDX-License-Identifier: Apache-2.0
#include "collector/approvals_record.h"

#include <zstd.h>

#include <utility>
#include <vector>

#include "common/file.h"
#include "common/version.h"
#include "gatehouse/v1/ingest.pb.h"

namespace gatehouse {

Status ApprovalsRecord::append(const std::string& log_id, uint64_t first_sequence, std::span<const v1::Event> events) {
  if (log_id != log_id_ || first_sequence != next_sequence_) previous_sha256_.clear();
  log_id_ = log_id;
  next_sequence_ = first_sequence;
  std::vector<v1::PublishRequest> requests;
  std::string previous = previous_sha256_;
  for (const v1::Event& event : events) {
    v1::Batch batch;
    batch.set_agent_id(std::string(kCollectorAgent));
    batch.set_boot_id(log_id);
    batch.set_first_sequence(first_sequence + requests.size());
    batch.set_host(host_);
    batch.set_agent_version(kVersion);
    *batch.add_events() = event;
    const std::string plain = batch.SerializeAsString();
    std::string packed(ZSTD_compressBound(plain.size()), '\0');
    const size_t bytes = ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), 1);
    if (ZSTD_isError(bytes) != 0) return Error("zstd: " + std::string(ZSTD_getErrorName(bytes)));
    packed.resize(bytes);
    v1::PublishRequest& request = requests.emplace_back();
    request.set_boot_id(log_id);
    request.set_first_sequence(batch.first_sequence());
    request.set_event_count(1);
    const Sha256 sum = sha256(as_bytes(packed));
    request.set_payload_zstd(std::move(packed));
    request.set_payload_sha256(sum.data(), sum.size());
    request.set_previous_sha256(previous);
    previous = request.payload_sha256();
  }
  GH_ASSIGN(const std::vector<ingest::AppendOutcome> outcomes, sink_.append(kCollectorAgent, requests));
  // What is there already may have been packed by another version: its content is that of the same entry.
  for (const ingest::AppendOutcome& outcome : outcomes)
    if (outcome.kind == ingest::AppendOutcome::Kind::kMalformed) return Error("the ledger refuses an approval's event");
  next_sequence_ = first_sequence + events.size();
  previous_sha256_ = std::move(previous);
  return {};
}

}  // namespace gatehouse
