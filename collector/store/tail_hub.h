// SPDX-License-Identifier: Apache-2.0
// TailHub: durable events as they arrive, to everyone who asked for them. Publishing never waits for a subscriber: one
// that is slower than the events loses some, and is told so by a row of kind "gap".
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "collector/ledger/segment_log.h"
#include "common/limits.h"
#include "gatehouse/v1/event.pb.h"
#include "gatehouse/v1/query.pb.h"
#include "rules/engine/filter.h"

namespace gatehouse::store {

class TailHub {
 public:
  class Subscription {
   public:
    // The next row, or none after `timeout_ms` or when the hub has closed. One consumer thread.
    std::optional<v1::Row> next(uint32_t timeout_ms);
    [[nodiscard]] bool is_closed() const;

   private:
    friend class TailHub;
    mutable std::mutex mutex_;
    std::condition_variable ready_;
    std::deque<v1::Row> rows_;
    size_t rows_max_ = 0;
    uint64_t lost_ = 0;  // since the last gap row
    bool closed_ = false;
    rules::Filter filter_;
  };

  // Follows `log` from its end, on a thread of its own that sleeps while nobody is subscribed.
  // `rows_max`: rows that may wait for one subscriber.
  explicit TailHub(ledger::SegmentLog& log, size_t rows_max = kTailRowsMax);
  ~TailHub();
  TailHub(const TailHub&) = delete;
  TailHub& operator=(const TailHub&) = delete;

  // Rows of every record from `position` on that match. None if the hub is past `position` already: the caller then
  // reads the records up to end() itself and asks again, so that nothing is missed or seen twice.
  std::shared_ptr<Subscription> subscribe_at(const ledger::Position& position, rules::Filter filter);

  // Hands rows to every subscriber. Called by the hub's own thread, and by tests.
  void publish(const v1::Batch& batch);

  // Ends every subscription and the thread. Idempotent.
  void close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::store
