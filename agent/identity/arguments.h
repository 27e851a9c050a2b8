// SPDX-License-Identifier: Apache-2.0
// argv as the kernel keeps it: texts that each end with a NUL.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gatehouse::identity {

// The last text may lack its NUL, as one that was cut does.
inline std::vector<std::string> split_arguments(std::string_view joined) {
  std::vector<std::string> arguments;
  while (!joined.empty()) {
    const size_t end = joined.find('\0');
    arguments.emplace_back(joined.substr(0, end));
    if (end == std::string_view::npos) break;
    joined.remove_prefix(end + 1);
  }
  return arguments;
}

}  // namespace gatehouse::identity
