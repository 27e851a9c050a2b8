// SPDX-License-Identifier: Apache-2.0
// TableDirectory: agent/identity's process table, asked as a batch asks.
#pragma once

#include <memory>
#include <vector>

#include "agent/identity/process_table.h"
#include "agent/runtime/batch_builder.h"

namespace gatehouse::runtime {

class TableDirectory final : public ProcessDirectory {
 public:
  // `table` outlives this.
  explicit TableDirectory(identity::ProcessTable& table) : table_(table) {}

  std::shared_ptr<const identity::Process> find(const ImageKey& key) override { return table_.image(key); }
  std::vector<std::shared_ptr<const identity::Process>> ancestors(const identity::Process& process) override {
    std::vector<identity::ProcessRef> list;
    table_.ancestry(process.key, list);
    return list;
  }
  bool hash_pending(const identity::Process& process) override {
    return process.exe_sha256.empty() && table_.pending() > 0;
  }

 private:
  identity::ProcessTable& table_;
};

}  // namespace gatehouse::runtime
