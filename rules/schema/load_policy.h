// SPDX-License-Identifier: Apache-2.0
// Rule files of a disk, as a policy about the kinds of event that there are.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "common/result.h"
#include "rules/engine/policy.h"

namespace gatehouse::rules {

// Paths as read_policy_files() takes them. The error, of kind configuration, is everything that is wrong, a line each.
Result<std::shared_ptr<const Policy>> load_policy_files(std::span<const std::string> paths);

}  // namespace gatehouse::rules
