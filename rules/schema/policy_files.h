// SPDX-License-Identifier: Apache-2.0
// Rule files on disk. The only part of rules/schema that reads files.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "rules/engine/policy.h"

namespace gatehouse::rules {

// One file. Longer ones are refused.
inline constexpr size_t kPolicyFileBytesMax = 16U << 20;
inline constexpr size_t kPolicyFilesMax = 10'000;
// Cases stand beside the rules that they are about, and are no rules.
inline constexpr std::string_view kCasesSuffix = ".cases.yaml";
bool is_rule_file(std::string_view name);   // *.yaml, *.yml; not the cases
bool is_cases_file(std::string_view name);  // *.cases.yaml

// Files as they are named, and of folders all rule files within, however deep, by name. Errors name the path.
Result<std::vector<PolicyFile>> read_policy_files(std::span<const std::string> paths);
// The same, loaded for the kinds of event that there are.
Result<std::shared_ptr<const Policy>> load_policy_files(std::span<const std::string> paths);
// The files that `accepts` takes, likewise.
Result<std::vector<std::string>> find_files(std::span<const std::string> paths, bool (*accepts)(std::string_view name));

}  // namespace gatehouse::rules
