// SPDX-License-Identifier: Apache-2.0
// Server frames: matched, in order, with what was asked.
#include <algorithm>

#include "agent/protocol/postgres/session.h"
#include "common/reader.h"

namespace gatehouse::postgres {

void Session::on_response_frame(const Frame& frame, std::span<const std::byte> body, uint64_t time_ns) {
  if (phase_ == Phase::kAnswer && frame.header_size == 1) {
    answer_ = {};
    return on_answer_byte(frame.tag, time_ns);
  }
  has_answered_ = true;
  // The server talks to somebody whose start-up was not seen.
  if (phase_ == Phase::kStartup) lose(Direction::kRequest, Reason::kGapInHeader);
  const auto tag = static_cast<ResponseTag>(frame.tag);
  switch (tag) {
    case ResponseTag::kAuthentication:
      return on_authentication(body, time_ns);
    case ResponseTag::kBackendKeyData:
      if (const auto key = decode_backend_key_data(body)) backend_pid_ = key->backend_pid;
      return;
    case ResponseTag::kNegotiateProtocolVersion:
      if (const auto version = decode_negotiate(body)) protocol_version_ = "3." + std::to_string(version->minor);
      return;
    case ResponseTag::kParameterStatus:
      return on_parameter_status(body);
    case ResponseTag::kNoticeResponse:
      return;
    case ResponseTag::kNotificationResponse:
      return on_notification(body, time_ns);
    case ResponseTag::kErrorResponse:
      return on_error(body, time_ns);
    case ResponseTag::kReadyForQuery:
      return on_ready(body, time_ns);
    case ResponseTag::kDataRow:
      ++answer_.rows;
      answer_.has_begun = true;
      return;
    case ResponseTag::kCopyData:
      ++answer_.copy_rows;
      answer_.copy_bytes += frame.body_size;
      return;
    case ResponseTag::kCopyDone:
      return;
    case ResponseTag::kBindComplete:
    case ResponseTag::kCloseComplete:
    case ResponseTag::kCommandComplete:
    case ResponseTag::kCopyBothResponse:
    case ResponseTag::kCopyInResponse:
    case ResponseTag::kCopyOutResponse:
    case ResponseTag::kEmptyQueryResponse:
    case ResponseTag::kFunctionCallResponse:
    case ResponseTag::kNoData:
    case ResponseTag::kParameterDescription:
    case ResponseTag::kParseComplete:
    case ResponseTag::kPortalSuspended:
    case ResponseTag::kRowDescription:
      return on_answer(tag, body, time_ns);
  }
}

// The request that the next answer is for. CopyData, CopyDone and CopyFail outside a COPY get no answer: the server
// ignores them, since a client may still be sending when its COPY has failed.
Pending* Session::head() {
  while (!queue_.empty() && !is_skipping_ &&
         (queue_.front().kind == Pending::Kind::kCopyData || queue_.front().kind == Pending::Kind::kCopyEnd))
    pop();
  return queue_.empty() ? nullptr : &queue_.front();
}

// An answer to nothing: its request was lost, and the jump in the client's stream that proves it is yet to come.
Pending* Session::head_or_lost() {
  if (Pending* entry = head(); entry != nullptr) return entry;
  lose(Direction::kRequest, Reason::kGapInHeader);
  return head();
}

void Session::pop() {
  queue_.pop();
  uint64_t keep = queue_.empty() ? fifo_.end() : queue_.front().payload;
  if (held_.is_held) keep = std::min(keep, held_.entry.payload);
  fifo_.release_to(keep);
}

void Session::add_to_group(const Pending& entry) {
  if (!group_.is_open)
    group_ = {.is_open = true, .start_ns = entry.time_ns, .offset = entry.offset, .writer = entry.writer};
  group_.request_bytes += entry.frame_bytes;
  group_.response_bytes += answer_.bytes;
  answer_.bytes = 0;
}

// A Parse, Bind, Describe or Close that succeeded: no activity of its own.
void Session::pop_into_group() {
  add_to_group(queue_.front());
  answer_ = {};
  pop();
}

void Session::on_answer(ResponseTag tag, std::span<const std::byte> body, uint64_t time_ns) {
  if (is_skipping_) return surprise();
  const Pending* entry = head_or_lost();
  if (entry->kind == Pending::Kind::kUnknown) return on_unknown_answer(tag, body, time_ns);
  if (entry->kind == Pending::Kind::kQuery && !query_begun_) begin_query(*entry);
  answer_.is_damaged = answer_.is_damaged || response_.is_damaged || response_.is_cut;
  switch (tag) {
    case ResponseTag::kParseComplete:
      return on_parse_complete();
    case ResponseTag::kBindComplete:
      return on_bind_complete();
    case ResponseTag::kCloseComplete:
      return on_close_complete();
    case ResponseTag::kParameterDescription:
      return on_parameter_description(body);
    case ResponseTag::kRowDescription:
    case ResponseTag::kNoData:
      return on_describe_or_rows(tag);
    case ResponseTag::kCommandComplete:
      return on_command_complete(body, time_ns);
    case ResponseTag::kEmptyQueryResponse:
      return on_complete(Outcome::kOk, "", 0, time_ns);
    case ResponseTag::kPortalSuspended:
      return on_complete(Outcome::kSuspended, "", std::nullopt, time_ns);
    case ResponseTag::kFunctionCallResponse:
      if (entry->kind != Pending::Kind::kFunctionCall) return surprise();
      return hold(*entry, Outcome::kOk, "", 0, time_ns);
    case ResponseTag::kCopyInResponse:
    case ResponseTag::kCopyOutResponse:
    case ResponseTag::kCopyBothResponse:
      if (entry->kind != Pending::Kind::kQuery && entry->kind != Pending::Kind::kExecute) return surprise();
      answer_.has_begun = true;
      answer_.copies_in = tag != ResponseTag::kCopyOutResponse;
      answer_.copies_out = tag != ResponseTag::kCopyInResponse;
      return;
    default:
      return;
  }
}

// The request was lost; that something ran, and what came of it, is still known.
void Session::on_unknown_answer(ResponseTag tag, std::span<const std::byte> body, uint64_t time_ns) {
  switch (tag) {
    case ResponseTag::kCommandComplete:
    case ResponseTag::kEmptyQueryResponse:
    case ResponseTag::kPortalSuspended:
    case ResponseTag::kFunctionCallResponse: {
      std::optional<CommandComplete> complete;
      if (tag == ResponseTag::kCommandComplete) complete = decode_command_complete(body);
      const bool is_suspended = tag == ResponseTag::kPortalSuspended;
      const uint64_t rows = complete && complete->rows ? *complete->rows : answer_.rows;
      return hold(queue_.front(), is_suspended ? Outcome::kSuspended : Outcome::kOk,
                  complete ? complete->tag : std::string_view{}, rows, time_ns);
    }
    case ResponseTag::kCopyInResponse:
      answer_.copies_in = true;
      return;
    case ResponseTag::kCopyOutResponse:
      answer_.copies_out = true;
      return;
    case ResponseTag::kCopyBothResponse:
      answer_.copies_in = answer_.copies_out = true;
      return;
    default:
      return;
  }
}

void Session::on_describe_or_rows(ResponseTag tag) {
  const Pending::Kind kind = queue_.front().kind;
  if (kind == Pending::Kind::kDescribe) return pop_into_group();
  if (kind != Pending::Kind::kQuery || tag == ResponseTag::kNoData) return surprise();
  answer_.has_begun = true;
}

TextRef Session::make_text(std::string_view text, uint64_t text_bytes, Fidelity fidelity) {
  TextRef ref = texts_.take();
  ref->text.assign(text);
  ref->text_bytes = text_bytes;
  ref->fidelity = fidelity;
  return ref;
}

TextRef Session::find_statement(std::string_view name) {
  if (TextRef* shadow = shadow_statements_.find(name); shadow != nullptr) return *shadow;
  TextRef* found = shadow_hides_statements_ ? nullptr : statements_.find(name);
  return found != nullptr ? *found : TextRef{};
}

PortalRef Session::find_portal(std::string_view name) {
  if (PortalRef* shadow = shadow_portals_.find(name); shadow != nullptr) return *shadow;
  PortalRef* found = shadow_hides_portals_ ? nullptr : portals_.find(name);
  return found != nullptr ? *found : PortalRef{};
}

void Session::install_statement(std::string_view name, TextRef text) {
  statements_.put(name, std::move(text));
  while (statements_.size() > 0 &&
         (statements_.size() > kNamedStatementsMax || statements_.heap_bytes() > kSessionBytesMax / 2)) {
    statements_.evict_oldest();
    are_names_known_ = false;
  }
}

void Session::install_portal(std::string_view name, PortalRef portal) {
  portals_.put(name, std::move(portal));
  while (portals_.size() > 0 &&
         (portals_.size() > kNamedStatementsMax || portals_.heap_bytes() > kSessionBytesMax / 4)) {
    portals_.evict_oldest();
    are_names_known_ = false;
  }
}

Fidelity Session::entry_fidelity(const Pending& entry) const {
  if (entry.is_damaged || entry.is_provisional) return Fidelity::kAfterGap;
  return entry.is_cut ? Fidelity::kTruncated : Fidelity::kComplete;
}

TextRef Session::text_of_parse(const Pending& entry, const Parse& parse) {
  const uint64_t text_bytes = entry.is_cut
                                  ? entry.body_bytes - std::min<uint64_t>(entry.body_bytes, parse.statement.size() + 4)
                                  : parse.sql.size();
  TextRef text = make_text(parse.sql, text_bytes, entry_fidelity(entry));
  for (Reader oids{parse.type_oids}; oids.left() > 0;) text->type_oids.push_back(oids.be<uint32_t>());
  return text;
}

void Session::on_parse_complete() {
  const Pending& entry = queue_.front();
  if (entry.kind != Pending::Kind::kParse) return surprise();
  const auto parse = decode_parse(payload(entry), extent_of(entry));
  if (parse) {
    install_statement(parse->statement, text_of_parse(entry, *parse));
  } else {
    ++totals_.malformed;
    forget_all_names();
  }
  pop_into_group();
}

PortalRef Session::make_portal(const Pending& entry, const TextRef& statement) {
  PortalRef portal = portal_pool_.take();
  portal->statement = statement;
  portal->bind.assign(Reader::as_text(payload(entry)));
  portal->is_cut = entry.is_cut || entry.is_damaged;
  portal->fidelity = std::max(entry_fidelity(entry), statement ? statement->fidelity : unknown_name_fidelity());
  return portal;
}

// Of a statement that the server has, but this session has not: forgotten for room, or from before.
Fidelity Session::unknown_name_fidelity() const {
  const bool is_known = are_names_known_ && !shadow_hides_statements_ && !shadow_hides_portals_;
  return is_known ? Fidelity::kComplete : std::max(Fidelity::kAfterGap, floor_fidelity());
}

void Session::on_bind_complete() {
  const Pending& entry = queue_.front();
  if (entry.kind != Pending::Kind::kBind) return surprise();
  const auto bind = decode_bind(payload(entry), extent_of(entry));
  if (bind) {
    install_portal(bind->portal, make_portal(entry, find_statement(bind->statement)));
  } else {
    ++totals_.malformed;
    portals_.clear();
    are_names_known_ = false;
  }
  pop_into_group();
}

void Session::on_close_complete() {
  const Pending& entry = queue_.front();
  if (entry.kind != Pending::Kind::kClose) return surprise();
  const auto target = entry.is_cut || entry.is_damaged ? std::nullopt : decode_target(payload(entry));
  if (!target) {
    forget_all_names();
  } else if (target->is_portal) {
    portals_.erase(target->name);
  } else {
    statements_.erase(target->name);
  }
  pop_into_group();
}

// The types the server settled on, for parameters that Parse left open.
void Session::on_parameter_description(std::span<const std::byte> body) {
  const Pending& entry = queue_.front();
  if (entry.kind != Pending::Kind::kDescribe) return surprise();
  const auto target = decode_target(payload(entry));
  const auto description = decode_parameter_description(body);
  if (!target || target->is_portal || !description) return;
  TextRef* statement = statements_.find(target->name);
  if (statement == nullptr) return;
  (*statement)->type_oids.clear();
  for (Reader oids{description->type_oids}; oids.left() > 0;) (*statement)->type_oids.push_back(oids.be<uint32_t>());
}

void Session::on_command_complete(std::span<const std::byte> body, uint64_t time_ns) {
  const auto complete = decode_command_complete(body);
  if (!complete) {
    ++totals_.malformed;
    answer_.is_damaged = true;
    const Pending entry = queue_.front();
    on_complete(Outcome::kOk, "", std::nullopt, time_ns);
    if (response_.is_lost) return;
    // The tag would have said what it did to names.
    return forget_names_of(entry);
  }
  on_complete(Outcome::kOk, complete->tag.substr(0, kTagBytesMax), complete->rows, time_ns);
}

void Session::on_complete(Outcome outcome, std::string_view tag, std::optional<uint64_t> rows, uint64_t time_ns) {
  const uint64_t counted = rows_so_far();
  last_command_rolled_back_ = tag == "ROLLBACK";
  switch (queue_.front().kind) {
    case Pending::Kind::kQuery:
      return on_query_complete(outcome, tag, rows.value_or(counted), time_ns);
    case Pending::Kind::kExecute:
      return on_execute_complete(outcome, tag, rows.value_or(counted), time_ns);
    default:
      return surprise();
  }
}

void Session::on_execute_complete(Outcome outcome, std::string_view tag, uint64_t rows, uint64_t time_ns) {
  const Pending entry = queue_.front();
  hold(entry, outcome, tag, rows, time_ns);
  pop();
  if (held_.portal && held_.portal->statement && outcome == Outcome::kOk)
    apply_effects(held_.portal->statement->text, tag, held_.portal->statement->fidelity);
}

// What the client sent of a COPY stands behind the statement that began it. The server also swallows a Sync that a
// client sent before it knew that its statement was a COPY. Returns the payload's size.
uint64_t Session::fold_copy_requests(Outcome outcome) {
  uint64_t copy_bytes = 0, frame_bytes = 0;
  uint64_t folded_frame_bytes = 0;
  size_t folded = 0;
  bool has_end = false;
  for (size_t i = 1; i < queue_.size(); ++i) {
    const Pending& entry = queue_.at(i);
    const bool is_copy = entry.kind == Pending::Kind::kCopyData || entry.kind == Pending::Kind::kCopyEnd;
    if (!is_copy && entry.kind != Pending::Kind::kSync) break;
    frame_bytes += entry.frame_bytes;
    if (entry.kind == Pending::Kind::kCopyData) copy_bytes += entry.body_bytes;
    if (!is_copy) continue;
    folded = i;
    folded_frame_bytes = frame_bytes;
    has_end = entry.kind == Pending::Kind::kCopyEnd;
    if (has_end) break;
  }
  // A COPY that went well without an end was not seen whole.
  answer_.is_damaged = answer_.is_damaged || request_.is_lost || (outcome == Outcome::kOk && !has_end);
  if (folded > 0) queue_.erase_behind_front(folded);
  queue_.front().frame_bytes += folded_frame_bytes;
  return copy_bytes;
}

void Session::on_notification(std::span<const std::byte> body, uint64_t time_ns) {
  const auto message = decode_notification(body);
  Activity activity{.kind = ActivityKind::kNotify, .outcome = Outcome::kOk};
  activity.start_ns = activity.end_ns = time_ns;
  activity.request_offset = request_.start.offset;
  activity.response_bytes = response_.framer.frame().wire_bytes();
  if (message) {
    activity.channel = message->channel;
    activity.payload_bytes = message->payload.size();
  } else {
    activity.fidelity = Fidelity::kTruncated;
  }
  emit(activity);
}

void Session::on_error(std::span<const std::byte> body, uint64_t time_ns) {
  const bool is_whole = !response_.is_cut && !response_.is_damaged;
  const auto fields = decode_error(body, is_whole ? Body::kWhole : Body::kHead);
  const ErrorFields known = fields.value_or(ErrorFields{});
  if (!fields) ++totals_.malformed;
  if (known.is_fatal() && has_failed()) {
    fatal_.emplace(std::string(known.severity), std::string(known.sqlstate), std::string(known.message));
    return;
  }
  error_.severity.assign(known.severity);
  error_.sqlstate.assign(known.sqlstate);
  error_.message.assign(known.message);
  if (known.is_fatal()) fatal_ = error_;
  if (phase_ != Phase::kActive) {
    if (phase_ == Phase::kAnswer) fatal_ = error_;  // the whole answer to an encryption request it does not know
    return on_startup_error(time_ns);
  }
  if (is_skipping_) return surprise();
  if (head() == nullptr && known.is_fatal()) return;
  head_or_lost();
  answer_.is_damaged = answer_.is_damaged || !is_whole;
  on_statement_error(time_ns);
}

// Whether the statement under way has its error already: one more is the session's.
bool Session::has_failed() const {
  if (is_skipping_) return true;
  if (phase_ != Phase::kActive || queue_.empty()) return false;
  if (queue_.at(0).kind == Pending::Kind::kQuery && query_begun_ && !query_is_whole_) return query_has_error_;
  return holds_front() && held_.has_error;
}

void Session::on_statement_error(uint64_t time_ns) {
  const Pending entry = queue_.front();
  last_command_rolled_back_ = true;
  switch (entry.kind) {
    case Pending::Kind::kQuery:
      if (!query_begun_) begin_query(entry);
      if (query_is_whole_) return on_query_complete(Outcome::kError, "", rows_so_far(), time_ns);
      query_has_error_ = true;
      query_error_is_placed_ = !parts_.empty() || answer_.has_begun;
      return add_part("", rows_so_far(), time_ns);
    case Pending::Kind::kSync:
      // The transaction that Sync was to commit failed; the last statement carries it.
      if (held_.is_held) {
        held_.outcome = Outcome::kError;
        held_.has_error = true;
        held_.end_ns = time_ns;
        return;
      }
      return hold(entry, Outcome::kError, "", 0, time_ns);
    case Pending::Kind::kFunctionCall:
    case Pending::Kind::kUnknown:
      return hold(entry, Outcome::kError, "", answer_.rows, time_ns);
    case Pending::Kind::kParse:
    case Pending::Kind::kBind:
    case Pending::Kind::kDescribe:
    case Pending::Kind::kExecute:
    case Pending::Kind::kClose:
      copy_failed_ = answer_.copies_in;
      hold(entry, Outcome::kError, "", rows_so_far(), time_ns);
      assume_names(entry, false);
      pop();
      is_skipping_ = true;
      return;
    case Pending::Kind::kCopyData:
    case Pending::Kind::kCopyEnd:
      return;
  }
}

void Session::on_ready(std::span<const std::byte> body, uint64_t time_ns) {
  const auto state = response_.is_damaged ? std::nullopt : decode_ready_for_query(body);
  if (!state) ++totals_.malformed;
  transaction_ = candidate_transaction_ = state.value_or(TransactionState::kUnknown);
  if (phase_ == Phase::kAuthenticate) {
    enter(Phase::kActive);
    answer_ = {};
    return;
  }
  if (!finish_cycle(time_ns)) return surprise();
  group_ = {};
  answer_ = {};
  end_transaction();
  if (!queue_.empty()) return;
  is_provisional_ = false;
  foreseen_text_.reset();
  foreseen_portal_.reset();
  // Idle. While requests waited, a long one's buffer was kept for the next.
  fifo_.shrink(kIdleBufferBytesMax);
  queue_.shrink();
  if (request_.body.empty() && request_.body.capacity() > kIdleBufferBytesMax)
    std::vector<std::byte>().swap(request_.body);
}

// Ends the Query, FunctionCall or Sync that a ReadyForQuery answers. False: it answers nothing.
bool Session::finish_cycle(uint64_t time_ns) {
  if (is_skipping_) {
    finish_skipped(time_ns);
    return true;
  }
  const Pending* entry = head_or_lost();
  switch (entry->kind) {
    case Pending::Kind::kQuery:
      finish_query(time_ns);
      pop();
      return true;
    case Pending::Kind::kSync:
      held_.group.request_bytes += entry->frame_bytes;
      [[fallthrough]];
    case Pending::Kind::kFunctionCall:
      held_.group.response_bytes += answer_.bytes;
      flush_held(transaction_);
      pop();
      return true;
    case Pending::Kind::kUnknown:
      held_.group.response_bytes += answer_.bytes;
      flush_held(transaction_);
      return true;
    default:
      return false;
  }
}

// After an error in the extended protocol: what the server discarded, up to the Sync that this answers.
void Session::finish_skipped(uint64_t time_ns) {
  held_.group.response_bytes += answer_.bytes;
  answer_ = {};
  const size_t sync = sync_index();
  if (sync < queue_.size()) held_.group.request_bytes += queue_.at(sync).frame_bytes;
  flush_held(transaction_);
  drain(Outcome::kSkipped, true, time_ns);
  // The marker of lost requests stays: its Sync was among them.
  if (head() != nullptr && queue_.front().kind == Pending::Kind::kSync) pop();
}

// Portals live as long as their transaction; cursors WITH HOLD longer, once it has committed.
void Session::end_transaction() {
  if (transaction_ == TransactionState::kUnknown) {
    portals_.clear();
    are_names_known_ = false;
  }
  if (transaction_ != TransactionState::kIdle || portals_.empty()) return;
  portals_.erase_if([this](PortalData& portal) {
    if (!portal.is_hold || (last_command_rolled_back_ && !portal.is_committed)) return true;
    portal.is_committed = true;
    return false;
  });
}

}  // namespace gatehouse::postgres
