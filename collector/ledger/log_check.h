// SPDX-License-Identifier: Apache-2.0
// Whether a log's folder is whole: every hash, the chain over all segments, and each agent's numbering without holes.
// Reads files only: no lock, no collector, and one may be writing meanwhile.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "collector/ledger/segment_format.h"
#include "common/result.h"

namespace gatehouse::ledger {

// What the log has of one (agent, boot), removed segments included.
struct SourceCheck {
  std::string agent_id;
  std::string boot_id;
  uint64_t first_sequence = 0;
  uint64_t last_sequence = 0;
  uint64_t batches = 0;
  uint64_t events = 0;
  uint64_t missing = 0;    // sequences from 1 to the last that never came
  uint64_t unchained = 0;  // batches that name another batch before them than the one that is here
};

struct FolderCheck {
  uint64_t segments = 0;
  uint64_t records = 0;
  uint64_t events = 0;
  uint64_t bytes = 0;
  bool is_open = false;     // the last segment is not sealed
  uint64_t tail_bytes = 0;  // behind its last whole record: being written, or torn and never acknowledged
  Digest chain_head{};      // of everything
  // Segments of which retention left header and footer.
  uint64_t removed_segments = 0;
  uint64_t removed_records = 0;
  uint64_t removed_events = 0;
  uint64_t removed_first_ns = 0;  // when the first and the last record of them were received
  uint64_t removed_last_ns = 0;
  std::vector<SourceCheck> sources;   // by agent, then boot
  std::vector<std::string> problems;  // in the order in which they were found; empty: the log is whole

  [[nodiscard]] bool is_whole() const { return problems.empty(); }
};

// An Error: the folder cannot be read, or holds no log.
Result<FolderCheck> check_folder(const std::string& folder);

}  // namespace gatehouse::ledger
