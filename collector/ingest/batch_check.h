// SPDX-License-Identifier: Apache-2.0
// Whether what an agent sent is what it says: judged before a byte of it reaches the log.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "collector/store/batch_view.h"
#include "gatehouse/v1/event.pb.h"
#include "gatehouse/v1/ingest.pb.h"

struct ZSTD_DCtx_s;  // zstd's ZSTD_DCtx

namespace gatehouse::ingest {

enum class Refusal : uint8_t {
  kNone,
  kSize,         // payload empty or above kPayloadBytesMax
  kBootId,       // not 1 to 64 of a-z, 0-9 and '-'
  kSequence,     // zero, or beyond 64 bits
  kDigest,       // payload_sha256 or previous_sha256 has not 32 bytes, or is not the payload's
  kCompression,  // not exactly one zstd frame that says how much it holds
  kInflation,    // holds more than kBatchBytesMax
  kParse,        // not a Batch
  kMismatch,     // the Batch names another boot, sequence or count than the request
  kAgent,        // the Batch names another agent than the certificate
};
inline constexpr size_t kRefusals = 10;
std::string_view to_string(Refusal refusal);

// Keeps its buffers between calls. One thread at a time.
class BatchChecker {
 public:
  BatchChecker();
  ~BatchChecker();
  Refusal check(const v1::PublishRequest& request, std::string_view agent_id);

 private:
  Refusal inflate(const std::string& payload);
  Refusal parse(const v1::PublishRequest& request, std::string_view agent_id);
  bool are_messages();
  struct Free {
    void operator()(ZSTD_DCtx_s* context) const;
  };
  std::unique_ptr<ZSTD_DCtx_s, Free> context_;
  std::string inflated_;
  store::BatchView view_;
  v1::Session session_;
  v1::Process process_;
  v1::Event event_;
};

}  // namespace gatehouse::ingest
