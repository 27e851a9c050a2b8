// SPDX-License-Identifier: Apache-2.0
#include "collector/store/tail_hub.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "collector/ledger/log_reader.h"
#include "collector/store/batch_reader.h"
#include "collector/store/flatten.h"
#include "common/clock.h"
#include "common/log.h"
#include "rules/engine/match_row.h"

namespace gatehouse::store {
namespace {

constexpr uint32_t kIdleWaitMs = 1000;
constexpr std::chrono::milliseconds kRetryDelay{1000};

v1::Row loss_row(uint64_t lost) {
  v1::Row row;
  row.set_time_ns(unix_ns());
  row.set_id("tail/" + std::to_string(row.time_ns()));  // not an event; unlike any other row
  row.set_kind("gap");
  row.set_outcome("unknown");
  row.set_fidelity("opaque");
  row.set_detail("tail-too-slow events=" + std::to_string(lost));
  return row;
}

// The end of a sealed segment and the start of the next are one place.
ledger::Position settled(ledger::SegmentLog& log, const ledger::Position& position) {
  ledger::LogReader reader(log, position);
  [[maybe_unused]] const auto has_more = reader.settle();
  return reader.position();
}

}  // namespace

struct TailHub::Subscription::State {
  explicit State(rules::Filter wanted, size_t limit) : filter(std::move(wanted)), rows_max(limit) {}

  const rules::Filter filter;
  const size_t rows_max;

  mutable std::mutex mutex;
  std::condition_variable ready;
  std::deque<v1::Row> rows;
  uint64_t lost = 0;  // after the last of `rows`
  bool is_closed = false;
  bool is_gone = false;  // nobody reads it any more

  void push(const v1::Row& row) {
    if (!rules::matches(filter, row)) return;
    const std::lock_guard lock(mutex);
    // After a loss the reader gets to its end, and to the note of it, before there is more.
    if (lost > 0 || rows.size() >= rows_max) {
      ++lost;
      return;
    }
    rows.push_back(row);
    ready.notify_one();
  }
  void end() {
    const std::lock_guard lock(mutex);
    is_closed = true;
    ready.notify_all();
  }
};

TailHub::Subscription::Subscription(std::shared_ptr<State> state) : state_(std::move(state)) {}

TailHub::Subscription::~Subscription() {
  const std::lock_guard lock(state_->mutex);
  state_->is_gone = true;
  state_->rows.clear();
}

std::optional<v1::Row> TailHub::Subscription::next(uint32_t timeout_ms) {
  std::unique_lock lock(state_->mutex);
  state_->ready.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                         [&] { return !state_->rows.empty() || state_->lost > 0 || state_->is_closed; });
  if (!state_->rows.empty()) {
    v1::Row row = std::move(state_->rows.front());
    state_->rows.pop_front();
    return row;
  }
  if (state_->lost > 0) return loss_row(std::exchange(state_->lost, 0));
  return std::nullopt;
}

bool TailHub::Subscription::is_closed() const {
  const std::lock_guard lock(state_->mutex);
  return state_->is_closed && state_->rows.empty() && state_->lost == 0;
}

struct TailHub::State {
  State(ledger::SegmentLog& source, size_t limit) : log(source), rows_max(limit), reader(source) {}

  using Subscribers = std::vector<std::shared_ptr<Subscription::State>>;

  // The subscribers for the next record, or empty when closing. Waits while there are none.
  Subscribers current() {
    std::unique_lock lock(mutex);
    for (;;) {
      std::erase_if(subscribers, [](const auto& subscriber) {
        const std::lock_guard subscriber_lock(subscriber->mutex);
        return subscriber->is_gone;
      });
      if (is_closing || !subscribers.empty()) break;
      changed.wait(lock);
    }
    return is_closing ? Subscribers{} : subscribers;
  }

  void hand_out(const ledger::Record& record, const Subscribers& to) {
    const Flattener::Origin origin = BatchReader::origin_of(record);
    if (!batch_reader.read(record)) {
      const v1::Row row =
          unreadable_row(origin, record.header.event_count, record.header.received_ns, batch_reader.fault());
      for (const auto& subscriber : to) subscriber->push(row);
      return;
    }
    const Flattener flattener(batch_reader.batch(), origin);
    v1::Row row;
    for (size_t i = 0; i < flattener.row_count(); ++i) {
      flattener.flatten(i, row);
      for (const auto& subscriber : to) subscriber->push(row);
    }
  }

  // Reads one record for those who are subscribed before it is read. False at the end of the log.
  Result<bool> step() {
    ledger::Record record;
    Subscribers to;
    {
      const std::lock_guard lock(mutex);
      if (restart_at) reader = ledger::LogReader(log, *std::exchange(restart_at, std::nullopt));
      GH_ASSIGN(const auto outcome, reader.next(record));
      if (outcome == ledger::LogReader::Outcome::kEnd) return false;
      if (outcome == ledger::LogReader::Outcome::kDamaged) return true;  // the store tells of it
      to = subscribers;
    }
    hand_out(record, to);
    return true;
  }

  // What the thread will read next. mutex held.
  ledger::Position next_position() {
    if (restart_at) return settled(log, *restart_at);
    [[maybe_unused]] const auto has_more = reader.settle();  // an Error leaves the position as it is
    return reader.position();
  }

  void run() {
    for (;;) {
      if (current().empty()) return;
      const auto stepped = step();
      if (!stepped) {
        log::warn("tail", "the ledger cannot be read; tried again", {{"error", stepped.error().message()}});
        std::this_thread::sleep_for(kRetryDelay);
      } else if (!*stepped) {
        log.wait_beyond(reader.position(), kIdleWaitMs);
      }
    }
  }

  ledger::SegmentLog& log;
  const size_t rows_max;

  std::mutex mutex;
  std::condition_variable changed;
  bool is_closing = false;
  Subscribers subscribers;
  std::optional<ledger::Position> restart_at;  // where the first subscriber wants to begin
  ledger::LogReader reader;                    // moved by the thread, with the mutex

  BatchReader batch_reader;  // the thread's
  std::thread thread;
};

TailHub::TailHub(ledger::SegmentLog& log, size_t rows_max) : state_(std::make_unique<State>(log, rows_max)) {
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

TailHub::~TailHub() {
  close();
}

std::unique_ptr<TailHub::Subscription> TailHub::subscribe_at(const ledger::Position& position, rules::Filter filter) {
  auto subscriber = std::make_shared<Subscription::State>(std::move(filter), state_->rows_max);
  const std::lock_guard lock(state_->mutex);
  const bool is_idle = std::ranges::all_of(state_->subscribers, [](const auto& other) {
    const std::lock_guard other_lock(other->mutex);
    return other->is_gone;
  });
  if (is_idle) {
    state_->restart_at = position;
  } else if (state_->next_position() != settled(state_->log, position)) {
    return nullptr;
  }
  if (state_->is_closing) subscriber->is_closed = true;
  state_->subscribers.push_back(subscriber);
  state_->changed.notify_all();
  state_->log.wake();
  return std::unique_ptr<Subscription>(new Subscription(std::move(subscriber)));
}

void TailHub::close() {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->is_closing) return;
    state_->is_closing = true;
    for (const auto& subscriber : state_->subscribers) subscriber->end();
    state_->changed.notify_all();
  }
  state_->log.wake();
  state_->thread.join();
}

}  // namespace gatehouse::store
