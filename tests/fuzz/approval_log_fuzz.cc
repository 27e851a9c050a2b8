// SPDX-License-Identifier: Apache-2.0
// Oracle: an entry that is whole is no longer than what there is, and encodes to an entry that is whole again; a cut
// one stays cut however it is cut further.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "collector/approvals/approval_log.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using gatehouse::approvals::DecodedEntry;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const DecodedEntry entry = gatehouse::approvals::decode_entry(bytes);
  if (entry.kind == DecodedEntry::Kind::kWhole) {
    if (entry.bytes > size || entry.bytes < gatehouse::approvals::kEntryHeadBytes) std::abort();
    const std::string again = gatehouse::approvals::encode_entry(entry.record);
    if (gatehouse::approvals::decode_entry(again).kind != DecodedEntry::Kind::kWhole) std::abort();
    const auto cut = gatehouse::approvals::decode_entry(bytes.substr(0, entry.bytes - 1));
    if (cut.kind != DecodedEntry::Kind::kCut) std::abort();
  } else if (entry.kind == DecodedEntry::Kind::kCut && size > 0) {
    if (gatehouse::approvals::decode_entry(bytes.substr(0, size - 1)).kind != DecodedEntry::Kind::kCut) std::abort();
  }
  return 0;
}
