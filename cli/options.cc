// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <sstream>

#include "cli/help.h"
#include "cli/safe_text.h"
#include "cli/when.h"
#include "common/version.h"

namespace gatehouse::cli {
namespace {

constexpr const char* kCollectorVariable = "GATEHOUSE_COLLECTOR";
constexpr const char* kCredentialsVariable = "GATEHOUSE_CREDENTIALS";
constexpr const char* kCollectorDefault = "127.0.0.1:7443";
constexpr const char* kCredentialsDefault = "/var/lib/gatehouse-collector/operator";
constexpr uint64_t kNsPerSecond = 1'000'000'000;
constexpr uint64_t kDefaultTopSpanNs = 3600 * kNsPerSecond;

// What CLI11 fills in, before it means something.
struct Raw {
  std::string collector{};
  std::string credentials{};
  std::string output = "table";
  bool json = false;
  bool no_color = false;
  bool no_pager = false;
  std::string filter{};
  std::string since{};
  std::string until{};
  std::string columns{};
  std::string by = "actor.exe";
  std::string session{};
  std::string valid = "1h";
  std::string folder{};
  uint32_t query_limit = kQueryRowsDefault;
  uint32_t session_limit = kSessionRowsDefault;
  uint32_t top_limit = kTopGroupsDefault;
  bool oldest_first = false;
  bool sockets = false;
  std::vector<std::string> paths{};
  std::string rule{};
  std::string on = "statement";
  std::string sql{};
  std::vector<std::string> fields{};
  bool complete = false;
  std::string request{};
  std::string reason{};
  bool all = false;
  bool full = false;
  std::string grant{};
  std::string scope = "process";
  bool break_glass = false;
  uint32_t approvals_limit = kApprovalsRowsDefault;
};

std::string footer_of(std::string_view text) {
  return std::string(text) + std::string(help::kExitCodes);
}

Answered mistake(const std::string& message, int exit_code = kExitUsage) {
  return {exit_code, "gatehouse: " + message + "\n"};
}

void add_filter(CLI::App& command, Raw& raw) {
  command.add_option("filter", raw.filter, "Which events, such as 'session.user == \"app\"'; all if not given")
      ->type_name("FILTER");
}
void add_since(CLI::App& command, Raw& raw) {
  command.add_option("--since", raw.since, "Events from this time on: 1h, today, 2026-11-25T14:30:00Z, …")
      ->type_name("TIME");
}
void add_until(CLI::App& command, Raw& raw) {
  command.add_option("--until", raw.until, "Events before this time")->type_name("TIME");
}
void add_columns(CLI::App& command, Raw& raw) {
  command
      .add_option("--columns", raw.columns,
                  "Columns of the table: fields, or one of " + summary_columns() + "; separated by commas")
      ->type_name("A,B,C");
}
void add_limit(CLI::App& command, uint32_t& limit, const std::string& of_what) {
  command.add_option("--limit", limit, of_what + "; 0: all")->type_name("N")->capture_default_str();
}

struct Commands {
  CLI::App* query;
  CLI::App* tail;
  CLI::App* session;
  CLI::App* top;
  CLI::App* agents;
  CLI::App* token;
  CLI::App* token_create;
  CLI::App* verify;
  CLI::App* fields;
  CLI::App* rules_check;
  CLI::App* rules_test;
  CLI::App* rules_explain;
  CLI::App* rules_fields;
  CLI::App* rules_backtest;
  CLI::App* approvals_list;
  CLI::App* approvals_show;
  CLI::App* approvals_approve;
  CLI::App* approvals_deny;
  CLI::App* approvals_review;
  CLI::App* version;
};

CLI::App* add_command(CLI::App& app, const char* name, const char* description, std::string_view footer) {
  CLI::App* command = app.add_subcommand(name, description);
  command->footer(footer_of(footer));
  return command;
}

void add_globals(CLI::App& app, Raw& raw) {
  app.add_option(
         "--collector", raw.collector,
         std::string("Where the collector listens (") + kCollectorVariable + "; default " + kCollectorDefault + ")")
      ->type_name("HOST:PORT");
  app.add_option("--credentials", raw.credentials,
                 std::string("Folder of ca.pem, cert.pem and key.pem (") + kCredentialsVariable + "; default " +
                     kCredentialsDefault + ")")
      ->type_name("DIR");
  app.add_option("--output", raw.output, "table, or json: one object per line; also in a pipe")
      ->type_name("FORMAT")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  app.add_flag("--json", raw.json, "The same as --output json");
  app.add_flag("--no-color", raw.no_color, "No colours on a terminal either (NO_COLOR)");
  app.add_flag("--no-pager", raw.no_pager, "No pager on a terminal either (PAGER)");
}

void declare_rules(CLI::App& app, Raw& raw, Commands& out) {
  CLI::App* rules = add_command(app, "rules", "Check, try and explain rule files", help::kRules);
  rules->require_subcommand(1);
  const auto add_paths = [&](CLI::App& command) {
    command.add_option("path", raw.paths, "Rule files, and folders of them")->type_name("PATH")->required();
  };
  const auto add_on = [&](CLI::App& command) {
    command.add_option("--on", raw.on, "The kind of event")->type_name("KIND")->capture_default_str();
  };
  out.rules_check = add_command(*rules, "check", "Tell what is wrong in rule files", help::kRulesCheck);
  add_paths(*out.rules_check);
  out.rules_test = add_command(*rules, "test", "Run the cases beside rules", help::kRulesTest);
  add_paths(*out.rules_test);
  out.rules_test->add_flag("--complete", raw.complete, "Every rule must be found in a case, and silent in another");
  out.rules_explain = add_command(*rules, "explain", "Why do rules match an event, or not?", help::kRulesExplain);
  add_paths(*out.rules_explain);
  add_on(*out.rules_explain);
  out.rules_explain->add_option("--rule", raw.rule, "This rule, whether it matches or not")->type_name("ID");
  out.rules_explain->add_option("--sql", raw.sql, "The statement")->type_name("SQL");
  out.rules_explain->add_option("--field", raw.fields, "A field of the event; may be given again")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  out.rules_backtest =
      add_command(*rules, "backtest", "What would these rules have said of the past?", help::kRulesBacktest);
  add_paths(*out.rules_backtest);
  add_since(*out.rules_backtest, raw);
  add_until(*out.rules_backtest, raw);
  out.rules_fields = add_command(*rules, "fields", "List the fields that rules can name", help::kRulesFields);
  add_on(*out.rules_fields);
}

void declare_approvals(CLI::App& app, Raw& raw, Commands& out) {
  CLI::App* approvals =
      add_command(app, "approvals", "Decide on statements that wait for somebody's word", help::kApprovals);
  approvals->require_subcommand(1);
  const auto add = [&](const char* name, const char* description, std::string_view footer) {
    CLI::App* command = add_command(*approvals, name, description, footer);
    command->add_option("id", raw.request, "The request, or the beginning of its id")->type_name("ID")->required();
    return command;
  };
  const auto add_reason = [&](CLI::App& command) {
    command.add_option("--reason", raw.reason, "Why: who asked reads it, and the record keeps it")
        ->type_name("TEXT")
        ->required();
  };
  out.approvals_list =
      add_command(*approvals, "list", "List the requests that wait, and those to be reviewed", help::kApprovalsList);
  out.approvals_list->add_flag("--all", raw.all, "Those that are over, too");
  add_limit(*out.approvals_list, raw.approvals_limit, "At most so many, the newest");
  out.approvals_show = add("show", "Show a request, with all that there is to know of it", help::kApprovalsShow);
  out.approvals_show->add_flag("--full", raw.full, "All of its text, however long");
  out.approvals_approve = add("approve", "Let it run", help::kApprovalsApprove);
  add_reason(*out.approvals_approve);
  out.approvals_approve
      ->add_option("--for", raw.grant, "The same statement with any literals, too, for so long; at most 24h")
      ->type_name("SPAN");
  out.approvals_approve
      ->add_option("--scope", raw.scope, "With --for: of this process, or of who is logged in behind it")
      ->type_name("SCOPE")
      ->check(CLI::IsMember({"process", "person"}))
      ->capture_default_str();
  out.approvals_approve->add_flag("--break-glass", raw.break_glass,
                                  "Alone and at once, for those who may; it must be reviewed afterwards");
  out.approvals_deny = add("deny", "Refuse it", help::kApprovalsDeny);
  add_reason(*out.approvals_deny);
  out.approvals_review = add("review", "Say that you have looked at one that broke the glass", help::kApprovalsReview);
  add_reason(*out.approvals_review);
}

Commands declare(CLI::App& app, Raw& raw) {
  app.require_subcommand(1);
  app.fallthrough();
  app.set_help_flag("-h,--help", "What this does, with examples");
  app.footer(footer_of(help::kProgram));
  add_globals(app, raw);

  Commands out{};
  out.tail = add_command(app, "tail", "Show events as they happen", help::kTail);
  add_filter(*out.tail, raw);
  add_since(*out.tail, raw);
  add_columns(*out.tail, raw);

  out.query = add_command(app, "query", "Show events of the past", help::kQuery);
  add_filter(*out.query, raw);
  add_since(*out.query, raw);
  add_until(*out.query, raw);
  add_limit(*out.query, raw.query_limit, "At most so many rows");
  out.query->add_flag("--oldest-first", raw.oldest_first, "The oldest first, instead of the newest");
  add_columns(*out.query, raw);

  out.session = add_command(app, "session", "Show one session from its beginning to its end", help::kSession);
  out.session->add_option("id", raw.session, "A session.id, or the beginning of its number")
      ->type_name("ID")
      ->required();
  add_limit(*out.session, raw.session_limit, "At most so many events");
  add_columns(*out.session, raw);

  out.top = add_command(app, "top", "Count events by a field", help::kTop);
  add_filter(*out.top, raw);
  out.top->add_option("--by", raw.by, "The field")->type_name("FIELD")->capture_default_str();
  add_since(*out.top, raw);
  add_until(*out.top, raw);
  add_limit(*out.top, raw.top_limit, "At most so many groups");

  out.agents = add_command(app, "agents", "List agents: connected, last seen, what they see and miss", help::kAgents);
  out.agents->add_flag("--sockets", raw.sockets, "Every socket of a database on their hosts, with its verdict");

  out.token = add_command(app, "token", "Make enrolment tokens for agents", help::kToken);
  out.token->require_subcommand(1);
  out.token_create = add_command(*out.token, "create", "Make a token that enrols one agent", help::kToken);
  out.token_create->add_option("--valid", raw.valid, "How long it can be used")
      ->type_name("SPAN")
      ->capture_default_str();

  out.verify = add_command(app, "verify", "Check the files of a segment log", help::kVerify);
  out.verify->add_option("folder", raw.folder, "The folder of segments: state_dir/ledger of a collector, or a copy")
      ->type_name("DIR")
      ->required();

  declare_approvals(app, raw, out);
  out.fields = add_command(app, "fields", "List the fields that filters can name", help::kFields);
  declare_rules(app, raw, out);
  out.version = add_command(app, "version", "Print the version", help::kVersion);
  return out;
}

bool is_address(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view host = address.substr(0, colon);
  const bool bracketed = host.front() == '[' && host.back() == ']';
  if (!bracketed && host.find(':') != std::string_view::npos) return false;
  const std::string_view port = address.substr(colon + 1);
  const bool digits = std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; });
  return digits && !port.empty() && port.size() <= 5 && std::stoul(std::string(port)) - 1 < 65535;
}

