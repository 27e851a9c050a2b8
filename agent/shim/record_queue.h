// SPDX-License-Identifier: Apache-2.0
// RecordQueue: carries what a worker sees from its thread to the one that keeps the record, in order.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <mutex>
#include <vector>

#include "agent/stream/records.h"

namespace gatehouse::shim {

// Its sink is for one thread, its source for another. Nothing is lost: a queue that is full says so (is_congested())
// and takes what comes all the same; who fills it reads no more until it is not.
class RecordQueue final : public RecordSink, public RecordSource {
 public:
  // Congested from `bytes_max` bytes on. `wake`: called by the producer when it is half full; may be null.
  RecordQueue(size_t bytes_max, std::function<void()> wake) : bytes_max_(bytes_max), wake_(std::move(wake)) {}

  // The producer's.
  void on_socket_opened(const SocketOpened& record) override;
  void on_chunk(const Chunk& record) override;
  void on_socket_opaque(const SocketOpaque& record) override;
  void on_refused(const Refused& record) override;
  void on_masked(const Masked& record) override;
  void on_approval(const ApprovalStep& record) override;
  void on_socket_closed(const SocketClosed& record) override;
  // A worker has no word of processes.
  void on_process_exec(const ProcessExec& record) override;
  void on_process_fork(const ProcessFork& record) override;
  void on_process_exit(const ProcessExit& record) override;
  [[nodiscard]] bool is_congested() const { return bytes_.load(std::memory_order_relaxed) >= bytes_max_; }

  // The consumer's. poll() hands over what there was at the last take(): between the two, the consumer looks for what
  // came before that from elsewhere, such as who the processes are.
  void take();
  size_t poll(RecordSink& sink, size_t records_max) override;
  // All that was taken is handed over.
  [[nodiscard]] bool is_drained() const { return emptied_ == emptying_.size(); }
  [[nodiscard]] bool at_end() const override { return false; }

 private:
  enum class Kind : uint8_t { kOpened, kChunk, kOpaque, kRefused, kMasked, kApproval, kClosed };
  class Writing;

  const size_t bytes_max_;
  const std::function<void()> wake_;
  std::mutex mutex_;
  std::vector<std::byte> filling_;   // under mutex_
  std::atomic<size_t> bytes_{0};     // in both
  std::vector<std::byte> emptying_;  // the consumer's
  size_t emptied_ = 0;
  std::vector<Piece> pieces_;
};

}  // namespace gatehouse::shim
