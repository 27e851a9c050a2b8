// SPDX-License-Identifier: Apache-2.0
#include "agent/spool/spool_format.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>

#include "common/check.h"
#include "common/crc32c.h"
#include "common/file.h"
#include "common/reader.h"

namespace gatehouse::spool {
namespace {

constexpr std::string_view kSegmentMagic = "GHSPOOL1";
constexpr uint32_t kRecordMagic = 0x31424847;  // "GHB1" as it stands in the file
constexpr uint8_t kHasPrevious = 1;
constexpr std::string_view kAcknowledgedMagic = "gatehouse-spool-acknowledged 1 ";

template <std::unsigned_integral T>
void append_le(std::string& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out += static_cast<char>((uint64_t{value} >> (8 * i)) & 0xFF);
}

void append_digest(std::string& out, const Sha256& digest) {
  out.append(reinterpret_cast<const char*>(digest.data()), digest.size());
}

Sha256 read_digest(Reader& reader) {
  Sha256 digest{};
  const auto bytes = reader.take(digest.size());
  std::ranges::copy(bytes, digest.begin());
  return digest;
}

// A decimal number and the character after it.
std::optional<uint64_t> take_number(std::string_view& text, char end) {
  uint64_t value = 0;
  const auto [stop, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto used = static_cast<size_t>(stop - text.data());
  if (fault != std::errc{} || used >= text.size() || text[used] != end) return std::nullopt;
  text.remove_prefix(used + 1);
  return value;
}

}  // namespace

std::string_view to_string(RecordFault fault) {
  switch (fault) {
    case RecordFault::kNone:
      return "none";
    case RecordFault::kShort:
      return "short";
    case RecordFault::kMagic:
      return "magic";
    case RecordFault::kLimit:
      return "limit";
    case RecordFault::kHeaderChecksum:
      return "header-checksum";
    case RecordFault::kPayloadChecksum:
      return "payload-checksum";
  }
  GH_CHECK(false);
}

// magic[8] number:u64 crc32c-of-these:u32 zero:u32
void append_segment_header(std::string& out, uint64_t number) {
  const size_t start = out.size();
  out += kSegmentMagic;
  append_le(out, number);
  append_le(out, crc32c(as_bytes(std::string_view(out).substr(start))));
  append_le(out, uint32_t{0});
}

std::optional<uint64_t> decode_segment_header(std::span<const std::byte> in) {
  if (in.size() < kSegmentHeaderBytes) return std::nullopt;
  Reader reader{in.first(kSegmentHeaderBytes)};
  const bool is_magic = Reader::as_text(reader.take(kSegmentMagic.size())) == kSegmentMagic;
  const auto number = reader.le<uint64_t>();
  const auto checksum = reader.le<uint32_t>();
  const auto zero = reader.le<uint32_t>();
  if (!is_magic || zero != 0 || checksum != crc32c(in.first(16))) return std::nullopt;
  return number;
}

// magic:u32 payload_bytes:u32 first_sequence:u64 event_count:u32 payload_crc32c:u32 boot_id_bytes:u16 flags:u8 zero[5]
// payload_sha256[32] previous_sha256[32] boot_id[boot_id_bytes] crc32c-of-these:u32 payload[payload_bytes]
void append_record(std::string& out, const SealedBatch& batch) {
  GH_CHECK(!batch.boot_id.empty() && batch.boot_id.size() <= kBootIdBytesMax);
  GH_CHECK(batch.payload_zstd.size() <= kSpoolPayloadBytesMax);
  GH_CHECK(batch.first_sequence > 0 && batch.event_count > 0);
  const size_t start = out.size();
  append_le(out, kRecordMagic);
  append_le(out, static_cast<uint32_t>(batch.payload_zstd.size()));
  append_le(out, batch.first_sequence);
  append_le(out, batch.event_count);
  append_le(out, crc32c(as_bytes(batch.payload_zstd)));
  append_le(out, static_cast<uint16_t>(batch.boot_id.size()));
  out += static_cast<char>(batch.previous_sha256 ? kHasPrevious : 0);
  out.append(5, '\0');
  append_digest(out, batch.payload_sha256);
  append_digest(out, batch.previous_sha256.value_or(Sha256{}));
  GH_CHECK(out.size() - start == kRecordFixedBytes);
  out += batch.boot_id;
  append_le(out, crc32c(as_bytes(std::string_view(out).substr(start))));
  out += batch.payload_zstd;
}

RecordFault decode_record_header(std::span<const std::byte> in, RecordHeader& header) {
  if (in.size() < kRecordFixedBytes) return RecordFault::kShort;
  Reader reader{in};
  if (reader.le<uint32_t>() != kRecordMagic) return RecordFault::kMagic;
  header.payload_bytes = reader.le<uint32_t>();
  header.first_sequence = reader.le<uint64_t>();
  header.event_count = reader.le<uint32_t>();
  header.payload_crc32c = reader.le<uint32_t>();
  const size_t boot_id_bytes = reader.le<uint16_t>();
  const auto flags = reader.le<uint8_t>();
  const auto zeros = reader.take(5);
  header.payload_sha256 = read_digest(reader);
  const Sha256 previous = read_digest(reader);
  if (boot_id_bytes == 0 || boot_id_bytes > kBootIdBytesMax) return RecordFault::kLimit;
  if (header.payload_bytes > kSpoolPayloadBytesMax) return RecordFault::kLimit;
  if (header.event_count == 0 || header.first_sequence == 0) return RecordFault::kLimit;
  if (header.first_sequence > UINT64_MAX - header.event_count) return RecordFault::kLimit;
  header.boot_id = Reader::as_text(reader.take(boot_id_bytes));
  const auto checksum = reader.le<uint32_t>();
  if (!reader.ok()) return RecordFault::kShort;
  if (checksum != crc32c(in.first(kRecordFixedBytes + boot_id_bytes))) return RecordFault::kHeaderChecksum;
  // Written as zeros; a later version gives them a meaning that this one must not ignore.
  if (flags > kHasPrevious || std::ranges::any_of(zeros, [](std::byte b) { return b != std::byte{0}; }))
    return RecordFault::kLimit;
  header.previous_sha256 = flags == kHasPrevious ? std::optional(previous) : std::nullopt;
  header.header_bytes = kRecordFixedBytes + boot_id_bytes + sizeof(uint32_t);
  return RecordFault::kNone;
}

RecordFault decode_payload(const RecordHeader& header, std::span<const std::byte> payload, SealedBatch& batch) {
  if (payload.size() < header.payload_bytes) return RecordFault::kShort;
  payload = payload.first(header.payload_bytes);
  if (crc32c(payload) != header.payload_crc32c) return RecordFault::kPayloadChecksum;
  batch.boot_id = header.boot_id;
  batch.first_sequence = header.first_sequence;
  batch.event_count = header.event_count;
  batch.payload_zstd = Reader::as_text(payload);
  batch.payload_sha256 = header.payload_sha256;
  batch.previous_sha256 = header.previous_sha256;
  return RecordFault::kNone;
}

RecordFault decode_record(std::span<const std::byte> in, SealedBatch& batch, size_t& record_bytes) {
  record_bytes = 0;
  RecordHeader header;
  if (const RecordFault fault = decode_record_header(in, header); fault != RecordFault::kNone) return fault;
  record_bytes = header.record_bytes();
  return decode_payload(header, in.subspan(header.header_bytes), batch);
}

std::string format_acknowledged(const SpoolPosition& position) {
  std::string content(kAcknowledgedMagic);
  content += std::to_string(position.segment) + ' ' + std::to_string(position.offset) + ' ';
  content += std::to_string(crc32c(as_bytes(content))) + '\n';
  return content;
}

std::optional<SpoolPosition> parse_acknowledged(std::string_view content) {
  std::string_view rest = content;
  if (!rest.starts_with(kAcknowledgedMagic)) return std::nullopt;
  rest.remove_prefix(kAcknowledgedMagic.size());
  const auto segment = take_number(rest, ' ');
  const auto offset = segment ? take_number(rest, ' ') : std::nullopt;
  const size_t summed = content.size() - rest.size();
  const auto checksum = offset ? take_number(rest, '\n') : std::nullopt;
  if (!checksum || !rest.empty() || *checksum != crc32c(as_bytes(content.substr(0, summed)))) return std::nullopt;
  if (*offset < kSegmentHeaderBytes) return std::nullopt;
  return SpoolPosition{.segment = *segment, .offset = *offset};
}

}  // namespace gatehouse::spool
