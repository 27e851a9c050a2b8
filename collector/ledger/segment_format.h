// SPDX-License-Identifier: Apache-2.0
// The bytes of a segment file: encoding and decoding, without I/O. docs/formats/segment-log.md draws them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/digest.h"

namespace gatehouse::ledger {

using Digest = Sha256;

inline constexpr size_t kSegmentHeaderBytes = 64;
inline constexpr size_t kRecordFixedBytes = 136;  // before the names
inline constexpr size_t kNameBytesMax = 128;      // of an agent id or a boot id

struct SegmentHeader {
  uint64_t number = 0;
  uint64_t created_ns = 0;  // Unix time
  Digest previous_head{};   // chain head of the segment before; zeros for the first
};

// A record's header; names borrow the bytes it was decoded from.
struct RecordHeader {
  uint32_t payload_bytes = 0;
  uint32_t event_count = 0;
  uint64_t first_sequence = 0;
  uint64_t received_ns = 0;  // Unix time
  Digest payload_sha256{};
  bool has_previous = false;
  Digest previous_sha256{};  // the agent's own chain
  Digest chain_previous{};   // this log's chain: `hash` of the record before, or the hash of the segment's header
  std::string_view agent_id;
  std::string_view boot_id;
  Digest hash{};            // of everything above; set by decoding and encoding
  size_t header_bytes = 0;  // fixed part, names and hash; the payload follows

  [[nodiscard]] size_t record_bytes() const { return header_bytes + payload_bytes; }
};

struct FooterSource {
  std::string agent_id;
  std::string boot_id;
};

struct FooterEntry {
  uint64_t offset = 0;
  uint64_t first_sequence = 0;
  uint64_t received_ns = 0;
  uint32_t event_count = 0;
  uint32_t source = 0;  // index into `sources`
  Digest payload_sha256{};
};

struct SegmentFooter {
  uint64_t records_bytes = 0;  // where the footer starts
  uint64_t events = 0;
  uint64_t first_received_ns = 0;
  uint64_t last_received_ns = 0;
  Digest chain_head{};
  std::vector<FooterSource> sources;
  std::vector<FooterEntry> entries;
};

// Why bytes are not what they should be.
enum class FormatFault : uint8_t {
  kNone,
  kShort,         // the bytes end before the thing does
  kMagic,         // something else stands here
  kLimit,         // a length above its limit, or a name that is empty
  kHash,          // the bytes do not have the hash that is written with them
  kChain,         // the record is whole, but was not written after the one before it
  kInconsistent,  // lengths or counts that contradict each other
};
std::string_view to_string(FormatFault fault);

void append_segment_header(std::string& out, const SegmentHeader& header);
FormatFault decode_segment_header(std::span<const std::byte> in, SegmentHeader& header);

// Appends header and hash; the payload is the caller's to write. Sets header.hash and header_bytes.
void append_record_header(std::string& out, RecordHeader& header);
// Decodes a record's header from the start of `in`, which may go on beyond it. kShort also if the payload is not all
// there; then `header` is valid if header_bytes is not 0.
FormatFault decode_record_header(std::span<const std::byte> in, RecordHeader& header);
// The same, and that it follows `chain_previous` and that its payload has its hash.
FormatFault check_record(std::span<const std::byte> in, const Digest& chain_previous, RecordHeader& header);

void append_footer(std::string& out, const SegmentFooter& footer);
inline constexpr size_t kTrailerBytes = 24;
// Byte count of the whole footer, trailer included, told by the file's last bytes; 0 if they are not a trailer.
uint64_t decode_trailer(std::span<const std::byte> last_bytes);
// `in`: exactly the footer, trailer included.
FormatFault decode_footer(std::span<const std::byte> in, SegmentFooter& footer);

// What retention keeps of a sealed segment: its header and its footer, byte for byte. Appends them; false if `segment`
// is not sealed and whole in its ends.
bool append_heads(std::string& out, std::span<const std::byte> segment);
// `in`: a whole file of heads.
bool decode_heads(std::span<const std::byte> in, SegmentHeader& header, SegmentFooter& footer);

struct ScannedRecord {
  uint64_t offset = 0;
  RecordHeader header;
};

// A whole segment, checked byte by byte. Records borrow the file's bytes.
struct SegmentScan {
  SegmentHeader header;
  std::vector<ScannedRecord> records;  // up to the first that is wrong
  uint64_t events = 0;                 // of those
  uint64_t good_bytes = 0;             // header and those records
  Digest chain_head{};                 // after them
  bool is_sealed = false;
  SegmentFooter footer;                    // if sealed
  FormatFault fault = FormatFault::kNone;  // of what stands at good_bytes
};
SegmentScan scan_segment(std::span<const std::byte> file);

// Whether a whole record starts anywhere in `bytes`: tells damage from a tail that was torn.
bool has_record_within(std::span<const std::byte> bytes);

}  // namespace gatehouse::ledger
