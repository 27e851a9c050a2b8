// SPDX-License-Identifier: Apache-2.0
#include "collector/approvals/webhook_body.h"

#include <array>
#include <ctime>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "common/hmac.h"

namespace gatehouse::approvals {
namespace {

using nlohmann::json;

constexpr size_t kStatementBytesMax = 1000;
constexpr size_t kFactBytesMax = 500;
// Slack takes 3000 characters of a section, and refuses the message otherwise.
constexpr size_t kSlackTextBytesMax = 2800;
constexpr uint64_t kSecondNs = 1'000'000'000;

std::string time_of(uint64_t unix_ns) {
  const auto seconds = static_cast<std::time_t>(unix_ns / kSecondNs);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text.data();
}

// Cut where a character begins, and marked.
std::string cut(const std::string& text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + " … (" + std::to_string(text.size() - end) + " bytes more)";
}

std::string statement_of(const v1::HoldRequest& request) {
  if (!request.facts().normalized().empty()) return cut(request.facts().normalized(), kStatementBytesMax);
  return "(a statement that could not be analysed; `gatehouse approvals show` has it)";
}

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

std::string actor_of(const v1::HoldRequest& request) {
  if (!request.has_process()) return "a client at " + request.client_address();
  const v1::Process& process = request.process();
  std::string text = base_name(process.exe()) + "(" + std::to_string(process.pid()) + ")";
  if (!process.user().empty()) text += " of " + process.user();
  if (!process.login().empty() && process.login() != process.user()) text += ", login " + process.login();
  if (!process.agent().empty()) text += ", by " + process.agent();
  return text + " on " + request.host();
}

const v1::ApprovalStep* decision_of(const v1::ApprovalView& view) {
  for (const v1::ApprovalStep& step : view.steps())
    if (step.state() == "decided") return &step;
  return nullptr;
}

std::string joined(const auto& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string title_of(std::string_view event, const v1::ApprovalView& view) {
  const v1::HoldRequest& request = view.request();
  if (event == "asked") return "Approval needed: rule " + request.rule() + " on " + request.database_label();
  if (event == "expired") return "Not approved in time: rule " + request.rule() + " on " + request.database_label();
  const v1::ApprovalStep* const decision = decision_of(view);
  const std::string by = decision == nullptr ? "" : " by " + joined(decision->reviewers());
  const bool is_approved = decision != nullptr && decision->verdict() == "approve";
  return std::string(is_approved ? "Approved" : "Denied") + by + (view.break_glass() ? ", breaking the glass" : "") +
         ": rule " + request.rule() + " on " + request.database_label();
}

std::vector<std::pair<std::string, std::string>> facts_of(const v1::ApprovalView& view) {
  const v1::HoldRequest& request = view.request();
  std::vector<std::pair<std::string, std::string>> facts{
      {"Request", request.id()},
      {"Who", actor_of(request)},
      {"Database", request.user() + "@" + request.database() + " (" + request.database_label() + ")"},
      {"Effects", joined(request.facts().effects())},
      {"Writes", joined(request.facts().writes())},
      {"Asked", request.approvers().empty() ? "every reviewer" : joined(request.approvers())},
      {"Needs", std::to_string(request.quorum())},
      {"Until", time_of(view.expires_ns())},
  };
  if (const v1::ApprovalStep* const decision = decision_of(view); decision != nullptr)
    facts.emplace_back("Reason", decision->reason());
  if (view.needs_review()) facts.emplace_back("To do", "a review: gatehouse approvals review " + request.id());
  std::erase_if(facts, [](const auto& fact) { return fact.second.empty(); });
  for (auto& [name, text] : facts) text = cut(text, kFactBytesMax);
  return facts;
}

std::string command_of(std::string_view event, const v1::HoldRequest& request) {
  return event == "asked" ? "gatehouse approvals show " + request.id() : "";
}

json json_of(std::string_view event, const v1::ApprovalView& view) {
  const v1::HoldRequest& request = view.request();
  json out = {
      {"version", 1},
      {"event", event},
      {"id", request.id()},
      {"state", view.state()},
      {"rule", request.rule()},
      {"message", request.rule_message()},
      {"asked_at", time_of(request.asked_time_ns())},
      {"expires_at", time_of(view.expires_ns())},
      {"approvers", std::vector<std::string>(request.approvers().begin(), request.approvers().end())},
      {"quorum", request.quorum()},
      {"approvals", view.approvals()},
      {"break_glass", view.break_glass()},
      {"needs_review", view.needs_review()},
      {"host", request.host()},
      {"session", request.session()},
      {"database", {{"label", request.database_label()}, {"name", request.database()}, {"user", request.user()}}},
      {"statement",
       {{"normalized", statement_of(request)},
        {"effects", std::vector<std::string>(request.facts().effects().begin(), request.facts().effects().end())},
        {"reads", std::vector<std::string>(request.facts().reads().begin(), request.facts().reads().end())},
        {"writes", std::vector<std::string>(request.facts().writes().begin(), request.facts().writes().end())}}}};
  if (request.has_process()) {
    const v1::Process& process = request.process();
    out["actor"] = {{"pid", process.pid()},     {"exe", process.exe()},     {"user", process.user()},
                    {"login", process.login()}, {"agent", process.agent()}, {"sha256", process.exe_sha256()}};
  }
  if (const v1::ApprovalStep* const decision = decision_of(view); decision != nullptr) {
    out["verdict"] = decision->verdict();
    out["reviewers"] = std::vector<std::string>(decision->reviewers().begin(), decision->reviewers().end());
    out["reason"] = decision->reason();
  }
  return out;
}

// Three characters have a meaning in Slack's text.
std::string slack_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool is_begin = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (is_begin && out.size() > kSlackTextBytesMax) return out + " …";
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else
      out += c;
  }
  return out;
}

json slack_of(std::string_view event, const v1::ApprovalView& view) {
  const std::string title = slack_text(title_of(event, view));
  json fields = json::array();
  for (const auto& [name, text] : facts_of(view))
    fields.push_back({{"type", "mrkdwn"}, {"text", "*" + name + "*\n" + slack_text(text)}});
  std::string code = slack_text(statement_of(view.request()));
  // What ends the block would let a statement write the message.
  for (size_t at = code.find("```"); at != std::string::npos; at = code.find("```", at)) code.replace(at, 3, "'''");
  json blocks = {{{"type", "section"}, {"text", {{"type", "mrkdwn"}, {"text", "*" + title + "*"}}}},
                 {{"type", "section"}, {"fields", fields}},
                 {{"type", "section"}, {"text", {{"type", "mrkdwn"}, {"text", "```" + code + "```"}}}}};
  if (const std::string command = command_of(event, view.request()); !command.empty())
    blocks.push_back({{"type", "context"}, {"elements", {{{"type", "mrkdwn"}, {"text", "`" + command + "`"}}}}});
  return {{"text", title}, {"blocks", blocks}};
}

json teams_of(std::string_view event, const v1::ApprovalView& view) {
  json facts = json::array();
  for (const auto& [name, text] : facts_of(view)) facts.push_back({{"title", name}, {"value", text}});
  json body = {
      {{"type", "TextBlock"}, {"text", title_of(event, view)}, {"weight", "Bolder"}, {"wrap", true}},
      {{"type", "FactSet"}, {"facts", facts}},
      {{"type", "TextBlock"}, {"text", statement_of(view.request())}, {"fontType", "Monospace"}, {"wrap", true}}};
  if (const std::string command = command_of(event, view.request()); !command.empty())
    body.push_back({{"type", "TextBlock"}, {"text", command}, {"fontType", "Monospace"}, {"isSubtle", true}});
  const json card = {{"$schema", "http://adaptivecards.io/schemas/adaptive-card.json"},
                     {"type", "AdaptiveCard"},
                     {"version", "1.4"},
                     {"body", body}};
  return {{"type", "message"},
          {"attachments",
           {{{"contentType", "application/vnd.microsoft.card.adaptive"}, {"contentUrl", nullptr}, {"content", card}}}}};
}

}  // namespace

std::string webhook_body(WebhookFormat format, std::string_view event, const v1::ApprovalView& view) {
  const auto text = [](const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); };
  switch (format) {
    case WebhookFormat::kSlack:
      return text(slack_of(event, view));
    case WebhookFormat::kTeams:
      return text(teams_of(event, view));
    case WebhookFormat::kJson:
      break;
  }
  return text(json_of(event, view));
}

std::string webhook_signature(std::string_view secret, uint64_t timestamp_s, std::string_view body) {
  return "sha256=" + to_hex(hmac_sha256(secret, std::to_string(timestamp_s) + "." + std::string(body)));
}

}  // namespace gatehouse::approvals
