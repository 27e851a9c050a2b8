// SPDX-License-Identifier: Apache-2.0
// Oracle: chunking must not matter. Byte 0 picks the chunk size, bit 7 of each following stretch's first byte its
// direction; the secrets are zeros, for whatever session the input names. A crash, a stall, or two different outcomes
// is a finding.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "agent/tls/channel.h"

namespace {

using namespace gatehouse;

class Text final : public tls::ChannelSink {
 public:
  void on_plain(Direction direction, std::span<const std::byte> plain, const tls::Moment&) override {
    text += static_cast<char>('a' + static_cast<int>(direction));
    text.append(reinterpret_cast<const char*>(plain.data()), plain.size());
  }
  void on_plain_lost(Direction, uint64_t bytes, const tls::Moment&) override { text += std::to_string(bytes); }
  std::string text;
};

// Stretches: length:u8 with the direction in its top bit, then so many bytes.
std::string outcome(std::span<const std::byte> input, size_t chunk) {
  tls::SecretBook book;
  Text text;
  tls::Channel channel(book);
  std::array<uint64_t, kDirections> position{};
  bool is_told = false;
  while (!input.empty()) {
    const auto head = std::to_integer<uint8_t>(input[0]);
    const auto direction = static_cast<Direction>(head >> 7);
    const auto stretch = input.subspan(1, std::min<size_t>(head & 0x7f, input.size() - 1));
    input = input.subspan(1 + stretch.size());
    auto& at = position[static_cast<size_t>(direction)];
    for (size_t i = 0; i < stretch.size(); i += chunk) {
      const auto part = stretch.subspan(i, std::min(chunk, stretch.size() - i));
      channel.on_bytes(direction, part, {.time_ns = 1, .position = at}, text);
      at += part.size();
    }
    if (!channel.client_random() || is_told) continue;
    is_told = true;
    const std::array<std::byte, 48> zeros{};
    for (const auto kind : {TlsSecret::Kind::kClientTraffic, TlsSecret::Kind::kServerTraffic, TlsSecret::Kind::kMaster})
      book.add({.time_ns = 1, .kind = kind, .client_random = *channel.client_random(), .secret = zeros});
    channel.on_secret(text);
  }
  return text.text + std::string(channel.sealed_because());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto input = std::as_bytes(std::span{data + 1, size - 1});
  if (outcome(input, SIZE_MAX) != outcome(input, 1 + size_t{data[0]} % 16)) std::abort();
  return 0;
}
