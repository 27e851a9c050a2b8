// SPDX-License-Identifier: Apache-2.0
#include "common/hmac.h"

#include <algorithm>
#include <array>

namespace gatehouse {

Sha256 hmac_sha256(std::string_view key, std::string_view text) {
  constexpr size_t kBlockBytes = 64;
  const auto bytes_of = [](std::string_view of) { return std::as_bytes(std::span(of.data(), of.size())); };
  std::array<std::byte, kBlockBytes> block{};
  if (key.size() > kBlockBytes) {
    std::ranges::copy(sha256(bytes_of(key)), block.begin());
  } else {
    std::ranges::copy(bytes_of(key), block.begin());
  }
  const auto padded = [&](std::byte pad) {
    std::array<std::byte, kBlockBytes> out = block;
    for (std::byte& byte : out) byte ^= pad;
    return out;
  };
  Sha256Stream inner;
  inner.update(padded(std::byte{0x36}));
  inner.update(bytes_of(text));
  const Sha256 digest = inner.finish();
  Sha256Stream outer;
  outer.update(padded(std::byte{0x5c}));
  outer.update(digest);
  return outer.finish();
}

}  // namespace gatehouse
