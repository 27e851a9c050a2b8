// SPDX-License-Identifier: Apache-2.0
// Rule files on disk, loaded for the kinds of event that there are.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "common/result.h"
#include "rules/engine/policy.h"

namespace gatehouse::rules {

// Files and folders, as read_policy_files() takes them.
Result<std::shared_ptr<const Policy>> load_policy_files(std::span<const std::string> paths);

}  // namespace gatehouse::rules
