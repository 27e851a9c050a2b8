// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/policy_keeper.h"

#include <unistd.h>

#include <utility>

#include "common/file.h"
#include "common/log.h"
#include "rules/schema/load_policy.h"

namespace gatehouse::runtime {

namespace {

// What waits at most: one reading, one writing, and one of each that came while they ran.
constexpr size_t kJobsMax = 4;
constexpr size_t kStateBytesMax = 256U << 20;

}  // namespace

Result<std::unique_ptr<PolicyKeeper>> PolicyKeeper::open(std::vector<std::string> paths, std::string state_path) {
  GH_ASSIGN(PolicyRef policy, rules::load_policy_files(paths));
  log::info("rules", "loaded", {{"rules", policy->rules.size()}, {"policy", policy->version}});
  return std::unique_ptr<PolicyKeeper>(new PolicyKeeper(std::move(paths), std::move(state_path), std::move(policy)));
}

PolicyKeeper::PolicyKeeper(std::vector<std::string> paths, std::string state_path, PolicyRef policy)
    : paths_(std::move(paths)),
      state_path_(std::move(state_path)),
      policy_(std::move(policy)),
      background_(kJobsMax, [this](const Job& job) { return work(job); }) {}

PolicyKeeper::Loaded PolicyKeeper::work(const Job& job) const {
  if (!job.state) return rules::load_policy_files(paths_);
  save_now(*job.state);
  return std::nullopt;
}

void PolicyKeeper::save_now(const std::string& state) const {
  if (const Status status = write_file_atomically(state_path_, state); !status)
    log::warn("rules", "what they have gathered is not saved", {{"reason", status.error().message()}});
}

std::string PolicyKeeper::saved() const {
  if (::access(state_path_.c_str(), F_OK) != 0) return "";
  auto state = read_file(state_path_, kStateBytesMax);
  if (state) return std::move(*state);
  log::warn("rules", "what they had gathered is lost", {{"reason", state.error().message()}});
  return "";
}

void PolicyKeeper::save(std::string state) {
  // One too many is left out: the next one holds more.
  if (!background_.push({.state = std::move(state)})) return;
}

void PolicyKeeper::ask_reload() {
  // One that waits reads what is there by then.
  if (!background_.push({})) return;
}

PolicyRef PolicyKeeper::poll() {
  loaded_.clear();
  background_.take(loaded_);
  PolicyRef changed;
  for (Loaded& done : loaded_) {
    if (!done) continue;
    Result<PolicyRef>& loaded = *done;
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
