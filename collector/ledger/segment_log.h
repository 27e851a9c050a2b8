// SPDX-License-Identifier: Apache-2.0
// SegmentLog: the truth. Batches as their agents sealed them, in files that only grow, each record holding the hash of
// the one before. Format: docs/formats/segment-log.md.
//
// One process at a time (a lock file says so). Thread-safe throughout.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "collector/ledger/segment_format.h"
#include "common/result.h"

namespace gatehouse::ledger {

// The number of the first segment of a log.
inline constexpr uint64_t kFirstSegment = 1;

// One batch to append; borrows everything until append() returns.
struct Batch {
  std::string_view agent_id;
  std::string_view boot_id;
  uint64_t first_sequence = 0;
  uint32_t event_count = 0;
  std::string_view payload_zstd;
  Digest payload_sha256{};           // already compared with the payload by the caller
  std::string_view previous_sha256;  // empty or 32 bytes: what the agent says its batch before was
};

struct AppendOutcome {
  enum class Kind : uint8_t { kAppended, kDuplicate, kChanged, kOverlap, kMalformed };
  Kind kind = Kind::kMalformed;
  uint64_t acknowledged_sequence = 0;  // every event of the boot up to here is durable or will never come
};

// Where a record stands. Ordered as the log is.
struct Position {
  uint64_t segment = 0;
  uint32_t record = 0;  // within the segment
  uint64_t offset = 0;  // of that record in the segment's file
  auto operator<=>(const Position&) const = default;
};

// What the log knows of one (agent, boot).
struct SourceInfo {
  std::string agent_id;
  std::string boot_id;
  uint64_t first_received_ns = 0;  // Unix time
  uint64_t last_received_ns = 0;
  uint64_t acknowledged_sequence = 0;
  uint64_t events = 0;     // durable
  uint64_t missing = 0;    // sequence numbers below acknowledged_sequence that never came
  uint64_t changed = 0;    // refused redeliveries since start: same sequence, other bytes
  uint64_t unchained = 0;  // durable batches whose previous_sha256 is not the batch before, since start
};

struct SegmentInfo {
  uint64_t number = 0;
  std::string path;
  bool is_sealed = false;
  uint32_t records = 0;
  uint64_t events = 0;
  uint64_t durable_bytes = 0;  // of records, and of the header before them
  uint64_t first_received_ns = 0;
  uint64_t last_received_ns = 0;
  Digest chain_head{};  // hash of the last record, or of the header if there is none
};

// What open() found and did about it.
struct OpenReport {
  uint64_t segments = 0;
  uint64_t records = 0;
  uint64_t events = 0;
  uint64_t torn_bytes = 0;     // cut from the end of the last segment: never acknowledged
  uint64_t damaged_bytes = 0;  // set aside in `damaged_path`: unreadable bytes with readable records after them
  std::string damaged_path;
  std::vector<uint64_t> damaged_segments;  // sealed, with a footer that does not verify
};

// Which sealed segments may go. Whole segments, oldest first; the open one never does.
struct Retention {
  uint64_t age_ns_max = 0;  // since the last record of a segment was received; 0: for ever
  uint64_t bytes_max = 0;   // of all segments together; 0: no limit
};

// What retention has removed.
struct Removed {
  uint64_t first_segment = 0, last_segment = 0;
  uint64_t segments = 0;
  uint64_t events = 0;
  uint64_t bytes = 0;
};

struct VerifyReport {
  uint64_t segments = 0;
  uint64_t records = 0;
  uint64_t events = 0;
  Digest chain_head{};
  // The first record that is wrong; empty if all is well. "segment 3, record 17 at byte 90112: payload hash differs"
  std::string first_bad;
};

class SegmentLog {
 public:
  struct Options {
    std::string folder;
    uint64_t segment_bytes_max = 32U << 20;                // about 160 000 events: one bulk load of the store
    uint64_t segment_age_ns_max = 900ULL * 1'000'000'000;  // so that little-used hosts reach the store's files too
    Retention retention{};
    // For tests: called between the steps of sealing and of removing, each of which a crash may be the last of.
    std::function<void(std::string_view step)> at_step{};
  };

  static Result<std::unique_ptr<SegmentLog>> open(Options options);
  ~SegmentLog();
  SegmentLog(const SegmentLog&) = delete;
  SegmentLog& operator=(const SegmentLog&) = delete;

  // One outcome per batch, in order. Returns when all that are accepted are durable; concurrent callers share an
  // fdatasync. After an Error nothing of this call may be acknowledged; what of it became durable is recognised when it
  // is appended again. A full disk is left behind as it was; a failed fdatasync is not, since what is on disk is then
  // unknown: the log refuses everything until it is opened again.
  Result<std::vector<AppendOutcome>> append(std::span<const Batch> batches);

  // Closes the open segment if it has records; seal_if_due() only if they are older than segment_age_ns_max.
  Status seal();
  Status seal_if_due();

  // Removes what `retention` does not keep at `now_ns`. Of a removed segment <number>.heads stays: its header and
  // footer, so that the chain and every batch's place in it can still be checked, and a batch that is sent again is
  // known. One caller at a time. Those who read a removed segment go on with the next.
  Result<Removed> remove_old(uint64_t now_ns);

  [[nodiscard]] const OpenReport& open_report() const;
  [[nodiscard]] std::vector<SegmentInfo> segments() const;  // oldest first; the open one is last
  [[nodiscard]] uint64_t first_segment() const;             // the oldest that is there
  [[nodiscard]] std::vector<SourceInfo> sources() const;    // by agent, then by first receipt
  [[nodiscard]] Position end() const;                       // where the next durable record will stand
  // The first segment whose number is `number` or above.
  [[nodiscard]] std::optional<SegmentInfo> segment_at(uint64_t number) const;

  // Blocks until end() > `position`, `timeout_ms` passed or wake() was called. True if there is more to read.
  bool wait_beyond(const Position& position, uint32_t timeout_ms);
  void wake();

  // Reads every segment anew. Appends may go on; what is durable at the call is covered. Stops at the first bad record.
  Result<VerifyReport> verify() const;

 private:
  class State;
  explicit SegmentLog(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::ledger
