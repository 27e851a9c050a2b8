// SPDX-License-Identifier: Apache-2.0
#include "collector/ingest/batch_check.h"

#include <google/protobuf/arena.h>
#include <google/protobuf/stubs/logging.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "collector/ingest/limits.h"
#include "common/check.h"
#include "common/digest.h"
#include "common/file.h"
#include "common/limits.h"

namespace gatehouse::ingest {
namespace {

bool is_boot_id(std::string_view text) {
  if (text.empty() || text.size() > kBootIdBytesMax) return false;
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-'; });
}

bool has_digest(const std::string& payload, const std::string& digest) {
  const Sha256 actual = sha256(as_bytes(payload));
  return digest.size() == actual.size() && std::memcmp(digest.data(), actual.data(), actual.size()) == 0;
}

}  // namespace

std::string_view to_string(Refusal refusal) {
  switch (refusal) {
    case Refusal::kNone:
      return "none";
    case Refusal::kSize:
      return "size";
    case Refusal::kBootId:
      return "boot-id";
    case Refusal::kSequence:
      return "sequence";
    case Refusal::kDigest:
      return "digest";
    case Refusal::kCompression:
      return "compression";
    case Refusal::kInflation:
      return "inflation";
    case Refusal::kParse:
      return "parse";
    case Refusal::kMismatch:
      return "mismatch";
    case Refusal::kAgent:
      return "agent";
  }
  GH_CHECK(false);
}

void BatchChecker::Free::operator()(ZSTD_DCtx_s* context) const {
  ZSTD_freeDCtx(context);
}

BatchChecker::BatchChecker() : context_(ZSTD_createDCtx()) {
  GH_CHECK(context_ != nullptr);
  // What it would print about a peer's bytes, a refusal tells.
  static const auto previous = google::protobuf::SetLogHandler(nullptr);
  (void)previous;
}

BatchChecker::~BatchChecker() = default;

Refusal BatchChecker::check(const v1::PublishRequest& request, std::string_view agent_id) {
  if (request.payload_zstd().empty() || request.payload_zstd().size() > kRequestPayloadBytesMax) return Refusal::kSize;
  if (!is_boot_id(request.boot_id())) return Refusal::kBootId;
  if (request.first_sequence() == 0 || request.event_count() == 0 ||
      request.first_sequence() > UINT64_MAX - request.event_count())
    return Refusal::kSequence;
  const size_t previous_bytes = request.previous_sha256().size();
  if ((previous_bytes != 0 && previous_bytes != sizeof(Sha256)) ||
      !has_digest(request.payload_zstd(), request.payload_sha256()))
    return Refusal::kDigest;
  if (const Refusal refusal = inflate(request.payload_zstd()); refusal != Refusal::kNone) return refusal;

  return parse(request, agent_id);
}

Refusal BatchChecker::parse(const v1::PublishRequest& request, std::string_view agent_id) {
  std::string_view of_agent;
  std::string_view of_boot;
  uint64_t first_sequence = 0;
  size_t events = 0;
  google::protobuf::Arena arena;
  if (view_.read(inflated_)) {
    if (!are_messages()) return Refusal::kParse;
    of_agent = view_.agent_id();
    of_boot = view_.boot_id();
    first_sequence = view_.first_sequence();
    events = view_.events().size();
  } else {
    auto* const batch = google::protobuf::Arena::CreateMessage<v1::Batch>(&arena);
    if (!batch->ParseFromString(inflated_)) return Refusal::kParse;
    of_agent = batch->agent_id();
    of_boot = batch->boot_id();
    first_sequence = batch->first_sequence();
    events = static_cast<size_t>(batch->events_size());
  }
  if (of_boot != request.boot_id() || first_sequence != request.first_sequence() || events != request.event_count())
    return Refusal::kMismatch;
  return of_agent == agent_id ? Refusal::kNone : Refusal::kAgent;
}

// What the view has not looked into.
bool BatchChecker::are_messages() {
  const auto is_message = [](auto& message, std::string_view bytes) {
    return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  };
  return std::ranges::all_of(view_.sessions(),
                             [&](const auto& session) { return is_message(session_, session.second.bytes); }) &&
         std::ranges::all_of(view_.processes(),
                             [&](const auto& process) { return is_message(process_, process.second); }) &&
         std::ranges::all_of(view_.events(),
                             [&](const auto& event) { return event.is_statement || is_message(event_, event.bytes); });
}

// The frame's own word for its size is checked before a byte is allocated for it.
Refusal BatchChecker::inflate(const std::string& payload) {
  const size_t frame_bytes = ZSTD_findFrameCompressedSize(payload.data(), payload.size());
  if (ZSTD_isError(frame_bytes) != 0 || frame_bytes != payload.size()) return Refusal::kCompression;
  const unsigned long long content_bytes = ZSTD_getFrameContentSize(payload.data(), payload.size());
  if (content_bytes == ZSTD_CONTENTSIZE_UNKNOWN || content_bytes == ZSTD_CONTENTSIZE_ERROR)
    return Refusal::kCompression;
  if (content_bytes > kBatchBytesMax) return Refusal::kInflation;
  inflated_.resize(content_bytes);
  const size_t bytes =
      ZSTD_decompressDCtx(context_.get(), inflated_.data(), inflated_.size(), payload.data(), payload.size());
  if (ZSTD_isError(bytes) != 0 || bytes != content_bytes) return Refusal::kCompression;
  return Refusal::kNone;
}

}  // namespace gatehouse::ingest
