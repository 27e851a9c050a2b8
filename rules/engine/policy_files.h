// SPDX-License-Identifier: Apache-2.0
// Rule files from a disk.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "common/result.h"
#include "rules/engine/policy.h"

namespace gatehouse::rules {

// One file. Longer ones are refused.
inline constexpr size_t kPolicyFileBytesMax = 16U << 20;
inline constexpr size_t kPolicyFilesMax = 10'000;

struct PolicyFiles {
  std::vector<PolicyFile> rules{};  // with the lists that they name
  std::vector<PolicyFile> cases{};  // is_cases_file()
};

// Each path is a file, or a folder: then all *.yaml and *.yml in it and in the folders below, hidden ones left out, by
// name. Each file once. A list that is not there is left for check_policy() to tell. Errors name the path.
Result<PolicyFiles> read_policy_files(std::span<const std::string> paths);

}  // namespace gatehouse::rules
