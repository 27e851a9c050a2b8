// SPDX-License-Identifier: Apache-2.0
// BatchView: a serialized gatehouse.v1.Batch read in place, without a message object per event. For what agents really
// send; anything odd that protobuf still reads (a field twice where once is meant, groups) is called irregular, and the
// caller lets protobuf read it. Pure; any bytes are fine.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace gatehouse::store {

// Fields of one message, in order.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}
  // Reads the next field; false at the end, or when the bytes are not a message: then ok() is false.
  bool next() {
    if (at_ == end_ || !ok_) return false;
    uint64_t tag = 0;
    if (!read_varint(tag)) return false;
    if (tag > UINT32_MAX || (tag >> 3) == 0) return fail();
    field_ = static_cast<uint32_t>(tag >> 3);
    type_ = static_cast<uint32_t>(tag & 7);
    return type_ == 0 ? read_varint(number_) : read_rest();
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] uint32_t field() const { return field_; }
  [[nodiscard]] bool is_varint() const { return type_ == 0; }
  [[nodiscard]] bool is_bytes() const { return type_ == 2; }
  [[nodiscard]] bool is_fixed64() const { return type_ == 1; }
  [[nodiscard]] uint64_t number() const { return number_; }        // of a varint
  [[nodiscard]] std::string_view bytes() const { return bytes_; }  // of text, bytes and messages; of what is fixed, too

 private:
  // Most are of one byte.
  bool read_varint(uint64_t& value) {
    if (at_ == end_ || static_cast<uint8_t>(*at_) >= 0x80) return read_long_varint(value);
    value = static_cast<uint8_t>(*at_++);
    return true;
  }
  bool read_long_varint(uint64_t& value);
  bool read_rest();
  bool fail() { return ok_ = false; }
  const char* at_;
  const char* end_;
  bool ok_ = true;
  uint32_t field_ = 0;
  uint32_t type_ = 0;
  uint64_t number_ = 0;
  std::string_view bytes_;
};

struct ParameterView {
  std::string_view value;
  bool is_null = false;
  bool is_binary = false;
};

// One of Batch.facts.
struct FactsView {
  // Part of BatchView::words().
  struct Words {
    uint32_t first = 0;
    uint32_t count = 0;
  };
  std::string_view normalized, refusal;
  uint64_t fingerprint = 0;
  Words effects, reads, writes, functions;
};

struct MaskedView {
  std::string_view column, method;
  uint64_t values = 0;
};

struct FindingView {
  std::string_view rule, message;
  int action = 0;
  int severity = 0;
  bool would = false;
  uint32_t first_masked = 0;  // in BatchView::masked()
  uint32_t masked = 0;
};

// One of Batch.events; texts borrow the batch. What protobuf calls text is valid UTF-8 here.
struct EventView {
  uint64_t time_ns = 0;
  uint64_t duration_ns = 0;
  uint64_t session = 0;
  uint64_t process = 0;
  int fidelity = 0;
  int outcome = 0;
  bool is_statement = false;
  uint32_t facts = 0;          // of BatchView::facts(), counted from 1; 0: none
  uint32_t first_finding = 0;  // in BatchView::findings()
  uint32_t findings = 0;
  std::string_view bytes;  // of the whole Event

  // Statement.
  int protocol = 0;
  int transaction = 0;
  std::string_view text, resolved_text;  // bytes, of any encoding
  std::string_view verb, name, portal, tag, sqlstate, error_message;
  uint64_t text_bytes = 0, rows = 0, copy_bytes = 0, request_bytes = 0, response_bytes = 0;
  uint32_t index = 0;
  uint32_t first_parameter = 0;  // in BatchView::parameters()
  uint32_t parameters = 0;
};

class BatchView {
 public:
  // True if `bytes` is a regular Batch; else nothing else may be asked. Keeps its buffers for the next one.
  bool read(std::string_view bytes);

  [[nodiscard]] std::string_view agent_id() const { return agent_id_; }
  [[nodiscard]] std::string_view boot_id() const { return boot_id_; }
  [[nodiscard]] std::string_view host() const { return host_; }
  [[nodiscard]] std::string_view agent_version() const { return agent_version_; }
  [[nodiscard]] std::string_view policy() const { return policy_; }
  [[nodiscard]] uint64_t first_sequence() const { return first_sequence_; }
  [[nodiscard]] const std::vector<EventView>& events() const { return events_; }
  [[nodiscard]] const std::vector<ParameterView>& parameters() const { return parameters_; }
  [[nodiscard]] const std::vector<FindingView>& findings() const { return findings_; }
  [[nodiscard]] const std::vector<MaskedView>& masked() const { return masked_; }
  // What `EventView::facts` names; null: none.
  [[nodiscard]] const FactsView* facts(uint32_t number) const {
    return number == 0 || number > facts_.size() ? nullptr : &facts_[number - 1];
  }
  [[nodiscard]] std::span<const std::string_view> words(FactsView::Words words) const {
    return std::span(words_).subspan(words.first, words.count);
  }

  // Serialized Session and Process of that id; empty if there is none. Their content has not been looked at.
  struct Session {
    std::string_view bytes;
    uint64_t opener = 0;
    uint64_t server = 0;
  };
  [[nodiscard]] const Session* session(uint64_t id) const;
  [[nodiscard]] std::string_view process(uint64_t id) const;
  [[nodiscard]] const std::unordered_map<uint64_t, Session>& sessions() const { return sessions_; }
  [[nodiscard]] const std::unordered_map<uint64_t, std::string_view>& processes() const { return processes_; }

 private:
  bool read_event(std::string_view bytes);
  bool read_statement(std::string_view bytes, EventView& event);
  bool read_parameter(std::string_view bytes);
  bool read_session(std::string_view bytes);
  bool read_process(std::string_view bytes);
  bool read_finding(std::string_view bytes);
  bool read_masked(std::string_view bytes);
  bool read_facts(std::string_view bytes);

  std::string_view agent_id_, boot_id_, host_, agent_version_, policy_;
  uint64_t first_sequence_ = 0;
  std::unordered_map<uint64_t, Session> sessions_;
  std::unordered_map<uint64_t, std::string_view> processes_;
  std::vector<EventView> events_;
  std::vector<ParameterView> parameters_;
  std::vector<FindingView> findings_;
  std::vector<MaskedView> masked_;
  std::vector<FactsView> facts_;
  std::vector<std::string_view> words_;
};

}  // namespace gatehouse::store
