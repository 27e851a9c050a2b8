// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/event_writer.h"

#include "agent/judge/actor_record.h"
#include "agent/sql/statements.h"
#include "common/utf8.h"
#include "gatehouse/v1/event.pb.h"

namespace gatehouse::runtime {
namespace {

using Writer = WireWriter;

// proto3 leaves defaults out; so do these, which keeps events small.
void put_number(Writer& writer, int field, uint64_t value) {
  if (value != 0) writer.add_uint64(static_cast<protozero::pbf_tag_type>(field), value);
}
void put_bytes(Writer& writer, int field, std::string_view value) {
  if (!value.empty()) writer.add_bytes(static_cast<protozero::pbf_tag_type>(field), value.data(), value.size());
}
// A proto3 `string` must be UTF-8, or the whole batch would not parse.
void put_text(Writer& writer, int field, std::string_view value) {
  if (value.empty()) return;
  if (is_valid_utf8(value)) return put_bytes(writer, field, value);
  std::string escaped;
  append_as_utf8(escaped, value);
  put_bytes(writer, field, escaped);
}
template <typename Enum>
void put_enum(Writer& writer, int field, Enum value) {
  put_number(writer, field, static_cast<uint64_t>(value));
}
Writer nested(Writer& parent, int field) {
  return Writer(parent, static_cast<protozero::pbf_tag_type>(field));
}

// A body of Event, which is there even if all its fields are defaults: the writer leaves an empty nested message out,
// while which body an event has is what it is. Parsers merge the two.
Writer body_of(Writer& event, int field) {
  event.add_message(static_cast<protozero::pbf_tag_type>(field), "", 0);
  return nested(event, field);
}

// The C++ enums of agent/protocol/activity.h are in the order of the schema's; these fail to compile when they drift.
static_assert(static_cast<int>(Fidelity::kOpaque) == v1::FIDELITY_OPAQUE);
static_assert(static_cast<int>(Fidelity::kAfterGap) == v1::FIDELITY_AFTER_GAP);
static_assert(static_cast<int>(Outcome::kAborted) == v1::OUTCOME_ABORTED);
static_assert(static_cast<int>(Outcome::kSuspended) == v1::OUTCOME_SUSPENDED);
static_assert(static_cast<int>(StatementProtocol::kReplication) == v1::STATEMENT_PROTOCOL_REPLICATION);
static_assert(static_cast<int>(StatementProtocol::kFunctionCall) == v1::STATEMENT_PROTOCOL_FUNCTION_CALL);
static_assert(static_cast<int>(CoverageVerdict::kFull) + 1 == v1::COVERAGE_VERDICT_FULL);
static_assert(static_cast<int>(CoverageVerdict::kOpaque) + 1 == v1::COVERAGE_VERDICT_OPAQUE);
static_assert(static_cast<int>(TransactionState::kFailed) == v1::TRANSACTION_STATE_FAILED);

void put_head(Writer& event, const EventHead& head, uint64_t time_unix_ns) {
  put_number(event, v1::Event::kTimeNsFieldNumber, time_unix_ns);
  put_number(event, v1::Event::kSessionFieldNumber, head.session);
  put_number(event, v1::Event::kProcessFieldNumber, head.process);
}

static_assert(static_cast<int>(rules::Action::kTerminate) + 1 == v1::ACTION_TERMINATE);
static_assert(static_cast<int>(rules::Severity::kCritical) + 1 == v1::SEVERITY_CRITICAL);

void put_judged(Writer& event, const Judged& judged) {
  using F = v1::Finding;
  put_number(event, v1::Event::kFactsFieldNumber, judged.facts);
  for (const judge::Found& found : judged.findings) {
    Writer out = nested(event, v1::Event::kFindingsFieldNumber);
    put_text(out, F::kRuleFieldNumber, found.rule);
    put_number(out, F::kActionFieldNumber, static_cast<uint64_t>(found.action) + 1);
    put_number(out, F::kWouldFieldNumber, found.would ? 1 : 0);
    put_number(out, F::kSeverityFieldNumber, static_cast<uint64_t>(found.severity) + 1);
    put_text(out, F::kMessageFieldNumber, found.message);
    put_number(out, F::kInDoubtFieldNumber, found.is_in_doubt ? 1 : 0);
    for (const judge::MaskedColumn& masked : found.masked) {
      using M = v1::MaskedColumn;
      Writer column = nested(out, F::kMaskedFieldNumber);
      put_text(column, M::kColumnFieldNumber, masked.column);
      put_text(column, M::kMethodFieldNumber, masked.method);
      put_number(column, M::kValuesFieldNumber, masked.values);
    }
  }
}

void put_parameters(Writer& statement, std::span<const Parameter> parameters) {
  using P = v1::Parameter;
  for (const Parameter& parameter : parameters) {
    Writer out = nested(statement, v1::Statement::kParametersFieldNumber);
    put_bytes(out, P::kValueFieldNumber, parameter.value);
    put_number(out, P::kIsNullFieldNumber, parameter.is_null ? 1 : 0);
    put_number(out, P::kIsBinaryFieldNumber, parameter.is_binary ? 1 : 0);
    put_number(out, P::kIsCutFieldNumber, parameter.is_cut ? 1 : 0);
    put_number(out, P::kTypeOidFieldNumber, parameter.type_oid);
  }
}

// The server's own word where it gave one; else the first keyword of the text.
std::string_view verb_of(const Activity& activity, std::string& scratch) {
  const std::string_view tag = activity.command_tag;
  const std::string_view text = activity.resolved_text.empty() ? activity.text : activity.resolved_text;
  if (tag.empty()) {
    scratch = sql::first_verb(text);
    for (char& c : scratch)
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    return scratch;
  }
  size_t words_end = tag.size();
  while (words_end > 0 && (tag[words_end - 1] == ' ' || (tag[words_end - 1] >= '0' && tag[words_end - 1] <= '9')))
    --words_end;
  return tag.substr(0, words_end);
}

void put_statement(Writer& event, const Activity& a, std::string& scratch) {
  using S = v1::Statement;
  Writer out = body_of(event, v1::Event::kStatementFieldNumber);
  put_enum(out, S::kProtocolFieldNumber,
           a.protocol == StatementProtocol::kCopyData ? StatementProtocol::kNone : a.protocol);
  put_bytes(out, S::kTextFieldNumber, a.text);
  if (a.text_bytes > a.text.size()) put_number(out, S::kTextBytesFieldNumber, a.text_bytes);
  put_bytes(out, S::kResolvedTextFieldNumber, a.resolved_text);
  put_text(out, S::kVerbFieldNumber, verb_of(a, scratch));
  put_text(out, S::kStatementNameFieldNumber, a.statement_name);
  put_text(out, S::kPortalNameFieldNumber, a.portal_name);
  put_parameters(out, a.parameters);
  put_text(out, S::kCommandTagFieldNumber, a.command_tag);
  put_number(out, S::kRowsFieldNumber, a.rows);
  put_number(out, S::kCopyBytesFieldNumber, a.copy_bytes);
  put_number(out, S::kStatementIndexFieldNumber, a.statement_index);
  put_text(out, S::kSqlstateFieldNumber, a.sqlstate);
  put_text(out, S::kErrorMessageFieldNumber, a.error_message);
  put_enum(out, S::kTransactionFieldNumber, a.transaction);
  put_number(out, S::kRequestOffsetFieldNumber, a.request_offset);
  put_number(out, S::kRequestBytesFieldNumber, a.request_bytes);
  put_number(out, S::kResponseBytesFieldNumber, a.response_bytes);
}

void put_connect(Writer& event, const Activity& a) {
  Writer out = body_of(event, v1::Event::kConnectFieldNumber);
  put_text(out, v1::Connect::kProtocolVersionFieldNumber, a.protocol_version);
  for (const Setting& option : a.options) {
    Writer entry = nested(out, v1::Connect::kOptionsFieldNumber);  // a map is a list of {key = 1, value = 2}
    put_text(entry, 1, option.name);
    put_text(entry, 2, option.value);
  }
}

void put_authenticate(Writer& event, const Activity& a) {
  Writer out = body_of(event, v1::Event::kAuthenticateFieldNumber);
  put_text(out, v1::Authenticate::kMethodFieldNumber, a.method);
  put_text(out, v1::Authenticate::kSqlstateFieldNumber, a.sqlstate);
  put_text(out, v1::Authenticate::kMessageFieldNumber, a.error_message);
}

void put_body(Writer& event, const Activity& a, std::string& scratch) {
  switch (a.kind) {
    case ActivityKind::kConnect:
      return put_connect(event, a);
    case ActivityKind::kAuthenticate:
      return put_authenticate(event, a);
    case ActivityKind::kStatement:
      return put_statement(event, a, scratch);
    case ActivityKind::kCancel: {
      Writer out = body_of(event, v1::Event::kCancelFieldNumber);
      return put_number(out, v1::Cancel::kBackendPidFieldNumber, a.cancel_backend_pid);
    }
    case ActivityKind::kNotify: {
      Writer out = body_of(event, v1::Event::kNotificationFieldNumber);
      put_text(out, v1::Notification::kChannelFieldNumber, a.channel);
      return put_number(out, v1::Notification::kPayloadBytesFieldNumber, a.payload_bytes);
    }
    case ActivityKind::kOpaque: {
      Writer out = body_of(event, v1::Event::kOpaqueFieldNumber);
      return put_text(out, v1::Opaque::kReasonFieldNumber, a.method);
    }
    case ActivityKind::kDisconnect: {
      Writer out = body_of(event, v1::Event::kDisconnectFieldNumber);
      return put_text(out, v1::Disconnect::kReasonFieldNumber, a.reason);
    }
  }
}

void put_stream(Writer& coverage, int field, const StreamReport& stream) {
  using S = v1::StreamCoverage;
  Writer out = nested(coverage, field);
  put_number(out, S::kBeginFieldNumber, stream.begin);
  put_number(out, S::kEndFieldNumber, stream.end);
  put_number(out, S::kDecodedFieldNumber, stream.decoded);
  put_number(out, S::kLeftOutFieldNumber, stream.left_out);
  put_number(out, S::kCutFieldNumber, stream.cut);
  put_number(out, S::kWithheldFieldNumber, stream.withheld);
  put_number(out, S::kOpaqueFieldNumber, stream.opaque);
  for (size_t i = 0; i < kLostReasons; ++i) {
    const LostSpan& span = stream.lost[i];
    if (span.bytes == 0) continue;
    Writer lost = nested(out, S::kLostFieldNumber);
    put_text(lost, v1::Lost::kReasonFieldNumber, lost_reason_name(static_cast<LostReason>(i)));
    put_number(lost, v1::Lost::kBytesFieldNumber, span.bytes);
    put_number(lost, v1::Lost::kGapsFieldNumber, span.gaps);
    put_number(lost, v1::Lost::kFirstOffsetFieldNumber, span.first_offset);
    put_number(lost, v1::Lost::kEndOffsetFieldNumber, span.end_offset);
  }
}

void put_coverage(Writer& disconnect, const CoverageReport& coverage) {
  using C = v1::Coverage;
  Writer out = nested(disconnect, v1::Disconnect::kCoverageFieldNumber);
  put_number(out, C::kVerdictFieldNumber, static_cast<uint64_t>(coverage.verdict) + 1);
  put_stream(out, C::kRequestFieldNumber, coverage.stream[static_cast<size_t>(Direction::kRequest)]);
  put_stream(out, C::kResponseFieldNumber, coverage.stream[static_cast<size_t>(Direction::kResponse)]);
  put_text(out, C::kOpaqueReasonFieldNumber, coverage.opaque_reason);
  put_number(out, C::kJoinedFieldNumber, coverage.joined ? 1 : 0);
}

}  // namespace

std::string_view lost_reason_name(LostReason reason) {
  constexpr std::string_view kNames[kLostReasons] = {"ring-full", "fault", "unsupported", "unsynced"};
  return kNames[static_cast<size_t>(reason)];
}

uint64_t process_id(const ProcessKey& key, uint32_t image_number) {
  if (!key.known()) return 0;
  uint64_t x = key.start_ns ^ (uint64_t{key.pid} << 40) ^ (uint64_t{image_number} << 20);
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;  // the finalizer of SplitMix64: a bijection, so no collision is added
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  x ^= x >> 31;
  return x == 0 ? 1 : x;
}

void write_activity(WireBuffer& out, const EventHead& head, const Activity& activity, uint64_t time_unix_ns,
                    std::string& scratch, const Judged& judged) {
  Writer batch(out);
  Writer event = nested(batch, v1::Batch::kEventsFieldNumber);
  put_head(event, head, time_unix_ns);
  put_judged(event, judged);
  if (activity.end_ns > activity.start_ns)
    put_number(event, v1::Event::kDurationNsFieldNumber, activity.end_ns - activity.start_ns);
  put_enum(event, v1::Event::kFidelityFieldNumber, activity.fidelity);
  put_enum(event, v1::Event::kOutcomeFieldNumber, activity.outcome);
  put_body(event, activity, scratch);
}

void write_disconnect(WireBuffer& out, const EventHead& head, const Activity& activity, uint64_t time_unix_ns,
                      const TransferTotals& totals, const CoverageReport& coverage, const Judged& judged) {
  using D = v1::Disconnect;
  Writer batch(out);
  Writer event = nested(batch, v1::Batch::kEventsFieldNumber);
  put_head(event, head, time_unix_ns);
  put_judged(event, judged);
  put_enum(event, v1::Event::kFidelityFieldNumber, activity.fidelity);
  put_enum(event, v1::Event::kOutcomeFieldNumber, activity.outcome);
  Writer body = body_of(event, v1::Event::kDisconnectFieldNumber);
  put_text(body, D::kReasonFieldNumber, activity.reason);
  put_number(body, D::kRequestBytesFieldNumber, totals.request_bytes);
  put_number(body, D::kResponseBytesFieldNumber, totals.response_bytes);
  put_number(body, D::kStatementsFieldNumber, totals.statements);
  put_number(body, D::kLostRequestBytesFieldNumber, totals.lost_request_bytes);
  put_number(body, D::kLostResponseBytesFieldNumber, totals.lost_response_bytes);
  put_text(body, D::kSqlstateFieldNumber, activity.sqlstate);
  put_text(body, D::kErrorMessageFieldNumber, activity.error_message);
  put_coverage(body, coverage);
}

void write_gap(WireBuffer& out, const EventHead& head, const GapReport& gap, uint64_t time_unix_ns,
               const Judged& judged) {
  using G = v1::Gap;
  Writer batch(out);
  Writer event = nested(batch, v1::Batch::kEventsFieldNumber);
  put_head(event, head, time_unix_ns);
  put_judged(event, judged);
  put_enum(event, v1::Event::kFidelityFieldNumber, gap.fidelity);
  Writer body = body_of(event, v1::Event::kGapFieldNumber);
  put_number(body, G::kResponseFieldNumber, gap.response ? 1 : 0);
  put_number(body, G::kOffsetFieldNumber, gap.offset);
  put_number(body, G::kBytesFieldNumber, gap.bytes);
  put_text(body, G::kReasonFieldNumber, gap.reason);
  put_number(body, G::kEventsFieldNumber, gap.events);
  put_number(body, G::kResponseBytesFieldNumber, gap.response_bytes);
  put_text(body, G::kServerStateFieldNumber, gap.server_state);
  put_number(body, G::kSinceUnixNsFieldNumber, gap.since_unix_ns);
  put_number(body, G::kUntilUnixNsFieldNumber, gap.until_unix_ns);
}

void write_approval(WireBuffer& out, const EventHead& head, std::string_view approval, uint64_t time_unix_ns) {
  Writer batch(out);
  Writer event = nested(batch, v1::Batch::kEventsFieldNumber);
  put_head(event, head, time_unix_ns);
  event.add_message(v1::Event::kApprovalFieldNumber, approval.data(), approval.size());
}

void write_status(WireBuffer& out, const StatusReport& status, uint64_t time_unix_ns) {
  using A = v1::AgentStatus;
  Writer batch(out);
  Writer event = nested(batch, v1::Batch::kEventsFieldNumber);
  put_head(event, {}, time_unix_ns);
  Writer body = body_of(event, v1::Event::kAgentStatusFieldNumber);
  put_text(body, A::kPhaseFieldNumber, status.phase);
  put_text(body, A::kPlaneFieldNumber, status.plane);
  put_text(body, A::kKernelFieldNumber, status.kernel);
  for (const auto& [name, value] : status.counters) {
    Writer entry = nested(body, A::kCountersFieldNumber);
    put_text(entry, 1, name);
    put_number(entry, 2, value);
  }
  put_text(body, A::kPolicyFieldNumber, status.policy);
  if (!status.sockets.empty()) body.add_message(A::kSocketsFieldNumber, status.sockets.data(), status.sockets.size());
}

void write_process(WireBuffer& out, const identity::Process& process,
                   std::span<const identity::Process* const> ancestors, const TimeBase& time) {
  using P = v1::Process;
  Writer batch(out);
  Writer body = nested(batch, v1::Batch::kProcessesFieldNumber);
  put_number(body, P::kIdFieldNumber, process_id(process.key, process.image_number));
  put_number(body, P::kPidFieldNumber, process.key.pid);
  put_number(body, P::kStartTimeNsFieldNumber, time.to_unix(process.key.start_ns));
  put_number(body, P::kExecNumberFieldNumber, process.exec_number);
  put_text(body, P::kExeFieldNumber, process.exe);
  put_number(body, P::kExeInodeFieldNumber, process.exe_inode);
  put_number(body, P::kExeDeviceFieldNumber, process.exe_device);
  put_number(body, P::kExeDeletedFieldNumber, process.exe_deleted ? 1 : 0);
  put_text(body, P::kExeSha256FieldNumber, process.exe_sha256);
  for (const std::string& argument : process.arguments) {
    std::string scratch;
    const std::string_view text = as_utf8(argument, scratch);
    body.add_string(P::kArgumentsFieldNumber, text.data(), text.size());  // an empty argument is an argument
  }
  put_text(body, P::kCwdFieldNumber, process.cwd);
  put_number(body, P::kUidFieldNumber, process.uid);
  put_number(body, P::kGidFieldNumber, process.gid);
  put_number(body, P::kEuidFieldNumber, process.euid);
  put_text(body, P::kUserFieldNumber, process.user);
  if (process.loginuid != UINT32_MAX) body.add_uint32(P::kLoginuidFieldNumber, process.loginuid);
  put_text(body, P::kLoginUserFieldNumber, process.login_user);
  if (process.audit_session != UINT32_MAX) body.add_uint32(P::kAuditSessionFieldNumber, process.audit_session);
  put_text(body, P::kTtyFieldNumber, process.tty);
  put_text(body, P::kCgroupFieldNumber, process.cgroup);
  put_text(body, P::kSystemdUnitFieldNumber, process.systemd_unit);
  put_text(body, P::kContainerIdFieldNumber, process.container_id);
  put_text(body, P::kPodUidFieldNumber, process.pod_uid);
  for (const identity::Process* ancestor : ancestors) {
    Writer entry = nested(body, P::kAncestorsFieldNumber);
    put_number(entry, v1::Ancestor::kPidFieldNumber, ancestor->key.pid);
    put_number(entry, v1::Ancestor::kStartTimeNsFieldNumber, time.to_unix(ancestor->key.start_ns));
    put_text(entry, v1::Ancestor::kExeFieldNumber, ancestor->exe);
    put_text(entry, v1::Ancestor::kCommandFieldNumber,
             judge::joined_arguments(*ancestor, judge::kAncestorCommandBytesMax));
  }
  put_number(body, P::kSnapshotFieldNumber, process.snapshot ? 1 : 0);
  const judge::ActsFor acts = judge::acts_for(process, ancestors);
  put_text(body, P::kAgentFieldNumber, acts.agent);
  put_text(body, P::kAgentKindFieldNumber, acts.agent_kind);
  put_text(body, P::kAutomationFieldNumber, acts.automation);
  put_text(body, P::kAutomationKindFieldNumber, acts.automation_kind);
  put_text(body, P::kLoginFieldNumber, acts.login);
}

void write_facts(WireBuffer& out, const judge::FactsSummary& facts) {
  using F = v1::StatementFacts;
  Writer batch(out);
  Writer body = nested(batch, v1::Batch::kFactsFieldNumber);
  put_text(body, F::kNormalizedFieldNumber, facts.normalized);
  if (facts.fingerprint != 0) body.add_fixed64(F::kFingerprintFieldNumber, facts.fingerprint);
  put_text(body, F::kRefusalFieldNumber, facts.refusal);
  for (size_t i = 0; i < sql::kEffects; ++i)
    if (const auto effect = static_cast<sql::Effect>(i); facts.effects.has(effect))
      put_text(body, F::kEffectsFieldNumber, to_string(effect));
  for (const std::string_view name : facts.reads) put_text(body, F::kReadsFieldNumber, name);
  for (const std::string_view name : facts.writes) put_text(body, F::kWritesFieldNumber, name);
  for (const std::string_view name : facts.functions) put_text(body, F::kFunctionsFieldNumber, name);
}

void write_session(WireBuffer& out, const SessionFacts& session) {
  using S = v1::Session;
  Writer batch(out);
  Writer body = nested(batch, v1::Batch::kSessionsFieldNumber);
  put_number(body, S::kIdFieldNumber, session.id);
  put_number(body, S::kOpenedTimeNsFieldNumber, session.opened_unix_ns);
  put_enum(body, S::kTransportFieldNumber,
           session.transport == Transport::kUnix ? v1::TRANSPORT_UNIX : v1::TRANSPORT_TCP);
  put_number(body, S::kCapturedAtClientFieldNumber, session.captured_at_client ? 1 : 0);
  put_number(body, S::kJoinedFieldNumber, session.joined ? 1 : 0);
  put_text(body, S::kClientAddressFieldNumber, session.client_address);
  put_number(body, S::kClientPortFieldNumber, session.client_port);
  put_text(body, S::kServerAddressFieldNumber, session.server_address);
  put_number(body, S::kServerPortFieldNumber, session.server_port);
  put_text(body, S::kDatabaseEngineFieldNumber, "postgresql");
  put_text(body, S::kDatabaseLabelFieldNumber, session.database_label);
  put_text(body, S::kUserFieldNumber, session.user);
  put_text(body, S::kDatabaseFieldNumber, session.database);
  put_text(body, S::kApplicationNameFieldNumber, session.application_name);
  put_text(body, S::kServerVersionFieldNumber, session.server_version);
  put_text(body, S::kClientEncodingFieldNumber, session.client_encoding);
  put_number(body, S::kBackendPidFieldNumber, session.backend_pid);
  put_number(body, S::kOpenerProcessFieldNumber, session.opener_process);
  put_number(body, S::kServerProcessFieldNumber, session.server_process);
  put_number(body, S::kEncryptedFieldNumber, session.encrypted ? 1 : 0);
  put_text(body, S::kNamedByFieldNumber, session.named_by);
  put_number(body, S::kGatedFieldNumber, session.gated ? 1 : 0);
  if (session.labels == nullptr) return;
  for (const auto& [name, text] : *session.labels) {
    Writer entry = nested(body, S::kLabelsFieldNumber);
    put_text(entry, 1, name);
    put_text(entry, 2, text);
  }
}

}  // namespace gatehouse::runtime
