// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "agent/protocol/postgres/request_messages.h"
#include "agent/protocol/postgres/response_messages.h"
#include "tests/support/postgres_wire.h"

namespace gatehouse::postgres {
namespace {

using namespace gatehouse::test;
using namespace std::string_literals;
using Bytes = std::span<const std::byte>;

std::string body_of(const std::string& frame) {
  return frame.substr(5);
}

std::string parameters_text(const ParameterList& list) {
  std::string out;
  ParameterReader reader{list};
  while (const auto p = reader.next()) {
    out += ' ' + (p->is_null ? "null" : std::string(p->value));
    if (p->is_binary) out += "/b";
    if (p->is_cut) out += "/cut";
  }
  return out;
}

// What a decoder makes of a body, as text; "-": nothing.
template <typename Decode, typename Describe>
auto reading(Decode decode, Describe describe) {
  return [=](Bytes body) {
    const auto message = decode(body);
    return message ? std::string(describe(*message)) : "-";
  };
}

const auto kStartup = reading(decode_startup, [](const StartupMessage& m) {
  std::string out = std::to_string(m.major) + "." + std::to_string(m.minor);
  OptionReader options{m.pairs};
  while (const auto option = options.next()) out += " " + std::string(option->name) + "=" + std::string(option->value);
  return out;
});
const auto kCancel = reading(decode_cancel, [](const CancelRequest& m) {
  return std::to_string(m.backend_pid) + " key " + std::to_string(m.key_bytes);
});
const auto kQuery = reading([](Bytes b) { return decode_query(b, Body::kWhole); },
                            [](const Query& m) { return "q:" + std::string(m.sql); });
std::string parse_text(const Parse& m) {
  return std::string(m.statement) + ":" + std::string(m.sql) + " types " + std::to_string(m.type_oids.size() / 4);
}
const auto kParse = reading([](Bytes b) { return decode_parse(b, Body::kWhole); }, parse_text);
std::string bind_text(const Bind& m) {
  return std::string(m.portal) + "<" + std::string(m.statement) + parameters_text(m.parameters);
}
const auto kBind = reading([](Bytes b) { return decode_bind(b, Body::kWhole); }, bind_text);
const auto kFunctionCall =
    reading([](Bytes b) { return decode_function_call(b, Body::kWhole); },
            [](const FunctionCall& m) { return std::to_string(m.function_oid) + parameters_text(m.arguments); });
const auto kTarget = reading(
    decode_target, [](const Target& m) { return (m.is_portal ? "portal " : "statement ") + std::string(m.name); });
const auto kExecute = reading(
    decode_execute, [](const Execute& m) { return "'" + std::string(m.portal) + "' " + std::to_string(m.rows_max); });
const auto kCopyFail = reading(decode_copy_fail, [](const CopyFail& m) { return "f:" + std::string(m.message); });

const auto kAuthentication =
    reading(decode_authentication, [](const Authentication& m) { return "method " + std::string(method_name(m)); });
const auto kParameterStatus =
    reading(decode_parameter_status, [](const Setting& m) { return std::string(m.name) + "=" + std::string(m.value); });
const auto kKeyData = reading(decode_backend_key_data, [](const BackendKeyData& m) {
  return std::to_string(m.backend_pid) + " key " + std::to_string(m.key_bytes);
});
const auto kReady = reading(decode_ready_for_query, [](TransactionState state) {
  if (state == TransactionState::kIdle) return "idle";
  return state == TransactionState::kActive ? "active" : "failed";
});
const auto kComplete = reading(decode_command_complete, [](const CommandComplete& m) {
  return std::string(m.tag) + (m.rows ? " = " + std::to_string(*m.rows) : " = none");
});
std::string error_text(const ErrorFields& m) {
  return std::string(m.severity) + " " + std::string(m.sqlstate) + " " + std::string(m.message) + " " +
         std::string(m.position);
}
const auto kError = reading([](Bytes b) { return decode_error(b, Body::kWhole); }, error_text);
const auto kRowDescription = reading(decode_row_description, [](const RowDescription& m) {
  std::string out = std::to_string(m.count);
  ColumnReader columns{m.columns};
  while (const auto column = columns.next())
    out += " " + std::string(column->name) + "/" + std::to_string(column->table_oid) + "/" +
           std::to_string(column->attribute) + "/" + std::to_string(column->type_oid) + (column->is_binary ? "/b" : "");
  return out;
});
const auto kParameterDescription = reading(decode_parameter_description, [](const ParameterDescription& m) {
  return std::to_string(m.type_oids.size() / 4) + " types";
});
const auto kCopyResponse = reading(decode_copy_response, [](const CopyResponse& m) {
  return std::to_string(m.column_count) + (m.is_binary ? " binary" : " text");
});
const auto kNotification = reading(decode_notification, [](const NotificationResponse& m) {
  return std::to_string(m.backend_pid) + " " + std::string(m.channel) + ":" + std::string(m.payload);
});
const auto kNegotiate = reading(decode_negotiate, [](const NegotiateProtocolVersion& m) {
  return std::to_string(m.minor) + " without " + std::to_string(m.unknown_option_count);
});

std::string column(std::string_view name, size_t table, size_t attribute, size_t type, size_t format) {
  return cstr(name) + be32(table) + be16(attribute) + be32(type) + be16(8) + be32(0xffffffff) + be16(format);
}
std::string startup_body(std::initializer_list<std::string_view> words, size_t minor = 0) {
  return startup(words, minor).substr(4);
}
std::string pair(std::string_view a, std::string_view b) {
  return cstr(a) + cstr(b);
}

struct Case {
  std::string_view name;
  std::function<std::string(Bytes)> decode;
  std::string body, want;
};

// Whole messages, made by hand to the specification's layout. None has a head that is a whole message, too.
const std::vector<Case>& whole_messages() {
  static const std::vector<Case> kCases{
      {"startup", kStartup, startup_body({"user", "u", "database", "d"}), "3.0 user=u database=d"},
      {"startup with an empty value", kStartup, startup_body({"user", "", "options", "-c a=b"}, 2),
       "3.2 user= options=-c a=b"},
      {"query", kQuery, cstr("SELECT 1"), "q:SELECT 1"},
      {"empty query", kQuery, cstr(""), "q:"},
      {"parse", kParse, body_of(parse("s", "SELECT $1", {23, 25})), "s:SELECT $1 types 2"},
      {"unnamed parse", kParse, body_of(parse("", "")), ": types 0"},
      {"bind", kBind, body_of(bind("p", "s", {"a", std::nullopt, ""})), "p<s a null "},
      {"binary bind", kBind, body_of(bind("", "", {"a", "b"}, 1)), "< a/b b/b"},
      {"bind, a format each", kBind,
       pair("", "s") + be16(2) + be16(0) + be16(1) + be16(2) + be32(1) + "a" + be32(1) + "b" + be16(1) + be16(1),
       "<s a b/b"},
      {"bind without formats", kBind, pair("", "s") + be16(0) + be16(1) + be32(2) + "ab" + be16(0), "<s ab"},
      {"function call", kFunctionCall, body_of(function_call(957, {"a"})), "957 a"},
      {"statement", kTarget, "S" + cstr("s"), "statement s"},
      {"portal", kTarget, "P" + cstr(""), "portal "},
      {"execute", kExecute, body_of(execute("p", 10)), "'p' 10"},
      {"copy fail", kCopyFail, cstr("why"), "f:why"},
      {"authenticated", kAuthentication, be32(0), "method "},
      {"md5", kAuthentication, be32(5) + "salt", "method md5"},
      {"password", kAuthentication, be32(3), "method password"},
      {"parameter", kParameterStatus, pair("TimeZone", "UTC"), "TimeZone=UTC"},
      {"idle", kReady, "I", "idle"},
      {"in a transaction", kReady, "T", "active"},
      {"in a failed transaction", kReady, "E", "failed"},
      {"insert", kComplete, cstr("INSERT 0 5"), "INSERT 0 5 = 5"},
      {"begin", kComplete, cstr("BEGIN"), "BEGIN = none"},
      {"error", kError, body_of(error("22012", "division by zero")), "ERROR 22012 division by zero "},
      {"error with a position", kError, "SFEHLER\0VERROR\0C42601\0P7\0\0"s, "ERROR 42601  7"},
      {"row description", kRowDescription, be16(2) + column("a", 1, 2, 23, 0) + column("", 0, 0, 25, 1),
       "2 a/1/2/23 /0/0/25/b"},
      {"no columns", kRowDescription, be16(0), "0"},
      {"parameter description", kParameterDescription, be16(2) + be32(23) + be32(25), "2 types"},
      {"copy in", kCopyResponse, "\1" + be16(2) + be16(1) + be16(1), "2 binary"},
      {"notification", kNotification, be32(7) + pair("jobs", "first"), "7 jobs:first"},
      {"negotiate", kNegotiate, be32(0x30000) + be32(1) + cstr("_pq_.x"), "0 without 1"},
  };
  return kCases;
}

TEST(PostgresMessages, Whole) {
  for (const Case& c : whole_messages()) EXPECT_EQ(c.decode(bytes_of(c.body)), c.want) << c.name;
}

TEST(PostgresMessages, EveryTruncationIsRefused) {
  for (const Case& c : whole_messages())
    for (size_t size = 0; size < c.body.size(); ++size) {
      // A copy of its own size: a sanitizer sees a read past its end.
      const std::vector<char> head(c.body.begin(), c.body.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_EQ(c.decode(std::as_bytes(std::span{head})), "-") << c.name << ", " << size << " bytes";
    }
}

TEST(PostgresMessages, ByteTooManyIsRefused) {
  for (const Case& c : whole_messages()) EXPECT_EQ(c.decode(bytes_of(c.body + '\0')), "-") << c.name;
}

TEST(PostgresMessages, Odd) {
  const Case cases[] = {
      {"another major is understood no further", kStartup, be16(2) + be16(0) + "xx", "2.0"},
      {"cancel", kCancel, be32(80877102) + be32(42) + "key!", "42 key 4"},
      {"cancel of 3.2", kCancel, be32(80877102) + be32(42) + std::string(256, 'k'), "42 key 256"},
      {"cancel, short key", kCancel, be32(80877102) + be32(42) + "key", "-"},
      {"cancel, long key", kCancel, be32(80877102) + be32(42) + std::string(257, 'k'), "-"},
      {"key data", kKeyData, be32(42) + "key!", "42 key 4"},
      {"key data, short key", kKeyData, be32(42) + "key", "-"},
      {"key data, long key", kKeyData, be32(42) + std::string(257, 'k'), "-"},
      {"more types than bytes", kParse, pair("", "") + be16(0xffff) + be32(1), "-"},
      {"value longer than the body", kBind, pair("", "") + be16(0) + be16(1) + be32(9) + "a" + be16(0), "-"},
      {"value of size -2", kBind, pair("", "") + be16(0) + be16(1) + be32(0xfffffffe) + be16(0), "-"},
      {"more values than bytes", kBind, pair("", "") + be16(0) + be16(0xffff) + be16(0), "-"},
      {"neither statement nor portal", kTarget, "X" + cstr("s"), "-"},
      {"sasl", kAuthentication, be32(10) + pair("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256") + '\0', "method scram-sha-256"},
      {"other sasl", kAuthentication, be32(10) + cstr("X") + '\0', "method sasl"},
      {"sasl goes on", kAuthentication, be32(11) + "anything", "method "},
      {"unknown authentication", kAuthentication, be32(99), "-"},
      {"md5 without its salt", kAuthentication, be32(5), "-"},
      {"ready in no known state", kReady, "X", "-"},
      {"largest count", kComplete, cstr("SELECT 9999999999999999999"),
       "SELECT 9999999999999999999 = 9999999999999999999"},
      {"a count that does not fit", kComplete, cstr("SELECT 18446744073709551616"),
       "SELECT 18446744073709551616 = none"},
      {"a word last", kComplete, cstr("CREATE TABLE"), "CREATE TABLE = none"},
      {"a blank last", kComplete, cstr("SELECT "), "SELECT  = none"},
      {"odd sqlstate", kError, "SERROR\0C123\0\0"s, "ERROR   "},
      {"no fields", kError, std::string(1, '\0'), "   "},
      {"more columns than bytes", kRowDescription, be16(0xffff) + column("a", 1, 2, 23, 0), "-"},
      {"more options than bytes", kNegotiate, be32(0) + be32(0xffffffff) + cstr("a"), "-"},
  };
  for (const Case& c : cases) EXPECT_EQ(c.decode(bytes_of(c.body)), c.want) << c.name;
}

// The head of a long message tells what it tells, and never more than it holds.
TEST(PostgresMessages, HeadsTellWhatTheyHold) {
  const auto query_head = [](std::string_view body) {
    const auto m = decode_query(bytes_of(body), Body::kHead);
    return m ? std::string(m->sql) : "-";
  };
  EXPECT_EQ(query_head("SELECT"), "SELECT");
  EXPECT_EQ(query_head(std::string_view("SEL\0CT", 6)), "-");

  const std::string parse_body = body_of(parse("s", "SELECT $1", {23}));
  for (size_t size = 0; size <= parse_body.size(); ++size) {
    const auto m = decode_parse(bytes_of(std::string_view(parse_body).substr(0, size)), Body::kHead);
    ASSERT_EQ(m.has_value(), size >= 2) << size;  // the name and its end
    if (!m) continue;
    EXPECT_EQ(m->statement, "s");
    EXPECT_TRUE(std::string_view("SELECT $1").starts_with(m->sql));
    EXPECT_EQ(m->type_oids.size(), size == parse_body.size() ? 4U : 0U);
  }

  const std::string bind_body = body_of(bind("p", "s", {"first", "second"}));
  const std::string whole = parameters_text(decode_bind(bytes_of(bind_body), Body::kWhole)->parameters);
  for (size_t size = 0; size <= bind_body.size(); ++size) {
    const auto m = decode_bind(bytes_of(std::string_view(bind_body).substr(0, size)), Body::kHead);
    ASSERT_EQ(m.has_value(), size >= 4) << size;
    if (!m) continue;
    std::string text = parameters_text(m->parameters);
    if (text.ends_with("/cut")) text.resize(text.size() - 4);
    EXPECT_TRUE(whole.starts_with(text)) << size << text;
  }

  const std::string error_body = body_of(error("22012", "division by zero"));
  for (size_t size = 0; size <= error_body.size(); ++size) {
    const auto m = decode_error(bytes_of(std::string_view(error_body).substr(0, size)), Body::kHead);
    ASSERT_TRUE(m.has_value());
    EXPECT_TRUE(m->sqlstate.empty() || m->sqlstate == "22012");
    EXPECT_TRUE(std::string_view("division by zero").starts_with(m->message));
  }
}

TEST(PostgresMessages, StartupKinds) {
  const struct {
    std::string body;
    StartupKind want;
  } cases[] = {
      {startup_body({"user", "u"}), StartupKind::kStartup},
      {be16(2) + be16(0), StartupKind::kStartup},
      {be32(80877103), StartupKind::kSslRequest},
      {be32(80877103) + "x", StartupKind::kOther},
      {be32(80877104), StartupKind::kGssEncRequest},
      {be32(80877104) + "x", StartupKind::kOther},
      {be32(80877102) + be32(1) + be32(2), StartupKind::kCancelRequest},
      {be16(4) + be16(0), StartupKind::kOther},
      {"GET ", StartupKind::kOther},
      {"", StartupKind::kOther},
      {"\0\3\0"s, StartupKind::kOther},
  };
  for (const auto& c : cases) EXPECT_EQ(startup_kind(bytes_of(c.body)), c.want);
}

}  // namespace
}  // namespace gatehouse::postgres
