// SPDX-License-Identifier: Apache-2.0
// Client frames: remembered in order until the server answers them.
#include <algorithm>

#include "agent/protocol/postgres/session.h"

namespace gatehouse::postgres {
namespace {

// Of requests that the server skips so much is remembered until their Sync comes: beyond it they are told before.
constexpr size_t kSkippedDepthMax = kPipelineDepthMax / 2;
constexpr size_t kSkippedBytesMax = kSessionBytesMax / 4;

}  // namespace

void Session::on_request_frame(const Frame& frame, std::span<const std::byte> body) {
  switch (static_cast<RequestTag>(frame.tag)) {
    case RequestTag::kPassword:
      return;
    case RequestTag::kTerminate:
      has_terminated_ = true;
      return;
    case RequestTag::kFlush:
      // Has no answer: its bytes belong to what it pushes out.
      if (!queue_.empty()) queue_.back().frame_bytes += frame.wire_bytes();
      return;
    case RequestTag::kCopyData:
      return queue_copy_data(frame);
    case RequestTag::kCopyDone:
    case RequestTag::kCopyFail:
      return queue_request(Pending::Kind::kCopyEnd, frame, {});
    case RequestTag::kQuery:
      return queue_request(Pending::Kind::kQuery, frame, body);
    case RequestTag::kParse:
      return queue_request(Pending::Kind::kParse, frame, body);
    case RequestTag::kBind:
      return queue_request(Pending::Kind::kBind, frame, body);
    case RequestTag::kDescribe:
      return queue_request(Pending::Kind::kDescribe, frame, body);
    case RequestTag::kExecute:
      return queue_request(Pending::Kind::kExecute, frame, body);
    case RequestTag::kClose:
      return queue_request(Pending::Kind::kClose, frame, body);
    case RequestTag::kFunctionCall:
      return queue_request(Pending::Kind::kFunctionCall, frame, body);
    case RequestTag::kSync:
      return queue_request(Pending::Kind::kSync, frame, {});
  }
}

// Whether an entry with so many bytes fits under the session's ceiling. Old names make room.
bool Session::make_room(size_t bytes) {
  const size_t growth = fifo_.growth_bytes(bytes) + queue_.growth_bytes();
  if (growth == 0) return true;
  size_t held = memory_bytes();
  while (held + growth > kSessionBytesMax && statements_.size() > 0) {
    statements_.evict_oldest();
    are_names_known_ = false;
    held = memory_bytes();
  }
  return held + growth <= kSessionBytesMax;
}

// While the server skips to a Sync that has not come, nothing of what comes instead is ever answered: it is told, and
// makes room.
void Session::shed_skipped(uint64_t time_ns) {
  if (queue_.size() < kSkippedDepthMax && fifo_.held_bytes() < kSkippedBytesMax) return;
  if (sync_index() < queue_.size()) return;
  while (!queue_.empty()) {
    const Pending entry = queue_.front();
    if (entry.kind == Pending::Kind::kUnknown) return;
    drain_entry(entry, Outcome::kSkipped, time_ns);
    pop();
  }
}

void Session::queue_request(Pending::Kind kind, const Frame& frame, std::span<const std::byte> body) {
  if (is_skipping_) shed_skipped(request_.start.time_ns);
  // Without room even for the entry, answers can no longer be told apart.
  if (queue_.size() >= kPipelineDepthMax || !make_room(0)) surprise();
  const size_t keep = make_room(body.size()) ? body.size() : 0;
  Pending& entry = queue_.push();
  entry.kind = kind;
  entry.is_cut = request_.is_cut || keep < body.size();
  entry.is_damaged = request_.is_damaged;
  entry.is_provisional = is_provisional_;
  entry.payload = fifo_.append(body.first(keep));
  entry.payload_size = static_cast<uint32_t>(keep);
  entry.body_bytes = frame.body_size;
  entry.frame_bytes = frame.wire_bytes();
  entry.time_ns = request_.start.time_ns;
  entry.offset = request_.start.offset;
  entry.writer = request_.start.writer;
  // No answer can be matched to it: said at once rather than at the next safe point.
  if (response_.is_lost) drain(Outcome::kUnknown, false, entry.time_ns);
}

// A run of CopyData frames is one entry, so that a long COPY costs nothing to remember.
void Session::queue_copy_data(const Frame& frame) {
  if (queue_.empty() || queue_.back().kind != Pending::Kind::kCopyData) {
    if (response_.is_lost) return;
    queue_request(Pending::Kind::kCopyData, frame, {});
    return;
  }
  queue_.back().body_bytes += frame.body_size;
  queue_.back().frame_bytes += frame.wire_bytes();
}

void Session::count_copy_rows(uint64_t rows, uint64_t bytes, const ByteContext& context) {
  if (response_.is_lost || (rows == 0 && bytes == 0)) return;
  if (queue_.empty() || queue_.back().kind != Pending::Kind::kCopyData) {
    request_.start = context;
    queue_request(Pending::Kind::kCopyData, {.tag = static_cast<uint8_t>(RequestTag::kCopyData)}, {});
  }
  if (queue_.empty()) return;
  queue_.back().body_bytes += bytes;
  queue_.back().frame_bytes += bytes + rows * kHeaderSize;
}

}  // namespace gatehouse::postgres
