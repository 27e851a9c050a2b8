// SPDX-License-Identifier: Apache-2.0
// For tests of the ledger and of what stands on it: a folder that goes away, and batches that own their bytes.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "collector/ledger/segment_log.h"
#include "common/check.h"
#include "common/file.h"
#include "common/testing.h"

namespace gatehouse::ledger {

using test::TemporaryFolder;

// `agent`/`boot`: events first … first + count - 1, with a payload that is a function of these and of `flavour`.
struct TestBatch {
  std::string agent = "db1";
  std::string boot = "b0";
  uint64_t first = 1;
  uint32_t count = 10;
  std::string flavour = "x";
  std::string payload{};
  std::string previous{};

  // Borrows this object.
  Batch view() {
    if (payload.empty()) {
      payload = agent + boot + std::to_string(first) + "+" + std::to_string(count) + flavour;
      payload.resize(100 + first % 50, '.');
    }
    return {.agent_id = agent,
            .boot_id = boot,
            .first_sequence = first,
            .event_count = count,
            .payload_zstd = payload,
            .payload_sha256 = sha256(as_bytes(payload)),
            .previous_sha256 = previous};
  }
};

}  // namespace gatehouse::ledger
