// SPDX-License-Identifier: Apache-2.0
#include "collector/store/row_feed.h"

#include <charconv>
#include <functional>

#include "collector/store/flatten.h"
#include "common/limits.h"
#include "common/utf8.h"

namespace gatehouse::store {
namespace {

std::string id_prefix_of(const Flattener::Origin& origin) {
  return std::string(origin.agent_id) + "/" + std::string(origin.boot_id) + "/";
}

void append_part(std::string& key, std::string_view bytes) {
  const auto size = static_cast<uint32_t>(bytes.size());
  key.append(reinterpret_cast<const char*>(&size), sizeof size);
  key += bytes;
}

// "SELECT 5" of 5 rows is "SELECT " and the number that the event has anyway.
ShapeTexts shape_texts_of(const RowView& row) {
  char digits[20];
  const auto written = std::to_chars(digits, digits + sizeof digits, row.result_rows);
  const std::string_view count(digits, static_cast<size_t>(written.ptr - digits));
  const std::string_view tag = row.statement_tag;
  if (!tag.ends_with(count) || !tag.substr(0, tag.size() - count.size()).ends_with(' ')) return {.tag = tag};
  return {.tag = tag.substr(0, tag.size() - count.size()), .tag_ends_with_rows = true};
}

}  // namespace

RowFeed::RowFeed()
    : writers_{ChunkWriter(Table::kEvents), ChunkWriter(Table::kContexts), ChunkWriter(Table::kShapes)},
      seen_texts_(kSeenTexts) {}

void RowFeed::start_segment(uint64_t segment) {
  for (ChunkWriter& writer : writers_) writer.take();
  segment_ = segment;
  rows_ = unreadable_ = 0;
  contexts_made_ = shapes_made_ = 0;
  context_numbers_.clear();
  shape_numbers_.clear();
  seen_texts_.assign(seen_texts_.size(), 0);
}

Status RowFeed::end_row(Table table, ChunkSink& to) {
  ChunkWriter& writer = writer_of(table);
  writer.end_row();
  if (!writer.is_full()) return {};
  const size_t rows = writer.row_count();
  return to.take(table, writer.take(), rows);
}

// Whether the same text came before; forgets texts of the same low bits.
bool RowFeed::is_seen(std::string_view text) {
  const uint64_t hash = std::hash<std::string_view>{}(text) | 1;
  uint64_t& place = seen_texts_[(hash >> 1) % seen_texts_.size()];
  if (place == hash) return true;
  place = hash;
  return false;
}

Status RowFeed::number_context(std::string_view id_prefix, const RowView& row, ChunkSink& to, uint64_t& number) {
  if (context_numbers_.size() >= kStoreDictionaryMax) context_numbers_.clear();
  number = (segment_ << kNumberBits) + contexts_made_++;
  context_numbers_.emplace(key_, number);
  put_context(writer_of(Table::kContexts), number, id_prefix, row);
  return end_row(Table::kContexts, to);
}

// Takes the statement's text out of `row` if it is in the shape.
Status RowFeed::number_shape(RowView& row, ChunkSink& to, uint64_t& number) {
  ShapeTexts texts = shape_texts_of(row);
  if (!row.statement_text.empty() && row.statement_text.size() <= kRepeatedTextBytesMax && is_seen(row.statement_text))
    texts.text = std::exchange(row.statement_text, {});
  key_.clear();
  append_shape_key(key_, texts, row);
  if (const auto found = shape_numbers_.find(key_); found != shape_numbers_.end()) {
    number = found->second;
    return {};
  }
  if (shape_numbers_.size() >= kStoreDictionaryMax) shape_numbers_.clear();
  number = (segment_ << kNumberBits) + shapes_made_++;
  shape_numbers_.emplace(key_, number);
  put_shape(writer_of(Table::kShapes), number, texts, row);
  return end_row(Table::kShapes, to);
}

Status RowFeed::put(RowView& row, EventPlace place, ChunkSink& to) {
  GH_TRY(number_shape(row, to, place.shape));
  put_event(writer_of(Table::kEvents), place, row);
  ++rows_;
  return end_row(Table::kEvents, to);
}

// A row as a whole.
Status RowFeed::add_row(const v1::Row& row, std::string_view id_prefix, const EventPlace& place, ChunkSink& to) {
  RowView view = view_of(row, texts_);
  EventPlace known = place;
  key_ = "row";
  append_context_key(key_, id_prefix, view);
  const auto found = context_numbers_.find(key_);
  if (found != context_numbers_.end()) {
    known.context = found->second;
  } else {
    GH_TRY(number_context(id_prefix, view, to, known.context));
  }
  return put(view, known, to);
}

// The context of the event's session and process: one that the segment has, by their serialized bytes, or a new one.
// False if protobuf does not take them for what they should be.
Result<bool> RowFeed::find_context(const EventView& event, const Flattener::Origin& origin, ChunkSink& to) {
  const auto [place, is_new] = batch_contexts_.try_emplace({event.session, event.process}, 0);
  if (!is_new) return true;
  const BatchView::Session* const session = view_.session(event.session);
  const uint64_t processes[] = {event.process, session == nullptr ? 0 : session->opener,
                                session == nullptr ? 0 : session->server};
  key_ = "raw";
  append_part(key_, id_prefix_);
  append_part(key_, view_.host());
  append_part(key_, view_.policy());
  append_part(key_, std::to_string(event.session));
  append_part(key_, session == nullptr ? std::string_view{} : session->bytes);
  for (const uint64_t process : processes) append_part(key_, view_.process(process));
  if (const auto found = context_numbers_.find(key_); found != context_numbers_.end()) {
    place->second = found->second;
    return true;
  }
  mini_.Clear();
  mini_.set_host(std::string(view_.host()));
  mini_.set_policy(std::string(view_.policy()));
  const auto parse = [](auto* message, std::string_view bytes) {
    return message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  };
  if (session != nullptr && !parse(mini_.add_sessions(), session->bytes)) return false;
  for (const uint64_t process : processes)
    if (const std::string_view bytes = view_.process(process); !bytes.empty() && !parse(mini_.add_processes(), bytes))
      return false;
  v1::Event& mini_event = *mini_.add_events();
  mini_event.set_session(event.session);
  mini_event.set_process(event.process);
  Flattener(mini_, origin).flatten(0, row_);
  const RowView view = view_of(row_, texts_);
  GH_TRY(number_context(id_prefix_, view, to, place->second));
  return true;
}

// Events that are no statements, as rows without what their context has. False if protobuf does not read one.
bool RowFeed::read_others() {
  others_.clear();
  for (const EventView& event : view_.events()) {
    if (event.is_statement) continue;
    other_.Clear();
    if (!other_.ParseFromArray(event.bytes.data(), static_cast<int>(event.bytes.size()))) return false;
    Flattener::flatten_own(other_, view_.agent_version(), others_.emplace_back());
  }
  return true;
}

std::string& RowFeed::scratch() {
  if (shown_count_ == shown_.size()) shown_.emplace_back();
  return shown_[shown_count_++];
}

// What of a statement's event is its own.
void RowFeed::fill(const EventView& event, RowView& row) {
  shown_count_ = 0;
  const auto shown = [&](std::string_view bytes) -> std::string_view {
    return is_valid_utf8(bytes) ? bytes : as_utf8(bytes, scratch());
  };
  row.time_ns = event.time_ns;
  row.duration_ns = event.duration_ns;
  row.kind = "statement";
  row.outcome = to_text(static_cast<v1::Outcome>(event.outcome));
  row.fidelity = to_text(static_cast<v1::Fidelity>(event.fidelity));
  row.statement_text = shown(event.text);
  row.statement_resolved = shown(event.resolved_text);
  row.statement_verb = event.verb;
  row.statement_tag = event.tag;
  row.statement_protocol = to_text(static_cast<v1::StatementProtocol>(event.protocol));
  row.statement_name = event.name;
  row.statement_portal = event.portal;
  row.statement_transaction = to_text(static_cast<v1::TransactionState>(event.transaction));
  row.statement_index = event.index;
  row.result_rows = event.rows;
  row.result_bytes = event.response_bytes;
  row.result_copy_bytes = event.copy_bytes;
  row.result_sqlstate = event.sqlstate;
  row.result_error = event.error_message;
  row.request_bytes = event.request_bytes;
  if (event.text_bytes > event.text.size())
    row.detail = scratch() = cut_text_detail(event.text.size(), event.text_bytes);
  parameters_.clear();
  for (uint32_t i = 0; i < event.parameters; ++i) {
    const ParameterView& parameter = view_.parameters()[event.first_parameter + i];
    if (!parameter.is_null && !parameter.is_binary && is_valid_utf8(parameter.value)) {
      parameters_.push_back(parameter.value);
    } else {
      std::string& text = scratch();
      text.clear();
      append_parameter(parameter.value, parameter.is_null, parameter.is_binary, text);
      parameters_.push_back(text);
    }
  }
  row.statement_parameters = parameters_;
  if (event.facts != 0 || event.findings != 0) fill_judgement(event, row);
}

void RowFeed::fill_judgement(const EventView& event, RowView& row) {
  if (const FactsView* const facts = view_.facts(event.facts)) {
    row.statement_normalized = facts->normalized;
    row.statement_refusal = facts->refusal;
    if (facts->fingerprint != 0) row.statement_fingerprint = scratch() = fingerprint_text(facts->fingerprint);
    row.statement_effects = view_.words(facts->effects);
    row.statement_reads = view_.words(facts->reads);
    row.statement_writes = view_.words(facts->writes);
    row.statement_functions = view_.words(facts->functions);
  }
  findings_.clear();
  finding_messages_.clear();
  masked_.clear();
  FindingSum sum;
  for (const FindingView& finding : std::span(view_.findings()).subspan(event.first_finding, event.findings)) {
    sum.add(finding.action, finding.would, finding.severity);
    findings_.push_back(finding.rule);
    finding_messages_.push_back(finding.message);
    for (const MaskedView& masked : std::span(view_.masked()).subspan(finding.first_masked, finding.masked))
      masked_.push_back(scratch() = masked_text(masked.column, masked.method, masked.values, finding.rule));
  }
  row.findings = findings_;
  row.finding_messages = finding_messages_;
  row.masked = masked_;
  row.verdict = to_text(static_cast<v1::Action>(sum.action), sum.would);
  row.severity = to_text(static_cast<v1::Severity>(sum.severity));
}

// A batch that protobuf need not read.
Result<bool> RowFeed::add_view(const ledger::Record& record, std::string_view plain, ChunkSink& to) {
  if (!view_.read(plain) || view_.events().size() != record.header.event_count || !read_others()) return false;
  const Flattener::Origin origin = BatchReader::origin_of(record);
  id_prefix_ = id_prefix_of(origin);
  batch_contexts_.clear();
  for (const EventView& event : view_.events()) {
    GH_ASSIGN(const bool is_fine, find_context(event, origin, to));
    if (!is_fine) return false;
  }
  EventPlace place{.record = record.position.record, .sequence = origin.first_sequence};
  auto other = others_.cbegin();
  for (const EventView& event : view_.events()) {
    place.context = batch_contexts_.find({event.session, event.process})->second;
    RowView row;
    if (event.is_statement) {
      fill(event, row);
    } else {
      row = view_of(*other++, texts_);
    }
    GH_TRY(put(row, place, to));
    ++place.sequence;
  }
  return true;
}

Status RowFeed::add(const ledger::Record& record, ChunkSink& to) {
  const Flattener::Origin origin = BatchReader::origin_of(record);
  EventPlace place{.record = record.position.record, .sequence = origin.first_sequence};
  if (const auto plain = reader_.inflate(record)) {
    GH_ASSIGN(const bool is_added, add_view(record, *plain, to));
    if (is_added) return {};
  }
  const std::string id_prefix = id_prefix_of(origin);
  if (!reader_.read(record)) {
    ++unreadable_;
    return add_row(unreadable_row(origin, record.header.event_count, record.header.received_ns, reader_.fault()),
                   id_prefix, place, to);
  }
  const Flattener flattener(reader_.batch(), origin);
  for (size_t i = 0; i < flattener.row_count(); ++i, ++place.sequence) {
    flattener.flatten(i, row_);
    GH_TRY(add_row(row_, id_prefix, place, to));
  }
  return {};
}

Status RowFeed::add_damage(const ledger::Position& position, std::string_view damage, ChunkSink& to) {
  v1::Row row;
  row.set_kind("gap");
  row.set_outcome("unknown");
  row.set_fidelity("opaque");
  row.set_detail("unreadable-ledger " + std::string(damage));
  // Its id is "ledger/<segment>/<record>".
  return add_row(row, "ledger/" + std::to_string(position.segment) + "/",
                 {.record = position.record, .sequence = position.record}, to);
}

Status RowFeed::finish(ChunkSink& to) {
  for (size_t i = 0; i < kTableCount; ++i) {
    ChunkWriter& writer = writers_[i];
    const size_t rows = writer.row_count();
    if (rows > 0) GH_TRY(to.take(static_cast<Table>(i), writer.take(), rows));
  }
  return {};
}

}  // namespace gatehouse::store
