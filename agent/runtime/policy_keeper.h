// SPDX-License-Identifier: Apache-2.0
// PolicyKeeper: the rules that this agent judges by, what comes of reading their files again, and what they have
// gathered so far, which outlives the agent. One thread; files are read, checked and written on another one, so that
// nobody who is watched waits for it.
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
  static Result<std::unique_ptr<PolicyKeeper>> open(std::vector<std::string> paths, std::string state_path);

  // Never null.
  [[nodiscard]] const PolicyRef& policy() const { return policy_; }
  // Reads them again; what comes of it is taken by poll().
  void ask_reload();
  // Another policy, once; null otherwise. A set with an error in it changes nothing: it is logged and counted.
  PolicyRef poll();
  // What save() was given last, also by a run before; empty: nothing, or it cannot be read.
  [[nodiscard]] std::string saved() const;
  // Returns at once. What cannot be written is logged; the file from before stays.
  void save(std::string state);
  // Returns when it is written.
  void save_now(const std::string& state) const;
  [[nodiscard]] uint64_t reloads_failed() const { return reloads_failed_; }

 private:
  using Loaded = std::optional<Result<PolicyRef>>;  // nothing: it was saved
  struct Job {
    std::optional<std::string> state;  // nothing: read the files
  };
  PolicyKeeper(std::vector<std::string> paths, std::string state_path, PolicyRef policy);
  Loaded work(const Job& job) const;

  const std::vector<std::string> paths_;
  const std::string state_path_;
  PolicyRef policy_;
  uint64_t reloads_failed_ = 0;
  std::vector<Loaded> loaded_;
  Background<Job, Loaded> background_;
};

}  // namespace gatehouse::runtime