// From the flag, else the environment, else the default. What comes from the environment is configuration.
struct Sourced {
  std::string value;
  bool from_environment;
};
Sourced sourced(const std::string& flag, const char* variable, const char* fallback, const Environment& environment) {
  if (!flag.empty()) return {flag, false};
  if (auto value = environment(variable); value && !value->empty()) return {std::move(*value), true};
  return {fallback, false};
}

std::optional<Answered> take_globals(Options& out, const Raw& raw, const Environment& environment) {
  const Sourced collector = sourced(raw.collector, kCollectorVariable, kCollectorDefault, environment);
  if (!is_address(collector.value)) {
    const std::string source = collector.from_environment ? kCollectorVariable : "--collector";
    return mistake(
        source + ": `" + safe(collector.value) + "` is not HOST:PORT, such as " + kCollectorDefault + " or [::1]:7443",
        collector.from_environment ? kExitConfiguration : kExitUsage);
  }
  out.collector = collector.value;
  out.credentials = sourced(raw.credentials, kCredentialsVariable, kCredentialsDefault, environment).value;
  out.json = raw.json || raw.output == "json";
  const auto no_color = environment("NO_COLOR");
  out.colour = !raw.no_color && !(no_color && !no_color->empty());
  out.pager = !raw.no_pager;
  return std::nullopt;
}

