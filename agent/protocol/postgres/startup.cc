// SPDX-License-Identifier: Apache-2.0
// From the first byte to the first ReadyForQuery; the ends of a session.
#include <algorithm>

#include "agent/protocol/postgres/session.h"

namespace gatehouse::postgres {
namespace {

// Longest session string kept. Names are at most 63 bytes in the server; application_name and versions are short.
constexpr size_t kSessionTextBytesMax = 256;

bool asks_for_replication(std::string_view value) {
  return value == "database" || value == "true" || value == "on" || value == "yes" || value == "1";
}

}  // namespace

void Session::set_text(std::string& target, std::string_view value) {
  target.assign(value.substr(0, kSessionTextBytesMax));
}

void Session::on_startup_frame(std::span<const std::byte> body) {
  const uint64_t time_ns = request_.start.time_ns;
  if (request_.is_damaged || request_.is_cut) {
    // Nothing tells whether this was a StartupMessage; the server's answer will, by its safe point.
    request_.framer.poison(Reason::kGapInHeader);
    return lose(Direction::kRequest, Reason::kGapInHeader);
  }
  switch (startup_kind(body)) {
    case StartupKind::kSslRequest:
    case StartupKind::kGssEncRequest:
      encryption_is_gss_ = startup_kind(body) == StartupKind::kGssEncRequest;
      response_.framer.set_mode(Mode::kAnswer);
      return enter(Phase::kAnswer);
    case StartupKind::kCancelRequest: {
      const auto cancel = decode_cancel(body);
      if (!cancel) return become_opaque("not-postgresql", time_ns);
      Activity activity{.kind = ActivityKind::kCancel, .outcome = Outcome::kOk, .start_ns = time_ns, .end_ns = time_ns};
      activity.request_offset = request_.start.offset;
      activity.request_bytes = body.size() + kStartupHeaderSize;
      activity.writer = request_.start.writer;
      activity.cancel_backend_pid = cancel->backend_pid;
      emit(activity);
      return enter(Phase::kCancel);
    }
    case StartupKind::kStartup:
      return on_startup_message(body);
    case StartupKind::kOther:
      return become_opaque("not-postgresql", time_ns);
  }
}

void Session::on_startup_message(std::span<const std::byte> body) {
  const auto message = decode_startup(body);
  if (!message) return become_opaque("not-postgresql", request_.start.time_ns);
  std::vector<Setting> settings;
  OptionReader options{message->pairs};
  while (const auto option = options.next()) {
    if (option->name == "user") set_text(user_, option->value);
    if (option->name == "database") set_text(database_, option->value);
    if (option->name == "application_name") set_text(application_name_, option->value);
    if (option->name == "client_encoding") set_text(client_encoding_, option->value);
    if (option->name == "replication") is_replication_ = asks_for_replication(option->value);
    settings.push_back(*option);
  }
  if (database_.empty()) database_ = user_;
  protocol_version_ = std::to_string(message->major) + "." + std::to_string(message->minor);
  startup_ = request_.start;
  startup_bytes_ = body.size() + kStartupHeaderSize;

  Activity activity{.kind = ActivityKind::kConnect, .outcome = Outcome::kOk};
  activity.start_ns = activity.end_ns = startup_.time_ns;
  activity.request_offset = startup_.offset;
  activity.request_bytes = startup_bytes_;
  activity.writer = startup_.writer;
  activity.options = settings;
  emit(activity);
  request_.framer.set_mode(Mode::kRegular);
  enter(Phase::kAuthenticate);
}

void Session::on_answer_byte(uint8_t answer, uint64_t time_ns) {
  const bool is_tls = answer == 'S' && !encryption_is_gss_;
  // What was sent in the clear before the answer is not what the server reads as TLS.
  if (is_tls && options_.opens_tls && early_.empty() && !is_inside_tls_) {
    is_inside_tls_ = true;
    return enter(Phase::kStartup);
  }
  if (answer != 'N') return become_opaque(answer == 'G' || encryption_is_gss_ ? "gss" : "tls", time_ns);
  enter(Phase::kStartup);
  if (early_.empty()) return;
  const std::vector<std::byte> early = std::move(early_);
  early_.clear();
  on_bytes(Direction::kRequest, early, early_context_);
}

void Session::on_authentication(std::span<const std::byte> body, uint64_t time_ns) {
  const auto message = decode_authentication(body);
  if (!message || response_.is_damaged) {
    ++totals_.malformed;
    return;
  }
  if (const std::string_view name = method_name(*message); !name.empty()) method_ = name;
  if (message->kind == AuthenticationKind::kOk && !is_authenticated_) emit_authentication(Outcome::kOk, time_ns);
}

void Session::emit_authentication(Outcome outcome, uint64_t time_ns) {
  is_authenticated_ = true;
  Activity activity{.kind = ActivityKind::kAuthenticate, .outcome = outcome};
  activity.start_ns = startup_.time_ns;
  activity.end_ns = time_ns;
  activity.request_offset = startup_.offset;
  activity.writer = startup_.writer;
  activity.response_bytes = answer_.bytes;
  activity.method = method_;
  if (outcome == Outcome::kError) {
    activity.sqlstate = error_.sqlstate;
    activity.error_severity = error_.severity;
    activity.error_message = error_.message;
  }
  emit(activity);
  answer_ = {};
}

// Before authentication has succeeded it is its outcome; after that it only ends the session.
void Session::on_startup_error(uint64_t time_ns) {
  if (phase_ == Phase::kAuthenticate && !is_authenticated_) emit_authentication(Outcome::kError, time_ns);
}

void Session::on_parameter_status(std::span<const std::byte> body) {
  const auto setting = decode_parameter_status(body);
  if (!setting || response_.is_damaged || response_.is_cut) {
    ++totals_.malformed;
    is_escape_mode_known_ = is_charset_known_ = false;
    return;
  }
  if (setting->name == "application_name") set_text(application_name_, setting->value);
  if (setting->name == "server_version") set_text(server_version_, setting->value);
  if (setting->name == "client_encoding") {
    set_text(client_encoding_, setting->value);
    is_charset_known_ = true;
  }
  if (setting->name == "standard_conforming_strings") {
    standard_conforming_strings_ = setting->value == "on";
    is_escape_mode_known_ = true;
  }
}

void Session::become_opaque(std::string_view reason, uint64_t time_ns, std::string_view why) {
  flush_held(TransactionState::kUnknown);
  drain(Outcome::kUnknown, false, time_ns);
  enter(Phase::kOpaque);
  request_.framer.set_mode(Mode::kOpaque);
  response_.framer.set_mode(Mode::kOpaque);
  Activity activity{.kind = ActivityKind::kOpaque, .fidelity = Fidelity::kOpaque, .outcome = Outcome::kOk};
  activity.start_ns = activity.end_ns = time_ns;
  activity.request_offset = request_.start.offset;
  activity.writer = request_.start.writer;
  activity.method = reason;
  const Setting detail{.name = "why", .value = why};
  if (!why.empty()) activity.options = {&detail, 1};
  emit(activity);
  statements_.clear();
  portals_.clear();
}

void Session::on_opaque(SocketOpaque::Reason reason, uint64_t time_ns) {
  if (is_deaf()) return;
  switch (reason) {
    case SocketOpaque::Reason::kTls:
      return become_opaque("tls", time_ns);
    case SocketOpaque::Reason::kGss:
      return become_opaque("gss", time_ns);
    case SocketOpaque::Reason::kNotProtocol:
      return become_opaque("not-postgresql", time_ns);
  }
}

void Session::on_sealed(std::string_view why, uint64_t time_ns) {
  if (!is_deaf()) become_opaque("tls", time_ns, why);
}

void Session::on_closed(uint64_t time_ns) {
  if (phase_ == Phase::kClosed) return;
  if (fatal_) transaction_ = TransactionState::kUnknown;
  flush_held(transaction_);
  abort_parts(time_ns);
  if (is_skipping_) drain(Outcome::kSkipped, true, time_ns);
  drain(Outcome::kAborted, false, time_ns);
  if (phase_ == Phase::kAuthenticate && !is_authenticated_) emit_authentication(Outcome::kAborted, time_ns);

  Activity activity{.kind = ActivityKind::kDisconnect, .outcome = Outcome::kOk};
  if (phase_ == Phase::kOpaque) activity.fidelity = Fidelity::kOpaque;
  activity.start_ns = activity.end_ns = time_ns;
  activity.reason = fatal_ ? "fatal-error" : has_terminated_ ? "terminate" : "closed";
  if (fatal_) {
    activity.outcome = Outcome::kError;
    activity.sqlstate = fatal_->sqlstate;
    activity.error_severity = fatal_->severity;
    activity.error_message = fatal_->message;
  }
  emit(activity);
  enter(Phase::kClosed);
}

}  // namespace gatehouse::postgres
