// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/hold_request.h"

#include <algorithm>
#include <span>
#include <string>

#include "agent/judge/actor_record.h"
#include "agent/runtime/endpoints.h"
#include "common/utf8.h"

namespace gatehouse::runtime {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

// Fields one after another, each with its length before it: no two lists of fields make the same bytes.
class Fields {
 public:
  explicit Fields(std::string_view purpose) { add(purpose); }
  void add(std::string_view text) {
    add(uint64_t{text.size()});
    stream_.update(std::as_bytes(std::span(text)));
  }
  void add(uint64_t number) {
    std::array<std::byte, sizeof number> bytes{};
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(number >> (8 * i));
    stream_.update(bytes);
  }
  void add(const Sha256& digest) { stream_.update(digest); }
  [[nodiscard]] Sha256 finish() { return stream_.finish(); }

 private:
  Sha256Stream stream_;
};

uint64_t unix_ns_of(const rules::cel::Timestamp& time) {
  return static_cast<uint64_t>(time.seconds * kSecondNs + time.ns);
}

// A proto3 `string` must be UTF-8.
std::string text_of(std::string_view bytes) {
  if (is_valid_utf8(bytes)) return std::string(bytes);
  std::string text;
  append_as_utf8(text, bytes);
  return text;
}

std::string address_of(const SessionFacts& session) {
  return session.transport == Transport::kUnix ? session.server_address
                                               : end_text(session.server_address, session.server_port);
}

// Not of the process alone: what it is called with is part of what a reviewer sees.
void add_actor(Fields& fields, const HoldContext& context) {
  fields.add(uint64_t{context.actor != nullptr});
  if (context.actor == nullptr) return fields.add(context.session.client_address);
  const rules::Actor& actor = *context.actor;
  fields.add(static_cast<uint64_t>(actor.pid));
  fields.add(unix_ns_of(actor.start));
  fields.add(actor.exe);
  fields.add(actor.command);
  fields.add(context.has_digest ? actor.sha256 : std::string_view());
  fields.add(static_cast<uint64_t>(actor.uid));
  fields.add(static_cast<uint64_t>(actor.euid));
  fields.add(actor.login);
}

// What a fingerprint does not tell: code and names in literals.
bool is_told_by_fingerprint(const Activity& request, const judge::FactsSummary& facts) {
  constexpr sql::Effects kOpaque{sql::Effect::kUnknown, sql::Effect::kRunCode,     sql::Effect::kRunText,
                                 sql::Effect::kProgram, sql::Effect::kFileRead,    sql::Effect::kFileWrite,
                                 sql::Effect::kNetwork, sql::Effect::kRunPrepared, sql::Effect::kServerControl};
  return facts.refusal.empty() && request.resolved_text.empty() && !facts.effects.has_any(kOpaque);
}

void put_facts(const Activity& request, const judge::FactsSummary& facts, v1::StatementFacts& out) {
  out.set_normalized(text_of(facts.normalized));
  out.set_refusal(std::string(facts.refusal));
  if (is_told_by_fingerprint(request, facts)) out.set_fingerprint(facts.fingerprint);
  for (size_t i = 0; i < sql::kEffects; ++i)
    if (const auto effect = static_cast<sql::Effect>(i); facts.effects.has(effect))
      out.add_effects(std::string(sql::to_string(effect)));
  for (const std::string_view name : facts.reads) out.add_reads(text_of(name));
  for (const std::string_view name : facts.writes) out.add_writes(text_of(name));
  for (const std::string_view name : facts.functions) out.add_functions(text_of(name));
}

void put_parameters(const Activity& request, v1::HoldRequest& out) {
  size_t bytes = 0;
  uint32_t left_out = 0;
  for (const Parameter& parameter : request.parameters) {
    if (left_out > 0 || bytes + parameter.value.size() > kHoldParameterBytesMax) {
      ++left_out;
      continue;
    }
    bytes += parameter.value.size();
    v1::Parameter& each = *out.add_parameters();
    each.set_value(std::string(parameter.value));
    each.set_is_null(parameter.is_null);
    each.set_is_binary(parameter.is_binary);
    each.set_type_oid(parameter.type_oid);
  }
  out.set_parameters_left_out(left_out);
}

void put_actor(const rules::Actor& actor, v1::Process& out) {
  out.set_pid(static_cast<uint32_t>(actor.pid));
  out.set_start_time_ns(unix_ns_of(actor.start));
  out.set_exe(text_of(actor.exe));
  out.set_exe_sha256(std::string(actor.sha256));
  out.set_exe_deleted(actor.is_deleted);
  for (const std::string_view argument : actor.arguments) out.add_arguments(text_of(argument));
  out.set_cwd(text_of(actor.cwd));
  out.set_uid(static_cast<uint32_t>(actor.uid));
  out.set_euid(static_cast<uint32_t>(actor.euid));
  out.set_user(text_of(actor.user));
  out.set_login_user(text_of(actor.login_user));
  out.set_login(text_of(actor.login));
  out.set_tty(text_of(actor.tty));
  out.set_systemd_unit(text_of(actor.unit));
  out.set_container_id(text_of(actor.container));
  out.set_pod_uid(text_of(actor.pod));
  out.set_agent(std::string(actor.agent));
  out.set_agent_kind(std::string(actor.agent_kind));
  out.set_automation(std::string(actor.automation));
  out.set_automation_kind(std::string(actor.automation_kind));
  for (const rules::Ancestor& ancestor : actor.ancestors) {
    v1::Ancestor& each = *out.add_ancestors();
    each.set_pid(static_cast<uint32_t>(ancestor.pid));
    each.set_exe(text_of(ancestor.exe));
    each.set_command(text_of(ancestor.command));
  }
}

static_assert(static_cast<int>(StatementProtocol::kReplication) == v1::STATEMENT_PROTOCOL_REPLICATION);
static_assert(static_cast<int>(TransactionState::kFailed) == v1::TRANSACTION_STATE_FAILED);

}  // namespace

