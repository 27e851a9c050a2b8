// SPDX-License-Identifier: Apache-2.0
#include "agent/judge/actor_record.h"

#include <utility>

namespace gatehouse::judge {
namespace {

constexpr uint32_t kNoId = UINT32_MAX;

// -1: not known, which is nobody's.
int64_t id_of(uint32_t id) {
  return id == kNoId ? -1 : int64_t{id};
}

}  // namespace

std::string joined_arguments(const identity::Process& process, size_t bytes_max) {
  std::string command;
  for (const std::string& argument : process.arguments) {
    if (!command.empty()) command += ' ';
    command += argument;
    if (command.size() >= bytes_max) break;
  }
  return command.substr(0, bytes_max);
}

ActorRecord::ActorRecord(ProcessRef process, std::vector<ProcessRef> ancestors, ProcessRef opener,
                         int64_t unix_minus_boottime_ns)
    : process_(std::move(process)), opener_(std::move(opener)), ancestors_(std::move(ancestors)) {
  const identity::Process& known = *process_;
  command_ = joined_arguments(known, SIZE_MAX);
  actor_ = {.pid = known.key.pid,
            .exe = known.exe,
            .name = rules::base_name(known.exe),
            .sha256 = known.exe_sha256,
            .command = command_,
            .cwd = known.cwd,
            .is_deleted = known.exe_deleted,
            .user = known.user,
            .login_user = known.login_user,
            .uid = id_of(known.uid),
            .euid = id_of(known.euid),
            .tty = known.tty,
            .unit = known.systemd_unit,
            .container = known.container_id,
            .pod = known.pod_uid,
            .start = rules::instant_of(static_cast<int64_t>(known.key.start_ns) + unix_minus_boottime_ns)};
  for (const std::string& argument : known.arguments) actor_.arguments.push_back(argument);
  commands_.reserve(ancestors_.size());
  for (const ProcessRef& ancestor : ancestors_) {
    commands_.push_back(joined_arguments(*ancestor, kAncestorCommandBytesMax));
    actor_.ancestry.push_back(ancestor->exe);
    actor_.ancestors.push_back({.pid = ancestor->key.pid, .exe = ancestor->exe, .command = commands_.back()});
  }
  if (opener_ == nullptr) return;
  actor_.opener_pid = opener_->key.pid;
  actor_.opener_exe = opener_->exe;
}

}  // namespace gatehouse::judge
