// SPDX-License-Identifier: Apache-2.0
// Writes proto/gatehouse/v1/event.proto messages straight into a buffer. This is the hot path of the agent: a
// message object per statement would cost more than everything else. Field numbers come from the generated code.
// Pure: no clock, no I/O.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/identity/process.h"
#include "agent/judge/examiner.h"
#include "agent/protocol/activity.h"
#include "agent/runtime/wire_buffer.h"
#include "agent/stream/records.h"
#include "common/coverage.h"

namespace gatehouse::runtime {

// What turns kernel times into Unix times: unix = boottime + offset.
struct TimeBase {
  int64_t unix_minus_boottime_ns = 0;
  [[nodiscard]] uint64_t to_unix(uint64_t boottime_ns) const {
    return static_cast<uint64_t>(static_cast<int64_t>(boottime_ns) + unix_minus_boottime_ns);
  }
};

// Names a process image within one boot of the agent: equal for equal (key, image_number), else different but for a
// chance of 2^-64 per pair. 0 for an unknown process.
uint64_t process_id(const ProcessKey& key, uint32_t image_number);

// What every event has.
struct EventHead {
  uint64_t session = 0;
  uint64_t process = 0;
};

// What was found out of it; nothing, where nobody judges.
struct Judged {
  std::span<const judge::Found> findings{};
  uint32_t facts = 0;  // Event.facts
};

// Each appends one `Batch.events` entry (tag, length, body) to `out`.
void write_activity(WireBuffer& out, const EventHead& head, const Activity& activity, uint64_t time_unix_ns,
                    std::string& scratch, const Judged& judged = {});

struct TransferTotals {
  uint64_t request_bytes = 0, response_bytes = 0, statements = 0, lost_request_bytes = 0, lost_response_bytes = 0;
};
// Bytes lost for one reason, and where.
struct LostSpan {
  uint64_t bytes = 0, gaps = 0, first_offset = 0, end_offset = 0;
};
std::string_view lost_reason_name(LostReason reason);
// What became of the bytes of one direction; v1.StreamCoverage.
struct StreamReport {
  uint64_t begin = 0, end = 0, decoded = 0, left_out = 0, cut = 0, withheld = 0, opaque = 0;
  std::array<LostSpan, kLostReasons> lost{};
};
struct CoverageReport {
  CoverageVerdict verdict = CoverageVerdict::kFull;
  std::array<StreamReport, kDirections> stream{};
  std::string_view opaque_reason{};
  bool joined = false;
};
// For ActivityKind::kDisconnect.
void write_disconnect(WireBuffer& out, const EventHead& head, const Activity& activity, uint64_t time_unix_ns,
                      const TransferTotals& totals, const CoverageReport& coverage, const Judged& judged = {});

struct GapReport {
  bool response = false;
  uint64_t offset = 0, bytes = 0, events = 0;
  uint64_t response_bytes = 0;  // for "opened-before-watching", where `bytes` are of requests
  std::string_view reason{};
  std::string_view server_state{};
  uint64_t since_unix_ns = 0, until_unix_ns = 0;  // for "agent-killed", "agent-stopped"
  Fidelity fidelity = Fidelity::kAfterGap;
};
void write_gap(WireBuffer& out, const EventHead& head, const GapReport& gap, uint64_t time_unix_ns,
               const Judged& judged = {});

// `approval`: gatehouse.v1.Approval, serialized.
void write_approval(WireBuffer& out, const EventHead& head, std::string_view approval, uint64_t time_unix_ns);

struct StatusReport {
  std::string_view phase{}, plane{}, kernel{};
  const std::map<std::string, uint64_t>& counters;
  std::string_view sockets{};  // serialized v1::HostSockets; empty for none
  std::string_view policy{};
};
void write_status(WireBuffer& out, const StatusReport& status, uint64_t time_unix_ns);

// One `Batch.processes` entry. `ancestors`: nearest first.
void write_process(WireBuffer& out, const identity::Process& process,
                   std::span<const identity::Process* const> ancestors, const TimeBase& time);

// What a batch says of a session. Strings are owned; peers' bytes in them need not be UTF-8.
struct SessionFacts {
  uint64_t id = 0;
  uint64_t opened_unix_ns = 0;
  Transport transport = Transport::kTcp4;
  bool captured_at_client = false, joined = false, encrypted = false, gated = false;
  std::string client_address, server_address;
  uint32_t client_port = 0, server_port = 0;
  std::string database_label;
  std::string user, database, application_name, server_version, client_encoding;
  std::string_view named_by{};  // where user and database are from, if not from the session itself
  uint32_t backend_pid = 0;
  uint64_t opener_process = 0, server_process = 0;
  const std::vector<std::pair<std::string, std::string>>* labels = nullptr;  // borrowed; null: none
};
// One `Batch.facts` entry.
void write_facts(WireBuffer& out, const judge::FactsSummary& facts);

// One `Batch.sessions` entry.
void write_session(WireBuffer& out, const SessionFacts& session);

}  // namespace gatehouse::runtime
