// SPDX-License-Identifier: Apache-2.0
#include "cli/approvals_render.h"

#include <algorithm>
#include <utility>

#include "cli/human.h"
#include "cli/json_object.h"
#include "cli/review_text.h"
#include "cli/safe_text.h"
#include "common/digest.h"

namespace gatehouse::cli {
namespace {

constexpr size_t kListedBytesMax = 1000;

std::string_view base_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

std::string joined(const auto& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + safe(word);
  return out;
}

std::string actor_of(const v1::HoldRequest& request) {
  if (!request.has_process()) return safe(request.client_address());
  const v1::Process& process = request.process();
  std::string out = safe(base_name(process.exe())) + "(" + std::to_string(process.pid()) + ")";
  if (!process.user().empty()) out += " " + safe(process.user());
  return out;
}

Tone tone_of(const std::string& state) {
  if (state == "pending") return Tone::kOdd;
  if (state == "approved" || state == "executed") return Tone::kGood;
  return state == "denied" ? Tone::kBad : Tone::kFaint;
}

std::string asked_of(const v1::HoldRequest& request) {
  std::string out = request.approvers().empty() ? "every reviewer" : joined(request.approvers());
  if (request.quorum() > 1) out += ", " + std::to_string(request.quorum()) + " of them";
  return out;
}

std::string left_of(const v1::ApprovalView& view, uint64_t now_ns) {
  if (view.state() != "pending") return "";
  return view.expires_ns() > now_ns ? human_duration(view.expires_ns() - now_ns) : "over";
}

// Where a line ends is part of what a text means: a comment ends there.
std::string on_one_line(const std::string& text) {
  std::string out;
  for (const char c : text.substr(0, kListedBytesMax)) out += c == '\n' ? " ⏎ " : std::string(1, c);
  return out + (text.size() > kListedBytesMax ? " …" : "");
}

// What is shown of a request is lines of "name  text".
class Lines {
 public:
  void add(std::string_view name, const std::string& text) {
    if (text.empty()) return;
    constexpr size_t kNameWidth = 14;
    out_ += std::string(name) + std::string(name.size() < kNameWidth ? kNameWidth - name.size() : 1, ' ') + text + "\n";
  }
  void raw(const std::string& text) { out_ += text; }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

void add_actor(Lines& lines, const v1::HoldRequest& request) {
  lines.add("host", safe(request.host()));
  if (!request.has_process()) {
    lines.add("client", safe(request.client_address()) + ", not on the agent's host: who it is, nobody attests");
    return;
  }
  const v1::Process& process = request.process();
  lines.add("process", actor_of(request) + ", uid " + std::to_string(process.uid()) +
                           (process.euid() != process.uid() ? ", euid " + std::to_string(process.euid()) : ""));
  lines.add("program", safe(process.exe()) + (process.exe_deleted() ? " (deleted)" : ""));
  lines.add("sha256", process.exe_sha256().empty() ? "not known yet" : safe(process.exe_sha256()));
  std::string command;
  for (const std::string& argument : process.arguments()) command += (command.empty() ? "" : " ") + safe(argument);
  lines.add("command", command);
  lines.add("directory", safe(process.cwd()));
  lines.add("login", process.login().empty() ? "nobody is known to be logged in" : safe(process.login()));
  if (!process.agent().empty()) lines.add("AI agent", safe(process.agent()) + " (" + safe(process.agent_kind()) + ")");
  if (!process.automation().empty())
    lines.add("automation", safe(process.automation()) + " (" + safe(process.automation_kind()) + ")");
  lines.add("unit", safe(process.systemd_unit()));
  lines.add("container", safe(process.container_id()));
  for (const v1::Ancestor& ancestor : process.ancestors())
    lines.add("started by", safe(base_name(ancestor.exe())) + "(" + std::to_string(ancestor.pid()) + ")  " +
                                safe(ancestor.command()));
}

void add_text(Lines& lines, std::string_view name, std::string_view text, uint64_t text_bytes,
              const v1::ApprovalView& view, TableStyle style, bool is_full) {
  if (text.empty()) return;
  const ReviewText review = review_text(text, is_full ? 0 : kShownBytesMax);
  lines.raw("\n" + std::string(name) + ", " + std::to_string(std::max<uint64_t>(text_bytes, text.size())) + " bytes\n" +
            review.text);
  const auto warn = [&](const std::string& what) { lines.raw(toned("! " + what, Tone::kBad, style.colour) + "\n"); };
  if (review.lines_left_out > 0)
    warn("not all is shown: " + human_count(review.bytes_left_out) + " bytes more, in " +
         human_count(review.lines_left_out) + " lines; `gatehouse approvals show --full " + view.request().id() +
         "` shows all");
  if (text_bytes > text.size())
    warn("the agent has sent the first " + human_count(text.size()) + " of " + human_count(text_bytes) +
         " bytes: the rest runs as well, and cannot be shown");
  if (review.escaped > 0)
    warn(human_count(review.escaped) + " characters that are invisible, or move the text, are shown as \\x or \\u{}");
  if (review.lookalikes > 0)
    warn(human_count(review.lookalikes) + " characters that look like others are shown as \\u{}");
}

void add_parameters(Lines& lines, const v1::HoldRequest& request) {
  for (int i = 0; i < request.parameters_size(); ++i) {
    const v1::Parameter& parameter = request.parameters(i);
    std::string text;
    if (parameter.is_null()) {
      text = "NULL";
    } else if (parameter.is_binary()) {
      text = "\\x" + to_hex(std::as_bytes(std::span(parameter.value().data(), parameter.value().size())));
    } else {
      // Each on one line: it is data, and a line of its own could pass for another.
      append_json_string(text, parameter.value());
    }
    if (parameter.type_oid() != 0) text += "  (type " + std::to_string(parameter.type_oid()) + ")";
    lines.add("$" + std::to_string(i + 1), text);
  }
  if (request.parameters_left_out() > 0)
    lines.add("parameters", "! " + std::to_string(request.parameters_left_out()) + " more, too long to be shown");
}

void add_facts(Lines& lines, const v1::HoldRequest& request) {
  const v1::StatementFacts& facts = request.facts();
  lines.add("effects", joined(facts.effects()));
  lines.add("reads", joined(facts.reads()));
  lines.add("writes", joined(facts.writes()));
  lines.add("functions", joined(facts.functions()));
  if (!facts.refusal().empty()) lines.add("not analysed", safe(facts.refusal()) + ": what it does is not known");
  if (request.has_estimate())
    lines.add("rows", "about " + human_count(request.estimated_rows()) + ", by the server's plan");
}

void add_steps(Lines& lines, const v1::ApprovalView& view) {
  lines.raw("\n");
  for (const v1::ApprovalStep& step : view.steps()) {
    std::string text = safe(step.state());
    if (!step.verdict().empty()) text += " " + safe(step.verdict());
    if (!step.reviewers().empty()) text += " by " + joined(step.reviewers());
    if (step.break_glass()) text += ", breaking the glass";
    if (!step.reason().empty()) text += ": " + safe(step.reason());
    lines.raw(local_timestamp(step.time_ns()) + "  " + text + "\n");
  }
}

}  // namespace

std::string render_approvals(const v1::ListApprovalsResponse& answer, TableStyle style, uint64_t now_ns) {
  std::vector<TableColumn> columns = {
      {.title = "id", .min_width = 16, .max_width = 24},
      {.title = "state", .min_width = 7},
      {.title = "asked", .min_width = 9},
      {.title = "left", .min_width = 5},
      {.title = "votes", .min_width = 5, .right = true},
      {.title = "who", .min_width = 10, .max_width = 32},
      {.title = "database", .min_width = 8, .max_width = 28},
      {.title = "rule", .min_width = 6, .max_width = 32},
      {.title = "statement", .min_width = 8, .max_width = 4096, .takes_rest = true},
  };
  std::vector<std::vector<Cell>> rows;
  for (const v1::ApprovalView& view : answer.approvals()) {
    const v1::HoldRequest& request = view.request();
    std::string state = safe(view.state());
    if (view.needs_review()) state += ", to review";
    rows.push_back({
        {safe(request.id())},
        {state, view.needs_review() ? Tone::kBad : tone_of(view.state())},
        {human_ago(view.received_ns(), now_ns)},
        {left_of(view, now_ns)},
        {std::to_string(view.approvals()) + "/" + std::to_string(request.quorum())},
        {actor_of(request)},
        {safe(request.user()) + "@" + safe(request.database())},
        {safe(request.rule())},
        {safe(on_one_line(request.text()))},
    });
  }
  return render_table(std::move(columns), style, rows);
}

std::string render_approval(const v1::ApprovalView& view, TableStyle style, uint64_t now_ns, bool is_full) {
  const v1::HoldRequest& request = view.request();
  Lines lines;
  lines.add("request", safe(request.id()));
  std::string state = safe(view.state());
  if (const std::string left = left_of(view, now_ns); !left.empty()) state += ", " + left + " left";
  if (view.break_glass()) state += ", by breaking the glass";
  if (view.needs_review()) state += "; needs a review";
  lines.add("state", toned(state, tone_of(view.state()), style.colour));
  lines.add("asked", local_timestamp(request.asked_time_ns()) + " of " + asked_of(request) + "; " +
                         std::to_string(view.approvals()) + " approved so far");
  lines.add("rule", safe(request.rule()) + (request.rule_message().empty() ? "" : ": " + safe(request.rule_message())));
  if (!view.may_not().empty()) lines.add("not yours", safe(view.may_not()));
  add_actor(lines, request);
  lines.add("database", safe(request.database_label()) + " at " + safe(request.database_address()) + ", database " +
                            safe(request.database()));
  lines.add("user", safe(request.user()) + (request.role().empty()             ? "; its role is not known"
                                            : request.role() == request.user() ? ""
                                                                               : ", as role " + safe(request.role())));
  lines.add("search path",
            request.search_path_unknown() ? "not known: names may be of any schema" : safe(request.search_path()));
  lines.add("application", request.application_name().empty() ? "" : safe(request.application_name()) + " (claimed)");
  lines.add("session", safe(request.session()));
  add_facts(lines, request);
  add_text(lines, "statement", request.text(), request.text_bytes(), view, style, is_full);
  add_text(lines, "which runs", request.resolved_text(), 0, view, style, is_full);
  add_parameters(lines, request);
  if (!request.plan().empty()) add_text(lines, "plan", request.plan(), 0, view, style, is_full);
  lines.raw("\n");
  const std::string scope_words = view.grant_scope() == "person"
                                      ? "everything of login " + safe(request.process().login())
                                      : "process " + actor_of(request);
  if (view.grant_ns() > 0) {
    lines.add("covers", scope_words + " until " + local_timestamp(view.grant_until_ns()) + ": " +
                            safe(request.facts().normalized()));
  } else if (view.state() == "pending") {
    lines.add("approved", "it runs once, as it stands here");
    if (request.facts().fingerprint() != 0)
      lines.add("with --for",
                "the same statement with any literals and parameters: " + safe(request.facts().normalized()));
  }
  add_steps(lines, view);
  return lines.take();
}

std::string decided_words(const v1::ApprovalView& view, bool is_review) {
  const std::string id = safe(view.request().id());
  if (is_review) return id + " is reviewed";
  if (view.state() == "pending") {
    const uint32_t more = view.request().quorum() - std::min(view.request().quorum(), view.approvals());
    return id + ": approved by you; " + std::to_string(more) + " more must";
  }
  std::string out = id + " is " + safe(view.state());
  if (view.grant_ns() > 0)
    out += "; the same with other literals, until " + local_timestamp(view.grant_until_ns()) + ", for " +
           (view.grant_scope() == "person" ? "login " + safe(view.request().process().login())
                                           : "process " + actor_of(view.request()));
  if (view.needs_review()) out += "; it must be reviewed: gatehouse approvals review " + id;
  return out;
}

namespace {

void put_list(JsonObject& object, std::string_view name, const auto& words) {
  std::string& out = object.key(name);
  out += '[';
  bool is_first = true;
  for (const std::string& word : words) {
    if (!is_first) out += ',';
    is_first = false;
    append_json_string(out, word);
  }
  out += ']';
}

void put_process(std::string& out, const v1::Process& process) {
  JsonObject actor(out);
  actor.number("pid", process.pid());
  actor.time("start", process.start_time_ns());
  actor.text("exe", process.exe());
  actor.text("sha256", process.exe_sha256());
  put_list(actor, "arguments", process.arguments());
  actor.text("user", process.user());
  actor.number("uid", process.uid());
  actor.text("login", process.login());
  actor.text("agent", process.agent());
  actor.text("automation", process.automation());
  std::string& ancestors = actor.key("ancestors");
  ancestors += '[';
  for (int i = 0; i < process.ancestors_size(); ++i) {
    if (i > 0) ancestors += ',';
    JsonObject ancestor(ancestors);
    ancestor.number("pid", process.ancestors(i).pid());
    ancestor.text("exe", process.ancestors(i).exe());
    ancestor.text("command", process.ancestors(i).command());
    ancestor.close();
  }
  ancestors += ']';
  actor.close();
}

void put_statement(std::string& out, const v1::HoldRequest& request) {
  JsonObject statement(out);
  statement.text("text", request.text());
  statement.number("bytes", std::max<uint64_t>(request.text_bytes(), request.text().size()));
  statement.text("resolved", request.resolved_text());
  statement.text("normalized", request.facts().normalized());
  put_list(statement, "effects", request.facts().effects());
  put_list(statement, "reads", request.facts().reads());
  put_list(statement, "writes", request.facts().writes());
  put_list(statement, "functions", request.facts().functions());
  std::string& parameters = statement.key("parameters");
  parameters += '[';
  for (int i = 0; i < request.parameters_size(); ++i) {
    const v1::Parameter& parameter = request.parameters(i);
    if (i > 0) parameters += ',';
    if (parameter.is_null())
      parameters += "null";
    else if (parameter.is_binary())
      append_json_string(parameters,
                         "\\x" + to_hex(std::as_bytes(std::span(parameter.value().data(), parameter.value().size()))));
    else
      append_json_string(parameters, parameter.value());
  }
  parameters += ']';
  if (request.has_estimate()) statement.number("estimated_rows", request.estimated_rows());
  statement.text("plan", request.plan());
  statement.close();
}

void put_steps(std::string& out, const v1::ApprovalView& view) {
  out += '[';
  for (int i = 0; i < view.steps_size(); ++i) {
    const v1::ApprovalStep& step = view.steps(i);
    if (i > 0) out += ',';
    JsonObject object(out);
    object.time("time", step.time_ns());
    object.text("state", step.state());
    object.text("verdict", step.verdict());
    if (!step.reviewers().empty()) put_list(object, "reviewers", step.reviewers());
    object.text("reason", step.reason());
    if (step.break_glass()) object.flag("break_glass", true);
    object.text("claimed", step.claimed());
    object.close();
  }
  out += ']';
}

}  // namespace

std::string to_json(const v1::ApprovalView& view) {
  const v1::HoldRequest& request = view.request();
  std::string out;
  JsonObject object(out);
  object.text("id", request.id());
  object.text("state", view.state());
  object.flag("needs_review", view.needs_review());
  object.flag("break_glass", view.break_glass());
  object.text("rule", request.rule());
  object.text("message", request.rule_message());
  object.time("asked", request.asked_time_ns());
  object.time("expires", view.expires_ns());
  put_list(object, "approvers", request.approvers());
  object.number("quorum", request.quorum());
  object.number("approvals", view.approvals());
  object.text("may_not", view.may_not());
  object.text("host", request.host());
  object.text("session", request.session());
  std::string& database = object.key("database");
  JsonObject where(database);
  where.text("label", request.database_label());
  where.text("address", request.database_address());
  where.text("name", request.database());
  where.text("user", request.user());
  where.text("role", request.role());
  if (!request.search_path_unknown()) where.text("search_path", request.search_path());
  where.close();
  if (request.has_process()) put_process(object.key("actor"), request.process());
  put_statement(object.key("statement"), request);
  if (view.grant_ns() > 0) {
    object.text("covers", view.grant_scope());
    object.time("covers_until", view.grant_until_ns());
  }
  object.text("binding",
              to_hex(std::as_bytes(std::span(request.binding_sha256().data(), request.binding_sha256().size()))));
  put_steps(object.key("steps"), view);
  object.close();
  return out + "\n";
}

}  // namespace gatehouse::cli
