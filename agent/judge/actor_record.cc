// SPDX-License-Identifier: Apache-2.0
#include "agent/judge/actor_record.h"

#include <utility>

#include "rules/schema/programs.h"

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

ActsFor acts_for(const identity::Process& process, std::span<const identity::Process* const> ancestors) {
  rules::Lineage lineage;
  std::vector<std::string_view> arguments;
  const auto add = [&](const identity::Process& each) {
    arguments.assign(each.arguments.begin(), each.arguments.end());
    lineage.add(each.exe, arguments);
  };
  add(process);
  for (const identity::Process* const ancestor : ancestors) add(*ancestor);
  ActsFor acts{.login = process.login_user};
  if (const rules::KnownProgram* const agent = lineage.agent()) {
    acts.agent = agent->name;
    acts.agent_kind = to_string(agent->kind);
  }
  if (const rules::KnownProgram* const automation = lineage.automation()) {
    acts.automation = automation->name;
    acts.automation_kind = to_string(automation->kind);
  }
  if (const auto number = lineage.logged_in(); acts.login.empty() && number)
    acts.login = *number == 0 ? process.user : ancestors[*number - 1]->user;
  return acts;
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
    actor_.ancestors.push_back({.pid = ancestor->key.pid,
                                .exe = ancestor->exe,
                                .name = rules::base_name(ancestor->exe),
                                .command = commands_.back()});
  }
  std::vector<const identity::Process*> views;
  for (const ProcessRef& ancestor : ancestors_) views.push_back(ancestor.get());
  const ActsFor acts = acts_for(known, views);
  actor_.agent = acts.agent;
  actor_.agent_kind = acts.agent_kind;
  actor_.automation = acts.automation;
  actor_.automation_kind = acts.automation_kind;
  actor_.login = acts.login;
  if (opener_ == nullptr) return;
  actor_.opener_pid = opener_->key.pid;
  actor_.opener_exe = opener_->exe;
}

}  // namespace gatehouse::judge
