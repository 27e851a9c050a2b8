// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <type_traits>

#include "common/check.h"
#include "rules/engine/cel_schema.h"
#include "rules/schema/event.h"

namespace gatehouse::rules {
namespace {

using cel::Field;
using cel::kBool;
using cel::kInt;
using cel::kString;
using cel::kStrings;
using cel::RecordType;
using cel::Type;
using cel::Value;

// Records that are facts have other names there.
using sql::Access;
using Change = sql::SessionChange;

extern const RecordType kAncestorType;
extern const RecordType kObjectViewType;
extern const RecordType kColumnViewType;
extern const RecordType kFunctionViewType;
extern const RecordType kChangeType;
extern const RecordType kAccessType;
constexpr Type kAncestor = cel::record_type(kAncestorType);
constexpr Type kObject = cel::record_type(kObjectViewType);
constexpr Type kColumn = cel::record_type(kColumnViewType);
constexpr Type kFunction = cel::record_type(kFunctionViewType);
constexpr Type kChange = cel::record_type(kChangeType);
constexpr Type kAccess = cel::record_type(kAccessType);
constexpr Type kAncestors = cel::list_type(kAncestor);
constexpr Type kObjects = cel::list_type(kObject);
constexpr Type kColumns = cel::list_type(kColumn);
constexpr Type kFunctions = cel::list_type(kFunction);
constexpr Type kChanges = cel::list_type(kChange);
constexpr Type kAccesses = cel::list_type(kAccess);

// Members.

constexpr const Type* type_of(const std::string_view* /*member*/) {
  return &kString;
}
constexpr const Type* type_of(const int64_t* /*member*/) {
  return &kInt;
}
constexpr const Type* type_of(const bool* /*member*/) {
  return &kBool;
}
constexpr const Type* type_of(const cel::Timestamp* /*member*/) {
  return &cel::kTimestamp;
}
constexpr const Type* type_of(const Texts* /*member*/) {
  return &kStrings;
}
constexpr const Type* type_of(const Labels* /*member*/) {
  return &cel::kLabels;
}
constexpr const Type* type_of(const sql::Effects* /*member*/) {
  return &kStrings;
}
constexpr const Type* type_of(const std::vector<Ancestor>* /*member*/) {
  return &kAncestors;
}
constexpr const Type* type_of(const std::vector<ObjectView>* /*member*/) {
  return &kObjects;
}
constexpr const Type* type_of(const std::vector<ColumnView>* /*member*/) {
  return &kColumns;
}
constexpr const Type* type_of(const std::vector<FunctionView>* /*member*/) {
  return &kFunctions;
}

Value value_of(std::string_view text) {
  return Value::string(text);
}
Value value_of(int64_t number) {
  return Value::integer(number);
}
Value value_of(bool flag) {
  return Value::boolean(flag);
}
Value value_of(cel::Timestamp time) {
  return Value::timestamp(time);
}
Value value_of(const Texts& texts) {
  return cel::strings_of(texts);
}
Value value_of(const Labels& labels) {
  return cel::labels_of(labels);
}
// A set of effects is a list of their words, in place: its elements are its bits.
Value effect_at(const void* list, size_t index) {
  uint32_t bits = static_cast<const sql::Effects*>(list)->bits();
  for (; index > 0; --index) bits &= bits - 1;
  return Value::string(to_string(static_cast<sql::Effect>(__builtin_ctz(bits))));
}
Value value_of(const sql::Effects& effects) {
  static constexpr cel::ListAccess kBits{&effect_at};
  return Value::list(&effects, static_cast<size_t>(__builtin_popcount(effects.bits())), &kBits);
}
template <const RecordType& kType, typename RecordT>
Value records_of(const std::vector<RecordT>& records) {
  return cel::list_of<[](const RecordT& record) { return Value::record(&kType, &record); }>(records);
}
Value value_of(const std::vector<Ancestor>& ancestors) {
  return records_of<kAncestorType>(ancestors);
}
Value value_of(const std::vector<ObjectView>& objects) {
  return records_of<kObjectViewType>(objects);
}
Value value_of(const std::vector<ColumnView>& columns) {
  return records_of<kColumnViewType>(columns);
}
Value value_of(const std::vector<FunctionView>& functions) {
  return records_of<kFunctionViewType>(functions);
}

template <typename RecordT, auto kMember>
Value get_member(const void* record) {
  return value_of(static_cast<const RecordT*>(record)->*kMember);
}

// Facts.

template <typename RecordT, Value (*kGet)(const RecordT&)>
Value get_fact(const void* record) {
  return kGet(*static_cast<const RecordT*>(record));
}

Value change_kind(const Change& change) {
  static constexpr std::string_view kKinds[] = {"set", "set-local", "reset", "reset-all", "discard"};
  return Value::string(kKinds[static_cast<size_t>(change.kind)]);
}
Value change_name(const Change& change) {
  return Value::string(change.name);
}
Value change_value(const Change& change) {
  return Value::string(change.value);
}
Value change_known(const Change& change) {
  return Value::boolean(change.is_value_known);
}

Value access_effect(const Access& access) {
  return Value::string(to_string(access.effect));
}
Value access_target(const Access& access) {
  return Value::string(access.target);
}

Value statement_parsed(const StatementView& view) {
  return Value::boolean(view.facts != nullptr && view.facts->parsed);
}
Value statement_command(const StatementView& view) {
  return Value::string(view.statement->command);
}
Value statement_verbs(const StatementView& view) {
  return cel::strings_of(view.statement->verbs);
}
Value statement_changes(const StatementView& view) {
  return records_of<kChangeType>(view.statement->session_changes);
}
Value statement_settings(const StatementView& view) {
  return records_of<kChangeType>(view.statement->settings);
}
Value statement_accesses(const StatementView& view) {
  return records_of<kAccessType>(view.statement->accesses);
}
Value statement_details(const StatementView& view) {
  return cel::strings_of(view.statement->details);
}
Value statement_handle(const StatementView& view) {
  return Value::string(view.statement->handle);
}
Value statement_filters_rows(const StatementView& view) {
  return Value::boolean(view.statement->filters_rows);
}
Value statement_has_limit(const StatementView& view) {
  return Value::boolean(view.statement->has_limit);
}
Value statement_limit(const StatementView& view) {
  constexpr uint64_t kMost = INT64_MAX;
  return Value::integer(static_cast<int64_t>(std::min(view.statement->limit.value_or(0), kMost)));
}
Value statement_normalized(const StatementView& view) {
  return Value::string(view.facts == nullptr ? std::string_view() : view.facts->normalized);
}
Value statement_fingerprint(const StatementView& view) {
  const bool is_known = view.facts != nullptr && view.facts->parsed;
  return Value::string({view.fingerprint.data(), is_known ? view.fingerprint.size() : 0});
}

// The list, cut by record: those of one stand together.
struct Listed {
  std::string_view record;
  Field field;
};
constexpr Listed kListed[] = {
#define GH_RULE_FIELD(record, name, member, meaning, example)                                                   \
  {#record,                                                                                                     \
   {name, type_of(static_cast<const decltype(record::member)*>(nullptr)), &get_member<record, &record::member>, \
    meaning, example}},
#define GH_RULE_FACT(record, name, type, getter, meaning, example) \
  {#record, {name, &type, &get_fact<record, &getter>, meaning, example}},
#include "rules/schema/fields.def"
};

constexpr size_t count_of(std::string_view record) {
  return static_cast<size_t>(std::ranges::count(kListed, record, &Listed::record));
}

template <size_t kCount>
constexpr std::array<Field, kCount> fields_of(std::string_view record) {
  std::array<Field, kCount> fields{};
  size_t at = 0;
  for (const Listed& listed : kListed)
    if (listed.record == record) fields[at++] = listed.field;
  return fields;
}

#define GH_RECORD(record, shown)                                            \
  constexpr auto k##record##Fields = fields_of<count_of(#record)>(#record); \
  constexpr RecordType k##record##Type{shown, k##record##Fields};           \
  static_assert(!k##record##Fields.empty())
#define GH_LISTED_RECORD(record, shown)                                     \
  constexpr auto k##record##Fields = fields_of<count_of(#record)>(#record); \
  const RecordType k##record##Type {                                        \
    shown, k##record##Fields                                                \
  }

GH_LISTED_RECORD(Ancestor, "ancestor");
GH_LISTED_RECORD(ObjectView, "object");
GH_LISTED_RECORD(ColumnView, "column");
GH_LISTED_RECORD(FunctionView, "function");
GH_LISTED_RECORD(Change, "change");
GH_LISTED_RECORD(Access, "access");
GH_RECORD(Actor, "actor");
GH_RECORD(SessionView, "session");
GH_RECORD(Database, "database");
GH_RECORD(Origin, "agent");
GH_RECORD(StatementView, "statement");
GH_RECORD(ResultView, "result");
GH_RECORD(ConnectView, "connect");
GH_RECORD(AuthenticationView, "authentication");
GH_RECORD(CancelView, "cancel");
GH_RECORD(NotificationView, "notification");
GH_RECORD(OpaqueView, "opaque");
GH_RECORD(DisconnectView, "disconnect");
GH_RECORD(GapView, "gap");
#undef GH_RECORD
#undef GH_LISTED_RECORD

constexpr Type kActorRecord = cel::record_type(kActorType);
constexpr Type kSessionRecord = cel::record_type(kSessionViewType);
constexpr Type kDatabaseRecord = cel::record_type(kDatabaseType);
constexpr Type kOriginRecord = cel::record_type(kOriginType);
constexpr Type kStatementRecord = cel::record_type(kStatementViewType);
constexpr Type kResultRecord = cel::record_type(kResultViewType);
constexpr Type kConnectRecord = cel::record_type(kConnectViewType);
constexpr Type kAuthenticationRecord = cel::record_type(kAuthenticationViewType);
constexpr Type kCancelRecord = cel::record_type(kCancelViewType);
constexpr Type kNotificationRecord = cel::record_type(kNotificationViewType);
constexpr Type kOpaqueRecord = cel::record_type(kOpaqueViewType);
constexpr Type kDisconnectRecord = cel::record_type(kDisconnectViewType);
constexpr Type kGapRecord = cel::record_type(kGapViewType);

using cel::Variable;
constexpr Variable kNow{"now", &cel::kTimestamp, "When it began", "2026-11-25T08:00:00Z"};
constexpr Variable kDuration{"duration", &cel::kDuration,
                             "From the first byte of the request to the last of the answer", "12ms"};
constexpr Variable kOutcome{"outcome", &kString, "ok, error, suspended, skipped, aborted or unknown", "ok"};
constexpr Variable kFidelity{"fidelity", &kString,
                             "How much of it was seen: complete, truncated, after-gap, joined-mid-stream or opaque",
                             "complete"};
constexpr Variable kAgent{"agent", &kOriginRecord, "Who saw it", ""};
constexpr Variable kDatabase{"database", &kDatabaseRecord, "The server's side", ""};
constexpr Variable kSession{"session", &kSessionRecord, "The connection", ""};
constexpr Variable kActor{"actor", &kActorRecord, "The process that asked, as the kernel knows it", ""};
constexpr Variable kStatement{"statement", &kStatementRecord, "What is asked, and what it does", ""};
constexpr Variable kResult{"result", &kResultRecord, "What came of it", ""};
constexpr Variable kConnect{"connect", &kConnectRecord, "The start-up message", ""};
constexpr Variable kAuthentication{"authentication", &kAuthenticationRecord, "How the client proved who it is", ""};
constexpr Variable kCancel{"cancel", &kCancelRecord, "A request to cancel a statement", ""};
constexpr Variable kNotification{"notification", &kNotificationRecord, "What NOTIFY brought", ""};
constexpr Variable kOpaque{"opaque", &kOpaqueRecord, "Why nothing can be read", ""};
constexpr Variable kDisconnect{"disconnect", &kDisconnectRecord, "The end of the session, and its totals", ""};
constexpr Variable kGap{"gap", &kGapRecord, "What was not seen", ""};

#define GH_EVERY_EVENT kNow, kDuration, kOutcome, kFidelity, kAgent, kDatabase, kSession, kActor
constexpr size_t kOfEveryEvent = 8;
constexpr Variable kStatementVariables[] = {GH_EVERY_EVENT, kStatement, kResult};
constexpr Variable kConnectVariables[] = {GH_EVERY_EVENT, kConnect};
constexpr Variable kAuthenticateVariables[] = {GH_EVERY_EVENT, kAuthentication};
constexpr Variable kCancelVariables[] = {GH_EVERY_EVENT, kCancel};
constexpr Variable kNotificationVariables[] = {GH_EVERY_EVENT, kNotification};
constexpr Variable kOpaqueVariables[] = {GH_EVERY_EVENT, kOpaque};
constexpr Variable kDisconnectVariables[] = {GH_EVERY_EVENT, kDisconnect};
constexpr Variable kGapVariables[] = {GH_EVERY_EVENT, kGap};
#undef GH_EVERY_EVENT

constexpr cel::Schema kSchemas[kOccasions] = {
    {kStatementVariables},    {kConnectVariables}, {kAuthenticateVariables}, {kCancelVariables},
    {kNotificationVariables}, {kOpaqueVariables},  {kDisconnectVariables},   {kGapVariables},
};
constexpr EventKind kKinds[kOccasions] = {
    {"statement", &kSchemas[0]},    {"connect", &kSchemas[1]}, {"authenticate", &kSchemas[2]}, {"cancel", &kSchemas[3]},
    {"notification", &kSchemas[4]}, {"opaque", &kSchemas[5]},  {"disconnect", &kSchemas[6]},   {"gap", &kSchemas[7]},
};

const Actor kNobody{};

}  // namespace

std::span<const EventKind> event_kinds() {
  return kKinds;
}

Variables::Variables(const Event& event) : count_(kOfEveryEvent), kind_(static_cast<size_t>(event.occasion)) {
  values_[0] = Value::timestamp(event.now);
  values_[1] = Value::duration(event.duration_ns);
  values_[2] = Value::string(event.outcome);
  values_[3] = Value::string(event.fidelity);
  values_[4] = Value::record(&kOriginType, &event.agent);
  values_[5] = Value::record(&kDatabaseType, &event.database);
  values_[6] = Value::record(&kSessionViewType, &event.session);
  values_[7] = Value::record(&kActorType, event.actor == nullptr ? &kNobody : event.actor);
  switch (event.occasion) {
    case Occasion::kStatement:
      GH_CHECK(event.statement.statement != nullptr);
      values_[count_++] = Value::record(&kStatementViewType, &event.statement);
      values_[count_++] = Value::record(&kResultViewType, &event.result);
      break;
    case Occasion::kConnect:
      values_[count_++] = Value::record(&kConnectViewType, &event.connect);
      break;
    case Occasion::kAuthenticate:
      values_[count_++] = Value::record(&kAuthenticationViewType, &event.authentication);
      break;
    case Occasion::kCancel:
      values_[count_++] = Value::record(&kCancelViewType, &event.cancel);
      break;
    case Occasion::kNotification:
      values_[count_++] = Value::record(&kNotificationViewType, &event.notification);
      break;
    case Occasion::kOpaque:
      values_[count_++] = Value::record(&kOpaqueViewType, &event.opaque);
      break;
    case Occasion::kDisconnect:
      values_[count_++] = Value::record(&kDisconnectViewType, &event.disconnect);
      break;
    case Occasion::kGap:
      values_[count_++] = Value::record(&kGapViewType, &event.gap);
      break;
  }
}

}  // namespace gatehouse::rules
