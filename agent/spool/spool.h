// SPDX-License-Identifier: Apache-2.0
// Spool: sealed batches on disk between capture and collector, so that neither a crash nor an unreachable collector
// loses what was captured. Bounded, checksummed, delivered in the order of writing: batches of older boots come first.
// Format: docs/formats/spool.md.
//
// Threads: append(), sync_if_due() and take_dropped() belong to one thread, next(), rewind() and discard_first() to
// another; acknowledge(), wait(), wake() and counters() may be called by any. Neither side waits for the other's disk.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/spool/sealed_batch.h"
#include "agent/spool/spool_format.h"
#include "common/file.h"
#include "common/result.h"

namespace gatehouse::spool {

enum class AppendOutcome : uint8_t {
  kStored,     // in the file: survives the end of this process, and with sync_if_due() soon that of the host
  kFull,       // refused, nothing written
  kDiskError,  // refused: the disk is full or failing
  kTooLarge,   // refused: beyond kSpoolPayloadBytesMax or kBootIdBytesMax
};
std::string_view to_string(AppendOutcome outcome);

// Events that were refused since the last report. Their sequence numbers are never used again.
struct Dropped {
  uint64_t first_sequence = 0;
  uint64_t last_sequence = 0;
  uint64_t events = 0;
  uint64_t batches = 0;
  AppendOutcome why = AppendOutcome::kFull;  // of the last one

  void add(const Dropped& earlier);
};

class Spool {
 public:
  struct Options {
    std::string folder;                    // made if missing, 0700; one process at a time
    uint64_t bytes_max = 1ULL << 30;       // of all segment files together
    uint64_t segment_bytes = 16ULL << 20;  // a segment is deleted as a whole; at most a quarter of bytes_max
  };
  // What open() found.
  struct OpenReport {
    uint64_t segments = 0;
    uint64_t bytes = 0;
    uint64_t torn_bytes = 0;  // cut from the end of the newest segment: a write that a crash interrupted
  };
  struct Counters {
    uint64_t batches_appended = 0;
    uint64_t bytes_appended = 0;  // of records
    uint64_t syncs = 0;
    uint64_t events_dropped = 0;
    uint64_t batches_acknowledged = 0;
    uint64_t batches_discarded = 0;
    uint64_t bytes_damaged = 0;  // unreadable, passed over
    uint64_t bytes_pending = 0;  // not yet acknowledged
    uint64_t bytes_on_disk = 0;
  };

  static Result<std::unique_ptr<Spool>> open(Options options);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // Written when it returns kStored. Whatever else it returns is counted and told by take_dropped().
  // `carried`: what was taken there and is told in this batch; if the batch is refused, it is to be told again.
  AppendOutcome append(const SealedBatch& batch, const Dropped* carried = nullptr);
  // To be called at least every kSyncEvery: fdatasync, if something has waited from one call to a later one, at least
  // kSyncEvery apart, without being acknowledged. What the collector has made durable need not become so here: while it
  // answers, a database's disk is left alone.
  void sync_if_due();
  static constexpr std::chrono::milliseconds kSyncEvery{250};
  // What was refused, once there is room again to tell the collector; none otherwise.
  std::optional<Dropped> take_dropped();

  // The oldest batch that was neither acknowledged nor returned since rewind(); none if there is none now.
  std::optional<SealedBatch> next();
  // next() starts over from the oldest unacknowledged batch: for a new connection.
  void rewind();
  // Every event of `boot_id` up to and including `sequence` is durable elsewhere. Deletes segments that are no longer
  // needed. Losing track of it in a crash means redelivery, nothing else.
  void acknowledge(std::string_view boot_id, uint64_t sequence);
  // Gives up the oldest unacknowledged batch, which the collector will never take. False if there is none.
  bool discard_first();

  // Blocks until append() stored something or wake() was called since the last wait(), or `timeout` passed.
  void wait(std::chrono::milliseconds timeout);
  void wake();

  [[nodiscard]] Counters counters() const;
  [[nodiscard]] const OpenReport& open_report() const { return open_report_; }

 private:
  struct Segment {
    uint64_t number = 0;
    uint64_t bytes = 0;  // readable: header and whole records
    bool is_open = false;
  };
  // A stretch that next() has passed since rewind().
  struct Passed {
    std::string boot_id;
    uint64_t last_sequence = 0;
    SpoolPosition end{};
    bool is_done = false;  // acknowledged, or damaged and thus nothing to wait for
  };

  explicit Spool(Options options) : options_(std::move(options)) {}
  [[nodiscard]] std::string path(uint64_t number) const;
  Status load();
  Status load_segment(uint64_t number, bool is_newest);

  AppendOutcome store(const SealedBatch& batch);
  Status ensure_open_segment(size_t record_bytes);
  Status write_record();
  void close_open_segment();
  void sync();
  bool make_room(size_t record_bytes);
  void note_dropped(const SealedBatch& batch, const Dropped* carried, AppendOutcome why);

  struct Readable {
    SpoolPosition at{};
    uint64_t end_offset = 0;
  };
  std::optional<Readable> readable_locked();
  RecordFault read_record(const Readable& from, SealedBatch& batch, size_t& record_bytes);
  Status open_reader(uint64_t number);
  void settle_locked(std::vector<uint64_t>& unneeded);
  void delete_segments(const std::vector<uint64_t>& numbers);
  bool note_damage_locked(const SpoolPosition& from, uint64_t end_offset);
  void save_acknowledged(bool is_last);

  const Options options_;
  OpenReport open_report_;
  UniqueFd lock_;

  // The appending thread's.
  UniqueFd writer_;
  std::string record_;  // reused
  uint64_t next_number_ = 1;
  bool is_unsynced_ = false;
  SpoolPosition looked_at_{};  // where the writing stood as sync_if_due() last looked, at
  uint64_t looked_ns_ = 0;
  std::optional<Dropped> dropped_;
  bool is_refusing_ = false;
  size_t refused_bytes_ = 0;  // of the last refused record

  // The reading thread's.
  UniqueFd reader_;
  uint64_t reader_number_ = 0;
  std::string payload_;  // reused

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool is_changed_ = false;
  std::deque<Segment> segments_;  // oldest first; only the last may be open
  uint64_t bytes_on_disk_ = 0;
  SpoolPosition cursor_{}, first_unacknowledged_{}, damage_counted_{};
  std::deque<Passed> passed_;
  std::map<std::string, uint64_t, std::less<>> acknowledged_;  // by boot id
  Counters counters_;

  std::mutex save_mutex_;
  SpoolPosition saved_{};
  uint64_t saved_ns_ = 0;
};

}  // namespace gatehouse::spool
