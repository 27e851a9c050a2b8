// SPDX-License-Identifier: Apache-2.0
#include "cli/render.h"

#include <algorithm>

#include "cli/human.h"
#include "cli/safe_text.h"
#include "cli/sockets.h"

namespace gatehouse::cli {

std::string render_agents(const v1::AgentsResponse& answer, TableStyle style, uint64_t now_ns) {
  std::vector<TableColumn> columns = {
      {.title = "host", .max_width = 40},
      {.title = "agent", .max_width = 40},
      {.title = "connected"},
      {.title = "last seen"},
      {.title = "events", .max_width = 24, .right = true},
      {.title = "missing", .max_width = 24, .right = true},
      {.title = "sockets", .max_width = 60},
      {.title = "cpu", .right = true},
      {.title = "memory", .right = true},
      {.title = "plane"},
      {.title = "version"},
  };
  std::vector<std::vector<Cell>> rows;
  for (const v1::Agent& agent : answer.agents()) {
    rows.push_back({
        {safe(agent.host())},
        {safe(agent.agent_id())},
        agent.connected() ? Cell{"yes", Tone::kGood} : Cell{"no", Tone::kBad},
        {human_ago(agent.last_seen_ns(), now_ns)},
        {human_count(agent.events())},
        {human_count(agent.missing()), agent.missing() == 0 ? Tone::kPlain : Tone::kBad},
        {sockets_summary(agent), has_unseen_sockets(agent) ? Tone::kBad : Tone::kPlain},
        {cpu_summary(agent)},
        {memory_summary(agent)},
        {safe(agent.plane())},
        {safe(agent.version())},
    });
  }
  return render_table(std::move(columns), style, rows);
}

std::string render_top(const v1::TopResponse& answer, const rules::FieldSpec& by, TableStyle style) {
  std::vector<TableColumn> columns = {
      {.title = "events", .max_width = 24, .right = true},
      {.title = "errors", .max_width = 24, .right = true},
      {.title = "rows", .max_width = 24, .right = true},
      {.title = "duration", .right = true},
      {.title = "average", .right = true},
      {.title = "last", .min_width = 23},
      {.title = std::string(by.name), .max_width = 4096, .takes_rest = true},
  };
  std::vector<std::vector<Cell>> rows;
  for (const v1::TopGroup& group : answer.groups()) {
    const uint64_t events = std::max<uint64_t>(group.events(), 1);
    rows.push_back({
        {human_count(group.events())},
        {human_count(group.errors()), group.errors() == 0 ? Tone::kPlain : Tone::kBad},
        {human_count(group.rows())},
        {human_duration(group.duration_ns())},
        {human_duration(group.duration_ns() / events)},
        {local_timestamp(group.last_time_ns())},
        group.value().empty() ? Cell{"(not known)", Tone::kFaint} : Cell{safe(group.value())},
    });
  }
  return render_table(std::move(columns), style, rows);
}

std::string render_fields(TableStyle style) {
  std::vector<TableColumn> columns = {
      {.title = "field", .min_width = 12},
      {.title = "type", .min_width = 6},
      {.title = "meaning", .max_width = 4096, .takes_rest = true},
  };
  std::vector<std::vector<Cell>> rows;
  for (const rules::FieldSpec& field : rules::fields())
    rows.push_back({{std::string(field.name)}, {std::string(rules::type_name(field))}, {std::string(field.help)}});
  return render_table(std::move(columns), style, rows);
}

void SessionTotals::add(const v1::Row& row) {
  // MergeFrom takes over what is set and leaves the rest: exactly "the last known value". What belongs to one event
  // comes along and is not used.
  known_.MergeFrom(row);
  known_.clear_statement_parameters();
  known_.clear_coverage_reasons();
  coverage_.add(row);
  first_ns_ = first_ns_ == 0 ? row.time_ns() : std::min(first_ns_, row.time_ns());
  last_ns_ = std::max(last_ns_, row.time_ns() + row.duration_ns());
  ended_ = ended_ || row.kind() == "disconnect";
  if (row.kind() == "statement") {
    ++statements_;
    rows_ += row.result_rows();
    bytes_ += row.result_bytes();
    duration_ns_ += row.duration_ns();
  }
  if (row.outcome() == "error") ++errors_;
}

std::string SessionTotals::text() const {
  return human_count(statements_) + (statements_ == 1 ? " statement, " : " statements, ") + human_count(errors_) +
         (errors_ == 1 ? " error, " : " errors, ") + human_count(rows_) + (rows_ == 1 ? " row, " : " rows, ") +
         human_bytes(bytes_) + " answered, " + human_duration(duration_ns_) + " in statements";
}

namespace {

void append_line(std::string& out, std::string_view name, const std::string& value) {
  if (value.empty()) return;
  out += name;
  out.append(name.size() < 12 ? 12 - name.size() : 1, ' ');
  out += value;
  out += '\n';
}

}  // namespace

std::string SessionTotals::coverage() const {
  std::string out;
  for (const std::string& text : coverage_.lines()) append_line(out, out.empty() ? "coverage" : "", text);
  return out;
}

std::string SessionTotals::head() const {
  std::string out;
  const auto line = [&](std::string_view name, const std::string& value) { append_line(out, name, value); };
  const v1::Row& row = known_;
  line("session", safe(row.session()));
  if (row.actor_pid() != 0) {
    std::string who = safe(row.actor_user());
    const std::string& login = row.actor_login().empty() ? row.actor_login_user() : row.actor_login();
    if (!login.empty() && login != row.actor_user()) who += " (logged in as " + safe(login) + ")";
    line("who", who);
    line("process", std::to_string(row.actor_pid()) + (row.actor_tty().empty() ? "" : " on " + safe(row.actor_tty())));
    line("exe", safe(row.actor_exe()));
    line("command", safe(row.actor_command()));
    line("ancestry", safe(row.actor_ancestry()));
    if (!row.actor_agent().empty()) line("agent", safe(row.actor_agent() + " (" + row.actor_agent_kind() + ")"));
    if (!row.actor_automation().empty())
      line("automation", safe(row.actor_automation() + " (" + row.actor_automation_kind() + ")"));
    line("unit", safe(row.actor_unit()));
    line("container", safe(row.actor_container()));
  }
  line("user", safe(row.session_user()) +
                   (row.session_named_by() == "process-title" ? " (by the title of the server's process)" : ""));
  std::string database = safe(row.database_name());
  if (!row.database_address().empty())
    database += (database.empty() ? "" : " ") + ("at " + safe(row.database_address()));
  if (!row.database_version().empty())
    database += " (" + safe(row.database_engine()) + " " + safe(row.database_version()) + ")";
  line("database", database);
  std::string client = safe(row.session_client());
  if (!row.session_application().empty()) client += " as \"" + safe(row.session_application()) + "\"";
  line("client", client);
  line("encrypted", !row.session_encrypted() ? "no" : row.session_gated() ? "yes" : "yes: content is not visible");
  line("enforced", row.session_gated() ? "yes: each statement was judged before it went on" : "no");
  line("start", local_timestamp(first_ns_));
  line("end", ended_ ? local_timestamp(last_ns_) : "");
  return out;
}

}  // namespace gatehouse::cli
