// SPDX-License-Identifier: Apache-2.0
// PostgreSQL messages for tests, benchmarks and fuzz targets: bytes made by hand, and a sink that remembers.
#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/protocol/activity.h"
#include "agent/protocol/session.h"
#include "agent/stream/connection.h"
#include "agent/stream/records.h"

namespace gatehouse::test {

inline std::string be16(size_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}
inline std::string be32(size_t value) {
  return be16(value >> 16 & 0xffff) + be16(value & 0xffff);
}
inline std::string cstr(std::string_view text) {
  return std::string(text) + '\0';
}
inline std::string frame(char tag, std::string_view body = {}) {
  return tag + be32(body.size() + 4) + std::string(body);
}
inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}

// Client.
inline std::string startup(std::initializer_list<std::string_view> words, size_t minor = 0) {
  std::string body = be16(3) + be16(minor);
  for (const auto word : words) body += cstr(word);
  body += '\0';
  return be32(body.size() + 4) + body;
}
inline std::string ssl_request() {
  return be32(8) + be32(80877103);
}
inline std::string gss_request() {
  return be32(8) + be32(80877104);
}
inline std::string cancel_request(size_t pid, size_t key_bytes = 4) {
  return be32(12 + key_bytes) + be32(80877102) + be32(pid) + std::string(key_bytes, 'k');
}
inline std::string query(std::string_view sql) {
  return frame('Q', cstr(sql));
}
inline std::string parse(std::string_view name, std::string_view sql, std::initializer_list<size_t> types = {}) {
  std::string body = cstr(name) + cstr(sql) + be16(types.size());
  for (const size_t type : types) body += be32(type);
  return frame('P', body);
}
using Values = std::vector<std::optional<std::string_view>>;
inline std::string bind(std::string_view portal, std::string_view statement, const Values& values = {},
                        size_t format = 0) {
  std::string body = cstr(portal) + cstr(statement) + be16(1) + be16(format) + be16(values.size());
  for (const auto& value : values) {
    body += be32(value ? value->size() : 0xffffffff);
    if (value) body += *value;
  }
  return frame('B', body + be16(0));
}
inline std::string execute(std::string_view portal = "", size_t rows_max = 0) {
  return frame('E', cstr(portal) + be32(rows_max));
}
inline std::string describe(char kind, std::string_view name) {
  return frame('D', kind + cstr(name));
}
inline std::string close(char kind, std::string_view name) {
  return frame('C', kind + cstr(name));
}
inline std::string sync() {
  return frame('S');
}
inline std::string flush() {
  return frame('H');
}
inline std::string terminate() {
  return frame('X');
}
inline std::string copy_data(std::string_view data) {
  return frame('d', data);
}
inline std::string copy_done() {
  return frame('c');
}
inline std::string copy_fail(std::string_view why) {
  return frame('f', cstr(why));
}
inline std::string function_call(size_t oid, const Values& values) {
  std::string body = be32(oid) + be16(0) + be16(values.size());
  for (const auto& value : values) body += be32(value->size()) + std::string(*value);
  return frame('F', body + be16(0));
}

