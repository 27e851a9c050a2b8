// SPDX-License-Identifier: Apache-2.0
#include "collector/store/batch_reader.h"

#include <zstd.h>

#include <algorithm>

#include "common/check.h"
#include "common/limits.h"

namespace gatehouse::store {

void BatchReader::Free::operator()(ZSTD_DCtx_s* context) const {
  ZSTD_freeDCtx(context);
}

BatchReader::BatchReader() : context_(ZSTD_createDCtx()) {
  GH_CHECK(context_ != nullptr);
}
BatchReader::~BatchReader() = default;

Flattener::Origin BatchReader::origin_of(const ledger::Record& record) {
  return {.agent_id = record.header.agent_id,
          .boot_id = record.header.boot_id,
          .first_sequence = record.header.first_sequence};
}

bool BatchReader::read(const ledger::Record& record) {
  if (decode(record)) return true;
  batch_.Clear();
  return false;
}

bool BatchReader::decode(const ledger::Record& record) {
  const auto payload = record.payload;
  // The size is checked before a byte is allocated for it.
  const unsigned long long announced = ZSTD_getFrameContentSize(payload.data(), payload.size());
  if (announced == ZSTD_CONTENTSIZE_ERROR) {
    fault_ = "not zstd";
    return false;
  }
  const bool is_known = announced != ZSTD_CONTENTSIZE_UNKNOWN;
  if (is_known && announced > kBatchDecodedBytesMax) {
    fault_ = "too large";
    return false;
  }
  plain_.resize(is_known ? announced : kBatchDecodedBytesMax);
  const size_t bytes =
      ZSTD_decompressDCtx(context_.get(), plain_.data(), plain_.size(), payload.data(), payload.size());
  if (ZSTD_isError(bytes) != 0) {
    fault_ = "zstd error";
    return false;
  }
  batch_.Clear();
  if (!batch_.ParseFromArray(plain_.data(), static_cast<int>(bytes))) {
    fault_ = "not a batch";
    return false;
  }
  if (static_cast<uint32_t>(batch_.events_size()) != record.header.event_count) {
    fault_ = "other number of events than announced";
    return false;
  }
  return true;
}

}  // namespace gatehouse::store
