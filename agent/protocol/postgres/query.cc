// SPDX-License-Identifier: Apache-2.0
// Simple queries: one text, any number of statements; and what SQL text does to names.
#include <algorithm>

#include "agent/protocol/postgres/session.h"
#include "common/reader.h"

namespace gatehouse::postgres {
namespace {

// More statements in one Query than this are reported as one text.
constexpr size_t kStatementsPerQueryMax = 4096;

std::string_view sql_of(std::span<const std::byte> body) {
  std::string_view sql = Reader::as_text(body);
  if (const size_t nul = sql.find('\0'); nul != sql.npos) sql = sql.substr(0, nul);
  return sql;
}

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool has_high_byte(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
}

bool same_ranges(std::span<const sql::TextRange> a, std::span<const sql::TextRange> b) {
  return std::ranges::equal(a, b,
                            [](const auto& x, const auto& y) { return x.offset == y.offset && x.size == y.size; });
}

std::string_view trim_end(std::string_view text) {
  const size_t last = text.find_last_not_of("; \t\n\v\f\r");
  return last == text.npos ? std::string_view{} : text.substr(0, last + 1);
}

}  // namespace

sql::LexicalMode Session::lexical_mode() const {
  return {.standard_conforming_strings = standard_conforming_strings_, .charset = sql::charset_of(client_encoding_)};
}

// At the first answer: how many statements is this? Where it cannot be told for certain, it stays one text.
void Session::begin_query(const Pending& entry) {
  query_begun_ = true;
  query_is_whole_ = true;
  query_has_error_ = query_error_is_placed_ = query_is_ambiguous_ = false;
  parts_.clear();
  ranges_.clear();
  if (entry.is_cut || entry.is_damaged) return;
  const std::string_view sql = sql_of(payload(entry));
  if (!sql::may_have_several(sql) || (is_replication_ && is_replication_command(sql))) return;
  if (split(sql)) query_is_whole_ = ranges_.size() < 2;
}

// False: not to be cut, because the server cannot read it either, or because it is not known how the server reads it.
bool Session::split(std::string_view sql) {
  sql::LexicalMode mode = lexical_mode();
  const auto outcome = sql::split_statements(sql, mode, kStatementsPerQueryMax, ranges_);
  if (!is_escape_mode_known_ || (!is_charset_known_ && has_high_byte(sql))) {
    // A hole may have hidden a change of mode: both readings must agree.
    mode.standard_conforming_strings = !mode.standard_conforming_strings;
    const auto other = sql::split_statements(sql, mode, kStatementsPerQueryMax, other_ranges_);
    query_is_ambiguous_ =
        outcome != other || !same_ranges(ranges_, other_ranges_) || (!is_charset_known_ && has_high_byte(sql));
  }
  return outcome == sql::SplitOutcome::kOk && !query_is_ambiguous_;
}

void Session::on_query_complete(Outcome outcome, std::string_view tag, uint64_t rows, uint64_t time_ns) {
  if (!query_is_whole_) return add_part(tag, rows, time_ns);
  const Pending& entry = queue_.front();
  if (!holds_front()) {
    hold(entry, outcome, tag, rows, time_ns);
  } else {
    // More answers than one for what is reported as one text.
    if (answer_.copies_in) held_.copy_bytes += fold_copy_requests(outcome);
    held_.rows += rows;
    held_.copy_bytes += answer_.copy_bytes;
    held_.group.request_bytes = queue_.front().frame_bytes;
    held_.group.response_bytes += answer_.bytes;
    held_.outcome = outcome;
    held_.has_error = outcome == Outcome::kError;
    held_.end_ns = time_ns;
    held_.tag_size = static_cast<uint8_t>(tag.copy(held_.tag.data(), held_.tag.size()));
    if (answer_.is_damaged) held_.fidelity = std::max(held_.fidelity, Fidelity::kAfterGap);
    answer_ = {};
  }
  if (outcome != Outcome::kOk) return;
  const std::string_view sql = sql_of(payload(entry));
  apply_effects(sql, tag, entry_fidelity(entry));
}

void Session::add_part(std::string_view tag, uint64_t rows, uint64_t time_ns) {
  Part part{.rows = rows, .copy_bytes = answer_.copy_bytes, .response_bytes = answer_.bytes, .end_ns = time_ns};
  if (answer_.copies_in) part.copy_bytes += fold_copy_requests(query_has_error_ ? Outcome::kError : Outcome::kOk);
  part.tag_size = static_cast<uint8_t>(tag.copy(part.tag.data(), part.tag.size()));
  part.is_damaged = answer_.is_damaged;
  answer_ = {};
  // One more than there are statements is enough to see that the counts differ; the last part then sums up.
  if (parts_.size() <= ranges_.size()) {
    parts_.push_back(part);
    return;
  }
  Part& last = parts_.back();
  part.rows += last.rows;
  part.copy_bytes += last.copy_bytes;
  part.response_bytes += last.response_bytes;
  part.is_damaged = part.is_damaged || last.is_damaged;
  last = part;
}

bool Session::parts_agree() const {
  if (!query_has_error_) return parts_.size() == ranges_.size();
  return query_error_is_placed_ && parts_.size() <= ranges_.size();
}

void Session::finish_query(uint64_t time_ns) {
  const Pending entry = queue_.front();
  if (!query_begun_) begin_query(entry);
  if (query_is_whole_) {
    if (!holds_front()) hold(entry, Outcome::kUnknown, "", answer_.rows, time_ns);
    held_.group.response_bytes += answer_.bytes;
    flush_held(transaction_);
  } else {
    if (!parts_.empty()) parts_.back().response_bytes += answer_.bytes;
    parts_agree() ? emit_parts(entry, Outcome::kSkipped, time_ns) : emit_whole(entry, time_ns);
  }
  query_begun_ = query_is_ambiguous_ = false;
  // A simple query does away with the unnamed statement and portal.
  statements_.erase("");
  portals_.erase("");
}

// The session ends among several statements: what was answered keeps its answer.
void Session::abort_parts(uint64_t time_ns) {
  if (queue_.empty() || queue_.front().kind != Pending::Kind::kQuery || !query_begun_ || query_is_whole_) return;
  if (parts_.empty()) return;
  const Pending entry = queue_.front();
  if (parts_.size() > ranges_.size() || (query_has_error_ && !query_error_is_placed_))
    return emit_whole(entry, time_ns);
  emit_parts(entry, query_has_error_ ? Outcome::kSkipped : Outcome::kAborted, time_ns);
  queue_.front().is_told = true;
}

void Session::emit_parts(const Pending& entry, Outcome next, uint64_t time_ns) {
  flush_held(TransactionState::kActive);
  uint64_t start_ns = entry.time_ns;
  uint64_t other_bytes = entry.frame_bytes;
  for (const auto& range : ranges_) other_bytes -= std::min<uint64_t>(other_bytes, range.size);
  for (size_t i = 0; i < ranges_.size(); ++i) {
    const bool was_run = i < parts_.size();
    const bool has_failed = query_has_error_ && i + 1 == parts_.size();
    const std::string_view sql = sql_of(payload(entry)).substr(ranges_[i].offset, ranges_[i].size);
    Activity activity{.kind = ActivityKind::kStatement};
    activity.outcome = has_failed ? Outcome::kError : was_run ? Outcome::kOk : Outcome::kSkipped;
    const bool is_next = i == parts_.size();
    if (is_next) activity.outcome = next;
    activity.fidelity = entry_fidelity(entry);
    activity.protocol = StatementProtocol::kSimple;
    activity.start_ns = start_ns;
    activity.request_offset = entry.offset;
    activity.request_bytes = ranges_[i].size + (i == 0 ? other_bytes : 0);
    activity.writer = entry.writer;
    activity.text = sql;
    activity.text_bytes = sql.size();
    activity.statement_index = static_cast<uint32_t>(i);
    activity.transaction = transaction_;
    if (was_run) {
      const Part& part = parts_[i];
      activity.command_tag = {part.tag.data(), part.tag_size};
      activity.rows = part.rows;
      activity.copy_bytes = part.copy_bytes;
      activity.response_bytes = part.response_bytes;
      start_ns = part.end_ns;
      if (part.is_damaged) activity.fidelity = std::max(activity.fidelity, Fidelity::kAfterGap);
    }
    if (is_next && next == Outcome::kAborted) {
      activity.rows = rows_so_far();
      activity.copy_bytes = answer_.copy_bytes;
      activity.response_bytes = answer_.bytes;
      start_ns = time_ns;
    }
    activity.end_ns = start_ns;
    if (has_failed) fill_error(activity);
    const TextRef resolved = resolve(sql, activity.fidelity);
    if (resolved) activity.resolved_text = resolved->text;
    emit(activity);
    if (activity.outcome == Outcome::kOk) apply_effects(sql, activity.command_tag, activity.fidelity);
  }
}

// The answers do not pair with the statements found: one activity that says all of it, rather than a guess.
void Session::emit_whole(const Pending& entry, uint64_t time_ns) {
  flush_held(TransactionState::kActive);
  Answer total{};
  uint64_t rows = 0;
  std::string_view tag;
  for (const Part& part : parts_) {
    rows += part.rows;
    total.copy_bytes += part.copy_bytes;
    total.bytes += part.response_bytes;
    total.is_damaged = total.is_damaged || part.is_damaged;
    tag = {part.tag.data(), part.tag_size};
  }
  answer_ = total;
  hold(entry, query_has_error_ ? Outcome::kError : Outcome::kOk, tag, rows,
       parts_.empty() ? time_ns : parts_.back().end_ns);
  flush_held(transaction_);
  // Which of its statements took effect is not certain.
  forget_names_of(entry);
}

// Cheap for a text that begins with another verb than these commands do.
sql::NamedCommand Session::named_command(std::string_view sql) const {
  constexpr std::string_view kInitials = "eEfFmMcCpPdD";
  // A text that begins with a letter begins with its verb.
  if (!sql.empty() && is_letter(sql.front()) && kInitials.find(sql.front()) == kInitials.npos) return {};
  const std::string_view verb = sql::first_verb(sql);
  if (verb.empty() || kInitials.find(verb.front()) == kInitials.npos) return {};
  return sql::parse_named_command(sql, lexical_mode());
}

// EXECUTE, FETCH and MOVE, also inside EXPLAIN and CREATE TABLE AS: the statement that runs.
// `fidelity` becomes worse where that is not known, or not well known.
TextRef Session::resolve(std::string_view sql, Fidelity& fidelity) {
  const sql::NamedCommand command = named_command(sql);
  TextRef found;
  if (command.kind == sql::NamedCommand::Kind::kExecute) {
    found = find_statement(command.name.view());
  } else if (command.kind == sql::NamedCommand::Kind::kFetch) {
    if (const PortalRef* portal = portals_.find(command.name.view()); portal != nullptr) found = (*portal)->statement;
  } else {
    return {};
  }
  fidelity = std::max(fidelity, found ? found->fidelity : unknown_name_fidelity());
  return found;
}

// What a statement that succeeded did to names. The server's tag says which kind it was, so that ordinary statements
// are not lexed.
void Session::apply_effects(std::string_view sql, std::string_view tag, Fidelity fidelity) {
  if (tag == "DISCARD ALL" || tag == "DEALLOCATE ALL") {
    statements_.clear();
    if (tag == "DISCARD ALL") portals_.clear();
    are_names_known_ = true;
    return;
  }
  if (tag == "CLOSE CURSOR ALL") return portals_.clear();
  const bool concerns_names =
      tag == "PREPARE" || tag == "DEALLOCATE" || tag == "DECLARE CURSOR" || tag == "CLOSE CURSOR";
  if (!concerns_names) return;
  if (fidelity >= Fidelity::kAfterGap) return forget_all_names();
  const sql::NamedCommand command = sql::parse_named_command(sql, lexical_mode());
  const std::string_view body = trim_end(command.body);
  switch (command.kind) {
    case sql::NamedCommand::Kind::kPrepare:
      return install_statement(command.name.view(), make_text(body, body.size(), fidelity));
    case sql::NamedCommand::Kind::kDeallocate:
      return statements_.erase(command.name.view());
    case sql::NamedCommand::Kind::kClose:
      return portals_.erase(command.name.view());
    case sql::NamedCommand::Kind::kDeclare: {
      PortalRef portal = portal_pool_.take();
      portal->statement = make_text(body, body.size(), fidelity);
      portal->is_cursor = true;
      portal->is_hold = command.is_hold;
      portal->fidelity = fidelity;
      return install_portal(command.name.view(), std::move(portal));
    }
    case sql::NamedCommand::Kind::kNone:
    case sql::NamedCommand::Kind::kExecute:
    case sql::NamedCommand::Kind::kFetch:
    case sql::NamedCommand::Kind::kDiscardAll:
      // The tag says that a name changed, the text does not say which.
      return forget_all_names();
  }
}

}  // namespace gatehouse::postgres