// Server.
inline std::string authentication(size_t kind, std::string_view rest = {}) {
  return frame('R', be32(kind) + std::string(rest));
}
inline std::string parameter_status(std::string_view name, std::string_view value) {
  return frame('S', cstr(name) + cstr(value));
}
inline std::string key_data(size_t pid, size_t key_bytes = 4) {
  return frame('K', be32(pid) + std::string(key_bytes, 'k'));
}
inline std::string ready(char state = 'I') {
  return frame('Z', std::string(1, state));
}
inline std::string row_description(std::string_view column = "c") {
  return frame('T', be16(1) + cstr(column) + std::string(18, '\0'));
}
inline std::string data_row(std::string_view value) {
  return frame('D', be16(1) + be32(value.size()) + std::string(value));
}
inline std::string complete(std::string_view tag) {
  return frame('C', cstr(tag));
}
inline std::string error(std::string_view sqlstate, std::string_view message = "no",
                         std::string_view severity = "ERROR", char tag = 'E') {
  return frame(tag, "S" + cstr(severity) + "V" + cstr(severity) + "C" + cstr(sqlstate) + "M" + cstr(message) +
                        std::string(1, '\0'));
}
inline std::string parse_complete() {
  return frame('1');
}
inline std::string bind_complete() {
  return frame('2');
}
inline std::string close_complete() {
  return frame('3');
}
inline std::string no_data() {
  return frame('n');
}
inline std::string parameter_description(std::initializer_list<size_t> types) {
  std::string body = be16(types.size());
  for (const size_t type : types) body += be32(type);
  return frame('t', body);
}
inline std::string copy_response(char tag) {
  return frame(tag, std::string(1, '\0') + be16(1) + be16(0));
}
inline std::string notification(std::string_view channel, std::string_view payload) {
  return frame('A', be32(7) + cstr(channel) + cstr(payload));
}
// Trust, the parameters that matter, idle.
inline std::string welcome(size_t pid = 42) {
  return authentication(0) + parameter_status("server_version", "15.6") + parameter_status("client_encoding", "UTF8") +
         parameter_status("standard_conforming_strings", "on") + key_data(pid) + ready();
}

// One write.
struct Write {
  Direction direction;
  std::string bytes;
};
inline Write client(std::string bytes) {
  return {Direction::kRequest, std::move(bytes)};
}
inline Write server(std::string bytes) {
  return {Direction::kResponse, std::move(bytes)};
}
using Script = std::vector<Write>;

// What a line of a transcript says of an activity: kind, outcome, [fidelity], text, results.
std::string describe_activity(const Activity& activity);

class Recorder final : public ConnectionObserver {
 public:
  void on_activity(const Activity& activity) override {
    lines.push_back(describe_activity(activity));
    if (activity.kind == ActivityKind::kStatement) {
      texts.emplace_back(activity.text);
      fidelities.push_back(activity.fidelity);
    }
    if (visit) visit(activity);
  }
  void on_gap(const Gap& gap) override { gap_bytes += gap.bytes; }

  std::vector<std::string> lines;
  std::vector<std::string> texts;
  std::vector<Fidelity> fidelities;
  uint64_t gap_bytes = 0;
  void (*visit)(const Activity&) = nullptr;
};

inline const char* word(Outcome outcome) {
  switch (outcome) {
    case Outcome::kUnknown:
      return "unknown";
    case Outcome::kOk:
      return "ok";
    case Outcome::kError:
      return "error";
    case Outcome::kSuspended:
      return "suspended";
    case Outcome::kSkipped:
      return "skipped";
    case Outcome::kAborted:
      return "aborted";
  }
  return "?";
}
inline const char* word(Fidelity fidelity) {
  switch (fidelity) {
    case Fidelity::kComplete:
      return "complete";
    case Fidelity::kTruncated:
      return "truncated";
    case Fidelity::kAfterGap:
      return "after-gap";
    case Fidelity::kJoinedMidStream:
      return "joined-mid-stream";
    case Fidelity::kOpaque:
      return "opaque";
  }
  return "?";
}
inline const char* word(TransactionState state) {
  switch (state) {
    case TransactionState::kUnknown:
      return "?";
    case TransactionState::kIdle:
      return "I";
    case TransactionState::kActive:
      return "T";
    case TransactionState::kFailed:
      return "E";
  }
  return "?";
}
inline const char* word(StatementProtocol protocol) {
  switch (protocol) {
    case StatementProtocol::kNone:
      return "none";
    case StatementProtocol::kSimple:
      return "simple";
    case StatementProtocol::kExtended:
      return "extended";
    case StatementProtocol::kFunctionCall:
      return "function";
    case StatementProtocol::kReplication:
      return "replication";
    case StatementProtocol::kCopyData:
      return "copy";
  }
  return "?";
}

