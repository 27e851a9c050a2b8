// SPDX-License-Identifier: Apache-2.0
// SegmentLog::State: what segment_log.cc (appending) and segment_recovery.cc (opening) share. Nobody else includes it.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "collector/ledger/reserve.h"
#include "collector/ledger/segment_log.h"
#include "collector/ledger/source.h"
#include "common/file.h"

namespace gatehouse::ledger {

// Group commit by leader: callers queue what they want written and wait; whoever finds no leader becomes it, writes the
// queue up to kGroupRecordsMax records with one fdatasync, and hands over.
//
//   field groups           | protected by
//   -----------------------|--------------------------------------------
//   "shared"               | mutex_
//   "leader's"             | has_leader_: only the leader touches them, without the mutex
class SegmentLog::State {
 public:
  explicit State(Options options)
      : options_(std::move(options)), reserve_(options_.folder + "/reserve", reserve_bytes(options_)) {}

  Status recover();  // segment_recovery.cc; before any other call
  Result<std::vector<AppendOutcome>> append(std::span<const Batch> batches);
  Status seal(uint64_t older_than_ns);
  Result<Removed> remove_old(uint64_t now_ns);  // segment_retention.cc

  struct KnownSource {
    Source source;
    SourceInfo info;  // events, times and acknowledged_sequence of what is durable
  };
  using SourceKey = std::pair<std::string, std::string>;  // agent, boot

  // One caller's append(), on its stack.
  struct Call {
    size_t waiting = 0;
    std::optional<Error> error;
  };
  // One batch to write, or with `batch` null a place in the queue: everything before it is durable when it is done.
  struct Pending {
    const Batch* batch = nullptr;
    KnownSource* source = nullptr;
    Call* call = nullptr;
  };

  // Recovery.
  Status recover_sealed(SegmentInfo& segment, bool is_last, const std::optional<Digest>& removed_head);
  Status recover_open(SegmentInfo& segment);
  Status set_tail_aside(const SegmentInfo& segment, std::span<const std::byte> tail);
  Result<std::optional<Digest>> recover_heads(uint64_t before);
  void remember(const SegmentScan& scan, SegmentInfo& segment);
  void remember(const SegmentFooter& footer);
  void remember(const SegmentFooter& footer, SegmentInfo& segment);
  void remember(const SourceKey& key, uint64_t first_sequence, uint32_t event_count, uint64_t received_ns,
                const Digest& payload_sha256);

  // Appending.
  void admit(const Batch& batch, AppendOutcome& outcome, Call& call);
  void lead(std::unique_lock<std::mutex>& lock);
  Status commit(const std::vector<Pending>& group, SegmentInfo& segment);
  void settle(const std::vector<Pending>& group, const SegmentInfo& segment);
  void fail_queue(std::vector<Pending> group, const Error& error);
  Status write_footer_and_next(SegmentInfo& segment);
  void note_seal(const Status& status);
  Status create_segment(uint64_t number, const Digest& previous_head, SegmentInfo& segment);
  [[nodiscard]] std::string path_of(uint64_t number) const;
  void at_step(std::string_view step) const {
    if (options_.at_step) options_.at_step(step);
  }

  // Removing.
  [[nodiscard]] std::optional<SegmentInfo> next_to_remove(uint64_t now_ns) const;
  Status remove_oldest(const SegmentInfo& segment);
  static uint64_t reserve_bytes(const Options& options);

  const Options options_;
  const Reserve reserve_;  // for the heads of what is removed from a full disk
  UniqueFd lock_;
  OpenReport report_;

  // Shared.
  mutable std::mutex mutex_;
  std::condition_variable done_;  // a group is durable, or the leader is gone
  std::condition_variable more_;  // end() moved, or wake()
  std::vector<SegmentInfo> segments_;
  std::map<SourceKey, KnownSource> sources_;  // nodes do not move
  std::deque<Pending> queue_;
  bool has_leader_ = false;
  std::optional<Error> failed_;
  std::string seal_failure_;  // why the open segment is not sealed though it should be; empty: it need not be
  uint64_t wakes_ = 0;

  // The leader's.
  UniqueFd file_;
  SegmentFooter footer_;  // of the open segment, so far
  std::map<SourceKey, uint32_t> footer_sources_;
};

}  // namespace gatehouse::ledger
