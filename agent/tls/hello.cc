// SPDX-License-Identifier: Apache-2.0
#include "agent/tls/hello.h"

#include <algorithm>

#include "common/reader.h"

namespace gatehouse::tls {
namespace {

enum : uint16_t { kEncryptThenMac = 22, kEarlyData = 42, kSupportedVersions = 43 };

// RFC 8446, 4.1.3: SHA-256 of "HelloRetryRequest".
constexpr std::array<uint8_t, kRandomBytes> kRetryRandom{
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};

Random take_random(Reader& r) {
  Random random{};
  std::ranges::copy(r.take(kRandomBytes), random.begin());
  return random;
}

// Extension type:u16 data<u16>, each to `visit`. A hello may end before them.
template <typename Visit>
void each_extension(Reader& r, Visit visit) {
  if (r.left() == 0) return;
  Reader extensions{r.take(r.be<uint16_t>())};
  while (r.ok() && extensions.ok() && extensions.left() > 0) {
    const auto type = extensions.be<uint16_t>();
    visit(type, extensions.take(extensions.be<uint16_t>()));
  }
}

}  // namespace

// legacy_version:u16 random:32 session_id<u8> cipher_suites<u16> compression<u8> extensions<u16>.
std::optional<ClientHello> decode_client_hello(std::span<const std::byte> body) {
  Reader r{body};
  ClientHello hello;
  r.be<uint16_t>();
  hello.random = take_random(r);
  r.take(r.be<uint8_t>());
  r.take(r.be<uint16_t>());
  r.take(r.be<uint8_t>());
  each_extension(r, [&](uint16_t type, std::span<const std::byte>) {
    hello.has_early_data = hello.has_early_data || type == kEarlyData;
  });
  if (!r.ok()) return std::nullopt;
  return hello;
}

// legacy_version:u16 random:32 session_id<u8> cipher_suite:u16 compression:u8 extensions<u16>.
std::optional<ServerHello> decode_server_hello(std::span<const std::byte> body) {
  Reader r{body};
  ServerHello hello;
  hello.version = r.be<uint16_t>();
  hello.random = take_random(r);
  r.take(r.be<uint8_t>());
  hello.suite = r.be<uint16_t>();
  r.be<uint8_t>();
  each_extension(r, [&](uint16_t type, std::span<const std::byte> data) {
    if (type == kEncryptThenMac) hello.encrypts_then_macs = true;
    if (type == kSupportedVersions) hello.version = Reader{data}.be<uint16_t>();
  });
  if (!r.ok()) return std::nullopt;
  hello.is_retry = std::ranges::equal(hello.random, std::as_bytes(std::span{kRetryRandom}));
  return hello;
}

}  // namespace gatehouse::tls
