// SPDX-License-Identifier: Apache-2.0
// Activities: built from a request and its answer, and given to the sink.
#include <algorithm>
#include <charconv>

#include "agent/protocol/postgres/session.h"
#include "common/reader.h"

namespace gatehouse::postgres {
namespace {

std::string_view text_head(std::span<const std::byte> body) {
  std::string_view text = Reader::as_text(body);
  if (const size_t nul = text.find('\0'); nul != text.npos) text = text.substr(0, nul);
  return text;
}

constexpr std::array<std::string_view, 11> kReplicationVerbs{"IDENTIFY_SYSTEM",         "START_REPLICATION",
                                                             "CREATE_REPLICATION_SLOT", "DROP_REPLICATION_SLOT",
                                                             "ALTER_REPLICATION_SLOT",  "READ_REPLICATION_SLOT",
                                                             "TIMELINE_HISTORY",        "BASE_BACKUP",
                                                             "UPLOAD_MANIFEST",         "SHOW",
                                                             "START_STREAMING"};

}  // namespace

bool Session::is_replication_command(std::string_view sql) {
  const std::string_view verb = sql::first_verb(sql);
  const auto upper = [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c; };
  return std::ranges::any_of(kReplicationVerbs,
                             [&](std::string_view known) { return std::ranges::equal(verb, known, {}, upper); });
}

void Session::fill_session(Activity& activity) const {
  activity.user = user_;
  activity.database = database_;
  activity.application_name = application_name_;
  activity.server_version = server_version_;
  activity.client_encoding = client_encoding_;
  activity.standard_conforming_strings = standard_conforming_strings_;
  activity.protocol_version = protocol_version_;
  activity.backend_pid = backend_pid_;
}

void Session::emit(Activity& activity) {
  activity.fidelity = std::max(activity.fidelity, floor_fidelity());
  fill_session(activity);
  if (activity.kind == ActivityKind::kStatement) ++totals_.statements;
  sink_.on_activity(activity);
}

void Session::fill_error(Activity& activity) const {
  activity.sqlstate = error_.sqlstate;
  activity.error_severity = error_.severity;
  activity.error_message = error_.message;
}

// Takes what the server said so far of `entry`, which is at the head of the queue or was taken from it. The activity
// goes out when what follows tells the transaction's state.
void Session::hold(const Pending& entry, Outcome outcome, std::string_view tag, uint64_t rows, uint64_t time_ns) {
  flush_held(transaction_ == TransactionState::kFailed ? TransactionState::kFailed : TransactionState::kActive);
  const bool folds = answer_.copies_in && !queue_.empty() && queue_.front().offset == entry.offset;
  const uint64_t sent = folds ? fold_copy_requests(outcome) : 0;
  held_.is_held = true;
  held_.entry = entry;
  if (folds) held_.entry.frame_bytes = queue_.front().frame_bytes;
  held_.outcome = outcome;
  held_.has_error = outcome == Outcome::kError;
  held_.end_ns = time_ns;
  held_.rows = rows;
  held_.copy_bytes = answer_.copy_bytes + sent;
  held_.tag_size = static_cast<uint8_t>(tag.copy(held_.tag.data(), held_.tag.size()));
  held_.fidelity = entry_fidelity(entry);
  const bool is_ambiguous = entry.kind == Pending::Kind::kQuery && query_is_ambiguous_;
  if (answer_.is_damaged || is_ambiguous) held_.fidelity = std::max(held_.fidelity, Fidelity::kAfterGap);

  const bool is_alone = entry.kind == Pending::Kind::kQuery || entry.kind == Pending::Kind::kFunctionCall;
  if (is_alone) {
    held_.group = {.is_open = true,
                   .start_ns = entry.time_ns,
                   .offset = entry.offset,
                   .request_bytes = held_.entry.frame_bytes,
                   .response_bytes = answer_.bytes,
                   .writer = entry.writer};
  } else {
    add_to_group(held_.entry);
    held_.group = group_;
    group_ = {};
  }
  answer_ = {};
  find_texts();
}

// What the held request refers to, as of now: names may change before it goes out.
void Session::find_texts() {
  const auto body = payload(held_.entry);
  switch (held_.entry.kind) {
    case Pending::Kind::kQuery:
      held_.resolved = resolve(text_head(body), held_.fidelity);
      return;
    case Pending::Kind::kExecute: {
      const auto execute = decode_execute(body);
      held_.portal = execute ? find_portal(execute->portal) : PortalRef{};
      if (!held_.portal) {
        if (held_.outcome != Outcome::kError) held_.fidelity = std::max(held_.fidelity, unknown_name_fidelity());
        return;
      }
      held_.fidelity = std::max(held_.fidelity, held_.portal->fidelity);
      if (held_.portal->statement && !held_.portal->is_cursor)
        held_.resolved = resolve(held_.portal->statement->text, held_.fidelity);
      return;
    }
    case Pending::Kind::kBind:
      if (const auto bind = decode_bind(body, extent_of(held_.entry)))
        held_.statement = find_statement(bind->statement);
      return;
    case Pending::Kind::kDescribe:
      if (const auto target = decode_target(body)) {
        if (!target->is_portal) {
          held_.statement = find_statement(target->name);
        } else if (const PortalRef portal = find_portal(target->name)) {
          held_.statement = portal->statement;
        }
      }
      return;
    case Pending::Kind::kParse:
    case Pending::Kind::kClose:
    case Pending::Kind::kFunctionCall:
    case Pending::Kind::kSync:
    case Pending::Kind::kCopyData:
    case Pending::Kind::kCopyEnd:
      return;
    case Pending::Kind::kUnknown:
      held_.fidelity = std::max(held_.fidelity, Fidelity::kAfterGap);
      return;
  }
}

bool Session::holds_front() const {
  if (!held_.is_held || queue_.empty()) return false;
  const Pending& front = queue_.at(0);
  const bool stays = front.kind == Pending::Kind::kQuery || front.kind == Pending::Kind::kFunctionCall;
  return stays && held_.entry.kind == front.kind && held_.entry.offset == front.offset;
}

void Session::flush_held(TransactionState transaction) {
  if (!held_.is_held) {
    // Bytes that were added for a statement that does not exist, such as a lone Sync's.
    held_.group = {};
    return;
  }
  if (holds_front()) queue_.front().is_told = true;
  held_.is_held = false;
  Activity activity{.kind = ActivityKind::kStatement, .fidelity = held_.fidelity, .outcome = held_.outcome};
  activity.start_ns = held_.group.start_ns;
  activity.end_ns = held_.end_ns;
  activity.request_offset = held_.group.offset;
  activity.request_bytes = held_.group.request_bytes;
  activity.response_bytes = held_.group.response_bytes;
  activity.writer = held_.group.writer;
  activity.transaction = transaction;
  activity.command_tag = {held_.tag.data(), held_.tag_size};
  activity.rows = held_.rows;
  activity.copy_bytes = held_.copy_bytes;
  if (held_.has_error) fill_error(activity);
  fill_statement(activity, held_);
  if (held_.resolved) activity.resolved_text = held_.resolved->text;
  emit(activity);
  held_.portal.reset();
  held_.statement.reset();
  held_.resolved.reset();
  held_.group = {};
}

void Session::fill_statement(Activity& activity, const Held& held) {
  const auto body = payload(held.entry);
  activity.protocol = StatementProtocol::kExtended;
  switch (held.entry.kind) {
    case Pending::Kind::kQuery:
      activity.text = text_head(body);
      activity.text_bytes = held.entry.body_bytes - (held.entry.body_bytes > 0);
      activity.protocol = is_replication_ && is_replication_command(activity.text) ? StatementProtocol::kReplication
                                                                                   : StatementProtocol::kSimple;
      return;
    case Pending::Kind::kParse:
      if (const auto parse = decode_parse(body, extent_of(held.entry))) {
        activity.text = parse->sql;
        activity.text_bytes = held.entry.is_cut ? held.entry.body_bytes : parse->sql.size();
        activity.statement_name = parse->statement;
      }
      return;
    case Pending::Kind::kExecute:
      if (const auto execute = decode_execute(body)) activity.portal_name = execute->portal;
      if (held.portal) fill_execution(activity, *held.portal);
      return;
    case Pending::Kind::kBind:
      if (const auto bind = decode_bind(body, extent_of(held.entry))) {
        activity.statement_name = bind->statement;
        activity.portal_name = bind->portal;
        fill_parameters(activity, bind->parameters, held.statement ? &*held.statement : nullptr);
      }
      break;
    case Pending::Kind::kDescribe:
      if (const auto target = decode_target(body))
        (target->is_portal ? activity.portal_name : activity.statement_name) = target->name;
      break;
    case Pending::Kind::kFunctionCall:
      activity.protocol = StatementProtocol::kFunctionCall;
      if (const auto call = decode_function_call(body, extent_of(held.entry))) {
        function_text_ = "FUNCTION CALL " + std::to_string(call->function_oid);
        activity.text = function_text_;
        activity.text_bytes = function_text_.size();
        fill_parameters(activity, call->arguments, nullptr);
      }
      return;
    case Pending::Kind::kUnknown:
    case Pending::Kind::kSync:
      activity.protocol = StatementProtocol::kNone;
      return;
    case Pending::Kind::kClose:
    case Pending::Kind::kCopyData:
    case Pending::Kind::kCopyEnd:
      return;
  }
  if (!held.statement) return;
  activity.text = held.statement->text;
  activity.text_bytes = held.statement->text_bytes;
  activity.fidelity = std::max(activity.fidelity, held.statement->fidelity);
}

void Session::fill_execution(Activity& activity, const PortalData& portal) {
  const PreparedText* statement = portal.statement ? &*portal.statement : nullptr;
  if (statement != nullptr) {
    activity.text = statement->text;
    activity.text_bytes = statement->text_bytes;
  }
  if (portal.is_cursor) return;
  const auto body = std::as_bytes(std::span{portal.bind});
  if (const auto bind = decode_bind(body, portal.is_cut ? Body::kHead : Body::kWhole)) {
    activity.statement_name = bind->statement;
    fill_parameters(activity, bind->parameters, statement);
  }
}

void Session::fill_parameters(Activity& activity, const ParameterList& list, const PreparedText* statement) {
  parameters_.clear();
  ParameterReader reader{list};
  while (auto parameter = reader.next()) {
    if (statement != nullptr && parameters_.size() < statement->type_oids.size())
      parameter->type_oid = statement->type_oids[parameters_.size()];
    parameters_.push_back(*parameter);
  }
  activity.parameters = parameters_;
}

// The Sync that ends the skipping after an error. A COPY that failed has swallowed those before its data.
size_t Session::sync_index() const {
  size_t first = queue_.size();
  for (size_t i = 0; i < queue_.size(); ++i) {
    const Pending::Kind kind = queue_.at(i).kind;
    if (kind == Pending::Kind::kUnknown) break;
    if (kind == Pending::Kind::kSync && first == queue_.size()) first = i;
    if (!copy_failed_ && first < queue_.size()) break;
    if (kind == Pending::Kind::kCopyData || kind == Pending::Kind::kCopyEnd) first = queue_.size();
    if (kind == Pending::Kind::kQuery && first < queue_.size()) break;
  }
  return first;
}

// Takes requests whose answer will not come from the queue: all, or those before the Sync that ends a skip.
void Session::drain(Outcome outcome, bool only_to_sync, uint64_t time_ns) {
  const size_t count = only_to_sync ? sync_index() : queue_.size();
  for (size_t i = 0; i < count && !queue_.empty(); ++i) {
    const Pending entry = queue_.front();
    if (only_to_sync && entry.kind == Pending::Kind::kUnknown) break;
    drain_entry(entry, outcome, time_ns);
    pop();
  }
  shadow_statements_.clear();
  shadow_portals_.clear();
  shadow_hides_statements_ = shadow_hides_portals_ = false;
  is_skipping_ = copy_failed_ = false;
  query_begun_ = query_is_ambiguous_ = false;
  answer_ = {};
  group_ = {};
}

void Session::drain_entry(const Pending& entry, Outcome outcome, uint64_t time_ns) {
  const bool is_uncertain = outcome == Outcome::kUnknown;
  switch (entry.kind) {
    case Pending::Kind::kQuery:
    case Pending::Kind::kExecute:
    case Pending::Kind::kFunctionCall:
      if (entry.is_told) break;
      hold(entry, outcome, "", rows_so_far(), time_ns);
      if (is_uncertain) held_.fidelity = std::max(held_.fidelity, Fidelity::kAfterGap);
      flush_held(is_uncertain ? TransactionState::kUnknown : transaction_);
      break;
    case Pending::Kind::kParse:
    case Pending::Kind::kBind:
      assume_names(entry, is_uncertain);
      break;
    case Pending::Kind::kDescribe:
    case Pending::Kind::kClose:
    case Pending::Kind::kSync:
    case Pending::Kind::kCopyData:
    case Pending::Kind::kCopyEnd:
    case Pending::Kind::kUnknown:
      break;
  }
  if (is_uncertain) forget_names_of(entry);
}

// A Parse or Bind without effect, or with one that is not known, still tells what the requests after it refer to. Not
// known: the name means this from now on, and says so.
void Session::assume_names(const Pending& entry, bool is_uncertain) {
  const auto body = payload(entry);
  if (entry.kind == Pending::Kind::kParse) {
    const auto parse = decode_parse(body, extent_of(entry));
    if (!parse) {
      if (is_uncertain) return forget_all_names();
      shadow_hides_statements_ = true;
      return shadow_statements_.clear();
    }
    TextRef text = text_of_parse(entry, *parse);
    if (!is_uncertain) return put_shadow(shadow_statements_, parse->statement, std::move(text));
    text->fidelity = std::max(text->fidelity, Fidelity::kAfterGap);
    install_statement(parse->statement, std::move(text));
  } else if (entry.kind == Pending::Kind::kBind) {
    const auto bind = decode_bind(body, extent_of(entry));
    if (!bind) {
      if (is_uncertain) return portals_.clear();
      shadow_hides_portals_ = true;
      return shadow_portals_.clear();
    }
    PortalRef portal = make_portal(entry, find_statement(bind->statement));
    if (!is_uncertain) return put_shadow(shadow_portals_, bind->portal, std::move(portal));
    install_portal(bind->portal, std::move(portal));
  }
}

}  // namespace gatehouse::postgres
