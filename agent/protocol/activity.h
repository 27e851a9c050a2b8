// SPDX-License-Identifier: Apache-2.0
// Activity: one finished or refused action of a session, with everything the wire told of it.
// Pure data: produced by protocol sessions, consumed by runtime, rules and replay.
//
// Views and spans are valid until the sink call that got them returns.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "common/process_key.h"

namespace gatehouse {

// How much of the truth an activity carries. Ordered: a later one is worse.
enum class Fidelity : uint8_t {
  kComplete,
  kTruncated,        // text or parameters longer than the limit; their head is here
  kAfterGap,         // bytes before or inside were lost: text may be unknown
  kJoinedMidStream,  // the session was open before; user, database or prepared text may be unknown
  kOpaque,           // encrypted, or not the protocol: nothing of the content is known
};

enum class ActivityKind : uint8_t {
  kConnect,       // startup message seen: user, database, options
  kAuthenticate,  // method and outcome
  kStatement,     // one SQL command or protocol-level operation the server ran or refused
  kCancel,        // CancelRequest connection
  kNotify,        // NotificationResponse delivered to this session
  kOpaque,        // the session turned to TLS or GSS, or is not the protocol
  kDisconnect,    // the session ended; totals
};

enum class Outcome : uint8_t {
  kUnknown,  // the answer was not seen
  kOk,
  kError,      // ErrorResponse; sqlstate set
  kSuspended,  // portal suspended by its row limit
  kSkipped,    // after an error in a pipeline the server discarded it until Sync
  kAborted,    // the connection ended before the answer
};

// How the client asked for it.
enum class StatementProtocol : uint8_t {
  kNone,
  kSimple,        // Query
  kExtended,      // Execute of a portal
  kFunctionCall,  // FunctionCall
  kReplication,   // a replication command on a walsender connection
  kCopyData,      // unused as a statement; COPY belongs to the statement that started it
};

enum class TransactionState : uint8_t { kUnknown, kIdle, kActive, kFailed };

struct Parameter {
  std::string_view value{};  // as on the wire; binary values are raw bytes
  bool is_null = false;
  bool is_binary = false;
  bool is_cut = false;
  uint32_t type_oid = 0;  // 0: not told
};

struct Setting {
  std::string_view name{};
  std::string_view value{};
};

struct Activity {
  ActivityKind kind = ActivityKind::kStatement;
  Fidelity fidelity = Fidelity::kComplete;
  Outcome outcome = Outcome::kUnknown;

  uint64_t start_ns = 0;        // CLOCK_BOOTTIME: first byte of the request
  uint64_t end_ns = 0;          // last byte of the answer
  uint64_t request_offset = 0;  // where the request's first frame starts in the request stream
  uint64_t request_bytes = 0;   // wire bytes of the frames that make it up
  uint64_t response_bytes = 0;  // wire bytes of its answer
  ImageKey writer{};            // who wrote the request's first byte

  // Session, as of this activity. Stable strings owned by the session.
  std::string_view user{};
  std::string_view database{};
  std::string_view application_name{};
  std::string_view server_version{};
  std::string_view client_encoding{};
  bool standard_conforming_strings = true;  // as far as the server has said
  uint32_t backend_pid = 0;
  TransactionState transaction = TransactionState::kUnknown;  // after it

  // kConnect: startup options; kOpaque: "why", where the reason has one.
  std::span<const Setting> options{};
  // kAuthenticate: "password", "md5", "scram-sha-256", "gss", …; "none" where the server asked for nothing (trust,
  // peer, ident and cert look the same on the wire). kOpaque: "tls", "gss", "not-postgresql".
  std::string_view method{};
  std::string_view protocol_version{};  // "3.0", "3.2"

  // kStatement
  StatementProtocol protocol = StatementProtocol::kNone;
  // What the client sent, head of it if truncated. kFunctionCall sends no text: "FUNCTION CALL <oid>".
  std::string_view text{};
  uint64_t text_bytes = 0;           // full length
  std::string_view resolved_text{};  // SQL-level EXECUTE/FETCH: the statement it runs; else empty
  std::string_view statement_name{};
  std::string_view portal_name{};
  std::span<const Parameter> parameters{};
  std::string_view command_tag{};  // "SELECT 5", as the server said it
  uint64_t rows = 0;               // rows returned or affected, exact where the server or the stream tells
  uint64_t copy_bytes = 0;         // payload moved by COPY, either way
  uint32_t statement_index = 0;    // position within a multi-statement Query
  std::string_view sqlstate{};     // 5 characters on error
  std::string_view error_severity{};
  std::string_view error_message{};

  // kCancel
  uint32_t cancel_backend_pid = 0;
  // kNotify
  std::string_view channel{};
  uint64_t payload_bytes = 0;
  // kDisconnect: why ("terminate", "closed", "fatal-error", "server-closed", "exit").
  std::string_view reason{};
};

// As people write them, in the order of the enumerators.
inline constexpr std::array<std::string_view, 5> kFidelityWords{"complete", "truncated", "after-gap",
                                                                "joined-mid-stream", "opaque"};
inline constexpr std::array<std::string_view, 7> kActivityWords{"connect",      "authenticate", "statement", "cancel",
                                                                "notification", "opaque",       "disconnect"};
inline constexpr std::array<std::string_view, 6> kOutcomeWords{"unknown",   "ok",      "error",
                                                               "suspended", "skipped", "aborted"};
inline constexpr std::array<std::string_view, 6> kProtocolWords{
    "", "simple", "extended", "function-call", "replication", ""};
inline constexpr std::array<std::string_view, 4> kTransactionWords{"unknown", "idle", "active", "failed"};

class ActivitySink {
 public:
  virtual ~ActivitySink() = default;
  virtual void on_activity(const Activity& activity) = 0;
};

}  // namespace gatehouse
