// SPDX-License-Identifier: Apache-2.0
// Stands in for the gate until it is there: everything goes through.
#include "agent/shim/gate.h"

namespace gatehouse::shim {

class Gate::Impl {
 public:
  explicit Impl(GateHost& owner) : host(owner) {}
  GateHost& host;
  uint64_t offsets[kDirections]{};
  Counters counters{};
};

Gate::Gate(GateHost& host, const GateLimits&) : impl_(std::make_unique<Impl>(host)) {}
Gate::~Gate() = default;
size_t Gate::on_bytes(Direction direction, std::span<const std::byte> bytes, uint64_t) {
  uint64_t& offset = impl_->offsets[static_cast<size_t>(direction)];
  const Piece piece{.bytes = static_cast<uint32_t>(bytes.size()), .data = bytes};
  impl_->host.on_moved(direction, offset, {&piece, 1});
  offset += bytes.size();
  impl_->host.send(direction, bytes);
  return bytes.size();
}
void Gate::resume() {}
void Gate::on_closed(Direction, uint64_t) {}
size_t Gate::needs(Direction) const { return 1; }
bool Gate::is_waiting() const { return false; }
bool Gate::is_idle() const { return true; }
bool Gate::is_ended() const { return false; }
bool Gate::is_terminated() const { return false; }
const Gate::Counters& Gate::counters() const { return impl_->counters; }
size_t Gate::memory_bytes() const { return 0; }

}  // namespace gatehouse::shim
