// SPDX-License-Identifier: Apache-2.0
// BatchBuilder: collects events with the processes and sessions they name into self-contained batches.
// One thread. Does no I/O and reads no clock; times come in.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/identity/process.h"
#include "agent/runtime/event_writer.h"
#include "agent/spool/spool.h"
#include "common/limits.h"

namespace gatehouse::runtime {

// Who runs, by key. agent/identity's table behind the few questions that a batch asks.
class ProcessDirectory {
 public:
  virtual ~ProcessDirectory() = default;
  // That image, or the present one if it is no longer known; null if nothing is. A hash that arrives later comes as a
  // new object with the same key and image_number.
  virtual std::shared_ptr<const identity::Process> find(const ImageKey& key) = 0;
  // Nearest first, as attested at fork time.
  virtual std::vector<std::shared_ptr<const identity::Process>> ancestors(const identity::Process& process) = 0;
  // A hash of this image is being computed and will come.
  virtual bool hash_pending(const identity::Process& process) = 0;
};

// A session as the runtime holds it. Kept alive by the batch that names it.
struct SessionEntry {
  SessionFacts facts;
  ImageKey opener{}, server{};
  TransferTotals totals;
  // Which batch already names it, and the last writer looked up for it: both save work per event.
  uint64_t batch_mark = 0;
  ImageKey writer{};
  uint64_t writer_id = 0;
  uint64_t writer_mark = 0;
};

// Serialized gatehouse.v1.Batch.
struct EncodedBatch {
  std::string bytes;
  uint64_t first_sequence = 0;
  uint32_t event_count = 0;
  std::optional<spool::Dropped> carries{};  // events that are told in it as dropped
  // Everything that was seen up to here is in this batch or in one before. Set by who drives the source.
  uint64_t seen_to_unix_ns = 0;
};

class BatchBuilder {
 public:
  struct Options {
    std::string agent_id, boot_id, host, agent_version;
    size_t events_max = kBatchEventsMax;
    uint64_t delay_ns_max = kBatchDelayMsMax * 1'000'000;
  };

  BatchBuilder(Options options, ProcessDirectory& processes);

  // Sequence numbers start at 1 and every add() takes one.
  void add_activity(const std::shared_ptr<SessionEntry>& session, const Activity& activity, const Judged& judged = {});
  // For ActivityKind::kDisconnect.
  void add_disconnect(const std::shared_ptr<SessionEntry>& session, const Activity& activity,
                      const CoverageReport& coverage, const Judged& judged = {});
  // `session` may be null: a loss that no session owns.
  void add_gap(const std::shared_ptr<SessionEntry>& session, const GapReport& gap, uint64_t now_boottime_ns,
               const Judged& judged = {});
  // Tells of events that the spool has refused.
  void add_dropped(const spool::Dropped& dropped, uint64_t now_boottime_ns, const Judged& judged = {});
  // What that is as a gap.
  static GapReport gap_of(const spool::Dropped& dropped);
  // `approval`: as write_approval().
  void add_approval(const std::shared_ptr<SessionEntry>& session, std::string_view approval, uint64_t time_boottime_ns);
  void add_status(const StatusReport& status, uint64_t now_boottime_ns);

  // The number of these facts in the open batch: Judged::facts. `key`: as Examined::facts. 0: it does not have them.
  [[nodiscard]] uint32_t find_facts(uint64_t key) const;
  uint32_t add_facts(uint64_t key, const judge::FactsSummary& facts);

  // By which rules events are judged from here on. The open batch must be empty.
  void set_policy(std::string version);

  // A process got a new image: whoever writes next is looked up afresh.
  void forget_writers() { ++writers_mark_; }

  void set_time_base(TimeBase time) { time_ = time; }
  [[nodiscard]] const TimeBase& time_base() const { return time_; }

  [[nodiscard]] bool empty() const { return event_count_ == 0; }
  // Full: must be taken before more is added, or the batch grows past its limits.
  [[nodiscard]] bool full() const;
  // Full, or old enough that `tail` should see it. A batch whose processes are still being hashed waits a little more.
  [[nodiscard]] bool due(uint64_t now_boottime_ns) const;
  [[nodiscard]] uint64_t next_sequence() const { return next_sequence_; }

  // Closes the batch and starts the next. Must not be empty.
  EncodedBatch take();

 private:
  EventHead head_for(const std::shared_ptr<SessionEntry>& session, const ImageKey& told_writer);
  uint64_t name_process(const ImageKey& key);
  void count_event(uint64_t time_boottime_ns);

  Options options_;
  ProcessDirectory& processes_;
  TimeBase time_;
  std::string header_;  // the constant fields, written once
  WireBuffer out_;
  std::string scratch_;
  std::vector<std::shared_ptr<SessionEntry>> sessions_;
  std::unordered_map<uint64_t, uint32_t> facts_;  // by key
  std::string policy_;
  std::unordered_map<uint64_t, std::shared_ptr<const identity::Process>> named_;
  size_t named_bytes_ = 0;     // what they will about take
  uint64_t mark_ = 1;          // of the open batch
  uint64_t writers_mark_ = 1;  // until when a session's last writer may be reused
  uint64_t next_sequence_ = 1;
  uint64_t first_sequence_ = 1;
  uint32_t event_count_ = 0;
  std::optional<spool::Dropped> carries_;
  uint64_t opened_boottime_ns_ = 0;
};

}  // namespace gatehouse::runtime
