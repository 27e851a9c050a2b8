// SPDX-License-Identifier: Apache-2.0
// Spool records against damaged bytes. The input makes a segment of batches, then cuts and changes it.
// Oracle: every record that decodes is one that was written, in the order of writing, and where one is missing a fault
// was reported. The input is also read as a segment itself: whatever decodes must encode to the very same bytes.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "agent/spool/spool_format.h"
#include "common/file.h"

namespace {

using namespace gatehouse;
using namespace gatehouse::spool;

void require(bool condition) {
  if (!condition) std::abort();
}

struct Input {
  std::string_view bytes;

  uint8_t byte() {
    if (bytes.empty()) return 0;
    const char first = bytes.front();
    bytes.remove_prefix(1);
    return static_cast<uint8_t>(first);
  }
  std::string_view text(size_t count) {
    const std::string_view head = bytes.substr(0, count);
    bytes.remove_prefix(head.size());
    return head;
  }
};

// Reads as the spool does; the number of faults that it met.
size_t read_all(std::string_view segment, std::vector<SealedBatch>& out) {
  const auto in = as_bytes(segment);
  if (!decode_segment_header(in)) return 1;
  size_t offset = kSegmentHeaderBytes;
  size_t faults = 0;
  while (offset < in.size()) {
    SealedBatch batch;
    size_t record_bytes = 0;
    const RecordFault fault = decode_record(in.subspan(offset), batch, record_bytes);
    if (fault == RecordFault::kNone) {
      std::string again;
      append_record(again, batch);
      require(again == segment.substr(offset, record_bytes));
      out.push_back(std::move(batch));
    } else {
      ++faults;
      if (record_bytes == 0 || fault == RecordFault::kShort) return faults;
    }
    require(record_bytes > 0);
    offset += record_bytes;
  }
  return faults;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view whole(reinterpret_cast<const char*>(data), size);
  std::vector<SealedBatch> raw;
  (void)read_all(whole, raw);
  (void)parse_acknowledged(whole);

  Input input{whole};
  std::string segment;
  append_segment_header(segment, 1);
  std::vector<SealedBatch> written(input.byte() % 5);
  for (size_t i = 0; i < written.size(); ++i) {
    SealedBatch& batch = written[i];
    batch.boot_id = "boot" + std::string(input.byte() % 60, 'x');
    batch.first_sequence = i + 1;
    batch.event_count = 1;
    batch.payload_zstd = input.text(input.byte());
    batch.payload_sha256 = sha256(as_bytes(batch.payload_zstd));
    if (input.byte() % 2 == 1) batch.previous_sha256 = batch.payload_sha256;
    append_record(segment, batch);
  }
  const std::string intact = segment;
  if (input.byte() % 2 == 1) segment.resize(segment.size() * input.byte() / 256);
  for (unsigned changes = input.byte() % 4; changes > 0 && !segment.empty(); --changes) {
    const size_t at = (size_t{input.byte()} << 8 | input.byte()) % segment.size();
    segment[at] = static_cast<char>(static_cast<uint8_t>(segment[at]) ^ input.byte());
  }

  std::vector<SealedBatch> got;
  const size_t faults = read_all(segment, got);
  auto expected = written.begin();
  for (const SealedBatch& batch : got) {
    while (expected != written.end() && *expected != batch) ++expected;
    require(expected != written.end());
    ++expected;
  }
  // A cut between two records leaves no trace in the segment itself.
  if (segment.size() == intact.size() && got.size() < written.size()) require(faults > 0);
  if (segment == intact) require(got == written && faults == 0);
  return 0;
}