Sha256 context_digest(const HoldContext& context) {
  Fields fields("gatehouse hold context 1");
  const SessionFacts& session = context.session;
  const sql::NameContext& names = context.state.names();
  fields.add(context.host);
  fields.add(session.database_label);
  fields.add(address_of(session));
  fields.add(session.database);
  fields.add(session.user);
  fields.add(context.state.session_user());
  fields.add(names.role);
  fields.add(uint64_t{names.search_path.has_value()});
  fields.add(names.search_path ? std::string_view(*names.search_path) : std::string_view());
  fields.add(session.client_encoding);
  fields.add(uint64_t{context.state.lexical().mode.standard_conforming_strings});
  fields.add(uint64_t{names.temporary_tables.size()});
  for (const std::string& table : names.temporary_tables) fields.add(table);
  fields.add(uint64_t{names.has_other_temporaries});
  return fields.finish();
}

Sha256 binding_digest(const HoldContext& context, const Activity& request) {
  Fields fields("gatehouse hold 1");
  fields.add(context_digest(context));
  fields.add(context.session_id);
  add_actor(fields, context);
  fields.add(static_cast<uint64_t>(request.kind));
  fields.add(static_cast<uint64_t>(request.protocol));
  fields.add(request.text_bytes);
  fields.add(request.text);
  fields.add(request.resolved_text);
  fields.add(uint64_t{request.parameters.size()});
  for (const Parameter& parameter : request.parameters) {
    fields.add(uint64_t{parameter.is_null});
    fields.add(uint64_t{parameter.is_binary});
    fields.add(uint64_t{parameter.type_oid});
    fields.add(parameter.value);
  }
  fields.add(uint64_t{request.options.size()});
  for (const Setting& option : request.options) {
    fields.add(option.name);
    fields.add(option.value);
  }
  return fields.finish();
}

bool is_bindable(const Activity& request) {
  return request.text_bytes <= request.text.size() && request.fidelity == Fidelity::kComplete &&
         std::ranges::none_of(request.parameters, [](const Parameter& parameter) { return parameter.is_cut; });
}

void describe_hold(const HoldContext& context, const Activity& request, const judge::FactsSummary& facts,
                   v1::HoldRequest& out) {
  const SessionFacts& session = context.session;
  const sql::NameContext& names = context.state.names();
  out.set_text(std::string(request.text.substr(0, kHoldTextBytesMax)));
  if (request.text.size() > kHoldTextBytesMax) out.set_text_bytes(request.text.size());
  out.set_resolved_text(std::string(request.resolved_text.substr(0, kHoldTextBytesMax)));
  if (request.kind == ActivityKind::kStatement) {
    out.set_protocol(static_cast<v1::StatementProtocol>(request.protocol));
    out.set_transaction(static_cast<v1::TransactionState>(request.transaction));
    put_facts(request, facts, *out.mutable_facts());
  }
  put_parameters(request, out);
  out.set_host(std::string(context.host));
  out.set_session(std::string(context.session_id));
  out.set_database_label(session.database_label);
  out.set_database_address(address_of(session));
  out.set_database(text_of(session.database));
  out.set_user(text_of(session.user));
  out.set_role(text_of(names.role));
  out.set_search_path(text_of(names.search_path.value_or("")));
  out.set_search_path_unknown(!names.search_path.has_value());
  out.set_client_encoding(text_of(session.client_encoding));
  out.set_standard_conforming_strings(context.state.lexical().mode.standard_conforming_strings);
  out.set_application_name(text_of(session.application_name));
  out.set_client_address(session.client_address);
  if (session.labels != nullptr)
    for (const auto& [name, text] : *session.labels) (*out.mutable_labels())[name] = text;
  if (context.actor != nullptr) put_actor(*context.actor, *out.mutable_process());
  const Sha256 bound = context_digest(context);
  out.set_context_sha256(bound.data(), bound.size());
}

}  // namespace gatehouse::runtime
