// SPDX-License-Identifier: Apache-2.0
// Which files' code a process runs, as /proc/PID/maps says.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gatehouse::capture {

struct MappedFile {
  std::string range;  // "7f…-7f…", as its name under /proc/PID/map_files
  std::string path;   // as the process sees it; " (deleted)" may follow
};

// Each file once, by its device and inode; only what is mapped to be run.
std::vector<MappedFile> code_mappings(std::string_view maps);

}  // namespace gatehouse::capture
