// SPDX-License-Identifier: Apache-2.0
// PolicyKeeper: the rules that this agent judges by, and what comes of reading their files again. One thread; files are
// read and checked on another one, so that nobody who is watched waits for it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/background.h"
#include "common/result.h"
#include "rules/engine/policy.h"

namespace gatehouse::runtime {

using PolicyRef = std::shared_ptr<const rules::Policy>;

class PolicyKeeper {
 public:
  // Reads and checks the files, at once. Errors are of kind configuration: file:line:column.
  static Result<std::unique_ptr<PolicyKeeper>> open(std::vector<std::string> paths);

  // Never null.
  [[nodiscard]] const PolicyRef& policy() const { return policy_; }
  // Reads them again; what comes of it is taken by poll().
  void ask_reload();
  // Another policy, once; null otherwise. A set with an error in it changes nothing: it is logged and counted.
  PolicyRef poll();
  [[nodiscard]] uint64_t reloads_failed() const { return reloads_failed_; }

 private:
  using Loaded = Result<PolicyRef>;
  struct Job {};
  PolicyKeeper(std::vector<std::string> paths, PolicyRef policy);

  const std::vector<std::string> paths_;
  PolicyRef policy_;
  uint64_t reloads_failed_ = 0;
  std::vector<Loaded> loaded_;
  Background<Job, Loaded> background_;
};

}  // namespace gatehouse::runtime
