// SPDX-License-Identifier: Apache-2.0
// TailHub: durable events as they arrive, to everyone who asked for them. It reads the log on a thread of its own, so
// ingest never waits for it, and it never waits for a subscriber: one that is slower than the events loses some, and is
// told so by a row of kind "gap".
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "collector/ledger/segment_log.h"
#include "common/limits.h"
#include "gatehouse/v1/query.pb.h"
#include "rules/engine/filter.h"

namespace gatehouse::store {

class TailHub {
 public:
  // One who tails. Unsubscribes when destroyed; may outlive the hub. One consumer thread.
  class Subscription {
   public:
    ~Subscription();
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;
    // The next row, or none after `timeout_ms` or when the hub has closed.
    std::optional<v1::Row> next(uint32_t timeout_ms);
    [[nodiscard]] bool is_closed() const;

   private:
    friend class TailHub;
    struct State;
    explicit Subscription(std::shared_ptr<State> state);
    std::shared_ptr<State> state_;
  };

  // `rows_max`: rows that may wait for one subscriber.
  explicit TailHub(ledger::SegmentLog& log, size_t rows_max = kTailRowsMax);
  ~TailHub();
  TailHub(const TailHub&) = delete;
  TailHub& operator=(const TailHub&) = delete;

  // Rows that match of every record from `position` on. Null if the hub is elsewhere for the sake of others: the caller
  // then reads the log by itself to its end and asks again from there, so that nothing is missed or seen twice.
  std::unique_ptr<Subscription> subscribe_at(const ledger::Position& position, rules::Filter filter);

  // Ends every subscription and the thread. Idempotent.
  void close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::store