std::optional<Answered> take_times(Options& out, const Raw& raw, uint64_t now_ns) {
  const std::pair<const std::string*, uint64_t*> times[] = {{&raw.since, &out.since_ns}, {&raw.until, &out.until_ns}};
  for (const auto& [text, ns] : times) {
    if (text->empty()) continue;
    const auto when = parse_when(*text, now_ns);
    const std::string option = text == &raw.since ? "--since" : "--until";
    if (!when) return mistake(option + ": `" + safe(*text) + "` is no time: " + std::string(when.error()));
    *ns = std::max<uint64_t>(*when, 1);
  }
  if (out.until_ns != 0 && out.since_ns >= out.until_ns)
    return mistake("--since is not before --until: no event can lie between them");
  return std::nullopt;
}

std::optional<Answered> take_columns(Options& out, const std::string& columns) {
  std::istringstream names(columns);
  for (std::string name; std::getline(names, name, ',');) {
    const size_t first = name.find_first_not_of(' ');
    name = first == std::string::npos ? "" : name.substr(first, name.find_last_not_of(' ') - first + 1);
    auto column = find_column(name);
    if (!column) {
      return mistake("--columns: there is no column `" + safe(name) + "`; did you mean `" +
                     std::string(rules::nearest_field(name)->name) + "`? Besides fields there are " +
                     summary_columns());
    }
    out.columns.push_back(std::move(*column));
  }
  return std::nullopt;
}

