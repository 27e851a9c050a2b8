// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/policy_keeper.h"

#include <utility>

#include "common/log.h"
#include "rules/schema/policy_files.h"

namespace gatehouse::runtime {

Result<std::unique_ptr<PolicyKeeper>> PolicyKeeper::open(std::vector<std::string> paths) {
  GH_ASSIGN(PolicyRef policy, rules::load_policy_files(paths));
  log::info("rules", "loaded", {{"rules", policy->rules.size()}, {"policy", policy->version}});
  return std::unique_ptr<PolicyKeeper>(new PolicyKeeper(std::move(paths), std::move(policy)));
}

PolicyKeeper::PolicyKeeper(std::vector<std::string> paths, PolicyRef policy)
    : paths_(std::move(paths)),
      policy_(std::move(policy)),
      background_(1, [this](Job) { return rules::load_policy_files(paths_); }) {}

void PolicyKeeper::ask_reload() {
  // One that waits reads what is there by then.
  if (!background_.push({})) return;
}

PolicyRef PolicyKeeper::poll() {
  loaded_.clear();
  background_.take(loaded_);
  PolicyRef changed;
  for (Loaded& loaded : loaded_) {
    if (!loaded) {
      ++reloads_failed_;
      log::warn("rules", "not taken: the rules from before stay", {{"reason", loaded.error().message()}});
    } else if ((*loaded)->version == policy_->version) {
      log::info("rules", "are the same as before", {{"policy", policy_->version}});
    } else {
      policy_ = changed = std::move(*loaded);
      log::info("rules", "changed", {{"rules", policy_->rules.size()}, {"policy", policy_->version}});
    }
  }
  return changed;
}

}  // namespace gatehouse::runtime