// Bytes that do not print as \xNN, so that a transcript is one line of text per activity.
inline std::string printable(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f && byte != '\\') {
      out += c;
    } else {
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

inline std::string describe_statement(const Activity& a) {
  std::string line = std::string(word(a.protocol)) + ' ' + word(a.outcome) + " {" + printable(a.text) + '}';
  if (!a.resolved_text.empty()) line += " runs {" + printable(a.resolved_text) + '}';
  if (!a.statement_name.empty()) line += " statement=" + std::string(a.statement_name);
  if (!a.portal_name.empty()) line += " portal=" + std::string(a.portal_name);
  for (const Parameter& p : a.parameters) {
    line += p.is_null ? " null" : " '" + printable(p.value) + '\'';
    if (p.is_binary) line += 'b';
    if (p.is_cut) line += "...";
    if (p.type_oid != 0) line += ':' + std::to_string(p.type_oid);
  }
  if (!a.command_tag.empty()) line += " tag=" + std::string(a.command_tag);
  if (a.rows != 0) line += " rows=" + std::to_string(a.rows);
  if (a.copy_bytes != 0) line += " copy=" + std::to_string(a.copy_bytes);
  if (a.statement_index != 0) line += " index=" + std::to_string(a.statement_index);
  if (!a.sqlstate.empty()) line += " sqlstate=" + std::string(a.sqlstate);
  return line + " tx=" + word(a.transaction);
}

inline std::string describe_activity(const Activity& a) {
  std::string line;
  switch (a.kind) {
    case ActivityKind::kConnect:
      line = "connect " + std::string(a.protocol_version) + ' ' + std::string(a.user) + '@' + std::string(a.database);
      break;
    case ActivityKind::kAuthenticate:
      line = "authenticate " + std::string(a.method) + ' ' + word(a.outcome);
      if (!a.sqlstate.empty()) line += " sqlstate=" + std::string(a.sqlstate);
      break;
    case ActivityKind::kStatement:
      line = describe_statement(a);
      break;
    case ActivityKind::kCancel:
      line = "cancel " + std::to_string(a.cancel_backend_pid);
      break;
    case ActivityKind::kNotify:
      line = "notify " + printable(a.channel) + ' ' + std::to_string(a.payload_bytes);
      break;
    case ActivityKind::kOpaque:
      return "opaque " + std::string(a.method);
    case ActivityKind::kDisconnect:
      line = "disconnect " + std::string(a.reason);
      if (!a.sqlstate.empty()) line += " sqlstate=" + std::string(a.sqlstate);
      break;
  }
  if (a.fidelity != Fidelity::kComplete) line += std::string(" [") + word(a.fidelity) + ']';
  return line;
}

// Feeds one connection piece by piece, keeping the stream positions.
class Feeder {
 public:
  explicit Feeder(bool joined = false) : connection_({.socket = 1, .joined = joined}) {}

  void data(Direction direction, std::string_view bytes) {
    if (bytes.empty()) return;
    const Piece piece{
        .kind = Piece::Kind::kData, .bytes = static_cast<uint32_t>(bytes.size()), .data = bytes_of(bytes)};
    pieces(direction, {&piece, 1});
  }
  void pieces(Direction direction, std::span<const Piece> pieces) {
    uint64_t& offset = offsets_[static_cast<size_t>(direction)];
    const Chunk chunk{.socket = 1,
                      .direction = direction,
                      .offset = offset,
                      .time_ns = ++time_ns_,
                      .writer = {.pid = 7, .start_ns = 1},
                      .pieces = pieces};
    offset = chunk.end();
    connection_.on_chunk(chunk, recorder);
  }
  // The stream moves on and nobody saw it.
  void lose(Direction direction, uint64_t bytes) { offsets_[static_cast<size_t>(direction)] += bytes; }
  void close() { connection_.on_closed({.socket = 1, .time_ns = ++time_ns_, .stream_bytes = offsets_}, recorder); }
  [[nodiscard]] const Connection& connection() const { return connection_; }

  Recorder recorder;

 private:
  Connection connection_;
  std::array<uint64_t, kDirections> offsets_{};
  uint64_t time_ns_ = 0;
};

}  // namespace gatehouse::test
