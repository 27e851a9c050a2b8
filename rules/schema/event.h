// SPDX-License-Identifier: Apache-2.0
// What rules judge: one event, as plain data. The agent fills it from what it has just seen, the collector's history
// and the cases beside rules fill it as well, and all of them judge by the same conditions. docs/rules.md lists what
// conditions may name; rules/schema/fields.def is the one table behind it.
//
// Everything is borrowed: who fills it keeps the texts for as long as it is judged. Not known: empty, 0, false, null.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/sql/facts.h"
#include "agent/sql/resolver.h"
#include "common/hex.h"
#include "rules/engine/cel_value.h"
#include "rules/engine/policy.h"

namespace gatehouse::rules {

using Texts = std::vector<std::string_view>;
using Labels = std::vector<std::pair<std::string_view, std::string_view>>;

// As `on:` of a rule says it, in the order of event_kinds().
enum class Occasion : uint8_t {
  kStatement,
  kConnect,
  kAuthenticate,
  kCancel,
  kNotification,
  kOpaque,
  kDisconnect,
  kGap,
};
inline constexpr size_t kOccasions = 8;

struct Ancestor {
  int64_t pid = 0;
  std::string_view exe{}, name{}, command{};
};

struct Actor {
  int64_t pid = 0;
  std::string_view exe{}, name{}, sha256{}, command{}, cwd{};
  bool is_deleted = false;
  Texts arguments{};
  std::string_view user{}, login_user{};
  int64_t uid = 0, euid = 0;
  std::string_view tty{}, unit{}, container{}, pod{};
  std::string_view agent{}, agent_kind{}, automation{}, automation_kind{}, login{};  // programs.h
  Texts ancestry{};                                                                  // program files, nearest first
  std::vector<Ancestor> ancestors{};
  cel::Timestamp start{};
  int64_t opener_pid = 0;
  std::string_view opener_exe{};
};

struct SessionView {
  std::string_view id{}, user{}, application{}, client{}, client_address{}, transport{}, named_by{};
  int64_t backend_pid = 0;
  bool is_encrypted = false, is_joined = false, is_gated = false;
  cel::Timestamp opened{};
};

struct Database {
  std::string_view engine{}, label{}, name{}, version{}, address{}, exe{};
  int64_t pid = 0;
  Labels labels{};
};

struct Origin {
  std::string_view id{}, host{};
};

// As sql::Object, Column and Function, or as the catalog resolves them.
struct ObjectView {
  std::string_view schema{}, name{}, kind{}, alias{};
  sql::Effects uses{}, deferred{};
  bool is_filtered = false;
  std::string_view through{};  // what reaches it; empty: the text names it
};
struct ColumnView {
  std::string_view schema{}, table{};  // of the relation, where it can be told
  std::string_view name{};
  sql::Effects uses{};
};
struct FunctionView {
  std::string_view schema{}, name{}, function_class{}, reason{};
  std::string_view language{}, owner{};
  bool is_security_definer = false, is_deferred = false;
  std::string_view through{};
};

// What changes a relation's rows.
inline constexpr sql::Effects kWrites{sql::Effect::kInsert, sql::Effect::kUpdate, sql::Effect::kDelete,
                                      sql::Effect::kTruncate};

// One statement of a text. set_facts() sets all from `facts` on.
struct StatementView {
  std::string_view text{}, resolved{}, tag{}, protocol{}, name{}, portal{}, transaction{};
  Texts parameters{};
  int64_t index = 0, bytes = 0;

  const sql::Facts* facts = nullptr;          // of the text that it stands in; null: not analysed
  const sql::Statement* statement = nullptr;  // never null once judged
  std::string_view refusal{};                 // empty: parsed
  std::string_view verb{};
  sql::Effects effects{}, deferred{};
  std::vector<ObjectView> objects{};
  std::vector<ColumnView> columns{};
  std::vector<FunctionView> functions{};
  Texts reads{}, writes{}, unknowns{};
  std::vector<std::string> names{};  // what the two borrow, and no other text: grows, and is kept for the next one
  HexDigits fingerprint{};
};

struct ResultView {
  int64_t rows = 0, bytes = 0, copy_bytes = 0;
  std::string_view sqlstate{}, error{};
};

struct ConnectView {
  std::string_view protocol_version{};
  Labels options{};
};
struct AuthenticationView {
  std::string_view method{}, sqlstate{}, error{};
};
struct CancelView {
  int64_t backend_pid = 0;
};
struct NotificationView {
  std::string_view channel{};
  int64_t payload_bytes = 0;
};
struct OpaqueView {
  std::string_view reason{};
};
struct DisconnectView {
  std::string_view reason{}, coverage{};
  int64_t request_bytes = 0, response_bytes = 0, statements = 0, lost_bytes = 0;
};
struct GapView {
  std::string_view reason{};
  int64_t bytes = 0, events = 0;
};

struct Event {
  Occasion occasion = Occasion::kStatement;
  cel::Timestamp now{};
  int64_t duration_ns = 0;
  std::string_view outcome{}, fidelity{};
  const Actor* actor = nullptr;  // null: not on this host, or not known
  Origin agent{};
  SessionView session{};
  Database database{};
  StatementView statement{};
  ResultView result{};
  ConnectView connect{};
  AuthenticationView authentication{};
  CancelView cancel{};
  NotificationView notification{};
  OpaqueView opaque{};
  DisconnectView disconnect{};
  GapView gap{};
};

// What is known of a text.
struct Analyzed {
  const sql::Facts* facts = nullptr;             // null: it was not analysed, and `refusal` says why
  const sql::ResolvedFacts* resolved = nullptr;  // null: without a catalog
  std::string_view refusal = "not-analysed";
};
// Makes `statement` number `index` of the text. Where nothing is known of what it does, it is a statement of unknown
// effect that filters no rows, never a harmless one; `verb` is what it is called then. Allocates nothing that it does
// not keep for the next one.
void set_facts(StatementView& statement, const Analyzed& analyzed, size_t index, std::string_view verb);
// How many there are to judge in a text: at least one.
size_t statements_of(const sql::Facts* facts);

cel::Timestamp instant_of(int64_t unix_ns);
// Actor::name of Actor::exe: the file without its folder.
std::string_view base_name(std::string_view path);
// For events that are not seen as they happen: what programs.h makes of the actor's and its ancestors' command lines,
// where nothing is said of it yet.
void complete(Actor& actor);

// In the order of Occasion; constants, for load_policy().
std::span<const EventKind> event_kinds();

// The variables of the event's kind, in the order of its schema. They borrow `event`.
inline constexpr size_t kVariablesMax = 12;
class Variables {
 public:
  explicit Variables(const Event& event);
  [[nodiscard]] std::span<const cel::Value> values() const { return {values_.data(), count_}; }
  [[nodiscard]] size_t kind() const { return kind_; }

 private:
  std::array<cel::Value, kVariablesMax> values_;
  size_t count_;
  size_t kind_;
};

}  // namespace gatehouse::rules
