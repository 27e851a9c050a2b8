// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "cli/approvals_render.h"
#include "cli/backtest.h"
#include "cli/claim.h"
#include "cli/client.h"
#include "cli/human.h"
#include "cli/json.h"
#include "cli/render.h"
#include "cli/rules_commands.h"
#include "cli/safe_text.h"
#include "cli/sockets.h"
#include "cli/tail_cursor.h"
#include "cli/verify.h"
#include "collector/ledger/log_check.h"

namespace gatehouse::cli {
namespace {

using std::chrono::milliseconds;

// Rows held back to measure columns; as many as `query` shows by default.
constexpr size_t kSampleRows = 100;
// Events of a session held back for the totals at its head; beyond, totals stand at the end.
constexpr size_t kSessionRowsHeld = 20'000;
// Gaps looked at for the verdict on a session: more of them do not change it.
constexpr uint32_t kSessionGapsMax = 10'000;
constexpr milliseconds kRetryFirst{250};
constexpr milliseconds kRetryMax{5000};

void tell(const Surroundings& to, const std::string& message) {
  to.problems.write("gatehouse: " + message + "\n");
  to.problems.flush();
}

// What a reader of the table should know: on a terminal under the table, where a pager keeps it; else apart from it.
void note(const Surroundings& to, const std::string& message) {
  if (to.style.terminal_width == 0) return tell(to, message);
  to.out.write(toned(message, Tone::kFaint, to.style.colour) + "\n");
  to.out.flush();
}

// The end of gRPC's chain of causes: "…; last error: UNKNOWN: ipv4:…: Failed to connect …: Connection refused".
std::string last_cause(const std::string& message) {
  const size_t colon = message.rfind(": ");
  return colon == std::string::npos ? message : message.substr(colon + 2);
}

// Someone listens, but hangs up. With TLS 1.3 a server that refuses a certificate can say no more than this.
bool hung_up(const CallError& error) {
  const std::string cause = last_cause(error.message);
  return cause == "Socket closed" || cause == "Connection reset by peer" || cause == "Broken pipe";
}

int fail(const CallError& error, const Options& options, const Surroundings& to) {
  switch (error.kind) {
    case CallError::Kind::kUnreachable:
      if (hung_up(error)) {
        tell(to, "the collector at " + options.collector + " closed the connection (" + last_cause(error.message) +
                     "): it is stopping, or the certificate in " + options.credentials + " is of another installation");
        return kExitEnvironment;
      }
      tell(to, "no collector answers at " + options.collector + " (" + last_cause(error.message) +
                   "): check that gatehouse-collector runs there and that the address (--collector, "
                   "GATEHOUSE_COLLECTOR) is right");
      return kExitEnvironment;
    case CallError::Kind::kRejected:
      tell(to, "the collector at " + options.collector + " and the certificate in " + options.credentials +
                   " do not belong together (" + last_cause(error.message) +
                   "): copy the operator folder of that collector, or name it with --credentials");
      return kExitEnvironment;
    case CallError::Kind::kRequest:
      tell(to, "the collector does not accept this: " + error.message);
      return kExitUsage;
    case CallError::Kind::kRefused:
      tell(to, error.message);
      return kExitRefused;
    case CallError::Kind::kCancelled:
      return kExitOk;
    case CallError::Kind::kOther:
      break;
  }
  tell(to, "the collector at " + options.collector + " failed: " + error.message);
  return kExitEnvironment;
}

// A string of the filter language.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

// Where there is one, after the answer and apart from it.
void tell_if_partial(const Client& client, const Surroundings& to) {
  const auto& partial = client.partial();
  if (!partial) return;
  std::string message = "this answer is partial: the collector is building its index and has " +
                        std::to_string(partial->percent) + " % of what it keeps";
  if (partial->seconds_left > 0) message += ", about " + std::to_string(partial->seconds_left) + " s to go";
  tell(to, message);
}

void tell_if_removed(const Client& client, const Surroundings& to) {
  if (const auto& since = client.kept_since_ns())
    tell(to, "what the collector received before " + local_timestamp(*since) +
                 " is no longer there: its retention has removed it");
}

std::string marked(const Client& client, std::string json) {
  return client.partial() ? partial_json(std::move(json), client.partial()->percent) : json;
}

// Prints events as a table or as JSON, in the order in which they come.
class EventPrinter {
 public:
  EventPrinter(const Client* client, const Options& options, const Surroundings& to, std::vector<EventColumn> usual,
               bool live)
      : client_(client),
        json_(options.json),
        live_(live),
        to_(to),
        columns_(options.columns.empty() ? std::move(usual) : options.columns) {
    if (live_ && !json_) start();
  }

