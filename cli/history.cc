// SPDX-License-Identifier: Apache-2.0
#include "cli/history.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>
#include <utility>

namespace gatehouse::cli {
namespace {

template <typename Enum, size_t kCount>
std::optional<Enum> enum_of(std::string_view text, const std::array<std::string_view, kCount>& words) {
  const auto* const found = std::ranges::find(words, text);
  if (found == words.end()) return std::nullopt;
  return static_cast<Enum>(found - words.begin());
}

// "protocol=3.0 user=app options=-c a=b database=shop": a word without = goes on with the one before.
std::vector<std::pair<std::string, std::string>> words_of(std::string_view detail) {
  std::vector<std::pair<std::string, std::string>> words;
  while (!detail.empty()) {
    const size_t end = std::min(detail.find(' '), detail.size());
    const std::string_view word = detail.substr(0, end);
    detail.remove_prefix(std::min(end + 1, detail.size()));
    const size_t equals = word.find('=');
    if (equals != std::string_view::npos) {
      words.emplace_back(word.substr(0, equals), word.substr(equals + 1));
    } else if (words.empty()) {
      words.emplace_back("", word);
    } else {
      words.back().second.append(1, ' ').append(word);
    }
  }
  return words;
}

std::string_view first_word(std::string_view text) {
  return text.substr(0, text.find(' '));
}

uint64_t number_of(std::string_view text) {
  uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

uint64_t number_of(const std::vector<std::pair<std::string, std::string>>& words, std::string_view name) {
  const auto found = std::ranges::find(words, name, [](const auto& word) -> std::string_view { return word.first; });
  return found == words.end() ? 0 : number_of(found->second);
}

}  // namespace

History::History(std::shared_ptr<const rules::Policy> policy) : examiner_({.carries_out = rules::Verdict::kTerminate}) {
  examiner_.set_policy(std::move(policy));
}

judge::SessionMemory& History::memory_of(const v1::Row& row) {
  if (const auto found = sessions_.find(row.session()); found != sessions_.end()) {
    order_.splice(order_.end(), order_, found->second.place);
    return found->second.memory;
  }
  if (sessions_.size() >= kHistorySessionsMax) {
    sessions_.erase(order_.front());
    order_.pop_front();
  }
  order_.push_back(row.session());
  return sessions_.emplace(row.session(), Session(std::prev(order_.end()))).first->second.memory;
}

void History::fill_subject(const v1::Row& row) {
  actor_ = {.pid = row.actor_pid(),
            .exe = row.actor_exe(),
            .name = rules::base_name(row.actor_exe()),
            .sha256 = row.actor_sha256(),
            .command = row.actor_command(),
            .cwd = row.actor_cwd(),
            .user = row.actor_user(),
            .login_user = row.actor_login_user(),
            .uid = row.actor_uid(),
            .euid = row.actor_uid(),
            .tty = row.actor_tty(),
            .unit = row.actor_unit(),
            .container = row.actor_container(),
            .agent = row.actor_agent(),
            .agent_kind = row.actor_agent_kind(),
            .automation = row.actor_automation(),
            .automation_kind = row.actor_automation_kind(),
            .login = row.actor_login(),
            .start = rules::instant_of(static_cast<int64_t>(row.actor_start_ns())),
            .opener_pid = row.actor_opener_pid(),
            .opener_exe = row.actor_opener_exe()};
  for (std::string_view rest = row.actor_command(); !rest.empty();) {
    const std::string_view word = first_word(rest);
    rest.remove_prefix(std::min(word.size() + 1, rest.size()));
    actor_.arguments.push_back(word);
  }
  for (int i = 0; i < row.actor_ancestors_size(); ++i) {
    actor_.ancestry.push_back(row.actor_ancestors(i));
    const bool has_command = i < row.actor_ancestor_commands_size();
    actor_.ancestors.push_back(
        {.exe = row.actor_ancestors(i),
         .name = rules::base_name(row.actor_ancestors(i)),
         .command = has_command ? std::string_view(row.actor_ancestor_commands(i)) : std::string_view()});
  }
  // Agents that did not know all of today's programs have recorded fewer.
  complete(actor_);
  const std::string_view client = row.session_client();
  const bool is_tcp = row.session_transport() == "tcp";
  std::string_view address = is_tcp ? client.substr(0, client.rfind(':')) : std::string_view();
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  subject_ = {.actor = row.actor_pid() == 0 ? nullptr : &actor_,
              .agent = {.id = row.agent_id(), .host = row.host()},
              .session = {.id = row.session(),
                          .user = row.session_user(),
                          .application = row.session_application(),
                          .client = client,
                          .client_address = address,
                          .transport = row.session_transport(),
                          .named_by = row.session_named_by(),
                          .backend_pid = row.session_backend_pid(),
                          .is_encrypted = row.session_encrypted(),
                          .is_gated = row.session_gated()},
              .database = {.engine = row.database_engine(),
                           .label = row.database_label(),
                           .name = row.database_name(),
                           .version = row.database_version(),
                           .address = row.database_address(),
                           .exe = row.database_exe(),
                           .pid = row.database_pid()},
              .memory = &memory_of(row)};
  for (const std::string& label : row.database_labels()) {
    const std::string_view text = label;
    const size_t equals = std::min(text.find('='), text.size());
    subject_.database.labels.emplace_back(text.substr(0, equals), text.substr(std::min(equals + 1, text.size())));
  }
}

judge::Examined History::judge(const v1::Row& row) {
  const auto kind = enum_of<ActivityKind>(row.kind(), kActivityWords);
  if (!kind && row.kind() != "gap") return {};
  fill_subject(row);
  if (!kind) {
    return examiner_.examine_gap(subject_, first_word(row.detail()),
                                 row.coverage_lost_bytes() + row.coverage_unseen_bytes(),
                                 number_of(words_of(row.detail()), "events"), row.time_ns());
  }
  Activity activity{.kind = *kind,
                    .fidelity = enum_of<Fidelity>(row.fidelity(), kFidelityWords).value_or(Fidelity::kOpaque),
                    .outcome = enum_of<Outcome>(row.outcome(), kOutcomeWords).value_or(Outcome::kUnknown),
                    .end_ns = row.duration_ns(),
                    .response_bytes = row.result_bytes(),
                    .transaction = enum_of<TransactionState>(row.statement_transaction(), kTransactionWords)
                                       .value_or(TransactionState::kUnknown),
                    .sqlstate = row.result_sqlstate(),
                    .error_message = row.result_error()};
  const auto words = words_of(row.detail());
  std::vector<Parameter> parameters;
  std::vector<Setting> settings;
  judge::Ending ending{};
  switch (*kind) {
    case ActivityKind::kStatement:
      activity.protocol =
          enum_of<StatementProtocol>(row.statement_protocol(), kProtocolWords).value_or(StatementProtocol::kNone);
      activity.text = row.statement_text();
      activity.text_bytes = row.statement_text().size();
      if (row.detail().starts_with("text cut: ")) ++activity.text_bytes;
      activity.resolved_text = row.statement_resolved();
      activity.statement_name = row.statement_name();
      activity.portal_name = row.statement_portal();
      activity.command_tag = row.statement_tag();
      activity.rows = row.result_rows();
      activity.copy_bytes = row.result_copy_bytes();
      activity.statement_index = row.statement_index();
      for (const std::string& value : row.statement_parameters()) parameters.push_back({.value = value});
      activity.parameters = parameters;
      break;
    case ActivityKind::kConnect:
      for (const auto& [name, value] : words) {
        if (name == "protocol") activity.protocol_version = value;
        if (name != "protocol") settings.push_back({.name = name, .value = value});
      }
      activity.options = settings;
      break;
    case ActivityKind::kAuthenticate:
    case ActivityKind::kOpaque:
      activity.method = row.detail();
      break;
    case ActivityKind::kCancel:
      activity.cancel_backend_pid = static_cast<uint32_t>(number_of(words, "backend"));
      break;
    case ActivityKind::kNotify:
      if (!words.empty()) activity.channel = words.front().second;
      activity.payload_bytes = row.result_bytes();
      break;
    case ActivityKind::kDisconnect:
      activity.reason = first_word(row.detail());
      ending = {.coverage = row.coverage_verdict(),
                .request_bytes = row.request_bytes(),
                .response_bytes = row.result_bytes(),
                .statements = number_of(words, "statements"),
                .lost_bytes = row.coverage_lost_bytes()};
      break;
  }
  const bool is_end = *kind == ActivityKind::kDisconnect;
  const judge::Examined examined = examiner_.examine(subject_, activity, row.time_ns(), is_end ? &ending : nullptr);
  if (is_end) {
    const auto found = sessions_.find(row.session());
    order_.erase(found->second.place);
    sessions_.erase(found);
  }
  return examined;
}

}  // namespace gatehouse::cli
