// SPDX-License-Identifier: Apache-2.0
// BatchReader: a ledger record's payload as a Batch: decompressed, parsed and checked against the record's header.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "collector/ledger/log_reader.h"
#include "collector/store/flatten.h"
#include "gatehouse/v1/event.pb.h"

struct ZSTD_DCtx_s;

namespace gatehouse::store {

// Keeps its buffers between batches. Not thread-safe.
class BatchReader {
 public:
  BatchReader();
  ~BatchReader();

  // Whether `record` holds what it says; else batch() is empty and fault() says why. Peer's bytes: any content is fine.
  bool read(const ledger::Record& record);
  [[nodiscard]] const v1::Batch& batch() const { return batch_; }
  [[nodiscard]] std::string_view fault() const { return fault_; }
  // Only decompressed: valid until the next call. None if it is not zstd, or too large; fault() says why.
  std::optional<std::string_view> inflate(const ledger::Record& record);
  // Of the record; borrows it.
  static Flattener::Origin origin_of(const ledger::Record& record);

 private:
  bool decode(const ledger::Record& record);

  struct Free {
    void operator()(ZSTD_DCtx_s* context) const;
  };
  std::unique_ptr<ZSTD_DCtx_s, Free> context_;
  std::string plain_;
  v1::Batch batch_;
  std::string_view fault_;
};

}  // namespace gatehouse::store
