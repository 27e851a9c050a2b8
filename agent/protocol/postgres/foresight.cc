// SPDX-License-Identifier: Apache-2.0
// What a request will do once those before it are answered: asked before it is framed.
//
// Names take effect when the server says so, and a request may refer to one whose answer is still to come. Within a
// segment (up to a Sync, Query or FunctionCall) there is no doubt: if anything before it fails, the server passes over
// the rest. Of an earlier segment it is not known whether it makes what it is to make, so the question has no answer
// until that segment has one. Where the server skips to a Sync that has not come, all that waits is of one segment, a
// Query too, and none of it will be run. That a name may be gone by then is no doubt: the request then fails.
#include <algorithm>
#include <utility>

#include "agent/protocol/postgres/session.h"
#include "agent/sql/statements.h"
#include "common/reader.h"

namespace gatehouse::postgres {
namespace {

// EXECUTE of a statement that is an EXECUTE itself, and so on; the server's own nesting is not deep.
constexpr size_t kNestingMax = 4;
// More statements in one text than this are not looked through for names.
constexpr size_t kStatementsMax = 4096;
// More than this in one text is left out; what runs them is then unknown.
constexpr size_t kResolvedBytesMax = 4U << 20;

bool ends_segment(Pending::Kind kind) {
  return kind == Pending::Kind::kSync || kind == Pending::Kind::kQuery || kind == Pending::Kind::kFunctionCall ||
         kind == Pending::Kind::kUnknown;
}

bool is_of_copy(Pending::Kind kind) {
  return kind == Pending::Kind::kCopyData || kind == Pending::Kind::kCopyEnd;
}

}  // namespace

// What a text of several statements defines and runs by name.
struct Session::InText {
  struct Definition {
    sql::Name name{};
    bool is_cursor = false;
    std::string_view body{};
  };
  std::vector<Definition> definitions{};
  Fidelity fidelity = Fidelity::kComplete;
  bool has_known = false;
};

bool Session::owes_before(uint64_t offset) const {
  if (is_skipping_) {
    const size_t sync = sync_index();
    return sync < queue_.size() && queue_.at(sync).offset < offset;
  }
  for (size_t i = 0; i < queue_.size() && queue_.at(i).offset < offset; ++i)
    if (!is_of_copy(queue_.at(i).kind)) return true;
  return false;
}

std::optional<uint64_t> Session::answers_next() const {
  if (is_skipping_) return std::nullopt;
  for (size_t i = 0; i < queue_.size(); ++i)
    if (!is_of_copy(queue_.at(i).kind)) return queue_.at(i).offset;
  return std::nullopt;
}

bool Session::is_copying_in() const {
  if (!answer_.copies_in || queue_.empty()) return false;
  for (size_t i = 1; i < queue_.size(); ++i)
    if (queue_.at(i).kind == Pending::Kind::kCopyEnd) return false;
  return true;
}

bool Session::is_copy_confused() const {
  if (!answer_.copies_in) return false;
  for (size_t i = 1; i < queue_.size(); ++i) {
    const Pending::Kind kind = queue_.at(i).kind;
    if (kind == Pending::Kind::kCopyEnd) return false;
    if (kind != Pending::Kind::kCopyData && kind != Pending::Kind::kSync) return true;
  }
  return false;
}

void Session::tell_answered() {
  if (held_.is_held)
    flush_held(transaction_ == TransactionState::kFailed ? TransactionState::kFailed : TransactionState::kActive);
}

// The statement that `name` means to a request at `before` in the queue.
Session::Foreseen<TextRef> Session::foresee_statement(std::string_view name, size_t before) {
  const bool is_passed_over = is_skipping_ && sync_index() == queue_.size();
  bool is_earlier = false;
  for (size_t i = before; i-- > 0;) {
    const Pending& entry = queue_.at(i);
    is_earlier = is_earlier || (ends_segment(entry.kind) && !is_passed_over);
    if (entry.kind == Pending::Kind::kQuery && name.empty() && !is_passed_over) return {.is_settled = false};
    if (entry.kind == Pending::Kind::kParse) {
      const auto parse = decode_parse(payload(entry), extent_of(entry));
      if (!parse) return {.is_settled = !is_earlier, .is_hidden = true};
      if (parse->statement != name) continue;
      if (is_earlier) return {.is_settled = false};
      return {.value = text_of_parse(entry, *parse)};
    }
    if (entry.kind == Pending::Kind::kClose && !is_earlier) {
      const auto target = decode_target(payload(entry));
      if (target && !target->is_portal && target->name == name) return {};
    }
  }
  // What an error has skipped is what the rest of its segment refers to; the server skips that as well.
  if (is_skipping_ && !is_earlier) return {.value = find_statement(name)};
  const TextRef* found = statements_.find(name);
  return {.value = found != nullptr ? *found : TextRef{}};
}

Session::Foreseen<PortalRef> Session::foresee_portal(std::string_view name) {
  const bool is_passed_over = is_skipping_ && sync_index() == queue_.size();
  bool is_earlier = false;
  for (size_t i = queue_.size(); i-- > 0;) {
    const Pending& entry = queue_.at(i);
    is_earlier = is_earlier || (ends_segment(entry.kind) && !is_passed_over);
    if (entry.kind == Pending::Kind::kBind) {
      const auto bind = decode_bind(payload(entry), extent_of(entry));
      if (!bind) return {.is_settled = !is_earlier, .is_hidden = true};
      if (bind->portal != name) continue;
      if (is_earlier) return {.is_settled = false};
      const auto statement = foresee_statement(bind->statement, i);
      if (!statement.is_settled) return {.is_settled = false};
      return {.is_hidden = statement.is_hidden, .value = make_portal(entry, statement.value)};
    }
    if (entry.kind == Pending::Kind::kClose && !is_earlier) {
      const auto target = decode_target(payload(entry));
      if (target && target->is_portal && target->name == name) return {};
    }
  }
  if (is_skipping_ && !is_earlier) return {.value = find_portal(name)};
  const PortalRef* found = portals_.find(name);
  return {.value = found != nullptr ? *found : PortalRef{}};
}

Session::Foresight Session::foresee(RequestTag tag, std::span<const std::byte> body, Activity& activity) {
  activity.kind = ActivityKind::kStatement;
  activity.fidelity = std::max(activity.fidelity, floor_fidelity());
  activity.transaction = transaction_;
  activity.protocol = StatementProtocol::kExtended;
  fill_session(activity);
  switch (tag) {
    case RequestTag::kQuery: {
      const auto query = decode_query(body, Body::kWhole);
      if (!query) return Foresight::kMalformed;
      activity.text = query->sql;
      activity.text_bytes = query->sql.size();
      const bool is_command = is_replication_ && is_replication_command(query->sql);
      activity.protocol = is_command ? StatementProtocol::kReplication : StatementProtocol::kSimple;
      return is_command || foresee_resolved(query->sql, activity) ? Foresight::kKnown : Foresight::kUnsettled;
    }
    case RequestTag::kParse: {
      const auto parse = decode_parse(body, Body::kWhole);
      if (!parse) return Foresight::kMalformed;
      activity.text = parse->sql;
      activity.text_bytes = parse->sql.size();
      activity.statement_name = parse->statement;
      return Foresight::kKnown;
    }
    case RequestTag::kExecute:
      return foresee_execute(body, activity);
    case RequestTag::kFunctionCall: {
      const auto call = decode_function_call(body, Body::kWhole);
      if (!call) return Foresight::kMalformed;
      function_text_ = "FUNCTION CALL " + std::to_string(call->function_oid);
      activity.protocol = StatementProtocol::kFunctionCall;
      activity.text = function_text_;
      activity.text_bytes = function_text_.size();
      fill_parameters(activity, call->arguments, nullptr);
      return Foresight::kKnown;
    }
    default:
      return Foresight::kMalformed;
  }
}

Session::Foresight Session::foresee_execute(std::span<const std::byte> body, Activity& activity) {
  const auto execute = decode_execute(body);
  if (!execute) return Foresight::kMalformed;
  activity.portal_name = execute->portal;
  auto portal = foresee_portal(execute->portal);
  if (!portal.is_settled) return Foresight::kUnsettled;
  foreseen_portal_ = std::move(portal.value);
  if (portal.is_hidden) activity.fidelity = std::max(activity.fidelity, Fidelity::kAfterGap);
  if (!foreseen_portal_ || !foreseen_portal_->statement)
    activity.fidelity = std::max(activity.fidelity, unknown_name_fidelity());
  if (!foreseen_portal_) return Foresight::kKnown;
  activity.fidelity = std::max(activity.fidelity, foreseen_portal_->fidelity);
  fill_execution(activity, *foreseen_portal_);
  if (!foreseen_portal_->statement || foreseen_portal_->is_cursor) return Foresight::kKnown;
  // Held on to, since the portal is not all that may refer to it.
  foreseen_text_ = foreseen_portal_->statement;
  return foresee_resolved(foreseen_text_->text, activity) ? Foresight::kKnown : Foresight::kUnsettled;
}

bool Session::foresee_resolved(std::string_view sql, Activity& activity) {
  if (foreseen_resolved_.capacity() > kIdleBufferBytesMax) std::string().swap(foreseen_resolved_);
  foreseen_resolved_.clear();
  InText in_text;
  if (!sql::may_have_several(sql)) {
    if (!foresee_command(sql, in_text, 0)) return false;
  } else {
    // Where it cannot be cut it cannot be read either, or nobody looks through it: what it runs stays unknown.
    std::vector<sql::TextRange> ranges;
    if (sql::split_statements(sql, lexical_mode(), kStatementsMax, ranges) != sql::SplitOutcome::kOk) return true;
    for (const auto& range : ranges)
      if (!foresee_command(sql.substr(range.offset, range.size), in_text, 0)) return false;
  }
  activity.fidelity = std::max(activity.fidelity, in_text.fidelity);
  if (in_text.has_known && foreseen_resolved_.size() <= kResolvedBytesMax) activity.resolved_text = foreseen_resolved_;
  return true;
}

// One statement of a text. False: unsettled.
bool Session::foresee_command(std::string_view sql, InText& in_text, size_t depth) {
  using Kind = sql::NamedCommand::Kind;
  const sql::NamedCommand command = named_command(sql);
  if (command.kind == Kind::kPrepare || command.kind == Kind::kDeclare) {
    in_text.definitions.push_back({command.name, command.kind == Kind::kDeclare, command.body});
    return true;
  }
  if (command.kind != Kind::kExecute && command.kind != Kind::kFetch) return true;
  const auto add = [this](std::string_view text) {
    if (foreseen_resolved_.size() > kResolvedBytesMax) return;
    // On a line of its own: the one before may end in a comment.
    if (!foreseen_resolved_.empty()) foreseen_resolved_ += "\n;\n";
    foreseen_resolved_ += text;
  };
  const bool is_cursor = command.kind == Kind::kFetch;
  const auto defined = std::find_if(in_text.definitions.rbegin(), in_text.definitions.rend(), [&](const auto& d) {
    return d.is_cursor == is_cursor && d.name.view() == command.name.view();
  });
  if (defined != in_text.definitions.rend()) {
    in_text.has_known = true;
    add(defined->body);
    return true;
  }
  TextRef text;
  if (is_cursor) {
    const auto portal = foresee_portal(command.name.view());
    if (!portal.is_settled) return false;
    if (portal.value) text = portal.value->statement;
  } else {
    auto statement = foresee_statement(command.name.view(), queue_.size());
    if (!statement.is_settled) return false;
    text = std::move(statement.value);
  }
  in_text.fidelity = std::max(in_text.fidelity, text ? text->fidelity : unknown_name_fidelity());
  if (!text) {
    add(sql);
    return true;
  }
  in_text.has_known = true;
  add(text->text);
  return depth >= kNestingMax || foresee_command(text->text, in_text, depth + 1);
}

Session::Foresight Session::foresee_startup(std::span<const std::byte> body, Activity& activity) {
  if (startup_kind(body) != StartupKind::kStartup) return Foresight::kMalformed;
  const auto message = decode_startup(body);
  if (!message || message->major != 3) return Foresight::kMalformed;
  activity.kind = ActivityKind::kConnect;
  foreseen_settings_.clear();
  OptionReader options{message->pairs};
  while (const auto option = options.next()) {
    if (option->name == "user") activity.user = option->value;
    if (option->name == "database") activity.database = option->value;
    if (option->name == "application_name") activity.application_name = option->value;
    if (option->name == "client_encoding") activity.client_encoding = option->value;
    foreseen_settings_.push_back(*option);
  }
  if (activity.database.empty()) activity.database = activity.user;
  foreseen_version_ = std::to_string(message->major) + "." + std::to_string(message->minor);
  activity.protocol_version = foreseen_version_;
  activity.options = foreseen_settings_;
  return Foresight::kKnown;
}

}  // namespace gatehouse::postgres
