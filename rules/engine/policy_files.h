// SPDX-License-Identifier: Apache-2.0
// Rule files from a disk.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "common/result.h"
#include "rules/engine/policy.h"

namespace gatehouse::rules {

inline constexpr size_t kPolicyFileBytesMax = 64U << 20;

struct PolicyFiles {
  std::vector<PolicyFile> rules{};  // with the lists that they name
  std::vector<PolicyFile> cases{};
};

// Each path is a file, or a folder: then all *.yaml and *.yml in it and in the folders below, hidden ones left out.
// Sorted by path within each folder, each file once. A list that is not there is left for check_policy() to tell.
Result<PolicyFiles> read_policy_files(std::span<const std::string> paths);

}  // namespace gatehouse::rules
