// SPDX-License-Identifier: Apache-2.0
// A host for a gate: buffers as a worker does, keeps all that went out, and judges as it is told.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "agent/shim/gate.h"
#include "tests/support/postgres_wire.h"

namespace gatehouse::test {

using shim::End;
using shim::Gate;
using shim::Purpose;
using shim::Ruling;

class GateEnds final : public shim::GateHost {
 public:
  explicit GateEnds(const shim::GateLimits& limits = {}) : gate(*this, limits) {}

  Ruling judge(const Activity& request, Purpose purpose) override {
    std::string line = purpose == Purpose::kPrepare ? "prepare" : "run";
    line += request.kind == ActivityKind::kConnect
                ? " connect " + std::string(request.user) + '@' + std::string(request.database)
                : ' ' + describe_statement(request);
    if (request.fidelity != Fidelity::kComplete) line += std::string(" [") + word(request.fidelity) + ']';
    judged.push_back(line);
    return rule ? rule(request, purpose) : Ruling{};
  }
  void on_activity(const Activity& activity) override { activities.push_back(describe_activity(activity)); }
  void send(Direction direction, std::span<const std::byte> bytes) override {
    if (ended) wrong.emplace_back("sent after the end");
    std::string& out = sent[static_cast<size_t>(direction)];
    out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void on_moved(Direction direction, uint64_t offset, std::span<const Piece> pieces) override {
    uint64_t& position = moved[static_cast<size_t>(direction)];
    if (offset != position) wrong.emplace_back("pieces do not follow each other");
    if (pieces.empty()) wrong.emplace_back("moved nothing");
    for (const Piece& piece : pieces) {
      position += piece.bytes;
      if (piece.bytes == 0) wrong.emplace_back("an empty piece");
      if (piece.kind == Piece::Kind::kData && piece.data.size() != piece.bytes) wrong.emplace_back("bytes of a piece");
    }
    // As the reader of the record sees them.
    feeder.pieces(direction, pieces);
  }
  void on_refused(uint64_t offset, const Ruling& ruling) override {
    refused.push_back(std::to_string(offset) + ' ' + std::string(ruling.sqlstate));
  }
  void on_end(End end) override {
    if (ended) wrong.emplace_back("ended twice");
    ended = end;
  }

  // More bytes from one end.
  void give(Direction direction, std::string_view bytes) {
    pending[static_cast<size_t>(direction)] += bytes;
    pump();
  }
  // Offers what is there, as its contract has it, until nothing moves.
  void pump() {
    for (bool moves = true; moves;) {
      moves = false;
      for (const Direction direction : {Direction::kRequest, Direction::kResponse}) {
        std::string& held = pending[static_cast<size_t>(direction)];
        while (!held.empty() && (is_closed[static_cast<size_t>(direction)] || held.size() >= gate.needs(direction))) {
          const size_t taken = gate.on_bytes(direction, bytes_of(held), ++time_ns);
          if (taken > held.size()) wrong.emplace_back("took more than there was");
          if (taken == 0 && !gate.is_waiting() && !gate.is_ended() && held.size() >= gate.needs(direction))
            wrong.emplace_back("took nothing for no reason");
          memory_bytes_max = std::max(memory_bytes_max, gate.memory_bytes());
          held.erase(0, taken);
          if (taken == 0) break;
          moves = true;
        }
      }
    }
  }
  void close(Direction direction) {
    is_closed[static_cast<size_t>(direction)] = true;
    gate.on_closed(direction, ++time_ns);
    pump();
  }
  [[nodiscard]] const std::string& up() const { return sent[0]; }
  [[nodiscard]] const std::string& down() const { return sent[1]; }
  // What a reader of the record makes of it.
  [[nodiscard]] const std::vector<std::string>& recorded() const { return feeder.recorder.lines; }

  std::function<Ruling(const Activity&, Purpose)> rule;
  std::vector<std::string> judged, activities, refused, wrong;
  std::array<std::string, kDirections> sent, pending;
  std::array<uint64_t, kDirections> moved{};
  std::array<bool, kDirections> is_closed{};
  std::optional<End> ended;
  size_t memory_bytes_max = 0;
  uint64_t time_ns = 0;
  Feeder feeder;
  Gate gate;
};

}  // namespace gatehouse::test
