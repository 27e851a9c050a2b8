// SPDX-License-Identifier: Apache-2.0
#include "collector/store/batch_view.h"

#include <bit>
#include <cstring>

#include "common/utf8.h"
#include "gatehouse/v1/event.pb.h"

namespace gatehouse::store {
namespace {

// A text field that occurs once and is what protobuf takes for text.
bool take_text(const WireReader& reader, std::string_view& text) {
  if (!reader.is_bytes() || !text.empty() || !is_valid_utf8(reader.bytes())) return false;
  text = reader.bytes();
  return true;
}

bool take_bytes(const WireReader& reader, std::string_view& bytes) {
  if (!reader.is_bytes() || !bytes.empty()) return false;
  bytes = reader.bytes();
  return true;
}

// As protobuf does: the last one counts, and what does not fit is cut.
template <typename T>
bool take_number(const WireReader& reader, T& number) {
  if (!reader.is_varint()) return false;
  number = static_cast<T>(reader.number());
  return true;
}

bool take_flag(const WireReader& reader, bool& flag) {
  if (!reader.is_varint()) return false;
  flag = reader.number() != 0;
  return true;
}

static_assert(std::endian::native == std::endian::little);
bool take_fixed64(const WireReader& reader, uint64_t& number) {
  if (!reader.is_fixed64()) return false;
  std::memcpy(&number, reader.bytes().data(), sizeof number);
  return true;
}

}  // namespace

bool WireReader::read_long_varint(uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (at_ == end_) return fail();
    const auto byte = static_cast<uint8_t>(*at_++);
    value |= uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return true;
  }
  return fail();
}

// What is no varint.
bool WireReader::read_rest() {
  uint64_t size = 0;
  switch (type_) {
    case 1:
      size = 8;
      break;
    case 2:
      if (!read_varint(size)) return false;
      break;
    case 5:
      size = 4;
      break;
    default:
      return fail();  // groups, which no agent sends
  }
  if (size > static_cast<size_t>(end_ - at_)) return fail();
  bytes_ = {at_, size};
  at_ += size;
  return true;
}

bool BatchView::read_parameter(std::string_view bytes) {
  using Field = v1::Parameter;
  ParameterView& parameter = parameters_.emplace_back();
  WireReader reader(bytes);
  while (reader.next()) {
    bool is_fine = true;
    switch (reader.field()) {
      case Field::kValueFieldNumber:
        is_fine = take_bytes(reader, parameter.value);
        break;
      case Field::kIsNullFieldNumber:
        is_fine = take_flag(reader, parameter.is_null);
        break;
      case Field::kIsBinaryFieldNumber:
        is_fine = take_flag(reader, parameter.is_binary);
        break;
      default:
        break;
    }
    if (!is_fine) return false;
  }
  return reader.ok();
}

bool BatchView::read_statement(std::string_view bytes, EventView& event) {
  using Field = v1::Statement;
  WireReader reader(bytes);
  while (reader.next()) {
    bool is_fine = true;
    switch (reader.field()) {
      case Field::kProtocolFieldNumber:
        is_fine = take_number(reader, event.protocol);
        break;
      case Field::kTextFieldNumber:
        is_fine = take_bytes(reader, event.text);
        break;
      case Field::kTextBytesFieldNumber:
        is_fine = take_number(reader, event.text_bytes);
        break;
      case Field::kResolvedTextFieldNumber:
        is_fine = take_bytes(reader, event.resolved_text);
        break;
      case Field::kVerbFieldNumber:
        is_fine = take_text(reader, event.verb);
        break;
      case Field::kStatementNameFieldNumber:
        is_fine = take_text(reader, event.name);
        break;
      case Field::kPortalNameFieldNumber:
        is_fine = take_text(reader, event.portal);
        break;
      case Field::kParametersFieldNumber:
        is_fine = reader.is_bytes() && read_parameter(reader.bytes());
        break;
      case Field::kCommandTagFieldNumber:
        is_fine = take_text(reader, event.tag);
        break;
      case Field::kRowsFieldNumber:
        is_fine = take_number(reader, event.rows);
        break;
      case Field::kCopyBytesFieldNumber:
        is_fine = take_number(reader, event.copy_bytes);
        break;
      case Field::kStatementIndexFieldNumber:
        is_fine = take_number(reader, event.index);
        break;
      case Field::kSqlstateFieldNumber:
        is_fine = take_text(reader, event.sqlstate);
        break;
      case Field::kErrorMessageFieldNumber:
        is_fine = take_text(reader, event.error_message);
        break;
      case Field::kTransactionFieldNumber:
        is_fine = take_number(reader, event.transaction);
        break;
      case Field::kRequestBytesFieldNumber:
        is_fine = take_number(reader, event.request_bytes);
        break;
      case Field::kResponseBytesFieldNumber:
        is_fine = take_number(reader, event.response_bytes);
        break;
      default:
        break;
    }
    if (!is_fine) return false;
  }
  return reader.ok();
}

