// SPDX-License-Identifier: Apache-2.0
#include "rules/schema/load_policy.h"

#include <utility>

#include "rules/engine/policy_files.h"
#include "rules/schema/event.h"

namespace gatehouse::rules {

Result<std::shared_ptr<const Policy>> load_policy_files(std::span<const std::string> paths) {
  auto files = read_policy_files(paths);
  if (!files) return Error::configuration(files.error().message());
  GH_ASSIGN(Policy policy, load_policy(files->rules, event_kinds()));
  return std::make_shared<const Policy>(std::move(policy));
}

}  // namespace gatehouse::rules
