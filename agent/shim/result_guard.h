// SPDX-License-Identifier: Apache-2.0
// ResultGuard: what the answer to one released request passes through on its way to the client: masks and limits. The
// gate knows which messages are the answer's; what becomes of them is the guard's to say.
//
// Pure, as the gate; called inside the gate's calls, on its thread. Spans are good until the call returns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "agent/protocol/postgres/wire.h"

namespace gatehouse::shim {

struct Ruling;

enum class Passage : uint8_t {
  kAsIs,     // it goes on as it came
  kChanged,  // what was appended goes in its place: whole messages, or nothing
  kCut,      // neither it nor anything behind it goes on: the client gets an error, as if the statement had failed here
  kEnd,      // … and the session ends with it: what would follow cannot be told apart
};

class ResultGuard {
 public:
  virtual ~ResultGuard() = default;
  // Rows that come without a description (an Execute's) are to be described before they come: the gate asks the server
  // in the client's place, and the answer goes to on_description() only.
  [[nodiscard]] virtual bool wants_description() const = 0;
  // RowDescription's body; empty where the statement gives no rows.
  virtual void on_description(std::span<const std::byte> body) = 0;
  // It may say kCut: requests behind this one wait for its answer.
  [[nodiscard]] virtual bool may_cut() const = 0;
  // Each message of the answer, and what comes beside it: whole bodies, up to GateLimits::guarded_bytes_max. A longer
  // one is kEnd without being shown to it.
  virtual Passage on_message(postgres::ResponseTag tag, std::span<const std::byte> body, std::string& out) = 0;
  // Of kCut and kEnd: what the client is told, and the record.
  [[nodiscard]] virtual Ruling why() const = 0;
};

}  // namespace gatehouse::shim