bool BatchView::read_masked(std::string_view bytes) {
  using Field = v1::MaskedColumn;
  MaskedView& masked = masked_.emplace_back();
  WireReader reader(bytes);
  while (reader.next()) {
    bool is_fine = true;
    switch (reader.field()) {
      case Field::kColumnFieldNumber:
        is_fine = take_text(reader, masked.column);
        break;
      case Field::kMethodFieldNumber:
        is_fine = take_text(reader, masked.method);
        break;
      case Field::kValuesFieldNumber:
        is_fine = take_number(reader, masked.values);
        break;
      default:
        break;
    }
    if (!is_fine) return false;
  }
  return reader.ok();
}

bool BatchView::read_finding(std::string_view bytes) {
  using Field = v1::Finding;
  FindingView& finding = findings_.emplace_back();
  finding.first_masked = static_cast<uint32_t>(masked_.size());
  WireReader reader(bytes);
  while (reader.next()) {
    bool is_fine = true;
    switch (reader.field()) {
      case Field::kRuleFieldNumber:
        is_fine = take_text(reader, finding.rule);
        break;
      case Field::kActionFieldNumber:
        is_fine = take_number(reader, finding.action);
        break;
      case Field::kWouldFieldNumber:
        is_fine = take_flag(reader, finding.would);
        break;
      case Field::kSeverityFieldNumber:
        is_fine = take_number(reader, finding.severity);
        break;
      case Field::kMessageFieldNumber:
        is_fine = take_text(reader, finding.message);
        break;
      case Field::kMaskedFieldNumber:
        is_fine = reader.is_bytes() && read_masked(reader.bytes());
        ++finding.masked;
        break;
      default:
        break;
    }
    if (!is_fine) return false;
  }
  return reader.ok();
}

bool BatchView::read_facts(std::string_view bytes) {
  using Field = v1::StatementFacts;
  FactsView& facts = facts_.emplace_back();
  // Words of one list follow each other, or the batch is irregular.
  const auto take_word = [this](const WireReader& reader, FactsView::Words& words) {
    if (!reader.is_bytes() || !is_valid_utf8(reader.bytes())) return false;
    if (words.count == 0) words.first = static_cast<uint32_t>(words_.size());
    if (words.first + words.count != words_.size()) return false;
    words_.push_back(reader.bytes());
    ++words.count;
    return true;
  };
  WireReader reader(bytes);
  while (reader.next()) {
    bool is_fine = true;
    switch (reader.field()) {
      case Field::kNormalizedFieldNumber:
        is_fine = take_text(reader, facts.normalized);
        break;
      case Field::kFingerprintFieldNumber:
        is_fine = take_fixed64(reader, facts.fingerprint);
        break;
      case Field::kRefusalFieldNumber:
        is_fine = take_text(reader, facts.refusal);
        break;
      case Field::kEffectsFieldNumber:
        is_fine = take_word(reader, facts.effects);
        break;
      case Field::kReadsFieldNumber:
        is_fine = take_word(reader, facts.reads);
        break;
      case Field::kWritesFieldNumber:
        is_fine = take_word(reader, facts.writes);
        break;
      case Field::kFunctionsFieldNumber:
        is_fine = take_word(reader, facts.functions);
        break;
      default:
        break;
    }
    if (!is_fine) return false;
  }
  return reader.ok();
}

