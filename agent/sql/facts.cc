// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/facts.h"

#include <array>

namespace gatehouse::sql {

std::string_view to_string(Effect effect) {
  static constexpr std::array<std::string_view, kEffects> kWords{
      "read",         "insert", "update",    "delete",     "truncate",  "create",  "alter",        "drop",
      "grant",        "revoke", "lock",      "maintain",   "reference", "session", "transaction",  "prepare",
      "run-prepared", "notify", "file-read", "file-write", "program",   "network", "large-object", "server-control",
      "inspect",      "delay",  "run-text",  "run-code",   "unknown"};
  return kWords[static_cast<size_t>(effect)];
}

std::string to_string(Effects effects) {
  std::string out;
  for (size_t i = 0; i < kEffects; ++i) {
    if (!effects.has(static_cast<Effect>(i))) continue;
    if (!out.empty()) out += ' ';
    out += to_string(static_cast<Effect>(i));
  }
  return out;
}

std::string_view to_string(ObjectKind kind) {
  static constexpr std::array<std::string_view, static_cast<size_t>(ObjectKind::kOther) + 1> kWords{
      "relation",      "table",     "view",         "materialized view",
      "foreign table", "index",     "sequence",     "function",
      "type",          "schema",    "database",     "role",
      "tablespace",    "extension", "language",     "trigger",
      "event trigger", "rule",      "policy",       "publication",
      "subscription",  "server",    "user mapping", "foreign data wrapper",
      "other"};
  return kWords[static_cast<size_t>(kind)];
}

std::string_view to_string(FunctionClass function_class) {
  static constexpr std::array<std::string_view, static_cast<size_t>(FunctionClass::kRunText) + 1> kWords{
      "unknown", "harmless", "sequence",     "session",        "lock",    "notify", "file-read", "file-write",
      "program", "network",  "large-object", "server-control", "inspect", "delay",  "run-text"};
  return kWords[static_cast<size_t>(function_class)];
}

std::string_view to_string(UnknownReason reason) {
  static constexpr std::array<std::string_view, kUnknownReasons> kWords{
      "function", "prepared", "code", "computed-text", "cascade", "truncate-cascade", "command", "name"};
  return kWords[static_cast<size_t>(reason)];
}

std::string_view to_string(Refusal refusal) {
  static constexpr std::array<std::string_view, static_cast<size_t>(Refusal::kInternal) + 1> kWords{
      "none", "syntax", "too-long", "too-deep", "too-many", "encoding", "internal"};
  return kWords[static_cast<size_t>(refusal)];
}

}  // namespace gatehouse::sql