std::optional<Answered> take_rest(Options& out, const Raw& raw, uint64_t now_ns) {
  if (auto parsed = rules::parse_filter(raw.filter); !parsed)
    return Answered{kExitUsage, explain_filter_error(raw.filter, parsed.error())};
  out.filter = raw.filter;
  if (auto answer = take_times(out, raw, now_ns)) return answer;
  if (auto answer = take_columns(out, raw.columns)) return answer;
  out.by = rules::find_field(raw.by);
  if (out.by == nullptr) {
    return mistake("--by: there is no field `" + safe(raw.by) + "`; did you mean `" +
                   std::string(rules::nearest_field(raw.by)->name) + "`?");
  }
  const auto valid = parse_span(raw.valid);
  if (!valid || *valid < kNsPerSecond || *valid / kNsPerSecond > UINT32_MAX)
    return mistake("--valid: `" + safe(raw.valid) + "` is no length of time: write 90s, 15m, 1h or 2d");
  out.valid_seconds = *valid / kNsPerSecond;
  out.session = raw.session;
  out.folder = raw.folder;
  out.oldest_first = raw.oldest_first;
  out.paths = raw.paths;
  out.rule = raw.rule;
  out.on = raw.on;
  out.sql = raw.sql;
  out.fields = raw.fields;
  out.complete = raw.complete;
  return std::nullopt;
}

std::optional<Answered> take_approvals(Options& out, const Raw& raw) {
  out.request = raw.request;
  out.reason = raw.reason;
  out.all = raw.all;
  out.full = raw.full;
  out.break_glass = raw.break_glass;
  if (raw.grant.empty()) return std::nullopt;
  const auto span = parse_span(raw.grant);
  if (!span || *span < kNsPerSecond)
    return mistake("--for: `" + safe(raw.grant) + "` is no length of time: write 90s, 15m, 1h or 2d");
  out.grant_seconds = *span / kNsPerSecond;
  out.scope = raw.scope;
  return std::nullopt;
}

