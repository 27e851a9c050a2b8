// SPDX-License-Identifier: Apache-2.0
// What follows from a session's secrets: RFC 8446, 7.1 to 7.3, and RFC 5246, 5 and 6.3. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "agent/tls/suite.h"

namespace gatehouse::tls {

inline constexpr size_t kSecretBytesMax = 48;
inline constexpr size_t kRandomBytes = 32;
using Random = std::array<std::byte, kRandomBytes>;

// HKDF-Expand-Label with an empty context, filling `out` (at most one hash long … 48 bytes).
void expand_label(Hash hash, std::span<const std::byte> secret, std::string_view label, std::span<std::byte> out);

// The PRF of TLS 1.2.
void prf(Hash hash, std::span<const std::byte> secret, std::string_view label, std::span<const std::byte> seed,
         std::span<std::byte> out);

// Keys of one direction. Wiped when it dies.
struct RecordKeys {
  std::array<std::byte, 32> key{};
  std::array<std::byte, 12> iv{};   // all of it, or TLS 1.2's implicit part of it, which is 4 bytes with GCM
  std::array<std::byte, 48> mac{};  // CBC
  RecordKeys() = default;
  RecordKeys(const RecordKeys&) = delete;
  RecordKeys& operator=(const RecordKeys&) = delete;
  ~RecordKeys();
};

// TLS 1.3, of one direction's traffic secret (hash_bytes long).
void derive_keys(const Suite& suite, std::span<const std::byte> traffic_secret, RecordKeys& keys);
// … and the secret that a KeyUpdate replaces it by, in its place.
void update_secret(const Suite& suite, std::span<std::byte> traffic_secret);
// TLS 1.2, of both.
void derive_keys(const Suite& suite, std::span<const std::byte> master_secret, const Random& client,
                 const Random& server, RecordKeys& client_keys, RecordKeys& server_keys);

}  // namespace gatehouse::tls