bool BatchView::read_event(std::string_view bytes) {
  using Field = v1::Event;
  EventView& event = events_.emplace_back();
  event.bytes = bytes;
  event.first_parameter = static_cast<uint32_t>(parameters_.size());
  event.first_finding = static_cast<uint32_t>(findings_.size());
  uint32_t body = 0;  // its field; the agent writes an empty body before the full one, and parsers merge them
  WireReader reader(bytes);
  while (reader.next()) {
    bool is_fine = true;
    switch (reader.field()) {
      case Field::kTimeNsFieldNumber:
        is_fine = take_number(reader, event.time_ns);
        break;
      case Field::kDurationNsFieldNumber:
        is_fine = take_number(reader, event.duration_ns);
        break;
      case Field::kSessionFieldNumber:
        is_fine = take_number(reader, event.session);
        break;
      case Field::kProcessFieldNumber:
        is_fine = take_number(reader, event.process);
        break;
      case Field::kFidelityFieldNumber:
        is_fine = take_number(reader, event.fidelity);
        break;
      case Field::kOutcomeFieldNumber:
        is_fine = take_number(reader, event.outcome);
        break;
      case Field::kFactsFieldNumber:
        is_fine = take_number(reader, event.facts);
        break;
      case Field::kFindingsFieldNumber:
        is_fine = reader.is_bytes() && read_finding(reader.bytes());
        break;
      case Field::kStatementFieldNumber:
        is_fine = (body == 0 || body == reader.field()) && reader.is_bytes() && read_statement(reader.bytes(), event);
        body = reader.field();
        event.is_statement = true;
        break;
      default:
        if (reader.field() >= Field::kConnectFieldNumber && reader.field() <= Field::kApprovalFieldNumber) {
          is_fine = (body == 0 || body == reader.field()) && reader.is_bytes();
          body = reader.field();
        }
        break;
    }
    if (!is_fine) return false;
  }
  event.parameters = static_cast<uint32_t>(parameters_.size()) - event.first_parameter;
  event.findings = static_cast<uint32_t>(findings_.size()) - event.first_finding;
  return reader.ok();
}

bool BatchView::read_session(std::string_view bytes) {
  using Field = v1::Session;
  uint64_t id = 0;
  Session session{.bytes = bytes};
  WireReader reader(bytes);
  while (reader.next()) {
    bool is_fine = true;
    if (reader.field() == Field::kIdFieldNumber) is_fine = take_number(reader, id);
    if (reader.field() == Field::kOpenerProcessFieldNumber) is_fine = take_number(reader, session.opener);
    if (reader.field() == Field::kServerProcessFieldNumber) is_fine = take_number(reader, session.server);
    if (!is_fine) return false;
  }
  return reader.ok() && sessions_.try_emplace(id, session).second;
}

bool BatchView::read_process(std::string_view bytes) {
  uint64_t id = 0;
  WireReader reader(bytes);
  while (reader.next())
    if (reader.field() == v1::Process::kIdFieldNumber && !take_number(reader, id)) return false;
  return reader.ok() && processes_.try_emplace(id, bytes).second;
}

bool BatchView::read(std::string_view bytes) {
  using Field = v1::Batch;
  agent_id_ = boot_id_ = host_ = agent_version_ = policy_ = {};
  first_sequence_ = 0;
  sessions_.clear();
  processes_.clear();
  events_.clear();
  parameters_.clear();
  findings_.clear();
  masked_.clear();
  facts_.clear();
  words_.clear();
  WireReader reader(bytes);
  while (reader.next()) {
    bool is_fine = true;
    switch (reader.field()) {
      case Field::kAgentIdFieldNumber:
        is_fine = take_text(reader, agent_id_);
        break;
      case Field::kBootIdFieldNumber:
        is_fine = take_text(reader, boot_id_);
        break;
      case Field::kFirstSequenceFieldNumber:
        is_fine = take_number(reader, first_sequence_);
        break;
      case Field::kHostFieldNumber:
        is_fine = take_text(reader, host_);
        break;
      case Field::kAgentVersionFieldNumber:
        is_fine = take_text(reader, agent_version_);
        break;
      case Field::kPolicyFieldNumber:
        is_fine = take_text(reader, policy_);
        break;
      case Field::kFactsFieldNumber:
        is_fine = reader.is_bytes() && read_facts(reader.bytes());
        break;
      case Field::kProcessesFieldNumber:
        is_fine = reader.is_bytes() && read_process(reader.bytes());
        break;
      case Field::kSessionsFieldNumber:
        is_fine = reader.is_bytes() && read_session(reader.bytes());
        break;
      case Field::kEventsFieldNumber:
        is_fine = reader.is_bytes() && read_event(reader.bytes());
        break;
      default:
        break;
    }
    if (!is_fine) return false;
  }
  return reader.ok();
}

const BatchView::Session* BatchView::session(uint64_t id) const {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : &found->second;
}

std::string_view BatchView::process(uint64_t id) const {
  const auto found = processes_.find(id);
  return found == processes_.end() ? std::string_view{} : found->second;
}

}  // namespace gatehouse::store