  // False once nobody reads.
  bool print(const v1::Row& row) {
    if (json_) return put(client_ == nullptr ? to_json(row) : marked(*client_, to_json(row)));
    auto cells = cells_of(columns_, row);
    if (table_) return put(table_->line(cells));
    sample_.push_back(std::move(cells));
    return sample_.size() < kSampleRows || start();
  }
  bool finish() {
    if (!json_ && !table_) start();
    return to_.out.flush();
  }

 private:
  bool put(const std::string& text) { return to_.out.write(text) && (!live_ || to_.out.flush()); }
  bool start() {
    table_.emplace(layouts_of(columns_), to_.style, sample_);
    bool wanted = put(table_->header());
    for (const auto& cells : sample_) wanted = wanted && put(table_->line(cells));
    sample_.clear();
    return wanted;
  }

  const Client* client_;  // null: nobody asks whether the answer is whole
  bool json_;
  bool live_;
  const Surroundings& to_;
  std::vector<EventColumn> columns_;
  std::optional<Table> table_{};
  std::vector<std::vector<Cell>> sample_{};
};

int query(Client& client, const Options& options, const Surroundings& to) {
  v1::SearchRequest request;
  request.set_filter(options.filter);
  request.set_since_ns(options.since_ns);
  request.set_until_ns(options.until_ns);
  request.set_limit(options.limit);
  request.set_oldest_first(options.oldest_first);
  EventPrinter printer(&client, options, to, event_columns(to.style.terminal_width), false);
  uint64_t rows = 0;
  const auto end = client.search(request, [&](const v1::Row& row) {
    ++rows;
    return printer.print(row);
  });
  if (!end && rows == 0) return fail(end.error(), options, to);
  printer.finish();
  if (!end) return fail(end.error(), options, to);
  tell_if_partial(client, to);
  // The newest are there, however many older ones are not.
  if (options.limit == 0 || rows < options.limit || options.oldest_first) tell_if_removed(client, to);
  if (to.style.terminal_width != 0 && options.limit != 0 && rows == options.limit) {
    note(to, std::string("these are the ") + (options.oldest_first ? "oldest " : "newest ") + std::to_string(rows) +
                 "; --limit 0 shows all");
  }
  return kExitOk;
}

// Waits; true if stopped meanwhile.
bool wait(const std::stop_token& stop, milliseconds time) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_for(lock, stop, time, [] { return false; });
  return stop.stop_requested();
}

int tail(const Options& options, const Credentials& credentials, const Surroundings& to) {
  EventPrinter printer(nullptr, options, to, event_columns(to.style.terminal_width), true);
  TailCursor cursor(options.since_ns, to.now_ns);
  v1::TailRequest request;
  request.set_filter(options.filter);
  request.set_since_ns(options.since_ns);
  bool was_connected = false;
  bool lost = false;
  bool read = true;  // by someone
  milliseconds pause = kRetryFirst;
  to.out.flush();
  while (true) {
    Client client(options.collector, credentials);
    const std::stop_callback on_stop(to.stop, [&client] { client.cancel(); });
    if (client.connect()) {
      if (lost) tell(to, "connected to " + options.collector + " again");
      was_connected = true;
      lost = false;
      pause = kRetryFirst;
    }
    const auto end = client.tail(request, [&](const v1::Row& row) {
      if (cursor.admit(row.id(), row.time_ns())) read = printer.print(row);
      return read;
    });
    if (to.stop.stop_requested() || !read) return kExitOk;
    const bool may_return = end || end.error().kind == CallError::Kind::kUnreachable;
    if (!may_return || !was_connected) return fail(end.error(), options, to);
    if (!lost) {
      tell(to, "lost the collector at " + options.collector + " (" +
                   (end ? std::string("it ended the stream") : last_cause(end.error().message)) + "): trying again");
    }
    lost = true;
    request.set_since_ns(cursor.resume_ns());
    if (wait(to.stop, pause)) return kExitOk;
    pause = std::min(pause * 2, kRetryMax);
  }
}

// What says how much of the session was seen but is not among the rows shown: its end and its gaps beyond the limit,
// and what its agent dropped. An answer that does not come leaves the verdict at what the rows tell.
void complete_coverage(Client& client, bool was_limited, SessionTotals& totals) {
  constexpr uint64_t kReportedWithinNs = 60'000'000'000;  // an agent tells of what it dropped as soon as it can
  const auto ask = [&](const std::string& filter, const RowSink& sink) {
    v1::SearchRequest request;
    request.set_filter(filter);
    request.set_oldest_first(true);
    request.set_since_ns(totals.first_ns());
    if (!was_limited && totals.covered().has_ended()) request.set_until_ns(totals.last_ns() + kReportedWithinNs);
    request.set_limit(kSessionGapsMax);
    static_cast<void>(client.search(request, sink));
  };
  const std::string session = quoted(totals.known().session());
  if (was_limited) {
    uint64_t last_seen_ns = totals.last_ns();
    const auto add = [&](const v1::Row& row) {
      if (row.time_ns() > last_seen_ns) totals.covered().add(row);
      return true;
    };
    ask("kind == \"gap\" && session.id == " + session, add);
    ask("kind == \"disconnect\" && session.id == " + session, add);
  }
  ask("kind == \"gap\" && session.id == \"\" && agent.id == " + quoted(totals.known().agent_id()),
      [&](const v1::Row& row) {
        totals.covered().add_of_agent(row);
        return true;
      });
}

int session(Client& client, const Options& options, const Surroundings& to) {
  v1::SessionRequest request;
  request.set_session(options.session);
  request.set_limit(options.limit);
  EventPrinter printer(&client, options, to, session_columns(), false);
  SessionTotals totals;
  std::vector<v1::Row> held;
  bool streaming = options.json;
  uint64_t rows = 0;
  bool has_beginning = false;
  const auto print_held = [&](bool whole) {
    bool wanted =
        to.out.write(totals.head() + (whole ? totals.coverage() + "totals      " + totals.text() + "\n\n" : "\n"));
    for (const v1::Row& row : held) wanted = wanted && printer.print(row);
    held.clear();
    return wanted;
  };
  const auto end = client.session(request, [&](const v1::Row& row) {
    has_beginning |= rows++ == 0 && row.kind() == "connect";
    totals.add(row);
    if (streaming) return printer.print(row);
    held.push_back(row);
    if (held.size() < kSessionRowsHeld) return true;
    streaming = true;
    return print_held(false);
  });
  if (!end && rows == 0) return fail(end.error(), options, to);
  tell_if_partial(client, to);
  if (!has_beginning) tell_if_removed(client, to);
  if (rows == 0) {
    tell(to, "there is no session `" + safe(options.session) +
                 "`: `gatehouse query --columns time,session.id,actor,what` shows which there are");
    return kExitEnvironment;
  }
  if (!options.json) complete_coverage(client, options.limit != 0 && rows == options.limit, totals);
  if (!streaming) print_held(true);
  printer.finish();
  if (streaming && !options.json) {
    to.out.write("\n" + totals.coverage() + "totals      " + totals.text() + "\n");
    to.out.flush();
  }
  if (!end) return fail(end.error(), options, to);
  if (options.limit != 0 && rows == options.limit)
    note(to, "these are its first " + std::to_string(rows) + " events; --limit 0 shows all");
  return kExitOk;
}

int top(Client& client, const Options& options, const Surroundings& to) {
  v1::TopRequest request;
  request.set_filter(options.filter);
  request.set_since_ns(options.since_ns);
  request.set_until_ns(options.until_ns);
  request.set_by(std::string(options.by->name));
  request.set_limit(options.limit);
  const auto answer = client.top(request);
  if (!answer) return fail(answer.error(), options, to);
  if (options.json) {
    for (const v1::TopGroup& group : answer->groups()) to.out.write(marked(client, to_json(group, *options.by)));
  } else {
    to.out.write(render_top(*answer, *options.by, to.style));
  }
  to.out.flush();
  tell_if_partial(client, to);
  tell_if_removed(client, to);
  return kExitOk;
}

int agents(Client& client, const Options& options, const Surroundings& to) {
  v1::AgentsRequest request;
  request.set_sockets(options.sockets);
  const auto answer = client.agents(request);
  if (!answer) return fail(answer.error(), options, to);
  if (options.json) {
    for (const v1::Agent& agent : answer->agents()) to.out.write(marked(client, to_json(agent)));
  } else if (answer->agents().empty()) {
    tell(to, "no agent has enrolled yet: `gatehouse token create` makes the token that one needs");
  } else if (options.sockets) {
    to.out.write(render_sockets(*answer, to.style));
  } else {
    to.out.write(render_agents(*answer, to.style, to.now_ns));
  }
  to.out.flush();
  if (options.sockets && !options.json)
    for (const std::string& remark : sockets_remarks(*answer)) note(to, remark);
  tell_if_partial(client, to);
  return kExitOk;
}

int token_create(Client& client, const Options& options, const Surroundings& to) {
  v1::CreateTokenRequest request;
  request.set_valid_seconds(static_cast<uint32_t>(options.valid_seconds));
  const auto answer = client.create_token(request);
  if (!answer) return fail(answer.error(), options, to);
  to.out.write(options.json ? to_json(*answer) : answer->token() + "\n");
  to.out.flush();
  if (!options.json) tell(to, "enrols one agent until " + local_timestamp(answer->expires_ns()));
  return kExitOk;
}

int list_approvals(Client& client, const Options& options, const Surroundings& to) {
  v1::ListApprovalsRequest request;
  request.set_all(options.all);
  request.set_limit(options.limit);
  const auto answer = client.list_approvals(request);
  if (!answer) return fail(answer.error(), options, to);
  if (options.json) {
    for (const v1::ApprovalView& view : answer->approvals()) to.out.write(to_json(view));
  } else if (answer->approvals().empty()) {
    tell(to, options.all ? "there are no requests" : "nothing waits for an approval; --all shows what has");
  } else {
    to.out.write(render_approvals(*answer, to.style, to.now_ns));
  }
  to.out.flush();
  return kExitOk;
}

int show_approval(Client& client, const Options& options, const Surroundings& to) {
  v1::ShowApprovalRequest request;
  request.set_id(options.request);
  const auto answer = client.show_approval(request);
  if (!answer) return fail(answer.error(), options, to);
  to.out.write(options.json ? to_json(*answer) : render_approval(*answer, to.style, to.now_ns, options.full));
  to.out.flush();
  return kExitOk;
}

int decide_approval(Client& client, const Options& options, const Surroundings& to, v1::DecideVerb verb) {
  v1::DecideRequest request;
  request.set_id(options.request);
  request.set_verb(verb);
  request.set_reason(options.reason);
  request.set_grant_ns(options.grant_seconds * 1'000'000'000);
  request.set_grant_scope(options.scope);
  request.set_break_glass(options.break_glass);
  *request.mutable_claim() = own_claim();
  const auto answer = client.decide_approval(request);
  if (!answer) return fail(answer.error(), options, to);
  if (options.json) {
    to.out.write(to_json(*answer));
    to.out.flush();
    return kExitOk;
  }
  to.out.write(decided_words(*answer, verb == v1::DECIDE_VERB_REVIEW) + "\n");
  to.out.flush();
  return kExitOk;
}

int verify(const Options& options, const Surroundings& to) {
  const auto found = ledger::check_folder(options.folder);
  if (!found) {
    tell(to, found.error().message());
    return kExitEnvironment;
  }
  to.out.write(options.json ? to_json(*found) : render_check(*found, to.style));
  to.out.flush();
  return found->is_whole() ? kExitOk : kExitDamaged;
}

int fields(const Options& options, const Surroundings& to) {
  if (options.json) {
    for (const rules::FieldSpec& field : rules::fields()) to.out.write(to_json(field));
  } else {
    to.out.write(render_fields(to.style));
  }
  to.out.flush();
  return kExitOk;
}

int backtest(Client& client, const Options& options, const Surroundings& to) {
  constexpr uint64_t kProgressEvery = 100'000;
  int exit_code = kExitOk;
  const auto policy = load_for_backtest(options, to, exit_code);
  if (policy == nullptr) return exit_code;
  v1::SearchRequest request;
  request.set_since_ns(options.since_ns);
  request.set_until_ns(options.until_ns);
  request.set_oldest_first(true);
  Backtest backtest(policy);
  const auto end = client.search(request, [&](const v1::Row& row) {
    backtest.add(row);
    if (to.style.terminal_width != 0 && backtest.events() % kProgressEvery == 0)
      tell(to, std::to_string(backtest.events()) + " events, up to " + local_timestamp(row.time_ns()));
    return true;
  });
  if (!end) return fail(end.error(), options, to);
  if (options.json) {
    for (const BacktestLine& line : backtest.lines()) to.out.write(marked(client, to_json(line)));
  } else {
    to.out.write(render_backtest(backtest, to.style));
  }
  to.out.flush();
  tell_if_partial(client, to);
  tell_if_removed(client, to);
  return kExitOk;
}

// What needs no collector; nothing for the rest.
std::optional<int> run_alone(const Options& options, const Surroundings& to) {
  switch (options.command) {
    case Command::kFields:
      return fields(options, to);
    case Command::kVerify:
      return verify(options, to);
    case Command::kRulesCheck:
      return check_rules(options, to);
    case Command::kRulesTest:
      return test_rules(options, to);
    case Command::kRulesExplain:
      return explain_rules(options, to);
    case Command::kRulesFields:
      return list_rule_fields(options, to);
    default:
      return std::nullopt;
  }
}

}  // namespace

int run(const Options& options, const Surroundings& to) {
  if (const auto exit_code = run_alone(options, to)) return *exit_code;
  const auto credentials = load_credentials(options.credentials);
  if (!credentials) {
    tell(to, credentials.error().message());
    return kExitConfiguration;
  }
  if (options.command == Command::kTail) return tail(options, *credentials, to);
  Client client(options.collector, *credentials);
  switch (options.command) {
    case Command::kQuery:
      return query(client, options, to);
    case Command::kRulesBacktest:
      return backtest(client, options, to);
    case Command::kSession:
      return session(client, options, to);
    case Command::kTop:
      return top(client, options, to);
    case Command::kAgents:
      return agents(client, options, to);
    case Command::kTokenCreate:
      return token_create(client, options, to);
    case Command::kApprovalsList:
      return list_approvals(client, options, to);
    case Command::kApprovalsShow:
      return show_approval(client, options, to);
    case Command::kApprovalsApprove:
      return decide_approval(client, options, to, v1::DECIDE_VERB_APPROVE);
    case Command::kApprovalsDeny:
      return decide_approval(client, options, to, v1::DECIDE_VERB_DENY);
    case Command::kApprovalsReview:
      return decide_approval(client, options, to, v1::DECIDE_VERB_REVIEW);
    default:
      break;
  }
  return kExitOk;
}

}  // namespace gatehouse::cli
