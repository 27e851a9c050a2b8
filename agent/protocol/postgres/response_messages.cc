// SPDX-License-Identifier: Apache-2.0
#include "agent/protocol/postgres/response_messages.h"

#include <algorithm>

#include "common/reader.h"

namespace gatehouse::postgres {
namespace {

bool is_finished(const Reader& r) {
  return r.ok() && r.left() == 0;
}

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// "INSERT 0 5" -> 5. A tag without a number, or with one that does not fit, counts nothing.
std::optional<uint64_t> trailing_count(std::string_view tag) {
  const size_t space = tag.rfind(' ');
  if (space == tag.npos || space + 1 == tag.size() || tag.size() - space > 20) return std::nullopt;
  uint64_t count = 0;
  for (const char c : tag.substr(space + 1)) {
    if (!is_digit(c)) return std::nullopt;
    count = count * 10 + static_cast<uint64_t>(c - '0');
  }
  return count;
}

}  // namespace

// AuthenticationX ('R'): kind:u32 …; SASL: (mechanism\0)* \0; MD5: salt[4].
std::optional<Authentication> decode_authentication(std::span<const std::byte> body) {
  Reader r{body};
  Authentication m{.kind = static_cast<AuthenticationKind>(r.be<uint32_t>())};
  if (!r.ok()) return std::nullopt;
  switch (m.kind) {
    case AuthenticationKind::kOk:
    case AuthenticationKind::kKerberosV5:
    case AuthenticationKind::kCleartextPassword:
    case AuthenticationKind::kGss:
    case AuthenticationKind::kSspi:
      if (r.left() != 0) return std::nullopt;
      return m;
    case AuthenticationKind::kMd5Password:
      if (r.left() != 4) return std::nullopt;
      return m;
    case AuthenticationKind::kSasl:
      m.mechanism = r.cstr();
      if (!r.ok()) return std::nullopt;
      if (m.mechanism.ends_with("-PLUS")) m.mechanism.remove_suffix(5);
      return m;
    case AuthenticationKind::kGssContinue:
    case AuthenticationKind::kSaslContinue:
    case AuthenticationKind::kSaslFinal:
      return m;
  }
  return std::nullopt;
}

std::string_view method_name(const Authentication& message) {
  switch (message.kind) {
    case AuthenticationKind::kKerberosV5:
      return "kerberos";
    case AuthenticationKind::kCleartextPassword:
      return "password";
    case AuthenticationKind::kMd5Password:
      return "md5";
    case AuthenticationKind::kGss:
      return "gss";
    case AuthenticationKind::kSspi:
      return "sspi";
    case AuthenticationKind::kSasl:
      if (message.mechanism == "SCRAM-SHA-256") return "scram-sha-256";
      if (message.mechanism == "OAUTHBEARER") return "oauthbearer";
      return "sasl";
    case AuthenticationKind::kOk:
    case AuthenticationKind::kGssContinue:
    case AuthenticationKind::kSaslContinue:
    case AuthenticationKind::kSaslFinal:
      return "";
  }
  return "";
}

// ParameterStatus ('S'): name\0 value\0.
std::optional<Setting> decode_parameter_status(std::span<const std::byte> body) {
  Reader r{body};
  const Setting m{.name = r.cstr(), .value = r.cstr()};
  if (!is_finished(r)) return std::nullopt;
  return m;
}

// BackendKeyData ('K'): pid:u32 key[4..256].
std::optional<BackendKeyData> decode_backend_key_data(std::span<const std::byte> body) {
  Reader r{body};
  const BackendKeyData m{.backend_pid = r.be<uint32_t>(), .key_bytes = r.left()};
  if (!r.ok() || m.key_bytes < 4 || m.key_bytes > 256) return std::nullopt;
  return m;
}

// ReadyForQuery ('Z'): state:u8, 'I' idle, 'T' in a transaction, 'E' in a failed one.
std::optional<TransactionState> decode_ready_for_query(std::span<const std::byte> body) {
  if (body.size() != 1) return std::nullopt;
  switch (std::to_integer<char>(body[0])) {
    case 'I':
      return TransactionState::kIdle;
    case 'T':
      return TransactionState::kActive;
    case 'E':
      return TransactionState::kFailed;
    default:
      return std::nullopt;
  }
}

// CommandComplete ('C'): tag\0.
std::optional<CommandComplete> decode_command_complete(std::span<const std::byte> body) {
  Reader r{body};
  CommandComplete m{.tag = r.cstr()};
  if (!is_finished(r)) return std::nullopt;
  m.rows = trailing_count(m.tag);
  return m;
}

// ErrorResponse ('E'), NoticeResponse ('N'): (code:u8 value\0)* \0.
std::optional<ErrorFields> decode_error(std::span<const std::byte> body, Body extent) {
  Reader r{body};
  ErrorFields m;
  bool has_plain_severity = false;
  while (r.ok()) {
    const auto code = r.be<uint8_t>();
    if (code == 0) break;
    const Reader at_value = r;
    std::string_view value = r.cstr();
    if (!r.ok() && extent == Body::kHead) value = Reader::as_text(at_value.rest());
    switch (code) {
      case 'V':
        m.severity = value;
        has_plain_severity = true;
        break;
      case 'S':
        if (!has_plain_severity) m.severity = value;
        break;
      case 'C':
        m.sqlstate = value;
        break;
      case 'M':
        m.message = value;
        break;
      case 'P':
        m.position = value;
        break;
      default:
        break;
    }
  }
  if (extent == Body::kWhole && !is_finished(r)) return std::nullopt;
  if (m.sqlstate.size() != 5) m.sqlstate = {};
  return m;
}

std::optional<Column> ColumnReader::next() {
  if (left_.empty()) return std::nullopt;
  Reader r{left_};
  Column m;
  m.name = r.cstr();
  m.table_oid = r.be<uint32_t>();
  m.attribute = r.be<uint16_t>();
  m.type_oid = r.be<uint32_t>();
  r.take(2);  // type size
  m.type_modifier = static_cast<int32_t>(r.be<uint32_t>());
  m.is_binary = r.be<uint16_t>() == 1;
  if (!r.ok()) return std::nullopt;
  left_ = r.rest();
  return m;
}

// RowDescription ('T'): count:u16 (name\0 table:u32 attribute:u16 type:u32 size:u16 modifier:u32 format:u16)[count].
std::optional<RowDescription> decode_row_description(std::span<const std::byte> body) {
  Reader r{body};
  RowDescription m;
  m.count = static_cast<uint16_t>(r.count16(1 + 18));
  if (!r.ok()) return std::nullopt;
  m.columns = r.rest();
  for (uint16_t i = 0; i < m.count; ++i) {
    r.cstr();
    r.take(18);
  }
  if (!is_finished(r)) return std::nullopt;
  return m;
}

// ParameterDescription ('t'): count:u16 oid:u32[count].
std::optional<ParameterDescription> decode_parameter_description(std::span<const std::byte> body) {
  Reader r{body};
  const ParameterDescription m{.type_oids = r.take(r.count16(sizeof(uint32_t)) * sizeof(uint32_t))};
  if (!is_finished(r)) return std::nullopt;
  return m;
}

// CopyInResponse ('G'), CopyOutResponse ('H'), CopyBothResponse ('W'): format:u8 formats:u16[n].
std::optional<CopyResponse> decode_copy_response(std::span<const std::byte> body) {
  Reader r{body};
  CopyResponse m;
  m.is_binary = r.be<uint8_t>() == 1;
  m.column_count = static_cast<uint16_t>(r.count16(sizeof(uint16_t)));
  r.take(m.column_count * sizeof(uint16_t));
  if (!is_finished(r)) return std::nullopt;
  return m;
}

// NotificationResponse ('A'): pid:u32 channel\0 payload\0.
std::optional<NotificationResponse> decode_notification(std::span<const std::byte> body) {
  Reader r{body};
  NotificationResponse m;
  m.backend_pid = r.be<uint32_t>();
  m.channel = r.cstr();
  m.payload = r.cstr();
  if (!is_finished(r)) return std::nullopt;
  return m;
}

// NegotiateProtocolVersion ('v'): minor:u32 count:u32 (name\0)[count].
std::optional<NegotiateProtocolVersion> decode_negotiate(std::span<const std::byte> body) {
  Reader r{body};
  NegotiateProtocolVersion m;
  m.minor = r.be<uint32_t>() & 0xffff;
  m.unknown_option_count = r.be<uint32_t>();
  if (!r.ok() || m.unknown_option_count > r.left()) return std::nullopt;
  for (uint32_t i = 0; i < m.unknown_option_count; ++i) r.cstr();
  if (!is_finished(r)) return std::nullopt;
  return m;
}

}  // namespace gatehouse::postgres
