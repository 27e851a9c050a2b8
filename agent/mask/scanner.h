// SPDX-License-Identifier: Apache-2.0
// Finds sensitive values in text by what they look like, with their checksums.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "agent/mask/method.h"

namespace gatehouse::mask {

struct Found {
  size_t begin = 0, end = 0;  // of the text: [begin, end)
  Detector detector{};
  uint8_t confidence = 0;  // per cent: a form with a checksum is surer than one without
  bool operator==(const Found&) const = default;
};

// What a column's name makes likely: forms without a checksum are believed there. "customer_ssn", "date_of_birth".
DetectorSet expected_by(std::string_view column_name);

// Appends what is found, in order and without overlap; true if anything was. Bytes need not be valid in any encoding,
// ASCII is looked at only. Linear in the text's length. Any thread.
bool scan(std::string_view text, DetectorSet what, DetectorSet expected, std::vector<Found>& found);

// Whether scan() could find anything, quicker: false is certain. May be asked of bytes that hold several texts with
// zero bytes between them.
bool may_have(std::string_view bytes, DetectorSet what);

}  // namespace gatehouse::mask
