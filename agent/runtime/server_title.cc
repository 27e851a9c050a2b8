// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/server_title.h"

#include <algorithm>
#include <charconv>

namespace gatehouse::runtime {
namespace {

constexpr std::string_view kProgram = "postgres: ";

// The port of "127.0.0.1(51234)"; 0 for "[local]". Nothing: not a client's address.
std::optional<uint32_t> client_port(std::string_view word) {
  if (word == "[local]") return 0;
  const size_t open = word.rfind('(');
  if (open == std::string_view::npos || open == 0 || word.back() != ')') return std::nullopt;
  const std::string_view digits = word.substr(open + 1, word.size() - open - 2);
  uint32_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size() || port == 0 || port > 65535) return std::nullopt;
  return port;
}

// What stands before the address: "USER DATABASE", "walsender USER [DATABASE]", and a cluster's name before that. A
// name may hold spaces, and then nobody can tell where it ends.
void take_names(std::string_view names, ServerTitle& title) {
  if (const size_t cluster = names.rfind(": "); cluster != std::string_view::npos) names.remove_prefix(cluster + 2);
  constexpr std::string_view kSender = "walsender ";
  const bool is_sender = names.starts_with(kSender);
  if (is_sender) names.remove_prefix(kSender.size());
  const size_t space = names.find(' ');
  if (space == std::string_view::npos) {
    if (is_sender) title.user = names;
    return;
  }
  if (names.find(' ', space + 1) != std::string_view::npos) return;
  title.user = names.substr(0, space);
  title.database = names.substr(space + 1);
}

}  // namespace

std::optional<TransactionState> idle_transaction(std::string_view state) {
  if (state == "idle") return TransactionState::kIdle;
  if (state == "idle in transaction") return TransactionState::kActive;
  if (state == "idle in transaction (aborted)") return TransactionState::kFailed;
  return std::nullopt;
}

std::optional<ServerTitle> parse_server_title(std::string_view title) {
  while (!title.empty() && (title.back() == '\0' || title.back() == ' ')) title.remove_suffix(1);
  if (!title.starts_with(kProgram)) return std::nullopt;
  title.remove_prefix(kProgram.size());
  for (size_t at = 0; at < title.size();) {
    const size_t end = std::min(title.find(' ', at), title.size());
    if (const auto port = end > at ? client_port(title.substr(at, end - at)) : std::nullopt; port && at > 0) {
      ServerTitle found{.client_port = *port};
      take_names(title.substr(0, at - 1), found);
      if (end < title.size()) found.state = title.substr(end + 1);
      return found;
    }
    at = end + 1;
  }
  return std::nullopt;
}

}  // namespace gatehouse::runtime
