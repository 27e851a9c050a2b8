// SPDX-License-Identifier: Apache-2.0
#include "collector/ledger/segment_format.h"

#include <algorithm>
#include <concepts>

#include "common/check.h"
#include "common/limits.h"
#include "common/reader.h"

namespace gatehouse::ledger {
namespace {

constexpr std::string_view kSegmentMagic = "GHSEGM01";
constexpr uint32_t kRecordMagic = 0x31524847;  // "GHR1"
constexpr uint32_t kFooterMagic = 0x31464847;  // "GHF1"
constexpr std::string_view kTrailerMagic = "GATEHOUSE SEALED";
constexpr uint32_t kHasPrevious = 1;
constexpr size_t kDigestBytes = sizeof(Digest);
constexpr size_t kHeaderSumBytes = 8;  // of the segment header's SHA-256
constexpr size_t kFooterFixedBytes = 80;
constexpr size_t kEntryBytes = 64;
constexpr size_t kSourceBytesMin = 4;

template <std::unsigned_integral T>
void put(std::string& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out += static_cast<char>((uint64_t{value} >> (8 * i)) & 0xFF);
}

void put(std::string& out, const Digest& digest) {
  out.append(reinterpret_cast<const char*>(digest.data()), digest.size());
}

void take(Reader& in, Digest& digest) {
  const auto bytes = in.take(kDigestBytes);
  if (in.ok()) std::ranges::copy(bytes, digest.begin());
}

std::span<const std::byte> tail_of(const std::string& out, size_t start) {
  return std::as_bytes(std::span{out}.subspan(start));
}

bool is_name_size(size_t bytes) {
  return bytes > 0 && bytes <= kNameBytesMax;
}

}  // namespace

std::string_view to_string(FormatFault fault) {
  switch (fault) {
    case FormatFault::kNone:
      return "no fault";
    case FormatFault::kShort:
      return "cut short";
    case FormatFault::kMagic:
      return "something else stands here";
    case FormatFault::kLimit:
      return "a length is out of bounds";
    case FormatFault::kHash:
      return "hash differs";
    case FormatFault::kChain:
      return "does not follow the record before";
    case FormatFault::kInconsistent:
      return "counts contradict each other";
  }
  __builtin_trap();
}

void append_segment_header(std::string& out, const SegmentHeader& header) {
  const size_t start = out.size();
  out += kSegmentMagic;
  put(out, header.number);
  put(out, header.created_ns);
  put(out, header.previous_head);
  const Digest sum = sha256(tail_of(out, start));
  out.append(reinterpret_cast<const char*>(sum.data()), kHeaderSumBytes);
}

FormatFault decode_segment_header(std::span<const std::byte> in, SegmentHeader& header) {
  if (in.size() < kSegmentHeaderBytes) return FormatFault::kShort;
  Reader r{in.first(kSegmentHeaderBytes)};
  if (Reader::as_text(r.take(kSegmentMagic.size())) != kSegmentMagic) return FormatFault::kMagic;
  header.number = r.le<uint64_t>();
  header.created_ns = r.le<uint64_t>();
  take(r, header.previous_head);
  const Digest sum = sha256(in.first(kSegmentHeaderBytes - kHeaderSumBytes));
  return std::ranges::equal(r.rest(), std::span{sum}.first(kHeaderSumBytes)) ? FormatFault::kNone : FormatFault::kHash;
}

void append_record_header(std::string& out, RecordHeader& header) {
  GH_CHECK(is_name_size(header.agent_id.size()) && is_name_size(header.boot_id.size()));
  const size_t start = out.size();
  header.header_bytes = kRecordFixedBytes + header.agent_id.size() + header.boot_id.size() + kDigestBytes;
  put(out, kRecordMagic);
  put(out, static_cast<uint32_t>(header.header_bytes));
  put(out, header.payload_bytes);
  put(out, header.event_count);
  put(out, header.first_sequence);
  put(out, header.received_ns);
  put(out, static_cast<uint16_t>(header.agent_id.size()));
  put(out, static_cast<uint16_t>(header.boot_id.size()));
  put(out, header.has_previous ? kHasPrevious : 0U);
  put(out, header.payload_sha256);
  put(out, header.previous_sha256);
  put(out, header.chain_previous);
  GH_CHECK(out.size() - start == kRecordFixedBytes);
  out += header.agent_id;
  out += header.boot_id;
  header.hash = sha256(tail_of(out, start));
  put(out, header.hash);
}

FormatFault decode_record_header(std::span<const std::byte> in, RecordHeader& header) {
  header = {};
  Reader r{in};
  const auto magic = r.le<uint32_t>();
  if (!r.ok()) return FormatFault::kShort;
  if (magic != kRecordMagic) return FormatFault::kMagic;
  const size_t header_bytes = r.le<uint32_t>();
  header.payload_bytes = r.le<uint32_t>();
  header.event_count = r.le<uint32_t>();
  header.first_sequence = r.le<uint64_t>();
  header.received_ns = r.le<uint64_t>();
  const size_t agent_bytes = r.le<uint16_t>();
  const size_t boot_bytes = r.le<uint16_t>();
  const auto flags = r.le<uint32_t>();
  take(r, header.payload_sha256);
  take(r, header.previous_sha256);
  take(r, header.chain_previous);
  if (!r.ok()) return FormatFault::kShort;
  if (!is_name_size(agent_bytes) || !is_name_size(boot_bytes) || header.payload_bytes > kPayloadBytesMax)
    return FormatFault::kLimit;
  if (header_bytes != kRecordFixedBytes + agent_bytes + boot_bytes + kDigestBytes || flags > kHasPrevious)
    return FormatFault::kInconsistent;
  header.has_previous = flags == kHasPrevious;
  header.agent_id = Reader::as_text(r.take(agent_bytes));
  header.boot_id = Reader::as_text(r.take(boot_bytes));
  take(r, header.hash);
  if (!r.ok()) return FormatFault::kShort;
  if (sha256(in.first(header_bytes - kDigestBytes)) != header.hash) return FormatFault::kHash;
  header.header_bytes = header_bytes;
  return r.left() < header.payload_bytes ? FormatFault::kShort : FormatFault::kNone;
}

FormatFault check_record(std::span<const std::byte> in, const Digest& chain_previous, RecordHeader& header) {
  if (const FormatFault fault = decode_record_header(in, header); fault != FormatFault::kNone) return fault;
  if (header.chain_previous != chain_previous) return FormatFault::kChain;
  const auto payload = in.subspan(header.header_bytes, header.payload_bytes);
  return sha256(payload) == header.payload_sha256 ? FormatFault::kNone : FormatFault::kHash;
}

void append_footer(std::string& out, const SegmentFooter& footer) {
  const size_t start = out.size();
  put(out, kFooterMagic);
  put(out, static_cast<uint32_t>(footer.sources.size()));
  put(out, static_cast<uint64_t>(footer.entries.size()));
  put(out, footer.records_bytes);
  put(out, footer.events);
  put(out, footer.first_received_ns);
  put(out, footer.last_received_ns);
  put(out, footer.chain_head);
  GH_CHECK(out.size() - start == kFooterFixedBytes);
  for (const FooterSource& source : footer.sources) {
    put(out, static_cast<uint16_t>(source.agent_id.size()));
    put(out, static_cast<uint16_t>(source.boot_id.size()));
    out += source.agent_id;
    out += source.boot_id;
  }
  for (const FooterEntry& entry : footer.entries) {
    put(out, entry.offset);
    put(out, entry.first_sequence);
    put(out, entry.received_ns);
    put(out, entry.event_count);
    put(out, entry.source);
    put(out, entry.payload_sha256);
  }
  put(out, sha256(tail_of(out, start)));
  put(out, static_cast<uint64_t>(out.size() - start + kTrailerBytes));
  out += kTrailerMagic;
}

uint64_t decode_trailer(std::span<const std::byte> last_bytes) {
  if (last_bytes.size() < kTrailerBytes) return 0;
  Reader r{last_bytes.last(kTrailerBytes)};
  const auto footer_bytes = r.le<uint64_t>();
  return Reader::as_text(r.rest()) == kTrailerMagic ? footer_bytes : 0;
}

FormatFault decode_footer(std::span<const std::byte> in, SegmentFooter& footer) {
  if (in.size() < kFooterFixedBytes + kDigestBytes + kTrailerBytes) return FormatFault::kShort;
  const auto content = in.first(in.size() - kTrailerBytes - kDigestBytes);
  const Digest sum = sha256(content);
  if (!std::ranges::equal(in.subspan(content.size(), kDigestBytes), sum)) return FormatFault::kHash;
  Reader r{content};
  if (r.le<uint32_t>() != kFooterMagic) return FormatFault::kMagic;
  const size_t source_count = r.le<uint32_t>();
  const auto entry_count = r.le<uint64_t>();
  footer.records_bytes = r.le<uint64_t>();
  footer.events = r.le<uint64_t>();
  footer.first_received_ns = r.le<uint64_t>();
  footer.last_received_ns = r.le<uint64_t>();
  take(r, footer.chain_head);
  if (source_count > r.left() / kSourceBytesMin || entry_count > r.left() / kEntryBytes)
    return FormatFault::kInconsistent;
  footer.sources.reserve(source_count);
  for (size_t i = 0; i < source_count; ++i) {
    const size_t agent_bytes = r.le<uint16_t>();
    const size_t boot_bytes = r.le<uint16_t>();
    const auto agent_id = Reader::as_text(r.take(agent_bytes));
    const auto boot_id = Reader::as_text(r.take(boot_bytes));
    if (!is_name_size(agent_bytes) || !is_name_size(boot_bytes)) return FormatFault::kLimit;
    footer.sources.push_back({std::string(agent_id), std::string(boot_id)});
  }
  footer.entries.reserve(entry_count);
  for (uint64_t i = 0; i < entry_count && r.ok(); ++i) {
    FooterEntry& entry = footer.entries.emplace_back();
    entry.offset = r.le<uint64_t>();
    entry.first_sequence = r.le<uint64_t>();
    entry.received_ns = r.le<uint64_t>();
    entry.event_count = r.le<uint32_t>();
    entry.source = r.le<uint32_t>();
    take(r, entry.payload_sha256);
    if (entry.source >= source_count) return FormatFault::kInconsistent;
  }
  return r.ok() && r.left() == 0 ? FormatFault::kNone : FormatFault::kInconsistent;
}

bool append_heads(std::string& out, std::span<const std::byte> segment) {
  SegmentHeader header;
  SegmentFooter footer;
  if (segment.size() < kSegmentHeaderBytes + kTrailerBytes) return false;
  const uint64_t footer_bytes = decode_trailer(segment);
  if (footer_bytes == 0 || footer_bytes > segment.size() - kSegmentHeaderBytes) return false;
  const size_t start = out.size();
  out += Reader::as_text(segment.first(kSegmentHeaderBytes));
  out += Reader::as_text(segment.last(footer_bytes));
  if (decode_heads(std::as_bytes(std::span(out)).subspan(start), header, footer) &&
      footer.records_bytes == segment.size() - footer_bytes)
    return true;
  out.resize(start);
  return false;
}

bool decode_heads(std::span<const std::byte> in, SegmentHeader& header, SegmentFooter& footer) {
  if (in.size() < kSegmentHeaderBytes || decode_segment_header(in, header) != FormatFault::kNone) return false;
  const auto rest = in.subspan(kSegmentHeaderBytes);
  return decode_trailer(rest) == rest.size() && decode_footer(rest, footer) == FormatFault::kNone;
}

SegmentScan scan_segment(std::span<const std::byte> file) {
  SegmentScan scan;
  scan.fault = decode_segment_header(file, scan.header);
  if (scan.fault != FormatFault::kNone) return scan;
  scan.chain_head = sha256(file.first(kSegmentHeaderBytes));
  scan.good_bytes = kSegmentHeaderBytes;
  const uint64_t footer_bytes = decode_trailer(file);
  if (footer_bytes != 0 && footer_bytes <= file.size() - kSegmentHeaderBytes) {
    SegmentFooter footer;
    const auto at = file.size() - footer_bytes;
    scan.is_sealed = decode_footer(file.last(footer_bytes), footer) == FormatFault::kNone && footer.records_bytes == at;
    if (scan.is_sealed) scan.footer = std::move(footer);
  }
  const uint64_t end = scan.is_sealed ? scan.footer.records_bytes : file.size();
  while (scan.good_bytes < end) {
    ScannedRecord record{.offset = scan.good_bytes, .header = {}};
    scan.fault = check_record(file.subspan(scan.good_bytes, end - scan.good_bytes), scan.chain_head, record.header);
    if (scan.fault != FormatFault::kNone) return scan;
    scan.chain_head = record.header.hash;
    scan.good_bytes += record.header.record_bytes();
    scan.events += record.header.event_count;
    scan.records.push_back(record);
  }
  if (scan.is_sealed && (scan.footer.chain_head != scan.chain_head || scan.footer.events != scan.events ||
                         scan.footer.entries.size() != scan.records.size()))
    scan.fault = FormatFault::kInconsistent;
  return scan;
}

bool has_record_within(std::span<const std::byte> bytes) {
  RecordHeader header;
  for (size_t i = 0; i + kRecordFixedBytes <= bytes.size(); ++i) {
    if (bytes[i] != std::byte{'G'}) continue;
    if (decode_record_header(bytes.subspan(i), header) == FormatFault::kNone) return true;
  }
  return false;
}

}  // namespace gatehouse::ledger
