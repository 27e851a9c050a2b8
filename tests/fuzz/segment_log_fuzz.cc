// SPDX-License-Identifier: Apache-2.0
// Oracle: what a scan accepts is exactly what was written: headers and footer, encoded again, are the same bytes, and
// the records stand one behind the other. A crash, a stall or a difference is a finding.
#include <cstdlib>
#include <cstring>

#include "collector/ledger/segment_format.h"

using namespace gatehouse::ledger;

namespace {

bool is_same(std::span<const std::byte> bytes, const std::string& text) {
  return bytes.size() == text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = std::as_bytes(std::span{data, size});
  const SegmentScan scan = scan_segment(file);
  if (scan.good_bytes > size) std::abort();
  if (scan.good_bytes == 0) return 0;
  std::string encoded;
  append_segment_header(encoded, scan.header);
  if (!is_same(file.first(kSegmentHeaderBytes), encoded)) std::abort();
  uint64_t at = kSegmentHeaderBytes;
  for (const ScannedRecord& record : scan.records) {
    if (record.offset != at) std::abort();
    RecordHeader header = record.header;
    encoded.clear();
    append_record_header(encoded, header);
    if (!is_same(file.subspan(at, header.header_bytes), encoded)) std::abort();
    at += header.record_bytes();
  }
  if (at != scan.good_bytes) std::abort();
  if (scan.is_sealed) {
    encoded.clear();
    append_footer(encoded, scan.footer);
    if (!is_same(file.subspan(scan.footer.records_bytes), encoded)) std::abort();
  }
  return 0;
}
