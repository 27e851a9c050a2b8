// SPDX-License-Identifier: Apache-2.0
// Oracle: chunking must not matter. Byte 0 picks direction, mode and chunk size; the rest is the wire.
#include <cstdlib>
#include <span>
#include <string>

#include "agent/protocol/postgres/framer.h"

namespace {

using namespace gatehouse;

std::string transcript(std::span<const std::byte> wire, Direction direction, postgres::Mode mode, size_t chunk_bytes) {
  postgres::Framer framer(direction, mode);
  std::string out;
  size_t body_bytes = 0;
  while (!wire.empty()) {
    const auto in = wire.first(std::min(chunk_bytes, wire.size()));
    const Step step = framer.push(in);
    if (step.consumed == 0 || step.consumed > in.size()) std::abort();
    wire = wire.subspan(step.consumed);
    body_bytes = step.kind == Step::Kind::kBody ? body_bytes + step.body.size() : 0;
    if (step.kind == Step::Kind::kDesync) return out + '!' + static_cast<char>('0' + static_cast<int>(step.reason));
    if (step.kind == Step::Kind::kMore && step.hint == 0) std::abort();
    if (!step.end) continue;
    if (step.kind == Step::Kind::kBody && body_bytes != step.frame.body_size) std::abort();
    body_bytes = 0;
    out += static_cast<char>(step.frame.tag) + std::to_string(step.frame.body_size) + '.';
  }
  return out + (framer.at_boundary() ? '|' : '~');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto wire = std::as_bytes(std::span{data + 1, size - 1});
  const auto direction = (data[0] & 1) != 0 ? Direction::kResponse : Direction::kRequest;
  const auto mode = static_cast<postgres::Mode>((data[0] >> 1) % 3);
  if (transcript(wire, direction, mode, wire.size()) != transcript(wire, direction, mode, 1 + (data[0] >> 3) % 16))
    std::abort();
  return 0;
}
