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

std::optional<std::string_view> BatchReader::inflate(const ledger::Record& record) {
  const auto payload = record.payload;
  // The size is checked before a byte is allocated for it.
  const unsigned long long announced = ZSTD_getFrameContentSize(payload.data(), payload.size());
  if (announced == ZSTD_CONTENTSIZE_ERROR) {
    fault_ = "not zstd";
    return std::nullopt;
  }
  const bool is_known = announced != ZSTD_CONTENTSIZE_UNKNOWN;
  if (is_known && announced > kBatchDecodedBytesMax) {
    fault_ = "too large";
    return std::nullopt;
  }
  const size_t bytes_max = is_known ? announced : kBatchDecodedBytesMax;
  if (plain_.size() < bytes_max) plain_.resize(bytes_max);
  const size_t bytes = ZSTD_decompressDCtx(context_.get(), plain_.data(), bytes_max, payload.data(), payload.size());
  if (ZSTD_isError(bytes) != 0) {
    fault_ = "zstd error";
    return std::nullopt;
  }
  return std::string_view(plain_).substr(0, bytes);
}

bool BatchReader::decode(const ledger::Record& record) {
  const auto plain = inflate(record);
  if (!plain) return false;
  batch_.Clear();
  if (!batch_.ParseFromArray(plain->data(), static_cast<int>(plain->size()))) {
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
