// SPDX-License-Identifier: Apache-2.0
// Pipeline: what ingest hands batches to. Durable in the segment log first, then on their own time in the store and at
// those who tail. Owns the log, the store and the tail hub, and their threads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "collector/ledger/segment_log.h"
#include "collector/store/store.h"
#include "collector/store/tail_hub.h"
#include "common/result.h"
#include "gatehouse/v1/ingest.pb.h"

namespace gatehouse::store {

class Pipeline {
 public:
  struct Options {
    std::string folder;  // made if missing: <folder>/ledger is the truth, <folder>/store may be deleted at any time
    ledger::SegmentLog::Options log{};  // its `folder` is set from the one above
    Store::Options store{};             // so is this one's
  };

  // Opens the log (a torn tail is cut and reported in the log line), then the store, which catches up in the
  // background.
  static Result<std::unique_ptr<Pipeline>> open(Options options);
  ~Pipeline();  // close() if it was not called

  // Durable, or refused by name: one outcome per request, in order. Blocks until an fdatasync covers every accepted
  // one; concurrent callers share it. Any thread. `agent_id` is the subject of the peer's certificate. An Error is the
  // environment's (disk full, I/O error): nothing of this call may be acknowledged; the peer retries.
  //
  //   outcome       | meaning                                             | the caller
  //   --------------|-----------------------------------------------------|-------------------------------------------
  //   kAppended     | now durable                                         | acknowledges `acknowledged_sequence`
  //   kDuplicate    | was durable before, byte for byte                   | acknowledges `acknowledged_sequence`
  //   kChanged      | that sequence is durable with other bytes           | refuses the stream
  //   kOverlap      | shares some, not all, sequences with a durable one  | refuses the stream
  //   kMalformed    | empty, too large, bad boot_id, sum does not match   | refuses the stream
  Result<std::vector<ledger::AppendOutcome>> append(std::string_view agent_id,
                                                    std::span<const v1::PublishRequest> requests);

  // Marks the agent as connected for the life of the returned object. Any thread.
  class Presence {
   public:
    Presence() = default;
    Presence(Presence&& other) noexcept;
    Presence& operator=(Presence&& other) noexcept;
    Presence(const Presence&) = delete;
    Presence& operator=(const Presence&) = delete;
    ~Presence();

   private:
    friend class Pipeline;
    Presence(Pipeline* pipeline, std::string agent_id);
    Pipeline* pipeline_ = nullptr;
    std::string agent_id_;
  };
  [[nodiscard]] Presence connected(std::string_view agent_id);
  [[nodiscard]] bool is_connected(std::string_view agent_id) const;

  // Stops the threads and closes the engine. Idempotent. Callers of append() must have returned; those of the store and
  // of the tail hub are told to end.
  void close();

  [[nodiscard]] ledger::SegmentLog& log();
  [[nodiscard]] Store& store();
  [[nodiscard]] TailHub& tail_hub();

 private:
  struct State;
  explicit Pipeline(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::store
