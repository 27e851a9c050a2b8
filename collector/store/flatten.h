// SPDX-License-Identifier: Apache-2.0
// Flattener: events of a batch as flat rows, each joined with its session and its processes. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "gatehouse/v1/event.pb.h"
#include "gatehouse/v1/query.pb.h"

namespace gatehouse::store {

class Flattener {
 public:
  // Whom the events are from is said by the ledger (the peer's certificate), never by the batch itself.
  struct Origin {
    std::string_view agent_id;
    std::string_view boot_id;
    uint64_t first_sequence = 0;
  };

  // Borrows `batch` and `origin`'s text.
  Flattener(const v1::Batch& batch, const Origin& origin);

  [[nodiscard]] size_t row_count() const { return static_cast<size_t>(batch_.events_size()); }
  // Event `index` as a row; what `row` held before is gone.
  void flatten(size_t index, v1::Row& row) const;
  // Only what is the event's own, neither its place, its session's nor its processes'.
  static void flatten_own(const v1::Event& event, std::string_view agent_version, v1::Row& row);

 private:
  // What every event of the same process or session shares, made once a batch.
  struct Actor {
    const v1::Process* process = nullptr;
    std::string command;
    std::string ancestry;
  };
  void add_facts(const v1::Event& event, v1::Row& row) const;
  struct Link {
    const v1::Session* session = nullptr;
    std::string id;
    std::string client;
    std::string address;
  };

  void add_session(const v1::Session& session, v1::Row& row) const;
  void add_actor(const v1::Event& event, const v1::Session* session, v1::Row& row) const;
  void add_server(const v1::Session& session, v1::Row& row) const;

  const v1::Batch& batch_;
  const Origin origin_;
  std::string id_prefix_;
  std::unordered_map<uint64_t, Actor> actors_;
  std::unordered_map<uint64_t, Link> links_;
};

// As rows show them.
std::string_view to_text(v1::Outcome outcome);
std::string_view to_text(v1::Fidelity fidelity);
std::string_view to_text(v1::StatementProtocol protocol);
std::string_view to_text(v1::TransactionState state);
void append_parameter(std::string_view value, bool is_null, bool is_binary, std::string& text);
std::string cut_text_detail(uint64_t bytes, uint64_t bytes_of);

// "block", "would block"; empty: no action.
std::string_view to_text(v1::Action action, bool would);
std::string_view to_text(v1::Severity severity);
// Row.masked: "<column> <method> <values> <mask>".
std::string masked_text(std::string_view column, std::string_view method, uint64_t values, std::string_view mask);

// What an event's findings come to, one after the other: of what was carried out, and does more than alert, the
// strongest; else the strongest of all.
struct FindingSum {
  int action = 0;
  bool would = true;
  int severity = 0;
  void add(int found_action, bool is_would, int found_severity);
};
std::string fingerprint_text(uint64_t fingerprint);

// The row that stands for a batch whose content cannot be read; kind "gap".
v1::Row unreadable_row(const Flattener::Origin& origin, uint32_t event_count, uint64_t received_ns,
                       std::string_view reason);

}  // namespace gatehouse::store
