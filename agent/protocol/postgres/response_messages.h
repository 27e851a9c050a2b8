// SPDX-License-Identifier: Apache-2.0
// Bodies of server messages. Every decoder takes a body, borrows it, never allocates, and returns nullopt where the
// body is not what the layout line in the .cc says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "agent/protocol/activity.h"
#include "agent/protocol/postgres/request_messages.h"

namespace gatehouse::postgres {

// The kinds of Authentication message, by their first word.
enum class AuthenticationKind : uint32_t {
  kOk = 0,
  kKerberosV5 = 2,
  kCleartextPassword = 3,
  kMd5Password = 5,
  kGss = 7,
  kGssContinue = 8,
  kSspi = 9,
  kSasl = 10,
  kSaslContinue = 11,
  kSaslFinal = 12,
};
struct Authentication {
  AuthenticationKind kind = AuthenticationKind::kOk;
  std::string_view mechanism{};  // kSasl: the first that the server offers, channel binding's "-PLUS" taken off
};
std::optional<Authentication> decode_authentication(std::span<const std::byte> body);
// "password", "md5", "scram-sha-256", "gss", "sspi", "kerberos", "oauthbearer"; "sasl" for a mechanism without a name
// here; empty for messages that do not begin a method.
std::string_view method_name(const Authentication& message);

std::optional<Setting> decode_parameter_status(std::span<const std::byte> body);

struct BackendKeyData {
  uint32_t backend_pid = 0;
  size_t key_bytes = 0;  // 4 in 3.0, up to 256 in 3.2; the key itself is a secret
};
std::optional<BackendKeyData> decode_backend_key_data(std::span<const std::byte> body);

std::optional<TransactionState> decode_ready_for_query(std::span<const std::byte> body);

struct CommandComplete {
  std::string_view tag{};
  std::optional<uint64_t> rows{};  // the tag's last word, where it is a number
};
std::optional<CommandComplete> decode_command_complete(std::span<const std::byte> body);

// ErrorResponse and NoticeResponse.
struct ErrorFields {
  std::string_view severity{};  // never localised where the server sends 'V' (9.6 and later)
  std::string_view sqlstate{};
  std::string_view message{};
  std::string_view position{};
  [[nodiscard]] bool is_fatal() const { return severity == "FATAL" || severity == "PANIC"; }
};
std::optional<ErrorFields> decode_error(std::span<const std::byte> body, Body extent);

struct Column {
  std::string_view name{};
  uint32_t table_oid = 0;
  uint16_t attribute = 0;  // column number within the table, 0: none
  uint32_t type_oid = 0;
  int32_t type_modifier = -1;
  bool is_binary = false;
};
class ColumnReader {
 public:
  explicit ColumnReader(std::span<const std::byte> columns) : left_(columns) {}
  std::optional<Column> next();

 private:
  std::span<const std::byte> left_;
};
struct RowDescription {
  uint16_t count = 0;
  std::span<const std::byte> columns{};  // for ColumnReader; checked
};
std::optional<RowDescription> decode_row_description(std::span<const std::byte> body);

struct ParameterDescription {
  std::span<const std::byte> type_oids{};  // u32 each
};
std::optional<ParameterDescription> decode_parameter_description(std::span<const std::byte> body);

// CopyInResponse, CopyOutResponse, CopyBothResponse.
struct CopyResponse {
  bool is_binary = false;
  uint16_t column_count = 0;
};
std::optional<CopyResponse> decode_copy_response(std::span<const std::byte> body);

struct NotificationResponse {
  uint32_t backend_pid = 0;
  std::string_view channel{};
  std::string_view payload{};
};
std::optional<NotificationResponse> decode_notification(std::span<const std::byte> body);

struct NegotiateProtocolVersion {
  uint32_t minor = 0;
  uint32_t unknown_option_count = 0;
};
std::optional<NegotiateProtocolVersion> decode_negotiate(std::span<const std::byte> body);

}  // namespace gatehouse::postgres
