// SPDX-License-Identifier: Apache-2.0
// The bytes of a spool segment: encoding and decoding, without I/O. docs/formats/spool.md draws them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "agent/spool/sealed_batch.h"
#include "common/digest.h"
#include "common/limits.h"

namespace gatehouse::spool {

inline constexpr size_t kSegmentHeaderBytes = 24;
inline constexpr size_t kRecordFixedBytes = 96;  // before the boot id
inline constexpr size_t kBootIdBytesMax = 64;    // it is 32 hex digits; twice that leaves room for another form
inline constexpr size_t kRecordHeaderBytesMax = kRecordFixedBytes + kBootIdBytesMax + sizeof(uint32_t);
// zstd adds at most an eighth of a per mille and a few bytes to what it cannot compress.
inline constexpr size_t kSpoolPayloadBytesMax = kBatchBytesMax + (kBatchBytesMax >> 7) + 1024;

// Why the bytes at a position are not a record.
enum class RecordFault : uint8_t {
  kNone,
  kShort,  // the bytes end before the record does
  kMagic,  // something else stands here
  kLimit,  // a length above its limit, or a count that cannot be
  kHeaderChecksum,
  kPayloadChecksum,  // the header is good, so the next record can still be found
};
std::string_view to_string(RecordFault fault);

// A record's header. `boot_id` borrows the bytes it was decoded from.
struct RecordHeader {
  std::string_view boot_id;
  uint64_t first_sequence = 0;
  uint32_t event_count = 0;
  uint32_t payload_bytes = 0;
  uint32_t payload_crc32c = 0;
  Sha256 payload_sha256{};
  std::optional<Sha256> previous_sha256;
  size_t header_bytes = 0;  // the payload follows

  [[nodiscard]] size_t record_bytes() const { return header_bytes + payload_bytes; }
};

void append_segment_header(std::string& out, uint64_t number);
// The segment's number; none if these are not a segment header's bytes.
std::optional<uint64_t> decode_segment_header(std::span<const std::byte> in);

// Header and payload. The batch must be within the limits above.
void append_record(std::string& out, const SealedBatch& batch);
// The header at the start of `in`, which may end before the payload does.
RecordFault decode_record_header(std::span<const std::byte> in, RecordHeader& header);
// Compares `payload` with the header's checksum and copies both.
RecordFault decode_payload(const RecordHeader& header, std::span<const std::byte> payload, SealedBatch& batch);
// The whole record at the start of `in`. `record_bytes` is set whenever the header is good, else 0.
RecordFault decode_record(std::span<const std::byte> in, SealedBatch& batch, size_t& record_bytes);

// Where a record starts, or ends.
struct SpoolPosition {
  uint64_t segment = 0;
  uint64_t offset = kSegmentHeaderBytes;
  auto operator<=>(const SpoolPosition&) const = default;
};

// The content of the file `acknowledged`: everything before the position is.
std::string format_acknowledged(const SpoolPosition& position);
std::optional<SpoolPosition> parse_acknowledged(std::string_view content);

}  // namespace gatehouse::spool
