// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/subjects.h"

#include "agent/runtime/endpoints.h"

namespace gatehouse::runtime {
namespace {

constexpr size_t kActorsMax = 4096;  // beyond, all are made anew

}  // namespace

Subjects::Subjects(identity::ProcessTable& processes, CatalogBook* catalogs, std::string agent_id, std::string boot_id,
                   std::string host, uint32_t own_pid)
    : processes_(processes),
      catalogs_(catalogs),
      agent_id_(std::move(agent_id)),
      boot_id_(std::move(boot_id)),
      host_(std::move(host)),
      own_pid_(own_pid) {}

void Subjects::on_effects(const SessionEntry& entry, sql::Effects effects) {
  constexpr sql::Effects kOfSchema{sql::Effect::kCreate, sql::Effect::kAlter, sql::Effect::kDrop, sql::Effect::kGrant,
                                   sql::Effect::kRevoke};
  if (catalogs_ != nullptr && effects.has_any(kOfSchema))
    catalogs_->on_schema_changed(entry.facts.database_label, entry.facts.database);
}

std::shared_ptr<const judge::ActorRecord> Subjects::actor(const ImageKey& writer, const ImageKey& opener,
                                                          const TimeBase& time) {
  if (!writer.known()) return nullptr;
  if (actors_mark_ != mark_ || actors_.size() >= kActorsMax) {
    actors_.clear();
    actors_mark_ = mark_;
  }
  const bool is_opener = !opener.known() || opener.process == writer.process;
  const uint64_t id = process_id(writer.process, writer.image);
  if (is_opener)
    if (const auto found = actors_.find(id); found != actors_.end()) return found->second;
  const identity::ProcessRef process = processes_.image(writer);
  if (process == nullptr) return nullptr;
  std::vector<identity::ProcessRef> ancestors;
  processes_.ancestry(process->key, ancestors);
  auto made = std::make_shared<const judge::ActorRecord>(
      process, std::move(ancestors), is_opener ? nullptr : processes_.image(opener), time.unix_minus_boottime_ns);
  if (is_opener) actors_.emplace(id, made);
  return made;
}

judge::Subject subject_of(SessionSubject& state, const SessionFacts& facts, std::string_view agent_id,
                          std::string_view host) {
  const bool is_unix = facts.transport == Transport::kUnix;
  if (state.client.empty()) {
    state.client = is_unix ? "unix" : end_text(facts.client_address, facts.client_port);
    state.server = is_unix ? facts.server_address : end_text(facts.server_address, facts.server_port);
    if (facts.labels != nullptr)
      for (const auto& [name, text] : *facts.labels) state.labels.emplace_back(name, text);
  }
  return {.actor = state.actor == nullptr ? nullptr : &state.actor->actor(),
          .agent = {.id = agent_id, .host = host},
          .session = {.id = state.id,
                      .user = facts.user,
                      .application = facts.application_name,
                      .client = state.client,
                      .client_address = facts.client_address,
                      .transport = is_unix ? "unix" : "tcp",
                      .named_by = facts.named_by,
                      .backend_pid = facts.backend_pid,
                      .is_encrypted = facts.encrypted,
                      .is_joined = facts.joined,
                      .is_gated = facts.gated,
                      .opened = rules::instant_of(static_cast<int64_t>(facts.opened_unix_ns))},
          .database = {.engine = "postgresql",
                       .label = facts.database_label,
                       .name = facts.database,
                       .version = facts.server_version,
                       .address = state.server,
                       .exe = state.server_exe,
                       .pid = state.server_pid,
                       .labels = state.labels},
          .memory = &state.memory,
          .catalog = &state.page.catalog};
}

judge::Subject Subjects::subject(std::unique_ptr<SessionSubject>& state, const SessionEntry& entry,
                                 const ImageKey& told_writer, const TimeBase& time) {
  const SessionFacts& facts = entry.facts;
  if (state == nullptr) {
    state = std::make_unique<SessionSubject>(facts.joined);
    state->id = agent_id_ + "/" + boot_id_ + "/" + std::to_string(facts.id);
  }
  // As the record puts it down: what nobody wrote is the opener's.
  const ImageKey& writer = told_writer.known() ? told_writer : entry.opener;
  if (state->mark != mark_ || state->writer != writer) {
    state->mark = mark_;
    state->writer = writer;
    state->actor = actor(writer, entry.opener, time);
  }
  if (state->server_pid != entry.server.process.pid) {
    const identity::ProcessRef server = processes_.image(entry.server);
    state->server_pid = entry.server.process.pid;
    state->server_exe = server == nullptr ? std::string() : server->exe;
  }
  if (catalogs_ != nullptr) catalogs_->turn_to(state->page, facts.database_label, facts.database);
  return subject_of(*state, facts, agent_id_, host_);
}

}  // namespace gatehouse::runtime