void take_command(Options& out, const Raw& raw, const Commands& commands, uint64_t now_ns) {
  if (commands.tail->parsed()) out.command = Command::kTail;
  if (commands.agents->parsed()) {
    out.command = Command::kAgents;
    out.sockets = raw.sockets;
  }
  if (commands.token->parsed()) out.command = Command::kTokenCreate;
  if (commands.fields->parsed()) out.command = Command::kFields;
  if (commands.verify->parsed()) out.command = Command::kVerify;
  if (commands.rules_check->parsed()) out.command = Command::kRulesCheck;
  if (commands.rules_test->parsed()) out.command = Command::kRulesTest;
  if (commands.rules_explain->parsed()) out.command = Command::kRulesExplain;
  if (commands.rules_fields->parsed()) out.command = Command::kRulesFields;
  if (commands.rules_backtest->parsed()) out.command = Command::kRulesBacktest;
  if (commands.approvals_show->parsed()) out.command = Command::kApprovalsShow;
  if (commands.approvals_approve->parsed()) out.command = Command::kApprovalsApprove;
  if (commands.approvals_deny->parsed()) out.command = Command::kApprovalsDeny;
  if (commands.approvals_review->parsed()) out.command = Command::kApprovalsReview;
  if (commands.approvals_list->parsed()) {
    out.command = Command::kApprovalsList;
    out.limit = raw.approvals_limit;
  }
  if (commands.query->parsed()) {
    out.command = Command::kQuery;
    out.limit = raw.query_limit;
  }
  if (commands.session->parsed()) {
    out.command = Command::kSession;
    out.limit = raw.session_limit;
  }
  if (commands.top->parsed()) {
    out.command = Command::kTop;
    out.limit = raw.top_limit;
    if (out.since_ns == 0) {
      const uint64_t end = out.until_ns != 0 ? out.until_ns : now_ns;
      out.since_ns = end - std::min(end - 1, kDefaultTopSpanNs);
    }
  }
}

// CLI11's own words, but for the first word: it does not say what that could have been.
std::string parse_problem(const CLI::App& app, const std::vector<std::string>& arguments,
                          const CLI::ParseError& error) {
  std::string names;
  bool known = false;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names += (names.empty() ? "" : ", ") + command->get_name();
    known = known || (!arguments.empty() && arguments.front() == command->get_name());
  }
  if (arguments.empty()) return "a command is missing: " + names;
  const std::string& first = arguments.front();
  if (!first.starts_with('-') && !known) return "there is no command `" + safe(first) + "`: there are " + names;
  return safe(error.what());
}

}  // namespace

std::string explain_filter_error(std::string_view filter, const rules::FilterError& error) {
  const size_t offset = std::min(error.offset, filter.size());
  const size_t line_start = offset == 0 ? 0 : filter.rfind('\n', offset - 1) + 1;
  const std::string_view line = filter.substr(line_start, filter.find('\n', line_start) - line_start);
  // Made safe in two halves, so that the caret stands right whatever stands before it. A space at the seam is lost
  // in the head and put back.
  std::string head = safe(line.substr(0, offset - line_start));
  if (offset > line_start && line[offset - line_start - 1] == ' ' && !head.empty()) head += ' ';
  const std::string tail = safe(line.substr(std::min(offset - line_start, line.size())));
  return "gatehouse: filter: " + safe(error.message) + "\n  " + head + tail + "\n  " +
         std::string(display_width(head), ' ') + "^\n";
}

tl::expected<Options, Answered> parse_options(std::vector<std::string> arguments, const Environment& environment,
                                              uint64_t now_ns) {
  CLI::App app("Ask a Gatehouse collector what happened in your databases, and who did it.", "gatehouse");
  Raw raw;
  const Commands commands = declare(app, raw);
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // CLI11 takes them off the end
  } catch (const CLI::ParseError& error) {
    std::ostringstream out;
    std::ostringstream problems;
    const int code = app.exit(error, out, problems);
    if (code == 0) return tl::unexpected(Answered{kExitOk, out.str()});
    const auto parsed = app.get_subcommands();
    const std::string command = parsed.empty() ? "" : parsed.front()->get_name() + " ";
    return tl::unexpected(
        mistake(parse_problem(app, arguments, error) + "; `gatehouse " + command + "--help` shows how it is written"));
  }
  if (commands.version->parsed()) return tl::unexpected(Answered{kExitOk, std::string("gatehouse ") + kVersion + "\n"});
  Options out;
  if (auto answer = take_globals(out, raw, environment)) return tl::unexpected(std::move(*answer));
  if (auto answer = take_rest(out, raw, now_ns)) return tl::unexpected(std::move(*answer));
  if (auto answer = take_approvals(out, raw)) return tl::unexpected(std::move(*answer));
  take_command(out, raw, commands, now_ns);
  return out;
}

}  // namespace gatehouse::cli
