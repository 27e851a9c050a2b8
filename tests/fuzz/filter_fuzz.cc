// SPDX-License-Identifier: Apache-2.0
// Oracle: an error lies within the text, and a filter printed parses back to itself. A crash, a stall or a difference
// is a finding.
#include <cstdlib>

#include "rules/engine/filter.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  const auto filter = gatehouse::rules::parse_filter(text);
  if (!filter) {
    if (filter.error().offset > size || filter.error().message.empty()) std::abort();
    return 0;
  }
  const auto again = gatehouse::rules::parse_filter(gatehouse::rules::to_string(*filter));
  if (!again || *again != *filter) std::abort();
  return 0;
}
