// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <unordered_map>
#include <vector>

#include "agent/commands.h"
#include "agent/json.h"
#include "agent/replay/ghcap.h"
#include "agent/runtime/batch_builder.h"
#include "agent/runtime/shard.h"
#include "agent/runtime/table_directory.h"
#include "common/version.h"
#include "gatehouse/v1/event.pb.h"
#include "rules/schema/load_policy.h"

namespace gatehouse::agent {
namespace {

// The SQL is shown as text beside the event, whose own bytes fields are base64 as protobuf's JSON prescribes.
void print(const runtime::EncodedBatch& encoded) {
  v1::Batch batch;
  if (!batch.ParseFromString(encoded.bytes)) return;
  std::unordered_map<uint64_t, std::string> sessions, processes;
  std::vector<std::string> facts;
  for (const v1::StatementFacts& each : batch.facts()) facts.push_back(json_of(each));
  for (const v1::Session& session : batch.sessions()) sessions[session.id()] = json_of(session);
  for (const v1::Process& process : batch.processes()) processes[process.id()] = json_of(process);
  uint64_t sequence = batch.first_sequence();
  for (const v1::Event& event : batch.events()) {
    std::string line = "{\"sequence\":" + std::to_string(sequence++);
    if (event.has_statement()) {
      line += ",\"text\":" + quoted(event.statement().text());
      if (!event.statement().resolved_text().empty())
        line += ",\"resolved_text\":" + quoted(event.statement().resolved_text());
    }
    line += ",\"event\":" + json_of(event);
    if (event.facts() != 0 && event.facts() <= facts.size()) line += ",\"facts\":" + facts[event.facts() - 1];
    if (const auto found = sessions.find(event.session()); found != sessions.end())
      line += ",\"session\":" + found->second;
    if (const auto found = processes.find(event.process()); found != processes.end())
      line += ",\"process\":" + found->second;
    line += "}\n";
    std::fwrite(line.data(), 1, line.size(), stdout);
  }
}

void replay_all(RecordSource& source, runtime::Shard& shard) {
  while (!source.at_end())
    if (source.poll(shard, 1024) == 0) break;
}

}  // namespace

// Times are those of the recorded host's clock since boot.
Status replay_file(const std::string& path, const AgentConfig& config) {
  GH_ASSIGN(const auto source, replay::FileSource::open(path));
  // No /proc: the processes of a recording ran elsewhere or long ago.
  identity::ProcessTable processes({.proc_root = "", .passwd_path = ""});
  runtime::TableDirectory directory(processes);
  runtime::BatchBuilder builder(
      {.agent_id = "replay", .boot_id = "replay", .host = "replay", .agent_version = kVersion}, directory);
  judge::Examiner examiner({.always_facts = config.rules.always_facts});
  if (!config.rules.files.empty()) {
    GH_ASSIGN(auto policy, rules::load_policy_files(config.rules.files));
    builder.set_policy(policy->version);
    examiner.set_policy(std::move(policy));
  }
  runtime::Subjects subjects(processes, nullptr, "replay", "replay", "replay", 0);
  runtime::Shard shard(processes, builder, config.databases, print, runtime::Shard::Judging{examiner, subjects});
  replay_all(*source, shard);
  const uint64_t end_ns = shard.latest_record_ns();
  shard.close_all(end_ns);
  shard.flush(end_ns, true);
  const replay::ReadOutcome outcome = source->parser().outcome();
  if (outcome == replay::ReadOutcome::kEnd) return {};
  // What was whole has been printed; a recorder that was killed leaves a cut end.
  return Error(path + ": " + std::string(replay::outcome_text(outcome)) + " at byte " +
               std::to_string(source->parser().offset()));
}

}  // namespace gatehouse::agent
