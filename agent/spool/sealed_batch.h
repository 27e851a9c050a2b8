// SPDX-License-Identifier: Apache-2.0
// SealedBatch: a Batch as it travels and rests from here on, byte for byte: in the spool, on the wire
// (PublishRequest) and in the collector's segment log.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/digest.h"

struct ZSTD_CCtx_s;  // zstd's ZSTD_CCtx, so that its header stays inside sealed_batch.cc

namespace gatehouse::spool {

struct SealedBatch {
  std::string boot_id;
  uint64_t first_sequence = 0;
  uint32_t event_count = 0;
  std::string payload_zstd;
  Sha256 payload_sha256{};                // of payload_zstd
  std::optional<Sha256> previous_sha256;  // payload_sha256 of the batch before; none for the first of a boot_id

  [[nodiscard]] uint64_t last_sequence() const { return first_sequence + event_count - 1; }
  bool operator==(const SealedBatch&) const = default;
};

// Compresses and chains the batches of one run of the agent. One thread.
class Sealer {
 public:
  explicit Sealer(std::string boot_id);
  ~Sealer();
  Sealer(const Sealer&) = delete;
  Sealer& operator=(const Sealer&) = delete;

  // `batch`: a serialized gatehouse.v1.Batch that holds events first_sequence … first_sequence + event_count - 1.
  [[nodiscard]] SealedBatch seal(std::string_view batch, uint64_t first_sequence, uint32_t event_count);
  // The batch is in the spool: the next one names it as its predecessor. Not called for a batch that the spool refused,
  // so that the chain holds across a gap.
  void chain(const SealedBatch& batch) { previous_ = batch.payload_sha256; }

 private:
  struct Free {
    void operator()(ZSTD_CCtx_s* context) const;
  };
  std::string boot_id_;
  std::optional<Sha256> previous_;
  std::unique_ptr<ZSTD_CCtx_s, Free> context_;
};

}  // namespace gatehouse::spool
