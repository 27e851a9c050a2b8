// SPDX-License-Identifier: Apache-2.0
// The files of a log's folder: 000000000001.segment, and 000000000001.heads for what retention left of one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace gatehouse::ledger {

inline constexpr std::string_view kSegmentSuffix = ".segment";
inline constexpr std::string_view kHeadsSuffix = ".heads";

std::string segment_file(const std::string& folder, uint64_t number, std::string_view suffix);
// Numbers of the files of one suffix, ascending.
Result<std::vector<uint64_t>> list_segment_files(const std::string& folder, std::string_view suffix);

}  // namespace gatehouse::ledger
