// SPDX-License-Identifier: Apache-2.0
#include "agent/shim/record_queue.h"

#include <cstring>
#include <string_view>
#include <type_traits>

#include "common/check.h"

namespace gatehouse::shim {
namespace {

// Memory that a burst has taken is given back.
constexpr size_t kKeptBytesMax = 4U << 20;

class Reading {
 public:
  explicit Reading(std::span<const std::byte> bytes) : bytes_(bytes) {}
  template <typename T>
  void take(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_ = bytes_.subspan(sizeof value);
  }
  template <typename T>
  T take() {
    T value;
    take(value);
    return value;
  }
  std::span<const std::byte> take_bytes(size_t count) {
    const auto taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }
  std::string_view take_text() {
    const auto bytes = take_bytes(take<size_t>());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace

// One record: its size, its kind, its fields. Both ends are this process, so fields are as they are in memory.
class RecordQueue::Writing {
 public:
  Writing(RecordQueue& queue, Kind kind) : queue_(queue), lock_(queue.mutex_), begin_(queue.filling_.size()) {
    put(size_t{0});
    put(kind);
  }
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;
  ~Writing() {
    const size_t bytes = queue_.filling_.size() - begin_;
    std::memcpy(queue_.filling_.data() + begin_, &bytes, sizeof bytes);
    const size_t before = queue_.bytes_.fetch_add(bytes, std::memory_order_relaxed);
    lock_.unlock();
    const size_t mark = queue_.bytes_max_ / 2;
    if (before < mark && before + bytes >= mark && queue_.wake_) queue_.wake_();
  }
  template <typename T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto* const from = reinterpret_cast<const std::byte*>(&value);
    queue_.filling_.insert(queue_.filling_.end(), from, from + sizeof value);
  }
  void put_bytes(std::span<const std::byte> bytes) {
    queue_.filling_.insert(queue_.filling_.end(), bytes.begin(), bytes.end());
  }
  void put_text(std::string_view text) {
    put(text.size());
    put_bytes(std::as_bytes(std::span(text)));
  }

 private:
  RecordQueue& queue_;
  std::unique_lock<std::mutex> lock_;
  size_t begin_;
};

void RecordQueue::on_socket_opened(const SocketOpened& record) {
  Writing out(*this, Kind::kOpened);
  out.put(record);  // its views are put right when it is read
  out.put_text(record.client.path);
  out.put_text(record.server.path);
}

void RecordQueue::on_chunk(const Chunk& record) {
  Writing out(*this, Kind::kChunk);
  out.put(record);
  out.put(record.pieces.size());
  for (const Piece& piece : record.pieces) {
    out.put(piece);
    out.put_bytes(piece.data);
  }
}

void RecordQueue::on_socket_opaque(const SocketOpaque& record) {
  Writing(*this, Kind::kOpaque).put(record);
}

void RecordQueue::on_refused(const Refused& record) {
  Writing out(*this, Kind::kRefused);
  out.put(record);
  out.put_text(record.rule);
  out.put_text(record.message);
}

void RecordQueue::on_masked(const Masked& record) {
  Writing out(*this, Kind::kMasked);
  out.put(record);
  out.put_text(record.mask);
  out.put_text(record.column);
  out.put_text(record.method);
}

void RecordQueue::on_approval(const ApprovalStep& record) {
  Writing out(*this, Kind::kApproval);
  out.put(record);
  out.put_text(record.approval);
}

void RecordQueue::on_socket_closed(const SocketClosed& record) {
  Writing(*this, Kind::kClosed).put(record);
}

void RecordQueue::on_process_exec(const ProcessExec& /*record*/) {
  GH_CHECK(false);
}
void RecordQueue::on_process_fork(const ProcessFork& /*record*/) {
  GH_CHECK(false);
}
void RecordQueue::on_process_exit(const ProcessExit& /*record*/) {
  GH_CHECK(false);
}

void RecordQueue::take() {
  if (emptied_ != emptying_.size()) return;
  emptying_.clear();
  if (emptying_.capacity() > kKeptBytesMax) emptying_.shrink_to_fit();
  emptied_ = 0;
  const std::lock_guard lock(mutex_);
  emptying_.swap(filling_);
}

size_t RecordQueue::poll(RecordSink& sink, size_t records_max) {
  size_t records = 0;
  while (records < records_max && emptied_ != emptying_.size()) {
    Reading in(std::span<const std::byte>(emptying_).subspan(emptied_));
    const auto bytes = in.take<size_t>();
    switch (in.take<Kind>()) {
      case Kind::kOpened: {
        auto record = in.take<SocketOpened>();
        record.client.path = in.take_text();
        record.server.path = in.take_text();
        sink.on_socket_opened(record);
        break;
      }
      case Kind::kChunk: {
        auto record = in.take<Chunk>();
        pieces_.resize(in.take<size_t>());
        for (Piece& piece : pieces_) {
          in.take(piece);
          piece.data = in.take_bytes(piece.data.size());
        }
        record.pieces = pieces_;
        sink.on_chunk(record);
        break;
      }
      case Kind::kOpaque:
        sink.on_socket_opaque(in.take<SocketOpaque>());
        break;
      case Kind::kRefused: {
        auto record = in.take<Refused>();
        record.rule = in.take_text();
        record.message = in.take_text();
        sink.on_refused(record);
        break;
      }
      case Kind::kMasked: {
        auto record = in.take<Masked>();
        record.mask = in.take_text();
        record.column = in.take_text();
        record.method = in.take_text();
        sink.on_masked(record);
        break;
      }
      case Kind::kApproval: {
        auto record = in.take<ApprovalStep>();
        record.approval = in.take_text();
        sink.on_approval(record);
        break;
      }
      case Kind::kClosed:
        sink.on_socket_closed(in.take<SocketClosed>());
        break;
    }
    emptied_ += bytes;
    bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    ++records;
  }
  return records;
}

}  // namespace gatehouse::shim
