// SPDX-License-Identifier: Apache-2.0
#include "collector/store/flatten.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <map>

#include "common/hex.h"
#include "common/utf8.h"

namespace gatehouse::store {

std::string_view to_text(v1::Outcome outcome) {
  switch (outcome) {
    case v1::OUTCOME_OK:
      return "ok";
    case v1::OUTCOME_ERROR:
      return "error";
    case v1::OUTCOME_SUSPENDED:
      return "suspended";
    case v1::OUTCOME_SKIPPED:
      return "skipped";
    case v1::OUTCOME_ABORTED:
      return "aborted";
    default:
      return "unknown";
  }
}

std::string_view to_text(v1::Fidelity fidelity) {
  switch (fidelity) {
    case v1::FIDELITY_COMPLETE:
      return "complete";
    case v1::FIDELITY_TRUNCATED:
      return "truncated";
    case v1::FIDELITY_AFTER_GAP:
      return "after-gap";
    case v1::FIDELITY_JOINED_MID_STREAM:
      return "joined-mid-stream";
    default:
      return "opaque";  // what a newer agent means by its number, it does not promise more than this
  }
}

std::string_view to_text(v1::StatementProtocol protocol) {
  switch (protocol) {
    case v1::STATEMENT_PROTOCOL_SIMPLE:
      return "simple";
    case v1::STATEMENT_PROTOCOL_EXTENDED:
      return "extended";
    case v1::STATEMENT_PROTOCOL_FUNCTION_CALL:
      return "function-call";
    case v1::STATEMENT_PROTOCOL_REPLICATION:
      return "replication";
    default:
      return "";
  }
}

std::string_view to_text(v1::CoverageVerdict verdict) {
  switch (verdict) {
    case v1::COVERAGE_VERDICT_FULL:
      return "full";
    case v1::COVERAGE_VERDICT_TRUNCATED:
      return "truncated";
    case v1::COVERAGE_VERDICT_GAPS:
      return "gaps";
    case v1::COVERAGE_VERDICT_BLIND:
      return "blind";
    case v1::COVERAGE_VERDICT_OPAQUE:
      return "opaque";
    default:
      return "";
  }
}

std::string_view to_text(v1::TransactionState state) {
  switch (state) {
    case v1::TRANSACTION_STATE_IDLE:
      return "idle";
    case v1::TRANSACTION_STATE_ACTIVE:
      return "active";
    case v1::TRANSACTION_STATE_FAILED:
      return "failed";
    default:
      return "unknown";
  }
}

std::string_view to_text(v1::Action action, bool would) {
  switch (action) {
    case v1::ACTION_ALERT:
      return would ? "would alert" : "alert";
    case v1::ACTION_MASK:
      return would ? "would mask" : "mask";
    case v1::ACTION_HOLD:
      return would ? "would hold" : "hold";
    case v1::ACTION_BLOCK:
      return would ? "would block" : "block";
    case v1::ACTION_TERMINATE:
      return would ? "would terminate" : "terminate";
    default:
      return "";
  }
}

std::string_view to_text(v1::Severity severity) {
  switch (severity) {
    case v1::SEVERITY_INFO:
      return "info";
    case v1::SEVERITY_LOW:
      return "low";
    case v1::SEVERITY_MEDIUM:
      return "medium";
    case v1::SEVERITY_HIGH:
      return "high";
    case v1::SEVERITY_CRITICAL:
      return "critical";
    default:
      return "";
  }
}

std::string masked_text(std::string_view column, std::string_view method, uint64_t values, std::string_view mask) {
  std::string text(column);
  text.append(1, ' ').append(method).append(1, ' ').append(std::to_string(values)).append(1, ' ').append(mask);
  return text;
}

void FindingSum::add(int found_action, bool is_would, int found_severity) {
  const auto weight = [](int some_action, bool some_would) {
    const bool is_done = !some_would && some_action > v1::ACTION_ALERT;
    return std::pair(is_done, std::pair(some_action, !some_would));
  };
  if (weight(found_action, is_would) > weight(action, would)) {
    action = found_action;
    would = is_would;
  }
  severity = std::max(severity, found_severity);
}

std::string fingerprint_text(uint64_t fingerprint) {
  const HexDigits digits = hex_digits(fingerprint);
  return {digits.data(), digits.size()};
}

void append_parameter(std::string_view value, bool is_null, bool is_binary, std::string& text) {
  if (is_null) {
    text += "NULL";
  } else if (is_binary) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    text += "\\x";
    text.reserve(text.size() + 2 * value.size());
    for (const char c : value) {
      text += kDigits[static_cast<unsigned char>(c) >> 4];
      text += kDigits[static_cast<unsigned char>(c) & 15];
    }
  } else {
    append_as_utf8(text, value);
  }
}

