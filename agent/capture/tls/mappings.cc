// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/tls/mappings.h"

#include <algorithm>
#include <array>
#include <set>

namespace gatehouse::capture {

// begin-end perms offset device inode            path
std::vector<MappedFile> code_mappings(std::string_view maps) {
  std::vector<MappedFile> files;
  std::set<std::string> seen;
  while (!maps.empty()) {
    const size_t newline = std::min(maps.find('\n'), maps.size());
    std::string_view line = maps.substr(0, newline);
    maps.remove_prefix(std::min(newline + 1, maps.size()));
    std::array<std::string_view, 5> fields;
    for (std::string_view& field : fields) {
      const size_t space = std::min(line.find(' '), line.size());
      field = line.substr(0, space);
      line.remove_prefix(std::min(space + 1, line.size()));
    }
    const size_t path = line.find_first_not_of(' ');
    const auto& [range, permissions, offset, device, inode] = fields;
    if (path == std::string_view::npos || line[path] != '/' || permissions.find('x') == std::string_view::npos)
      continue;
    if (!seen.insert(std::string(device) + " " + std::string(inode)).second) continue;
    files.push_back({.range = std::string(range), .path = std::string(line.substr(path))});
  }
  return files;
}

}  // namespace gatehouse::capture
