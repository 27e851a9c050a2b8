// SPDX-License-Identifier: Apache-2.0
// Subjects: who acts over which connection, as rules see it. What does not change from one event to the next is made
// once. Shard-local.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/identity/process_table.h"
#include "agent/judge/actor_record.h"
#include "agent/judge/examiner.h"
#include "agent/runtime/batch_builder.h"
#include "agent/runtime/catalog_book.h"

namespace gatehouse::runtime {

// What of a session is made once. Each session has one, from the first event that is examined.
struct SessionSubject {
  explicit SessionSubject(bool is_joined) : memory(is_joined) {}

  judge::SessionMemory memory;
  std::string id, client, server;
  std::string server_exe;
  uint32_t server_pid = 0;
  rules::Labels labels;  // borrows the configuration's
  std::shared_ptr<const judge::ActorRecord> actor;
  ImageKey writer{};
  CatalogPage page;
  uint64_t mark = 0;  // Subjects' when `actor` and the server's process were looked up
};

// The subject that `state` and `facts` come to; borrows all of them.
judge::Subject subject_of(SessionSubject& state, const SessionFacts& facts, std::string_view agent_id,
                          std::string_view host);

class Subjects {
 public:
  // `processes`, `catalogs` outlive it; the latter may be null. `own_pid`: this process's; 0: of a recording, none.
  Subjects(identity::ProcessTable& processes, CatalogBook* catalogs, std::string agent_id, std::string boot_id,
           std::string host, uint32_t own_pid);

  // Processes have changed, or more is known of one: they are looked up anew.
  void forget_processes() { ++mark_; }

  // `state` is filled where it is empty or old. What is returned borrows both, and this.
  judge::Subject subject(std::unique_ptr<SessionSubject>& state, const SessionEntry& entry, const ImageKey& writer,
                         const TimeBase& time);
  // Of what no session owns. Borrows this.
  [[nodiscard]] judge::Subject agent() const { return {.agent = {.id = agent_id_, .host = host_}}; }
  // The agent's own connections, by which it reads catalogs, are in the record like all others, but rules are not about
  // them. The kernel says whose a connection is; its application_name, anybody may set.
  [[nodiscard]] bool is_own(const SessionEntry& entry) const {
    return own_pid_ != 0 && entry.opener.process.pid == own_pid_;
  }
  // A statement of the session was seen to do this.
  void on_effects(const SessionEntry& entry, sql::Effects effects);
  // Null: nobody knows it. `opener`: who opened the connection, if it is another.
  std::shared_ptr<const judge::ActorRecord> actor(const ImageKey& writer, const ImageKey& opener, const TimeBase& time);

 private:
  identity::ProcessTable& processes_;
  CatalogBook* catalogs_;
  std::string agent_id_, boot_id_, host_;
  const uint32_t own_pid_;
  uint64_t mark_ = 1;
  // Of writers that opened their connections themselves, which nearly all did: many sessions share one.
  std::unordered_map<uint64_t, std::shared_ptr<const judge::ActorRecord>> actors_;  // by process_id()
  uint64_t actors_mark_ = 0;
};

}  // namespace gatehouse::runtime