std::string cut_text_detail(uint64_t bytes, uint64_t bytes_of) {
  return "text cut: " + std::to_string(bytes) + " of " + std::to_string(bytes_of) + " bytes";
}

namespace {

std::string address_text(const std::string& address, uint32_t port) {
  const bool is_v6 = address.find(':') != std::string::npos;
  return (is_v6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

std::string_view base_name(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string_view transport_text(v1::Transport transport) {
  switch (transport) {
    case v1::TRANSPORT_TCP:
      return "tcp";
    case v1::TRANSPORT_UNIX:
      return "unix";
    default:
      return "";
  }
}

void set(std::string* field, std::string_view text) {
  field->assign(text);
}

void set_utf8(std::string* field, std::string_view bytes) {
  if (is_valid_utf8(bytes)) {
    field->assign(bytes);
  } else {
    append_as_utf8(*field, bytes);
  }
}

void add_body(const v1::Connect& connect, v1::Row& row) {
  set(row.mutable_kind(), "connect");
  std::string& detail = *row.mutable_detail();
  detail = "protocol=" + connect.protocol_version();
  const std::map<std::string, std::string> sorted(connect.options().begin(), connect.options().end());
  for (const auto& [name, value] : sorted) detail += " " + name + "=" + value;
}

void add_body(const v1::Authenticate& authenticate, v1::Row& row) {
  set(row.mutable_kind(), "authenticate");
  row.set_detail(authenticate.method());
  row.set_result_sqlstate(authenticate.sqlstate());
  row.set_result_error(authenticate.message());
}

void add_body(const v1::Statement& statement, v1::Row& row) {
  set(row.mutable_kind(), "statement");
  set_utf8(row.mutable_statement_text(), statement.text());
  set_utf8(row.mutable_statement_resolved(), statement.resolved_text());
  row.set_statement_verb(statement.verb());
  row.set_statement_tag(statement.command_tag());
  set(row.mutable_statement_protocol(), to_text(statement.protocol()));
  row.set_statement_name(statement.statement_name());
  row.set_statement_portal(statement.portal_name());
  for (const v1::Parameter& parameter : statement.parameters())
    append_parameter(parameter.value(), parameter.is_null(), parameter.is_binary(), *row.add_statement_parameters());
  set(row.mutable_statement_transaction(), to_text(statement.transaction()));
  row.set_statement_index(statement.statement_index());
  row.set_result_rows(statement.rows());
  row.set_result_bytes(statement.response_bytes());
  row.set_result_copy_bytes(statement.copy_bytes());
  row.set_result_sqlstate(statement.sqlstate());
  row.set_result_error(statement.error_message());
  row.set_request_bytes(statement.request_bytes());
  if (statement.text_bytes() > statement.text().size())
    row.set_detail(cut_text_detail(statement.text().size(), statement.text_bytes()));
}

void add_body(const v1::Cancel& cancel, v1::Row& row) {
  set(row.mutable_kind(), "cancel");
  row.set_detail("backend=" + std::to_string(cancel.backend_pid()));
}

void add_body(const v1::Notification& notification, v1::Row& row) {
  set(row.mutable_kind(), "notification");
  row.set_detail("channel=" + notification.channel());
  row.set_result_bytes(notification.payload_bytes());
}

void add_body(const v1::Opaque& opaque, v1::Row& row) {
  set(row.mutable_kind(), "opaque");
  row.set_detail(opaque.reason());
}

// "request ring-full bytes=4096 gaps=2 from=120 to=9000": words as in a gap's detail.
void add_stream(std::string_view direction, const v1::StreamCoverage& stream, v1::Row& row) {
  const auto reason = [&](std::string_view why, uint64_t bytes, const std::string& where = {}) {
    if (bytes > 0)
      *row.add_coverage_reasons() =
          std::string(direction) + " " + std::string(why) + " bytes=" + std::to_string(bytes) + where;
  };
  reason("opened-before-watching", stream.begin());
  reason("cut", stream.cut());
  reason("opaque", stream.opaque());
  for (const v1::Lost& lost : stream.lost()) {
    reason(lost.reason(), lost.bytes(),
           " gaps=" + std::to_string(lost.gaps()) + " from=" + std::to_string(lost.first_offset()) +
               " to=" + std::to_string(lost.end_offset()));
    row.set_coverage_lost_bytes(row.coverage_lost_bytes() + lost.bytes());
  }
  row.set_coverage_unseen_bytes(row.coverage_unseen_bytes() + stream.begin());
  row.set_coverage_decoded_bytes(row.coverage_decoded_bytes() + stream.decoded());
  row.set_coverage_left_out_bytes(row.coverage_left_out_bytes() + stream.left_out() + stream.withheld());
  row.set_coverage_cut_bytes(row.coverage_cut_bytes() + stream.cut());
  row.set_coverage_opaque_bytes(row.coverage_opaque_bytes() + stream.opaque());
}

void add_coverage(const v1::Coverage& coverage, v1::Row& row) {
  set(row.mutable_coverage_verdict(), to_text(coverage.verdict()));
  if (coverage.joined() && coverage.request().begin() + coverage.response().begin() == 0)
    row.add_coverage_reasons("opened-before-watching");
  if (!coverage.opaque_reason().empty()) row.add_coverage_reasons(coverage.opaque_reason());
  add_stream("request", coverage.request(), row);
  add_stream("response", coverage.response(), row);
}

void add_body(const v1::Disconnect& disconnect, v1::Row& row) {
  set(row.mutable_kind(), "disconnect");
  std::string& detail = *row.mutable_detail();
  detail = disconnect.reason() + " statements=" + std::to_string(disconnect.statements());
  if (disconnect.lost_request_bytes() + disconnect.lost_response_bytes() > 0)
    detail += " lost_request_bytes=" + std::to_string(disconnect.lost_request_bytes()) +
              " lost_response_bytes=" + std::to_string(disconnect.lost_response_bytes());
  row.set_request_bytes(disconnect.request_bytes());
  row.set_result_bytes(disconnect.response_bytes());
  row.set_result_sqlstate(disconnect.sqlstate());
  row.set_result_error(disconnect.error_message());
  if (disconnect.has_coverage()) add_coverage(disconnect.coverage(), row);
}

// "2026-11-29T18:05:01.123456Z".
std::string time_text(uint64_t unix_ns) {
  const auto seconds = static_cast<std::time_t>(unix_ns / 1'000'000'000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::array<char, 32> date{};
  std::array<char, 48> text{};
  std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(text.data(), text.size(), "%s.%06luZ", date.data(), unix_ns / 1000 % 1'000'000);
  return text.data();
}

void add_body(const v1::Gap& gap, v1::Row& row) {
  set(row.mutable_kind(), "gap");
  std::string& detail = *row.mutable_detail();
  detail = gap.reason();
  row.add_coverage_reasons(gap.reason());
  if (gap.events() > 0) detail += " events=" + std::to_string(gap.events());
  if (gap.events() > 0 && gap.offset() > 0) detail += " first_sequence=" + std::to_string(gap.offset());
  if (gap.bytes() > 0)
    detail += std::string(gap.response() ? " response" : " request") + " offset=" + std::to_string(gap.offset()) +
              " bytes=" + std::to_string(gap.bytes());
  if (gap.response_bytes() > 0) detail += " response_bytes=" + std::to_string(gap.response_bytes());
  if (!gap.server_state().empty()) detail += " state=" + gap.server_state();
  if (gap.since_unix_ns() > 0) detail += " since=" + time_text(gap.since_unix_ns());
  if (gap.until_unix_ns() > 0) detail += " until=" + time_text(gap.until_unix_ns());
  const bool is_past = gap.reason() == "opened-before-watching";
  row.set_coverage_lost_bytes(is_past ? 0 : gap.bytes());
  row.set_coverage_unseen_bytes(is_past ? gap.bytes() + gap.response_bytes() : 0);
}

// `name=value` words: what Agents is answered from, so their order is fixed.
void add_body(const v1::AgentStatus& status, std::string_view agent_version, v1::Row& row) {
  set(row.mutable_kind(), "agent");
  std::string& detail = *row.mutable_detail();
  detail = "phase=" + status.phase() + " version=" + std::string(agent_version) + " plane=" + status.plane() +
           " kernel=" + status.kernel();
  if (!status.policy().empty()) detail += " policy=" + status.policy();
  const std::map<std::string, uint64_t> sorted(status.counters().begin(), status.counters().end());
  for (const auto& [name, value] : sorted) detail += " " + name + "=" + std::to_string(value);
}

// "decided" says less than what was.
std::string_view state_text(const v1::Approval& approval) {
  if (approval.state() != "decided") return approval.state();
  return approval.verdict() == "approve" ? "approved" : "denied";
}

void add_body(const v1::Approval& approval, v1::Row& row) {
  set(row.mutable_kind(), "approval");
  row.set_approval_id(approval.id());
  set(row.mutable_approval_state(), state_text(approval));
  row.set_approval_rule(approval.rule());
  row.set_approval_reason(approval.reason());
  for (const std::string& reviewer : approval.reviewers()) {
    std::string& all = *row.mutable_approval_reviewer();
    all += (all.empty() ? "" : ", ") + reviewer;
  }
  set_utf8(row.mutable_statement_text(), approval.text());
  std::string& detail = *row.mutable_detail();
  detail = std::string(state_text(approval)) + " " + approval.id() + " rule=" + approval.rule();
  const auto add = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) detail += " " + std::string(name) + "=" + std::string(value);
  };
  if (approval.state() == "voted" || approval.state() == "unreachable") add("verdict", approval.verdict());
  for (const std::string& group : approval.approvers()) add("approvers", group);
  if (approval.quorum() > 1) add("quorum", std::to_string(approval.quorum()));
  if (approval.limit_ns() > 0) add("limit_s", std::to_string(approval.limit_ns() / 1'000'000'000));
  add("by", row.approval_reviewer());
  if (approval.break_glass()) detail += " break-glass";
  if (approval.grant_ns() > 0) {
    add("covers", approval.grant_scope());
    add("for_s", std::to_string(approval.grant_ns() / 1'000'000'000));
  }
  add("database", approval.database_label());
  add("host", approval.host());
  add("session", approval.session());
  add("claimed", approval.claimed());
  add("reason", approval.reason());
}

void add_findings(const v1::Event& event, v1::Row& row) {
  FindingSum sum;
  for (const v1::Finding& finding : event.findings()) {
    sum.add(finding.action(), finding.would(), finding.severity());
    row.add_findings(finding.rule());
    row.add_finding_messages(finding.message());
    for (const v1::MaskedColumn& masked : finding.masked())
      row.add_masked(masked_text(masked.column(), masked.method(), masked.values(), finding.rule()));
  }
  set(row.mutable_verdict(), to_text(static_cast<v1::Action>(sum.action), sum.would));
  set(row.mutable_severity(), to_text(static_cast<v1::Severity>(sum.severity)));
}

}  // namespace

void Flattener::add_facts(const v1::Event& event, v1::Row& row) const {
  if (event.facts() == 0 || event.facts() > static_cast<uint32_t>(batch_.facts_size())) return;
  const v1::StatementFacts& facts = batch_.facts(static_cast<int>(event.facts()) - 1);
  row.set_statement_normalized(facts.normalized());
  row.set_statement_refusal(facts.refusal());
  if (facts.fingerprint() != 0) row.set_statement_fingerprint(fingerprint_text(facts.fingerprint()));
  *row.mutable_statement_effects() = facts.effects();
  *row.mutable_statement_reads() = facts.reads();
  *row.mutable_statement_writes() = facts.writes();
  *row.mutable_statement_functions() = facts.functions();
}

Flattener::Flattener(const v1::Batch& batch, const Origin& origin) : batch_(batch), origin_(origin) {
  id_prefix_ = std::string(origin.agent_id) + "/" + std::string(origin.boot_id) + "/";
  for (const v1::Process& process : batch.processes()) {
    Actor& actor = actors_[process.id()];
    actor = {.process = &process, .command = {}, .ancestry = {}};
    for (const std::string& argument : process.arguments()) {
      if (!actor.command.empty()) actor.command += ' ';
      actor.command += argument;
    }
    for (const v1::Ancestor& ancestor : process.ancestors()) {
      if (!actor.ancestry.empty()) actor.ancestry += " < ";
      actor.ancestry += ancestor.exe().empty() ? std::string_view("?") : base_name(ancestor.exe());
    }
  }
  for (const v1::Session& session : batch.sessions()) {
    const bool is_unix = session.transport() == v1::TRANSPORT_UNIX;
    links_[session.id()] = {
        .session = &session,
        .id = id_prefix_ + std::to_string(session.id()),
        .client = is_unix ? "unix" : address_text(session.client_address(), session.client_port()),
        .address = is_unix ? session.server_address() : address_text(session.server_address(), session.server_port())};
  }
}

void Flattener::add_session(const v1::Session& session, v1::Row& row) const {
  row.set_database_engine(session.database_engine());
  row.set_database_label(session.database_label());
  row.set_database_name(session.database());
  row.set_database_version(session.server_version());
  const std::map<std::string, std::string> labels(session.labels().begin(), session.labels().end());
  for (const auto& [name, text] : labels) row.add_database_labels(name + "=" + text);
  row.set_session_user(session.user());
  row.set_session_application(session.application_name());
  set(row.mutable_session_transport(), transport_text(session.transport()));
  row.set_session_backend_pid(session.backend_pid());
  row.set_session_encrypted(session.encrypted());
  row.set_session_gated(session.gated());
  row.set_session_named_by(session.named_by());
}

void Flattener::add_actor(const v1::Event& event, const v1::Session* session, v1::Row& row) const {
  const auto writer = actors_.find(event.process());
  const v1::Process* const process = writer == actors_.end() ? nullptr : writer->second.process;
  if (process != nullptr) {
    row.set_actor_pid(process->pid());
    row.set_actor_exe(process->exe());
    row.set_actor_sha256(process->exe_sha256());
    row.set_actor_command(writer->second.command);
    row.set_actor_cwd(process->cwd());
    row.set_actor_user(process->user());
    row.set_actor_uid(process->uid());
    row.set_actor_login_user(process->login_user());
    row.set_actor_tty(process->tty());
    row.set_actor_unit(process->systemd_unit());
    row.set_actor_container(process->container_id());
    row.set_actor_ancestry(writer->second.ancestry);
    for (const v1::Ancestor& ancestor : process->ancestors()) {
      row.add_actor_ancestors(ancestor.exe());
      row.add_actor_ancestor_commands(ancestor.command());
    }
    row.set_actor_start_ns(process->start_time_ns());
    row.set_actor_agent(process->agent());
    row.set_actor_agent_kind(process->agent_kind());
    row.set_actor_automation(process->automation());
    row.set_actor_automation_kind(process->automation_kind());
    row.set_actor_login(process->login());
  }
  if (session == nullptr) return;
  const auto found = actors_.find(session->opener_process());
  if (found == actors_.end()) return;
  const v1::Process& opener = *found->second.process;
  // The same process after an exec has another image but is no other process.
  if (process != nullptr && opener.pid() == process->pid() && opener.start_time_ns() == process->start_time_ns())
    return;
  row.set_actor_opener_pid(opener.pid());
  row.set_actor_opener_exe(opener.exe());
}

void Flattener::add_server(const v1::Session& session, v1::Row& row) const {
  const auto found = actors_.find(session.server_process());
  if (found == actors_.end()) return;
  row.set_database_pid(found->second.process->pid());
  row.set_database_exe(found->second.process->exe());
}

void Flattener::flatten_own(const v1::Event& event, std::string_view agent_version, v1::Row& row) {
  row.set_time_ns(event.time_ns());
  row.set_duration_ns(event.duration_ns());
  set(row.mutable_outcome(), to_text(event.outcome()));
  set(row.mutable_fidelity(), to_text(event.fidelity()));
  add_findings(event, row);
  switch (event.body_case()) {
    case v1::Event::kConnect:
      return add_body(event.connect(), row);
    case v1::Event::kAuthenticate:
      return add_body(event.authenticate(), row);
    case v1::Event::kStatement:
      return add_body(event.statement(), row);
    case v1::Event::kCancel:
      return add_body(event.cancel(), row);
    case v1::Event::kNotification:
      return add_body(event.notification(), row);
    case v1::Event::kOpaque:
      return add_body(event.opaque(), row);
    case v1::Event::kDisconnect:
      return add_body(event.disconnect(), row);
    case v1::Event::kGap:
      return add_body(event.gap(), row);
    case v1::Event::kAgentStatus:
      return add_body(event.agent_status(), agent_version, row);
    case v1::Event::kApproval:
      return add_body(event.approval(), row);
    case v1::Event::BODY_NOT_SET:
      return set(row.mutable_kind(), "unknown");  // from a newer agent
  }
}

void Flattener::flatten(size_t index, v1::Row& row) const {
  row.Clear();
  const v1::Event& event = batch_.events(static_cast<int>(index));
  row.set_id(id_prefix_ + std::to_string(origin_.first_sequence + index));
  set(row.mutable_agent_id(), origin_.agent_id);
  row.set_host(batch_.host());
  row.set_policy(batch_.policy());
  const v1::Session* session = nullptr;
  if (event.session() != 0) {
    const auto link = links_.find(event.session());
    if (link == links_.end()) {
      row.set_session(id_prefix_ + std::to_string(event.session()));
    } else {
      session = link->second.session;
      row.set_session(link->second.id);
      row.set_session_client(link->second.client);
      row.set_database_address(link->second.address);
      add_session(*session, row);
      add_server(*session, row);
    }
  }
  add_actor(event, session, row);
  add_facts(event, row);
  flatten_own(event, batch_.agent_version(), row);
}

v1::Row unreadable_row(const Flattener::Origin& origin, uint32_t event_count, uint64_t received_ns,
                       std::string_view reason) {
  v1::Row row;
  row.set_id(std::string(origin.agent_id) + "/" + std::string(origin.boot_id) + "/" +
             std::to_string(origin.first_sequence));
  row.set_time_ns(received_ns);
  row.set_kind("gap");
  row.set_outcome("unknown");
  row.set_fidelity("opaque");
  set(row.mutable_agent_id(), origin.agent_id);
  row.set_detail("unreadable-batch events=" + std::to_string(event_count) + " " + std::string(reason));
  return row;
}

}  // namespace gatehouse::store
