// SPDX-License-Identifier: Apache-2.0
// ActorRecord: a process image as rules see it, made once for each and kept while it writes. Pure.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/identity/process.h"
#include "rules/schema/event.h"

namespace gatehouse::judge {

using ProcessRef = std::shared_ptr<const identity::Process>;

class ActorRecord {
 public:
  // `ancestors`: nearest first, as attested at fork time. `opener`: who opened the connection, if that is another
  // process; null if not. `unix_minus_boottime_ns` makes Unix times of the kernel's.
  ActorRecord(ProcessRef process, std::vector<ProcessRef> ancestors, ProcessRef opener, int64_t unix_minus_boottime_ns);
  ActorRecord(const ActorRecord&) = delete;
  ActorRecord& operator=(const ActorRecord&) = delete;

  // Borrows the record.
  [[nodiscard]] const rules::Actor& actor() const { return actor_; }

 private:
  ProcessRef process_, opener_;
  std::vector<ProcessRef> ancestors_;
  std::string command_;
  std::vector<std::string> commands_;  // of ancestors
  rules::Actor actor_;
};

// Whom the process acts for, as rules/schema/programs.h tells it from programs and arguments. Borrows the processes.
struct ActsFor {
  std::string_view agent{}, agent_kind{}, automation{}, automation_kind{};
  std::string_view login{};
};
// `ancestors`: nearest first.
ActsFor acts_for(const identity::Process& process, std::span<const identity::Process* const> ancestors);

// Arguments with a blank between, the first `bytes_max` bytes.
std::string joined_arguments(const identity::Process& process, size_t bytes_max);
// Enough to recognise a command line; the whole is its own process.
inline constexpr size_t kAncestorCommandBytesMax = 256;

}  // namespace gatehouse::judge
